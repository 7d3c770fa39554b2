import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, utf8 } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import { field, text, u63 } from '../../agent/base/schema.ts';
import { decode, encode, message } from '../../agent/wire/message.ts';
import { openMessageStream } from '../../agent/wire/message-stream.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';

const note = message('test.note', { author: field('author', text({ max: 20 })), size: field('size', u63) });
const limits = { payloadLimit: () => 1_000_000n };

/** All in the same memory, as a program has them that reads a file: each piece is gone when the next one is there. */
async function* pieces(list: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(100_000);
  for (const piece of list) {
    memory.fill(0).set(piece);
    yield memory.subarray(0, piece.length);
  }
  memory.fill(0);
}

test('messages of all four kinds arrive in order, through any chunking', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          size: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
          signature: fc.option(fc.constant('c2lnbmF0dXJl'), { nil: undefined }),
          payload: fc.option(fc.array(fc.uint8Array({ maxLength: 100_000 }), { maxLength: 3 }), {
            nil: undefined,
          }),
          consume: fc.boolean(),
        }),
        { maxLength: 5 },
      ),
      fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 4 }),
      async (list, lengths) => {
        const [a, b] = memoryStreamPair({ pieces: lengths.length === 0 ? [70_000] : lengths });
        const sender = openMessageStream(a, limits);
        const receiver = openMessageStream(b, limits);
        const sent = Promise.all(
          list.map(({ size, signature, payload }) => {
            const json = encode(note, { author: 'é\n"', size });
            return sender.send(
              signature === undefined
                ? { json, payload: payload && pieces(payload) }
                : {
                    body: utf8(`{"type":"test.note","author":"x","size":${size}}`),
                    signature,
                    payload: payload && pieces(payload),
                  },
            );
          }),
        ).then(() => sender.close());
        for (const { size, signature, payload, consume } of list) {
          const received = await receiver.receive();
          assert.ok(received !== null);
          assert.equal(decode(note, received).size, size);
          assert.equal(received.signature, signature);
          assert.equal(received.payload === undefined, payload === undefined);
          if (received.payload === undefined || payload === undefined || !consume) continue;
          const parts: Uint8Array[] = [];
          for (
            let part = await received.payload.read();
            part !== null;
            part = await received.payload.read()
          ) {
            parts.push(part.slice());
          }
          assert.deepEqual(concatBytes(...parts), concatBytes(...payload));
        }
        assert.equal(await receiver.receive(), null);
        await sent;
      },
    ),
    { numRuns: 60 },
  );
});

async function receiveFrom(raw: string, payloadLimit = 10n): Promise<unknown> {
  const [a, b] = memoryStreamPair();
  await a.write(utf8(raw));
  await a.close();
  const receiver = openMessageStream(b, { payloadLimit: () => payloadLimit });
  for (let received = await receiver.receive(); received !== null; received = await receiver.receive());
  return undefined;
}

test('hostile input is refused with our error', async () => {
  const refused: [string, string][] = [
    ['m2[]', 'wire.length_malformed'],
    ['m5{"a"}', 'json.malformed'],
    ['m2{}', 'wire.body_malformed'],
    ['m12{"type":5}', 'wire.truncated'],
    ['m9{"type":5}', 'json.malformed'],
    ['m11{"type":5} \n', 'wire.body_malformed'],
    ['m23{"type":"a","type":"b"}', 'json.duplicate_key'],
    ['!12{"type":"a"}11\n12345678901', 'wire.too_large'],
    ['!12{"type":"a"}4\n123', 'wire.truncated'],
    ['m12{"type":"a"', 'wire.truncated'],
    ['m3{"\u00ff', 'bytes.not_utf8'],
  ];
  for (const [raw, code] of refused) {
    await assert.rejects(
      receiveFrom(raw),
      (thrown) => thrown instanceof SkylarkError && thrown.fault === 'peer' && thrown.code === code,
      `${raw} should give ${code}`,
    );
  }
});

test('an announced body costs no memory before it arrives', async () => {
  const [a, b] = memoryStreamPair();
  const before = process.memoryUsage().arrayBuffers;
  const receiver = openMessageStream(b, limits);
  await a.write(utf8('m16777216{'));
  const pending = receiver.receive().catch((thrown: unknown) => thrown);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  b.abort(new Error('enough'));
  assert.ok((await pending) instanceof Error);
});

test('a payload that fails half-way breaks the connection instead of ending early', async () => {
  const [a, b] = memoryStreamPair();
  const sender = openMessageStream(a, limits);
  const receiver = openMessageStream(b, limits);
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield utf8('half');
    throw new Error('disk on fire');
  }
  await assert.rejects(
    sender.send({ json: encode(note, { author: 'x', size: 1n }), payload: failing() }),
    /disk on fire/,
  );
  await assert.rejects(async () => {
    const received = await receiver.receive();
    while ((await received!.payload!.read()) !== null);
  });
});

test('a sender waits while the receiver does not read', async () => {
  const [a, b] = memoryStreamPair({ capacity: 1_000 });
  const sender = openMessageStream(a, limits);
  let produced = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; produced < 1_000; produced++) yield new Uint8Array(100_000);
  }
  const sent = sender.send({ json: encode(note, { author: 'x', size: 1n }), payload: endless() });
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(produced < 5, `${produced} pieces were produced ahead of the reader`);
  b.abort(new Error('enough'));
  await assert.rejects(sent);
});
