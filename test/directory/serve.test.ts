import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { concatBytes } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { environmentError } from '../../agent/base/errors.ts';
import type { JsonObject } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Outflow } from '../../agent/directory/manners/flow.ts';
import { ContentServer, type HeldContent } from '../../agent/directory/serve.ts';
import { type OpenFile, openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';
import type { OutgoingMessage } from '../../agent/wire/message-stream.ts';

const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);

interface Answer {
  readonly json: JsonObject;
  readonly payload: Uint8Array | undefined;
}

describe('serving contents', () => {
  let folder: string;
  let root: ShareRoot;
  let held: Map<string, HeldContent[]>;
  let changed: string[];
  let answers: Answer[];
  let answered: () => void;
  let upload: Outflow;
  /** Lets the test hold up the outgoing line. */
  let gate: Promise<void>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skylark-serve-'));
    root = await openShareRoot(folder);
  });
  after(async () => {
    root.close();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    held = new Map();
    changed = [];
    upload = new Outflow(systemClock);
    answers = [];
    answered = () => {};
    gate = Promise.resolve();
  });

  async function hold(sha256: string, name: string, contents: Uint8Array): Promise<void> {
    await writeFile(join(folder, name), contents);
    const known = await root.look(`/${name}`);
    assert.ok(known);
    held.set(sha256, [...(held.get(sha256) ?? []), { path: `/${name}`, localPath: `/${name}`, known }]);
  }

  function open(files: Pick<ShareRoot, 'openFile' | 'readSmall'> = root): ContentServer {
    const send = async (message: OutgoingMessage) => {
      await gate;
      const pieces: Uint8Array[] = [];
      for await (const piece of message.payload ?? []) pieces.push(piece.slice());
      assert.ok('json' in message);
      answers.push({ json: message.json, payload: message.payload && concatBytes(...pieces) });
      answered();
    };
    const holdings = {
      find: (sha256: string) => held.get(sha256) ?? [],
      findSpare: () => Promise.resolve(undefined),
      changed: ({ path }: HeldContent) => void changed.push(path),
    };
    return new ContentServer({ send, root: files, holdings, log: silentLogger, upload });
  }

  async function until(count: number): Promise<void> {
    while (answers.length < count) await new Promise<void>((resolve) => (answered = resolve));
  }

  it('gives the range that was asked for, or everything', async () => {
    await hold(A, 'ten', Buffer.from('0123456789'));
    const server = open();
    await server.get({ sha256: A, range: [3n, 4n] });
    await until(1);
    await server.get({ sha256: A });
    await until(2);
    assert.deepEqual({ ...answers[0]?.json }, { type: 'directory.data', sha256: A, range: [3, 4] });
    assert.equal(Buffer.from(answers[0]?.payload ?? []).toString(), '3456');
    assert.deepEqual({ ...answers[1]?.json }, { type: 'directory.data', sha256: A, range: [0, 10] });
    assert.equal(Buffer.from(answers[1]?.payload ?? []).toString(), '0123456789');
  });

  it('serves a file of several chunks whole', async () => {
    const contents = Buffer.alloc(3_333_333, 'skylark');
    await hold(A, 'large', contents);
    await open().get({ sha256: A });
    await until(1);
    assert.ok(contents.equals(answers[0]?.payload ?? Buffer.alloc(0)));
  });

  it('serves an empty file', async () => {
    await hold(A, 'empty', new Uint8Array(0));
    await open().get({ sha256: A });
    await until(1);
    assert.equal(answers[0]?.payload?.length, 0);
  });

  it('refuses ranges outside the file, up to 2^63-1', async () => {
    await hold(A, 'ten', Buffer.from('0123456789'));
    const server = open();
    const max = 9_223_372_036_854_775_807n;
    const ranges: [bigint, bigint][] = [
      [0n, 11n],
      [11n, 0n],
      [10n, 1n],
      [max, max],
      [1n, max],
    ];
    for (const range of ranges) await server.get({ sha256: A, range });
    await until(ranges.length);
    for (const { json } of answers) assert.equal(json.type, 'directory.get_error');
    assert.deepEqual(changed, []);
  });

  it('says "not present" for what it can not read: an error would be respected for hours', async () => {
    const size = 100_000;
    await hold(A, 'unreadable', new Uint8Array(size));
    const openFile = async (path: string): Promise<OpenFile> => {
      const file = await root.openFile(path);
      const failing = environmentError('files.io', 'the disk is gone');
      return Object.assign(Object.create(file), {
        facts: file.facts,
        look: () => file.look(),
        read: () => Promise.reject(failing),
        close: () => file.close(),
      });
    };
    await open({ openFile, readSmall: (path, limit) => root.readSmall(path, limit) }).get({ sha256: A });
    await until(1);
    assert.equal(answers[0]?.json.type, 'directory.not_present');
    assert.deepEqual(changed, ['/unreadable']);
  });

  it('says "not present" for what it does not have', async () => {
    await open().get({ sha256: B, range: [0n, 1n] });
    await until(1);
    assert.deepEqual({ ...answers[0]?.json }, { type: 'directory.not_present', sha256: B });
  });

  it('does not serve a file that was changed, tells whoever cares, and tries another copy', async () => {
    await hold(A, 'first', Buffer.from('same'));
    await hold(A, 'second', Buffer.from('same'));
    await writeFile(join(folder, 'first'), 'edited');
    const server = open();
    await server.get({ sha256: A });
    await until(1);
    assert.equal(Buffer.from(answers[0]?.payload ?? []).toString(), 'same');
    assert.deepEqual(changed, ['/first']);
    await rm(join(folder, 'second'));
    await server.get({ sha256: A });
    await until(2);
    assert.equal(answers[1]?.json.type, 'directory.not_present');
    assert.deepEqual(changed, ['/first', '/first', '/second']);
  });

  it('ends an answer early when the file is cut while it is sent', async () => {
    await hold(A, 'cut', Buffer.alloc(4_000_000));
    let letGo = () => {};
    gate = new Promise((resolve) => (letGo = resolve));
    await open().get({ sha256: A });
    // The first chunk is read before anything is sent.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await truncate(join(folder, 'cut'), 100);
    letGo();
    await until(1);
    assert.ok((answers[0]?.payload?.length ?? 0) < 4_000_000);
    assert.ok(changed.includes('/cut'));
  });

  it('lets small answers pass large ones', async () => {
    await hold(A, 'large', Buffer.alloc(2_000_000));
    await hold(B, 'small', Buffer.from('small'));
    const server = open();
    for (let i = 0; i < 50; i++) await server.get({ sha256: A });
    await server.get({ sha256: B, range: [0n, 5n] });
    await until(51);
    assert.ok(answers.findIndex(({ json }) => json.sha256 === B) < 10);
  });

  it('makes a peer wait that asks for thousands of contents without taking the answers', async () => {
    await hold(A, 'ten', Buffer.from('0123456789'));
    let letGo = () => {};
    gate = new Promise((resolve) => (letGo = resolve));
    const server = open();
    let taken = 0;
    const flood = (async () => {
      for (let i = 0; i < 17_000; i++) {
        await server.get({ sha256: A, range: [0n, 10n] });
        taken += 1;
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(taken > 10_000 && taken < 16_500, `${taken} requests were taken`);
    letGo();
    await flood;
    await until(17_000);
  });

  it('forgets what was asked when the session ends', async () => {
    await hold(A, 'ten', Buffer.from('0123456789'));
    let letGo = () => {};
    gate = new Promise((resolve) => (letGo = resolve));
    const server = open();
    for (let i = 0; i < 100; i++) await server.get({ sha256: A });
    server.close();
    letGo();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(answers.length <= 2);
  });
});
