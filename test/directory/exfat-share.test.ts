/** Whole shares with a folder on exFAT: no modes, no hard links, case makes no difference. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { CARD, withCard } from '../support/exfat-card.ts';
import { peerTest } from '../support/peers.ts';
import { connect, withClub } from './members.ts';

/** Names and contents, without our own. */
function shown(folder: string): string[] {
  const lines: string[] = [];
  const visit = (path: string) => {
    for (const entry of fs.readdirSync(join(folder, path), { withFileTypes: true })) {
      if (entry.name === '.clearskies') continue;
      const inner = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(inner);
      else lines.push(`${inner}=${fs.readFileSync(join(folder, inner), 'utf8')}`);
    }
  };
  visit('');
  return lines.sort();
}

peerTest(
  'names that are one on exFAT are both kept, edits and deletions go both ways, replaced files are archived',
  CARD,
  () =>
    withCard((card) =>
      withClub(async (club) => {
        const a = await club.member('a');
        const b = await club.member('b', { share: { path: card.path } });
        for (const folder of ['Dir', 'dir']) fs.mkdirSync(a.at(folder));
        const names = ['Case', 'case', 'Dir/x', 'dir/x', 'script'];
        for (const name of names) fs.writeFileSync(a.at(name), `${name}.`);
        fs.chmodSync(a.at('script'), 0o755);
        connect(a, b);
        const contents = (folder: string) => shown(folder).map((line) => line.replace(/^.*=/, ''));
        await eventually('all five have arrived', () => shown(card.path).length === 5);
        assert.deepEqual(contents(card.path).sort(), names.map((name) => `${name}.`).sort());

        const upper =
          shown(card.path)
            .find((line) => line.endsWith('=Case.'))
            ?.replace(/=.*$/, '') ?? '';
        fs.writeFileSync(join(card.path, upper), 'edited on the card');
        await eventually('the edit is under its own name', () =>
          fs.readFileSync(a.at('Case'), 'utf8').startsWith('edited'),
        );
        fs.renameSync(a.at('script'), a.at('SCRIPT'));
        fs.writeFileSync(a.at('case'), 'second');
        fs.rmSync(a.at('Dir'), { recursive: true });
        await eventually('everything is there too', () => {
          const lines = shown(card.path);
          return (
            lines.length === 4 && lines.includes('/SCRIPT=script.') && contents(card.path).includes('second')
          );
        });
        assert.equal([...b.share.history('/case')].length, 1);
        fs.writeFileSync(join(card.path, 'from the card'), 'hello');
        await eventually('a new file comes back', () => fs.existsSync(a.at('from the card')));
        await eventually('both are in step', () => [a, b].every(({ share }) => share.status().isSynced));
        assert.deepEqual(shown(a.folder), [
          '/Case=edited on the card',
          '/SCRIPT=script.',
          '/case=second',
          '/dir/x=dir/x.',
          '/from the card=hello',
        ]);
        assert.equal(
          fs.statSync(a.at('SCRIPT')).mode & 0o777,
          0o755,
          'the mode survives a member without modes',
        );

        const { history, restorer, verifier } = b.share.custody;
        const before = [...b.share.history('/case')].length;
        await restorer.restore(history.version('/case', undefined), '/case');
        await eventually('what was restored goes to the file of this name, and spreads', () =>
          fs.readFileSync(a.at('case'), 'utf8').startsWith('case.'),
        );
        assert.equal(fs.readFileSync(a.at('Case'), 'utf8'), 'edited on the card');
        assert.equal([...b.share.history('/case')].length, before + 1);
        const [kept] = b.share.history('/case');
        assert.equal(fs.readFileSync(join(card.path, kept?.path ?? ''), 'utf8'), 'second');
        await b.share.settled();
        const verifying = verifier.verify(new AbortController().signal);
        let step = await verifying.next();
        while (!step.done) step = await verifying.next();
        assert.deepEqual([step.value.damaged, step.value.unreadable, step.value.missing], [0, 0, 0]);
      }),
    ),
);

peerTest('a folder that is only spelled otherwise keeps its files, and its place', CARD, () =>
  withCard((card) =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b', { share: { path: card.path } });
      const names = Array.from({ length: 20 }, (_, i) => `inner/song ${i}`);
      fs.mkdirSync(a.at('music/inner'), { recursive: true });
      for (const name of names) fs.writeFileSync(a.at(`music/${name}`), name);
      connect(a, b);
      await eventually('all are there', () => shown(card.path).length === names.length);
      await eventually('all rests', () => [a, b].every(({ share }) => share.status().isSynced));
      const inode = fs.statSync(join(card.path, 'music/inner/song 0')).ino;
      fs.renameSync(a.at('music'), a.at('MUSIC'));
      fs.writeFileSync(a.at('MUSIC/inner/song 1'), 'edited');
      await eventually('the card shows it', () => {
        const here = fs.readdirSync(card.path).filter((name) => name !== '.clearskies');
        return (
          String(here) === 'MUSIC' &&
          fs.readFileSync(join(card.path, 'MUSIC/inner/song 1'), 'utf8') === 'edited'
        );
      });
      await eventually('all rests again', () => [a, b].every(({ share }) => share.status().isSynced));
      assert.deepEqual(shown(card.path), shown(a.folder));
      assert.equal(shown(a.folder).length, names.length);
      assert.equal(fs.statSync(join(card.path, 'MUSIC/inner/song 0')).ino, inode, 'nothing was written anew');
      fs.writeFileSync(join(card.path, 'MUSIC/inner/from the card'), 'x');
      await eventually('it is watched', () => fs.existsSync(a.at('MUSIC/inner/from the card')));
      fs.renameSync(join(card.path, 'MUSIC'), join(card.path, 'Music'));
      await eventually('and the same the other way', () => fs.existsSync(a.at('Music/inner/song 0')));
      assert.deepEqual(b.share.problems(), []);
    }),
  ),
);
