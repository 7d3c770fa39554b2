/** Whatever lies in a folder, and however it is swapped while files arrive: nothing outside of the share is touched. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';
import { connect, withClub } from './members.ts';

/** Names, contents and times: a file that was made and removed again shows in the time of its folder. */
function stateOf(folder: string): string {
  const facts = (path: string) => {
    const { mtimeNs, ctimeNs, ino, size, mode } = fs.lstatSync(path, { bigint: true });
    return [path, mtimeNs, ctimeNs, ino, size, mode].join(' ');
  };
  const names = fs.readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name)));
  return [folder, ...names].map(facts).join('\n');
}

test('a folder that is swapped for a link, over and over, while files are downloaded into it', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    const outside = join(club.top, 'outside');
    fs.mkdirSync(join(outside, 'inner'), { recursive: true });
    for (const name of ['0', 'inner/0', 'victim']) fs.writeFileSync(join(outside, name), 'not of the share');
    const before = stateOf(outside);
    await mkdir(a.at('d/inner'), { recursive: true });
    for (let i = 0; i < 150; i++) {
      await writeFile(a.at(`d/${i}`), randomBytes(i % 10 === 0 ? 300_000 : 2_000));
      await writeFile(a.at(`d/inner/${i}`), randomBytes(2_000));
    }
    await a.share.rescan();
    connect(a, b);
    const [folder, aside] = [b.at('d'), join(club.top, 'aside')];
    for (let round = 0; round < 60; round++) {
      if (fs.existsSync(folder)) {
        fs.renameSync(folder, aside);
        fs.symlinkSync(outside, folder);
        await wait(round % 7);
        fs.rmSync(folder);
        if (fs.existsSync(folder)) fs.cpSync(aside, folder, { recursive: true });
        else fs.renameSync(aside, folder);
      }
      await wait(round % 11);
    }
    assert.equal(stateOf(outside), before);
    await eventually('both are in step', () => [a, b].every(({ share }) => share.status().isSynced), 180_000);
    await eventually('both have the same', () => sameTree(a.folder, b.folder), 180_000);
    assert.equal(fs.readdirSync(a.at('d')).length, 151, 'and all of it');
    assert.equal(stateOf(outside), before);
  }));

test('pipes, sockets, devices, links and odd names in the way of what arrives', (t) =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    const outside = join(club.top, 'outside');
    fs.mkdirSync(outside);
    fs.writeFileSync(join(outside, 'victim'), 'not of the share');
    const before = stateOf(outside);
    execFileSync('mkfifo', [b.at('pipe')]);
    const server = createServer().listen(b.at('socket'));
    t.after(() => server.close());
    fs.symlinkSync(join(outside, 'victim'), b.at('link'));
    fs.symlinkSync(join(outside, 'absent'), b.at('dangling'));
    fs.symlinkSync(outside, b.at('folder'));
    fs.writeFileSync(Buffer.concat([Buffer.from(b.at('not UTF-8 ')), Buffer.from([0xff, 0xfe])]), 'odd');
    const names = ['pipe', 'socket', 'link', 'dangling', 'folder/victim', 'plain'];
    await mkdir(a.at('folder'));
    for (const name of names) await writeFile(a.at(name), `${name} of the share`);
    await a.share.rescan();
    connect(a, b);
    await eventually('the plain one arrives', () => fs.existsSync(b.at('plain')));
    await eventually('it is told', () => {
      const codes = new Set(b.share.problems().map(({ code }) => code));
      return ['path.special', 'path.symlink', 'path.not_unicode'].every((code) => codes.has(code));
    });
    assert.equal(stateOf(outside), before);
    assert.ok(fs.lstatSync(b.at('pipe')).isFIFO() && fs.lstatSync(b.at('socket')).isSocket());
    assert.equal(fs.readlinkSync(b.at('link')), join(outside, 'victim'));
    assert.equal(b.share.status().isSynced, false);
    for (const name of ['pipe', 'link', 'dangling', 'folder']) fs.rmSync(b.at(name));
    await new Promise((resolve) => server.close(resolve));
    fs.rmSync(b.at('socket'), { force: true });
    await eventually('what was kept from its place comes', () =>
      names.every((name) => {
        const path = b.at(name);
        return fs.existsSync(path) && fs.readFileSync(path, 'utf8') === `${name} of the share`;
      }),
    );
    assert.equal(stateOf(outside), before);
    assert.equal(a.database.get('/link')?.deleted, false, 'what was in the way is nothing of the share');
  }));
