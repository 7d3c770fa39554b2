/** Which members have everything, as they tell each other. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { IN_STEP } from '../../agent/database/messages.ts';
import { openMessageStream } from '../../agent/wire/message-stream.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { connect, enter, type Member, withClub } from './members.ts';

const holdersOf = (member: Member) => member.inStep.holders().map(({ id }) => id);
const isHeldBy = (member: Member, ...others: readonly Member[]) =>
  assertSame(
    holdersOf(member),
    others.map(({ self }) => self),
  );
function assertSame(some: readonly string[], others: readonly string[]): boolean {
  return [...some].sort().join() === [...others].sort().join();
}

test('members know of each other that they have everything, also when one is away, and after a restart', () =>
  withClub(async (club) => {
    const a = await club.member('a');
    const b = await club.member('b');
    await writeFile(a.at('song.mid'), randomBytes(2_000_000));
    await a.share.rescan();
    assert.deepEqual(a.inStep.holders(), []);
    const connection = connect(a, b);
    await eventually('both know', () => isHeldBy(a, b) && isHeldBy(b, a));
    assert.ok(await sameTree(a.folder, b.folder), 'it was true');
    await writeFile(b.at('answer.mid'), 'from b');
    await eventually('b knows that a has that too', () => sameTree(a.folder, b.folder));
    await eventually('both know', () => isHeldBy(a, b) && isHeldBy(b, a));
    const since = a.inStep.holders()[0]?.since;

    await connection.cut();
    assert.ok(isHeldBy(a, b));
    await a.close();
    await a.open();
    assert.deepEqual(
      a.inStep.holders().map(({ id, level, since: told }) => ({ id, level, told })),
      [{ id: b.self, level: 'read_write', told: since }],
    );
    connect(a, b);
    await eventually('they have met', () => a.replication.peers().length === 1);
    await writeFile(a.at('more.mid'), 'more');
    await a.share.rescan();
    await eventually('it is there too', async () => (await sameTree(a.folder, b.folder)) && isHeldBy(a, b));
    assert.ok((a.inStep.holders()[0]?.since ?? 0n) > (since ?? 0n), 'since later');
  }));

test('what is made while a member is away is not on it', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    await writeFile(a.at('one'), '1');
    const connection = connect(a, b);
    await eventually('a knows', async () => (await sameTree(a.folder, b.folder)) && isHeldBy(a, b));
    await connection.cut();
    await writeFile(a.at('two'), '2');
    await a.share.rescan();
    assert.deepEqual(a.inStep.holders(), []);
    connect(a, b);
    await eventually('it is over', () => isHeldBy(a, b));
    assert.ok(await sameTree(a.folder, b.folder));
  }));

test('who has the records and not the contents, or keeps a part, has not everything', () =>
  withClub(async (club) => {
    const [a, b, c] = [await club.member('a'), await club.member('b'), await club.member('c')];
    await writeFile(a.at('one'), '1');
    connect(a, b);
    connect(a, c);
    connect(b, c);
    await eventually('all have it', () => isHeldBy(a, b, c));
    c.share.pause();
    await b.share.select({ direction: 'both', isShallow: true, only: [], ignore: [] });
    await writeFile(a.at('two'), randomBytes(100_000));
    await a.share.rescan();
    await eventually('both know of it', () =>
      [b, c].every(({ database }) => database.get('/two') !== undefined),
    );
    c.share.resume();
    await eventually('the one that was paused has it', () => isHeldBy(a, c));
    await b.share.select({ direction: 'both', isShallow: false, only: [], ignore: [] });
    await eventually('now it is kept there too', () => isHeldBy(a, b, c));
    assert.ok(await sameTree(a.folder, b.folder));
    // What was said is taken back.
    await b.share.select({ direction: 'both', isShallow: false, only: ['/elsewhere'], ignore: [] });
    b.inStep.disturb();
    await eventually('only a part is kept now', () => isHeldBy(a, c));
  }));

test('a member whose folder is gone takes its word back', () =>
  withClub(async (club) => {
    const [a, b] = [await club.member('a'), await club.member('b')];
    await writeFile(a.at('one'), '1');
    connect(a, b);
    await eventually('b has it', () => isHeldBy(a, b));
    await rm(b.folder, { recursive: true });
    await eventually('b has nothing any more', () => a.inStep.holders().length === 0);
  }));

test('read-only members know of others, and are known of', () =>
  withClub(async (club) => {
    const a = await club.member('a');
    const reader = await club.member('reader', { level: 'read_only' });
    const other = await club.member('other', { level: 'read_only' });
    await writeFile(a.at('one'), '1');
    connect(a, reader);
    connect(reader, other);
    await eventually(
      'all know',
      () => isHeldBy(a, reader) && isHeldBy(reader, a, other) && isHeldBy(other, reader),
    );
  }));

test('whatever a member says of it, it is believed for no more than was sent to it, and costs nothing', () =>
  withClub(async (club) => {
    const a = await club.member('a');
    await writeFile(a.at('one'), '1');
    await a.share.rescan();
    const id = 'f'.repeat(32);
    const meet = () => {
      const [near, far] = memoryStreamPair();
      const session = enter(a, near, id, 'read_write');
      return { session, messages: openMessageStream(far, { payloadLimit: () => 0n }) };
    };
    const liar = meet();
    for (const mark of [1n, 2n ** 63n - 1n])
      await liar.messages.send({ json: { type: `${IN_STEP}.held`, mark } });
    // It never asked for any update: nothing was sent, and so no mark either.
    for (let i = 1n; i <= 2_000n; i++)
      await liar.messages.send({ json: { type: `${IN_STEP}.mark`, mark: i } });
    const answers: string[] = [];
    for (let message = await liar.messages.receive(); message; message = await liar.messages.receive()) {
      assert.notEqual(message.type, `${IN_STEP}.mark`);
      if (message.type !== `${IN_STEP}.held`) continue;
      answers.push(String(message.json.mark));
      if (answers.at(-1) === '2000') break;
    }
    assert.ok(answers.length < 10, `${answers.length} answers`);
    assert.deepEqual(a.inStep.holders(), []);
    await liar.messages.send({ json: { type: `${IN_STEP}.held`, mark: -1n } });
    const reason = await liar.session.ended;
    assert.match(String(reason), /mark/);
  }));
