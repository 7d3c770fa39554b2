/** A member with keys and bad intentions: it speaks the protocol by hand. Whatever it does, other files arrive. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { JsonObject } from '../../agent/base/json.ts';
import { formatTimestamp } from '../../agent/base/timestamp.ts';
import type { RunningSession } from '../../agent/club/open-session.ts';
import type { ShareEvent } from '../../agent/directory/share.ts';
import {
  type IncomingMessage,
  type MessageStream,
  openMessageStream,
} from '../../agent/wire/message-stream.ts';
import { connect, enter, type Member, withClub } from '../directory/members.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree, treeOf } from '../support/folder-tree.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';

const EVIL = 'ee'.repeat(16);

function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What it answers to a request; null: nothing at all. */
type Answer = { readonly json: JsonObject; readonly payload?: AsyncIterable<Uint8Array> } | null;

class EvilPeer {
  readonly messages: MessageStream;
  readonly session: RunningSession;
  readonly asked: JsonObject[] = [];
  answer: (get: JsonObject) => Answer = () => null;
  #revision = 0;

  constructor(victim: Member) {
    const [ours, theirs] = memoryStreamPair();
    this.messages = openMessageStream(ours, { payloadLimit: () => 2n ** 40n });
    this.session = enter(victim, theirs, EVIL, 'read_write');
    void this.#run().catch(() => {});
  }

  async #run(): Promise<void> {
    for (
      let message = await this.messages.receive();
      message !== null;
      message = await this.messages.receive()
    )
      await this.#on(message);
  }

  async #on({ type, json }: IncomingMessage): Promise<void> {
    if (type !== 'directory.get') return;
    this.asked.push(json);
    const answer = this.answer(json);
    if (answer !== null) await this.send(answer.json, answer.payload);
  }

  async send(json: JsonObject, payload?: AsyncIterable<Uint8Array>): Promise<void> {
    await this.messages.send({ json, ...(payload === undefined ? {} : { payload }) }).catch(() => {});
  }

  /** A record, as any member can make it. */
  update(key: string, value: JsonObject, rest: JsonObject = {}): Promise<void> {
    this.#revision += 1;
    return this.send({
      type: 'database.update',
      key,
      value,
      uuid: randomBytes(16).toString('hex'),
      last_updated_by: EVIL,
      last_updated_rev: this.#revision,
      update_time: formatTimestamp(1_790_000_000_000_000_000n + BigInt(this.#revision)),
      vector_clock: { [EVIL]: this.#revision },
      ...rest,
    });
  }

  file(
    key: string,
    contents: Uint8Array | string,
    { uuid, vector_clock, ...rest }: JsonObject = {},
  ): Promise<void> {
    const known = uuid === undefined || vector_clock === undefined ? {} : { uuid, vector_clock };
    return this.update(key, { size: contents.length, sha256: sha256(contents), ...rest }, known);
  }
}

async function* pieces(...all: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of all) yield piece;
}

function isPlaced({ kind }: ShareEvent): boolean {
  return kind === 'placed';
}

function warnings(member: Member): string[] {
  return member.log.filter(({ level }) => level === 'warn').map(({ message }) => message);
}

describe('a hostile member', () => {
  it('gets no file where no file may be, and is told of once', () =>
    withClub(async (club) => {
      const victim = await club.member('victim');
      const evil = new EvilPeer(victim);
      const contents = Buffer.from('evil');
      evil.answer = ({ sha256: hash, range }) => ({
        json: { type: 'directory.data', sha256: hash ?? '', range: range ?? [0, contents.length] },
        payload: pieces(contents),
      });
      const keys = [
        '/../outside',
        '/folder/../../outside',
        '/./dot',
        '/',
        '//double',
        '/nul\0byte',
        '/trailing/',
        '/.clearskies/share',
        '/.clearskies',
        '/folder/.ClearSkies/tmp',
        '/sneaky.!clearsky',
        '/.clear\u200bskies/share',
        'no slash',
        '',
        `/${'x'.repeat(256)}`,
        `/${'d/'.repeat(2_048)}file`,
        '../outside',
      ];
      for (const key of keys) await evil.file(key, contents);
      await evil.update('/no-hash', { size: 4, sha256: null });
      await evil.update('/not-an-object', { size: 'four', sha256: [] });
      await evil.update('/empty-but-not', { size: 0, sha256: sha256(contents) });
      await evil.update('/huge', { size: 9_223_372_036_854_775_807n, sha256: sha256('huge') });
      await evil.file('/set-uid', contents, { unix_mode: '4777' });
      await evil.file(`/${'d/'.repeat(100)}deep`, contents);
      await evil.file('/good', contents);
      await eventually('the good ones arrive', () => victim.events.filter(isPlaced).length === 3);
      const files = (await treeOf(victim.folder)).filter((line) => !line.includes('folder'));
      assert.deepEqual(
        files.map((line) => line.split(' ').slice(1, 3).join(' ')),
        ['4 644', '4 644', '4 777'],
      );
      assert.deepEqual(
        (await readdir(club.top)).filter((name) => !name.startsWith('victim')),
        [],
      );
      assert.deepEqual((await readdir(victim.at('.clearskies'))).sort(), ['share', 'tmp']);
      const problem = victim.share.status().problems.find(({ code }) => code === 'directory.refused');
      assert.ok(problem !== undefined && problem.count >= 15, `${problem?.count} were refused`);
      assert.ok(warnings(victim).filter((text) => text.includes('can not become a file')).length < 12);
      await eventually('nothing else is left to do', () => victim.share.status().isSynced);
    }));

  it('that delivers wrong contents is told of once, and others are asked', () =>
    withClub(async (club) => {
      const [a, victim] = [await club.member('a'), await club.member('victim')];
      for (const size of [10, 100_000, 3_000_000]) await writeFile(a.at(`${size}`), randomBytes(size));
      await a.share.rescan();
      const evil = new EvilPeer(victim);
      evil.answer = ({ sha256: hash, range }) => {
        const [, length] = range as [number, number];
        return {
          json: { type: 'directory.data', sha256: hash ?? '', range: range ?? [] },
          payload: pieces(randomBytes(length)),
        };
      };
      for (const size of [10, 100_000, 3_000_000])
        await evil.file(`/${size}`, await readFile(a.at(`${size}`)));
      await eventually(
        'it has lied about all three',
        () => new Set(evil.asked.map((get) => get.sha256)).size === 3,
      );
      connect(a, victim);
      await eventually('all have arrived from the other', () => sameTree(a.folder, victim.folder));
      assert.equal(warnings(victim).filter((text) => text.includes('wrong contents')).length, 1);
    }));

  it('that sends more than was asked for loses its connection', () =>
    withClub(async (club) => {
      const victim = await club.member('victim');
      for (const size of [10, 100_000]) {
        const evil = new EvilPeer(victim);
        evil.answer = ({ sha256: hash, range }) => ({
          json: { type: 'directory.data', sha256: hash ?? '', range: range ?? [] },
          payload: pieces(randomBytes(50), randomBytes(200_000)),
        });
        await evil.file(`/${size}`, randomBytes(size));
        const reason = await evil.session.ended;
        assert.equal((reason as { code?: string } | undefined)?.code, 'directory.too_much_data');
      }
      assert.deepEqual(await treeOf(victim.folder), []);
    }));

  it('that sends less, or nothing, or floods with what nobody asked, stops nobody', () =>
    withClub(async (club) => {
      const [a, victim] = [await club.member('a'), await club.member('victim')];
      for (let i = 0; i < 20; i++) await writeFile(a.at(`${i}`), randomBytes(10_000));
      await a.share.rescan();
      const evil = new EvilPeer(victim);
      let count = 0;
      evil.answer = ({ sha256: hash, range }) => {
        count += 1;
        const json = { type: 'directory.data', sha256: hash ?? '', range: range ?? [] };
        if (count % 4 === 0) return null;
        if (count % 4 === 1) return { json, payload: pieces(randomBytes(5)) };
        if (count % 4 === 2) return { json };
        return {
          json: { type: 'directory.get_error', sha256: hash ?? '', message: '\u001b[31m\n'.repeat(50) },
        };
      };
      for (let i = 0; i < 20; i++) await evil.file(`/${i}`, await readFile(a.at(`${i}`)));
      for (let i = 0; i < 300; i++) {
        const hash = sha256(`${i}`);
        await evil.send({ type: 'directory.not_present', sha256: hash });
        await evil.send({ type: 'directory.present', sha256: hash });
        await evil.send({ type: 'directory.data', sha256: hash, range: [0, 10] }, pieces(randomBytes(10)));
      }
      connect(a, victim);
      await eventually('all have arrived', () => sameTree(a.folder, victim.folder));
      assert.equal(warnings(victim).filter((text) => text.includes('nobody asked')).length, 1);
      const ended = Promise.race([evil.session.ended, Promise.resolve('still there')]);
      assert.equal(await ended, 'still there');
      for (let i = 0; i < 1_000; i++)
        await evil.send({ type: 'directory.not_present', sha256: sha256(`${i}`) });
      assert.equal(((await evil.session.ended) as { code?: string }).code, 'directory.unasked');
    }));

  it('that asks for what it may not have gets nothing, and is answered', () =>
    withClub(async (club) => {
      const victim = await club.member('victim');
      await writeFile(victim.at('shared'), 'shared');
      await victim.share.rescan();
      const [ours, theirs] = memoryStreamPair();
      const messages = openMessageStream(ours, { payloadLimit: () => 1_000_000n });
      enter(victim, theirs, EVIL, 'read_write');
      const ask = (json: JsonObject) => messages.send({ json });
      await ask({ type: 'directory.get', sha256: sha256('shared') });
      await ask({ type: 'directory.get', sha256: sha256('shared'), range: [0, 7] });
      await ask({ type: 'directory.get', sha256: sha256('something else') });
      await ask({ type: 'directory.get', sha256: sha256(await readFile(victim.at('.clearskies/share'))) });
      await ask({ type: 'directory.get_presence' });
      const got: string[] = [];
      while (got.length < 5) {
        const message = await messages.receive();
        if (message === null || !message.type.startsWith('directory.')) continue;
        const bytes = await message.payload?.read();
        if (message.type !== 'directory.get_presence')
          got.push(bytes ? `${message.type} ${Buffer.from(bytes).toString('latin1')}` : message.type);
      }
      assert.deepEqual(got.sort(), [
        'directory.bloom_filter \u00ff',
        'directory.data shared',
        'directory.get_error',
        'directory.not_present',
        'directory.not_present',
      ]);
      await ask({ type: 'directory.get', sha256: 'ABC' });
      await assert.rejects(async () => {
        while ((await messages.receive()) !== null);
      }, /reset/);
    }));

  it('that withholds contents does not bring old ones back when their file is merely touched', () =>
    withClub(async (club) => {
      const victim = await club.member('victim');
      await writeFile(victim.at('file'), 'first');
      await victim.share.rescan();
      const before = victim.database.get('/file');
      assert.ok(before);
      const evil = new EvilPeer(victim);
      const clock = Object.fromEntries([...before.vectorClock].map(([peer, count]) => [peer, Number(count)]));
      await evil.file('/file', 'second', { uuid: before.uuid, vector_clock: { ...clock, [EVIL]: 1 } });
      await eventually('the record is there', () => victim.share.status().pendingFiles === 1);
      // The mode that it has: nothing changes but the time of the inode.
      await chmod(victim.at('file'), (await stat(victim.at('file'))).mode);
      await victim.share.rescan();
      assert.equal(victim.database.get('/file')?.lastUpdatedBy, EVIL);
      evil.answer = ({ sha256: hash, range }) => ({
        json: { type: 'directory.data', sha256: hash ?? '', range: range ?? [] },
        payload: pieces(Buffer.from('second')),
      });
      await evil.send({ type: 'directory.present', sha256: sha256('second') });
      await evil.send({ type: 'directory.not_present', sha256: sha256('second') });
      await evil.send({ type: 'directory.present', sha256: sha256('second') });
      await eventually(
        'the newer one arrives',
        async () => (await readFile(victim.at('file'), 'utf8')) === 'second',
      );
    }));

  it('with records of which one is in the way of the other does not stop the rest', () =>
    withClub(async (club) => {
      const victim = await club.member('victim');
      const evil = new EvilPeer(victim);
      evil.answer = ({ sha256: hash, range }) => ({
        json: { type: 'directory.data', sha256: hash ?? '', range: range ?? [] },
        payload: pieces(Buffer.from('contents')),
      });
      await evil.file('/path', 'contents');
      await evil.file('/path/below', 'contents');
      await evil.file('/path/below/further', 'contents');
      await evil.update('/path/below', { size: null, sha256: null });
      await evil.file('/fine', 'contents');
      await eventually('the fine one arrives', () =>
        readFile(victim.at('fine')).then(
          () => true,
          () => false,
        ),
      );
      await evil.file('/later', 'contents');
      await eventually('so does a later one', () =>
        readFile(victim.at('later')).then(
          () => true,
          () => false,
        ),
      );
    }));
});
