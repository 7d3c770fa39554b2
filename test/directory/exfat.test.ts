/** A share on a card as cameras and pianos write them: no modes, no hard links, no stable inodes, case makes no difference. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { CARD, type Card, withCard } from '../support/exfat-card.ts';
import { peerTest } from '../support/peers.ts';
import { type Folder, withFolder } from './folder.ts';
import { news, opened } from './hasty-detector.ts';
import { FOLDER, file, Place } from './placing.ts';

async function withSharedCard(body: (folder: Folder, card: Card) => Promise<void>): Promise<void> {
  await withFolder((folder) =>
    withCard(async (card) => {
      const root = await openShareRoot(card.path);
      try {
        await body({ ...folder, root, path: card.path, at: (path) => join(card.path, path) }, card);
      } finally {
        root.close();
        // Its handles are closed behind its back.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }),
  );
}

peerTest('files are placed, replaced, moved and removed on exFAT', CARD, async () => {
  await withSharedCard(async ({ root, at }) => {
    const place = async (content: string, expected: 'absent' | 'present') => {
      const file = await root.openTemporary('t', {});
      await file.write(Buffer.from(content), 0n);
      const there = expected === 'absent' ? 'absent' : await root.look('/f');
      assert.ok(there !== undefined);
      return file.commit('/f', { mode: 0o640, mtimeNs: 1_234_567_890_123_456_789n, expected: there });
    };
    const first = await place('first', 'absent');
    assert.equal(first.mtimeNs / 1_000_000_000n, 1_234_567_890n);
    await assert.rejects(place('other', 'absent'), { code: 'files.changed' });
    await (await root.openTemporary('t', { resume: true })).discard();
    await place('second', 'present');
    await root.makeDirectory('/d', 0o755);
    await root.move('/f', '/d/g');
    assert.equal(fs.readFileSync(at('/d/g'), 'utf8'), 'second');
    fs.writeFileSync(at('/other'), '');
    await assert.rejects(root.move('/other', '/D/G'), { code: 'files.exists' });
    const facts = await root.look('/d/g');
    assert.ok(facts);
    await root.setAttributes('/d/g', { mode: 0o600, mtimeNs: 5_000_000_000n }, facts);
    await root.removeFile('/other', (await root.look('/other'))!);
    await assert.rejects(root.removeDirectory('/d'), { code: 'files.not_empty' });
  });
});

peerTest(
  'a share on exFAT is followed; a mere change of case is a rename; nothing is a change after mounting again',
  CARD,
  async () => {
    await withSharedCard(async (folder, card) => {
      const { root, at } = folder;
      fs.mkdirSync(at('/Takes'));
      // Equal in size and time, which on exFAT says little.
      for (const name of ['a', 'b', 'c']) fs.writeFileSync(at(`/Takes/${name}.mid`), `take ${name}`);
      for (const name of ['a', 'b', 'c'])
        fs.utimesSync(at(`/Takes/${name}.mid`), 1_600_000_000, 1_600_000_000);
      const detector = await opened(folder, { root });
      assert.deepEqual(folder.records.keys(), [
        '/',
        '/Takes',
        '/Takes/a.mid',
        '/Takes/b.mid',
        '/Takes/c.mid',
      ]);
      const hashes = new Set(
        ['a', 'b', 'c'].map((name) => folder.index.byPath(`/Takes/${name}.mid`)?.sha256),
      );
      assert.equal(hashes.size, 3);
      news(folder);
      fs.renameSync(at('/Takes/a.mid'), at('/Takes/A.mid'));
      await detector.rescan();
      assert.deepEqual(news(folder), ['rename /Takes/a.mid -> /Takes/A.mid']);
      fs.renameSync(at('/Takes/b.mid'), at('/b.mid'));
      await detector.rescan();
      assert.deepEqual(news(folder), ['rename /Takes/b.mid -> /b.mid']);
      await detector.close();
      root.close();
      await new Promise((resolve) => setTimeout(resolve, 50));
      card.unmount();
      card.mount();
      const again = await openShareRoot(card.path);
      const second = await opened(folder, { root: again });
      assert.deepEqual([news(folder), second.problems()], [[], []]);
      await second.close();
      again.close();
    });
  },
);

peerTest(
  'a folder that is respelled while something is placed in it leaves no row without a folder',
  CARD,
  () =>
    withCard(async (card) => {
      fs.mkdirSync(join(card.path, '.clearskies'));
      const root = await openShareRoot(card.path);
      await root.learnSpelling();
      const hashing = openHashing();
      const sqlite = openSqlite(':memory:');
      try {
        const place = new Place(card.path, root, hashing, sqlite);
        place.record({ uuid: 'd', key: '/music', value: FOLDER });
        await place.apply('d');
        await place.file('old', '/music/old', 'old');
        place.record({ uuid: 'new', key: '/music/new', value: file('new') });
        const child = place.apply('new', 'new');
        place.record({ uuid: 'd', key: '/MUSIC', value: FOLDER });
        await Promise.all([child, place.apply('d')]);
        const rows = [...place.parts.index.below('/')].map(({ path }) => path);
        assert.ok(rows.includes('/MUSIC') && rows.includes('/MUSIC/old'), String(rows));
        assert.ok(!rows.some((path) => path.startsWith('/music')), String(rows));
        assert.deepEqual(place.shown(), ['MUSIC/', 'MUSIC/new=new', 'MUSIC/old=old']);
      } finally {
        await hashing.close();
        root.close();
        sqlite.close();
      }
    }),
);
