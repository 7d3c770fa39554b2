import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPiano, openPiano, type Recording } from '../../../firmware-bridge/simulator/piano.ts';
import { virtualClock } from '../../support/virtual-clock.ts';
import { readMidiFile } from './midi-file.ts';

test('it records on request: valid files, different each time, some long', async (t) => {
  const piano = createPiano({ seed: 1 });
  t.after(() => piano.close());
  for (let i = 0; i < 5; i++) await piano.record();
  const long = await piano.record({ atLeastBytes: 300_000, format: 1 });
  assert.ok(long.bytes.length >= 300_000 && long.bytes.length < 900_000);
  const recordings = piano.recordings();
  assert.equal(recordings.length, 6);
  assert.equal(new Set(recordings.map(({ name }) => name)).size, 6);
  for (const { bytes, name } of recordings) {
    assert.ok(readMidiFile(bytes).notes.length > 0);
    assert.match(name, /^REC\d{4} .*\.mid$/);
  }
  await assert.rejects(piano.record({ atLeastBytes: 1e9 }), { code: 'piano.too_long' });
});

test('it records on its own, now and then', async () => {
  const clock = virtualClock();
  const recorded: Recording[] = [];
  const piano = createPiano({ seed: 2, clock, every: 60_000, onRecording: (one) => recorded.push(one) });
  await clock.pass(3_600_000);
  assert.ok(recorded.length > 40 && recorded.length < 85, String(recorded.length));
  await piano.close();
  const before = recorded.length;
  await clock.pass(3_600_000);
  assert.equal(recorded.length, before);
});

test('it is renamed, recorded over and deleted', async (t) => {
  const piano = createPiano({ seed: 3 });
  t.after(() => piano.close());
  const { id } = await piano.record({ style: 'waltz' });
  piano.rename(id, 'mine.mid');
  const again = await piano.recordOver(id, { style: 'etude', name: 'mine.mid' });
  assert.deepEqual([again.id, again.name, again.style], [id, 'mine.mid', 'etude']);
  piano.delete(id);
  assert.deepEqual(piano.recordings(), []);
  assert.throws(() => piano.rename(id, 'x'));
  assert.throws(() => piano.save('x'.repeat(256), new Uint8Array()), { code: 'piano.name' });
});

test('it is served on a port until it is closed', async () => {
  const piano = await openPiano({ seed: 4 });
  assert.match(piano.source, /^tcp:\/\/127\.0\.0\.1:\d+$/);
  await assert.rejects(openPiano({ port: piano.address.port }), { code: 'net.port_taken' });
  await piano.close();
  const again = await openPiano({ port: piano.address.port });
  await again.close();
});
