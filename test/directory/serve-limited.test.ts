/** Serving contents where their rate is limited, or they are held: with a disk that takes no time, in virtual time. */

import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { concatBytes } from '../../agent/base/bytes.ts';
import type { JsonObject } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Outflow } from '../../agent/directory/manners/flow.ts';
import { ContentServer, type HeldContent, type ServerOptions } from '../../agent/directory/serve.ts';
import type { FileFacts, OpenFile } from '../../agent/platform/files.ts';
import type { OutgoingMessage } from '../../agent/wire/message-stream.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';

const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);
const RATE = 100_000;

interface Answer {
  readonly json: JsonObject;
  readonly payload: Uint8Array | undefined;
  /** Milliseconds at which its head and its end were sent. */
  readonly began: number;
  readonly ended: number;
}

/** One file in memory, as the disk gives it. */
function diskWith(contents: Uint8Array) {
  const facts: FileFacts = {
    kind: 'file',
    dev: 1n,
    ino: 1n,
    size: BigInt(contents.length),
    mtimeNs: 1n,
    ctimeNs: 1n,
    mode: 0o644,
    links: 1,
  };
  const state = { open: 0, mostOpen: 0, reads: 0 };
  const open = {
    facts,
    look: () => facts,
    async read(target: Uint8Array, position: bigint) {
      state.reads += 1;
      const piece = contents.subarray(Number(position), Number(position) + target.length);
      target.set(piece);
      return piece.length;
    },
    async close() {
      state.open -= 1;
    },
  };
  const root: ServerOptions['root'] = {
    async openFile() {
      state.open += 1;
      state.mostOpen = Math.max(state.mostOpen, state.open);
      return open as unknown as OpenFile;
    },
    async readSmall() {
      state.reads += 1;
      return { facts, bytes: contents };
    },
  };
  return { root, state, held: { path: '/file', localPath: '/file', known: facts } satisfies HeldContent };
}

describe('serving contents with a limit', () => {
  let clock: VirtualClock;
  let upload: Outflow;
  let counted: number;
  let answers: Answer[];

  beforeEach(() => {
    clock = virtualClock();
    counted = 0;
    answers = [];
    upload = new Outflow(clock, (bytes) => {
      counted += bytes;
    });
    upload.regulate(RATE, undefined);
  });

  function serve(contents: Uint8Array) {
    const { root, state, held } = diskWith(contents);
    let line: Promise<void> = Promise.resolve();
    // As a session does it: one after the other, each to its end.
    const send = (message: OutgoingMessage) => {
      const sent = line.then(async () => {
        const began = clock.monotonic();
        const pieces: Uint8Array[] = [];
        for await (const piece of message.payload ?? []) pieces.push(piece.slice());
        assert.ok('json' in message);
        const payload = message.payload && concatBytes(...pieces);
        answers.push({ json: message.json, payload, began, ended: clock.monotonic() });
      });
      line = sent.catch(() => {});
      return sent;
    };
    const holdings = {
      find: (sha256: string) => (sha256 === A ? [held] : []),
      findSpare: () => Promise.resolve(undefined),
      changed: () => assert.fail('nothing changes here'),
    };
    const server = new ContentServer({ send, root, holdings, log: silentLogger, upload });
    return { server, state, send };
  }

  const lengths = () => answers.map(({ payload }) => payload?.length);

  it('gives answers at the rate, each in one go, so that nothing has to wait behind one', async () => {
    const { server } = serve(Buffer.alloc(1_000_000, 'skylark'));
    for (let at = 0; at < 1_000_000; at += 16_384)
      await server.get({ sha256: A, range: [BigInt(at), BigInt(Math.min(16_384, 1_000_000 - at))] });
    await clock.pass(5_000);
    assert.ok(Math.abs(counted - 500_000) < 0.05 * 500_000, `${counted} bytes in 5 s`);
    await clock.pass(6_000);
    assert.equal(counted, 1_000_000);
    assert.equal(answers.length, 62);
    assert.ok(answers.every(({ began, ended }) => began === ended));
    assert.ok(Math.abs((answers.at(-1)?.ended ?? 0) - 10_000) < 500, `${answers.at(-1)?.ended} ms`);
  });

  it('reads and opens nothing for whoever waits', async () => {
    const { server, state } = serve(Buffer.alloc(60_000));
    for (let i = 0; i < 100; i++) {
      await server.get({ sha256: A, range: [0n, 60_000n] });
      await server.get({ sha256: A });
    }
    await clock.pass(1_000);
    assert.ok(state.reads <= 5 && state.mostOpen <= 2, JSON.stringify(state));
    server.close();
  });

  it('takes no time for what it does not have', async () => {
    const { server } = serve(Buffer.alloc(1));
    for (let i = 0; i < 100; i++) await server.get({ sha256: B, range: [0n, 1_000_000n] });
    await clock.pass(500);
    assert.equal(answers.length, 100);
    assert.equal(counted, 0);
  });

  it('paces what is asked for in one piece that is too long, and gives all of it', async () => {
    const contents = Buffer.alloc(300_000, 'skylark');
    const { server } = serve(contents);
    await server.get({ sha256: A });
    await clock.pass(10_000);
    assert.ok(contents.equals(answers[0]?.payload ?? Buffer.alloc(0)));
    const { ended = 0 } = answers[0] ?? {};
    assert.ok(Math.abs(ended - 3_000) < 300, `${ended} ms`);
  });

  it('says "not present" to all that wait when a hold begins, and cuts what is too long', async () => {
    const { server } = serve(Buffer.alloc(9_000_000));
    await server.get({ sha256: A });
    await clock.pass(500);
    for (let i = 0; i < 20; i++) await server.get({ sha256: A, range: [0n, 50_000n] });
    upload.regulate(RATE, 'quiet hours');
    await clock.pass(10);
    assert.equal(answers.length, 21);
    const [cut, ...others] = lengths().sort((a, b) => (b ?? 0) - (a ?? 0));
    assert.ok(others.every((length) => length === undefined));
    assert.ok(cut === undefined || cut < 500_000);
    assert.equal(answers.filter(({ json }) => json.type === 'directory.not_present').length, 20);
    upload.regulate(undefined, undefined);
    await server.get({ sha256: A, range: [0n, 60_000n] });
    await clock.pass(10);
    assert.equal(answers[21]?.payload?.length, 60_000);
  });

  it('does not give long answers that were asked for before there was a limit: they are asked for again in pieces', async () => {
    upload.regulate(undefined, undefined);
    const { server } = serve(Buffer.alloc(5_000_000));
    for (let i = 0; i < 10; i++) await server.get({ sha256: A, range: [0n, 1_000_000n] });
    await server.get({ sha256: A, range: [0n, 60_000n] });
    upload.regulate(RATE, undefined);
    await clock.pass(60_000);
    // Two had begun, and the short ones are given in any case.
    const given = lengths().filter((length) => length !== undefined);
    assert.ok(given.filter((length) => length === 1_000_000).length <= 2, given.join());
    assert.ok(given.includes(60_000));
    assert.equal(answers.length, 11);
    await server.get({ sha256: A, range: [0n, 1_000_000n] });
    await clock.pass(15_000);
    assert.equal(lengths().at(-1), 1_000_000, 'to who asks so all the same, it is given');
  });

  it('lets an answer of the usual length go out to its end when a hold begins', async () => {
    upload.regulate(undefined, undefined);
    const { server } = serve(Buffer.alloc(5_000_000));
    await server.get({ sha256: A, range: [0n, 4_194_304n] });
    upload.regulate(undefined, 'quiet hours');
    await clock.pass(10);
    assert.deepEqual(lengths(), [4_194_304]);
  });

  it('lets nobody wait whose session has ended, nor for it', async () => {
    const { server } = serve(Buffer.alloc(60_000));
    for (let i = 0; i < 50; i++) await server.get({ sha256: A, range: [0n, 60_000n] });
    await clock.pass(10);
    server.close();
    const before = answers.length;
    assert.ok(before <= 2);
    const { server: other } = serve(Buffer.alloc(60_000));
    await other.get({ sha256: A, range: [0n, 60_000n] });
    await clock.pass(1_500);
    assert.equal(answers.length, before + 1);
  });
});
