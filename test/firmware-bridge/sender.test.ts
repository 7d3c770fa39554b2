/** Files of the owner's that are written to devices: those that may go, whole, once, and taken back. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { environmentError } from '../../agent/base/errors.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { openFolderWriter } from '../../firmware-bridge/folder-writer.ts';
import type { BridgeOptions, DeviceConfig } from '../../firmware-bridge/index.ts';
import { openPiano } from '../../firmware-bridge/simulator/piano.ts';
import { eventually } from '../support/eventually.ts';
import { stage } from './stage.ts';

/** Long written: whatever is new waits for a while, since it may still be written. */
function save(path: string, bytes: string | Uint8Array, ageS = 60): void {
  fs.mkdirSync(join(path, '..'), { recursive: true });
  fs.writeFileSync(path, bytes);
  const then = Date.now() / 1_000 - ageS;
  fs.utimesSync(path, then, then);
}

async function sending(t: TestContext, config: Partial<DeviceConfig> = {}) {
  const piano = await openPiano({ seed: 21 });
  t.after(() => piano.close());
  const { path, open, until, events, memory } = await stage(t);
  const folder = join(path, 'piano');
  const send = ['lessons/', '*.txt', '!private.txt'];
  const start = (options: Partial<BridgeOptions> = {}) =>
    open([{ source: piano.source, send, sendLargest: 50_000, ...config }], options);
  const names = () =>
    piano
      .recordings()
      .map(({ name }) => name)
      .sort();
  const bytesOf = (name: string) => {
    const found = piano.recordings().find((one) => one.name === name);
    return found === undefined ? undefined : Buffer.from(found.bytes);
  };
  return { piano, folder, start, names, bytesOf, until, events, memory };
}

test('what may go to the device goes there, and nothing else', async (t) => {
  const { folder, start, names, bytesOf, piano, events } = await sending(t);
  const lesson = Buffer.alloc(40_000, 'lesson ');
  save(join(folder, 'lessons/one/scale.mid'), lesson);
  save(join(folder, 'notes.txt'), 'notes');
  save(join(folder, 'private.txt'), 'private');
  save(join(folder, 'song.mid'), 'a song');
  save(join(folder, 'lessons/large.mid'), Buffer.alloc(50_001));
  const own = await piano.record();
  const bridge = start();
  const sent = ['lessons/one/scale.mid', 'notes.txt'];
  await eventually('both are there', () => sent.every((name) => names().includes(name)));
  assert.deepEqual(names(), [own.name, ...sent].sort());
  assert.deepEqual(bytesOf('lessons/one/scale.mid'), lesson);
  await eventually('what is too large is told', () =>
    (bridge.status()[0]?.problems ?? []).some(
      ({ name, error }) => name === 'lessons/large.mid' && /50000/.test(error.message),
    ),
  );
  assert.equal(events.filter(({ kind }) => kind === 'file-sent').length, 2);
  await eventually('the recording has come', () => fs.existsSync(join(folder, own.name)));
  assert.deepEqual(
    events.flatMap((event) => (event.kind === 'file-arrived' ? [event.name] : [])),
    [own.name],
    'what was sent does not come back',
  );
});

test('an edit goes after it; what is deleted here is taken back, and what is deleted there stays deleted', async (t) => {
  const { folder, start, names, bytesOf, piano, until, events } = await sending(t);
  for (const name of ['a.txt', 'b.txt', 'c.txt', 'd.txt']) save(join(folder, name), `${name} of the owner`);
  let bridge = start();
  await eventually('all are there', () => names().length === 4);
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  save(join(folder, 'a.txt'), 'edited', 30);
  fs.rmSync(join(folder, 'b.txt'));
  bridge.look(['music']);
  await eventually('the edit is there', () => bytesOf('a.txt')?.toString() === 'edited');
  await until((event) => event.kind === 'file-taken-back' && event.path === '/b.txt');
  assert.deepEqual(names(), ['a.txt', 'c.txt', 'd.txt']);

  const id = piano.recordings().find(({ name }) => name === 'c.txt')?.id ?? 0;
  piano.delete(id);
  await bridge.close();
  const before = events.length;
  bridge = start();
  await eventually('it rests again', () => bridge.status()[0]?.state.kind === 'idle');
  assert.deepEqual(names(), ['a.txt', 'd.txt'], 'also after a restart nothing is sent twice');
  assert.ok(fs.existsSync(join(folder, 'c.txt')), 'the owner keeps it');
  assert.ok(!events.slice(before).some(({ kind }) => kind === 'file-sent'));
});

test('a name that the device has for something else is left alone, and told', async (t) => {
  const { folder, start, piano, bytesOf } = await sending(t);
  piano.save('taken.txt', Buffer.from('of the device'));
  save(join(folder, 'taken.txt'), 'of the owner');
  const bridge = start();
  await eventually('it is told', () =>
    (bridge.status()[0]?.problems ?? []).some(({ name }) => name === 'taken.txt'),
  );
  assert.equal(bytesOf('taken.txt')?.toString(), 'of the device');
  assert.equal(fs.readFileSync(join(folder, 'taken.txt'), 'utf8'), 'of the owner');
  assert.equal(fs.readFileSync(join(folder, 'taken (2).txt'), 'utf8'), 'of the device');
});

test('what is still being written waits; when all that was sent is gone, nothing is taken back', async (t) => {
  const { folder, start, names, piano } = await sending(t);
  for (let i = 0; i < 4; i++) save(join(folder, `${i}.txt`), `${i}`);
  save(join(folder, 'fresh.txt'), 'half', 0);
  const bridge = start();
  await eventually('the others are there', () => names().length === 4);
  fs.appendFileSync(join(folder, 'fresh.txt'), ' and whole');
  await eventually('and then it, too', () => names().includes('fresh.txt'));
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  fs.rmSync(folder, { recursive: true });
  bridge.look(['music']);
  await eventually('it is told', () =>
    (bridge.status()[0]?.problems ?? []).some(({ error }) => /gone at once/.test(error.message)),
  );
  assert.equal(names().length, 5);
  save(join(folder, 'one more.txt'), 'more');
  bridge.look(['music']);
  await eventually('what is new is sent all the same', () => names().includes('one more.txt'));
  assert.equal(names().length, 6, 'and lets go of nothing');
  for (const { id, name } of piano.recordings()) if (name !== 'one more.txt') piano.delete(id);
  await eventually('deleted on the device too, it is over', () => bridge.status()[0]?.problems.length === 0);
});

test('names that the mirror would change stay where they are', async (t) => {
  const { folder, start, names } = await sending(t, { send: ['*'] });
  const odd = ['.hidden', 'back\\slash.txt', '1/2/3/4/5/6/7/8/9.txt', 'e\u0301.txt'];
  for (const name of odd) save(join(folder, name), name);
  save(join(folder, 'plain.txt'), 'plain');
  const bridge = start();
  await eventually('the plain one is there', () => names().includes('plain.txt'));
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  bridge.look(['music']);
  await eventually('it rests again', () => bridge.status()[0]?.state.kind === 'idle');
  for (const name of odd) assert.equal(fs.readFileSync(join(folder, name), 'utf8'), name);
  assert.deepEqual(names(), ['plain.txt']);
});

test('what the device has newer, and could not give, is not overwritten', async (t) => {
  const { folder, start, piano, until, bytesOf } = await sending(t);
  piano.save('song.txt', Buffer.from('first take'));
  const bridge = start();
  await until((event) => event.kind === 'file-arrived');
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  await bridge.close();
  const id = piano.recordings()[0]?.id ?? 0;
  piano.save('song.txt', Buffer.from('second take, only on the piano'), id);
  save(join(folder, 'song.txt'), 'edit of the owner');
  const root = await openShareRoot(join(folder, '..'));
  t.after(() => root.close());
  const full = () => Promise.reject(environmentError('files.no_space', 'the disk is full'));
  const again = start({
    folderFor: async ({ folder: inside, label }) =>
      Object.assign(openFolderWriter({ root, folder: inside, label }), { begin: full }),
  });
  await eventually('both are told', () => (again.status()[0]?.problems ?? []).length >= 2);
  assert.equal(bytesOf('song.txt')?.toString(), 'second take, only on the piano');
});

test('a recording that the device deletes stays in the share, and is not sent back', async (t) => {
  const { folder, start, names, piano, until } = await sending(t, { send: ['*'] });
  const own = await piano.record();
  const bridge = start();
  await until((event) => event.kind === 'file-arrived' && event.name === own.name);
  await eventually('it rests', () => bridge.status()[0]?.state.kind === 'idle');
  piano.delete(piano.recordings().find(({ name }) => name === own.name)?.id ?? 0);
  await wait(1_000);
  bridge.look(['music']);
  await wait(1_000);
  assert.deepEqual(names(), []);
  assert.ok(fs.existsSync(join(folder, own.name)));
});
