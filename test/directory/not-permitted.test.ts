/** Folders and files that their owner's rights keep the agent out of: told, kept as they are known, and followed again later. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { asOrdinaryUser } from '../support/nobody.ts';
import { inRecords, onDisk, withFolder } from './folder.ts';
import { news, opened } from './hasty-detector.ts';
import { connect, withClub } from './members.ts';

const CLOSED = [0o000, 0o444, 0o644, 0o311];

asOrdinaryUser(import.meta.url, () => {
  for (const mode of CLOSED)
    test(`a folder of mode ${mode.toString(8)} loses no record`, () => staysKnown(mode));

  test('a folder that its owner has closed is opened for the owner again, and gets what is new', () =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      connect(a, b);
      fs.mkdirSync(a.at('d'));
      fs.writeFileSync(a.at('d/first'), 'first');
      await eventually('the first arrives', () => fs.existsSync(b.at('d/first')));
      await eventually('all rests', () => [a, b].every(({ share }) => share.status().isSynced));
      fs.chmodSync(b.at('d'), 0o055);
      await eventually('the mode is a change', () => (fs.statSync(a.at('d')).mode & 0o777) === 0o755);
      fs.writeFileSync(a.at('d/second'), 'second');
      await eventually(
        'what is new arrives',
        () => fs.existsSync(b.at('d/second')) && fs.existsSync(b.at('d/first')),
      );
      await eventually('and all is well', () => b.share.problems().length === 0);
    }));
});

async function staysKnown(mode: number): Promise<void> {
  await withFolder(async (folder) => {
    fs.mkdirSync(folder.at('/d/e'), { recursive: true });
    for (const path of ['/d/f', '/d/e/g', '/beside']) fs.writeFileSync(folder.at(path), path);
    const detector = await opened(folder);
    const known = folder.records.keys();
    news(folder);
    fs.chmodSync(folder.at('/d'), mode);
    fs.writeFileSync(folder.at('/beside'), 'edited');
    await detector.rescan();
    assert.deepEqual(folder.records.keys(), known);
    const changed = news(folder);
    assert.ok(changed.includes('put /beside'), String(changed));
    assert.deepEqual(
      changed.filter((change) => change.startsWith('remove')),
      [],
    );
    assert.deepEqual(
      detector.problems().map(({ code }) => code),
      ['files.not_permitted'],
    );
    fs.chmodSync(folder.at('/d'), 0o755);
    await detector.rescan();
    await detector.settled();
    assert.deepEqual(detector.problems(), []);
    assert.deepEqual(inRecords(folder), onDisk(folder));
  });
}
