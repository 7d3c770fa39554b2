import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, toHex, utf8 } from '../../agent/base/bytes.ts';
import { errorCode } from '../../agent/base/errors.ts';
import {
  encodeBody,
  encodeChunkHeader,
  encodeMessage,
  encodePayloadEnd,
  FrameDecoder,
} from '../../agent/wire/frame.ts';
import { cut, mutated, survives } from '../support/properties.ts';

interface Seen {
  body: string;
  signature: string | undefined;
  payload: string | undefined;
}

function decodeAll(pieces: readonly Uint8Array[]): { seen: Seen[]; between: boolean } {
  const decoder = new FrameDecoder();
  const seen: Seen[] = [];
  const collected: Uint8Array[] = [];
  for (const piece of pieces) {
    decoder.push(piece);
    for (let event = decoder.next(); event !== undefined; event = decoder.next()) {
      if (event.kind === 'message') {
        seen.push({
          body: toHex(event.body),
          signature: event.signature,
          payload: event.hasPayload ? '' : undefined,
        });
        collected.length = 0;
      } else if (event.kind === 'payload') collected.push(event.bytes.slice());
      else seen.at(-1)!.payload = toHex(concatBytes(...collected));
    }
  }
  return { seen, between: decoder.betweenMessages };
}

const messages = fc.array(
  fc.record({
    text: fc.json({ maxDepth: 2 }).map((value) => `{"type":"x","value":${value}}`),
    signature: fc.option(fc.base64String({ minLength: 4, maxLength: 400 }), { nil: undefined }),
    chunks: fc.option(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 4 }), {
      nil: undefined,
    }),
    lineFeeds: fc.nat(3),
  }),
  { minLength: 1, maxLength: 5 },
);

function encodeAll(list: readonly MessageCase[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { text, signature, chunks, lineFeeds } of list) {
    const blank = utf8('\n'.repeat(lineFeeds));
    parts.push(encodeMessage(encodeBody(text), signature, chunks !== undefined), blank);
    if (chunks === undefined) continue;
    for (const chunk of chunks) parts.push(encodeChunkHeader(chunk.length), chunk, blank);
    parts.push(encodePayloadEnd(), blank);
  }
  return concatBytes(...parts);
}

interface MessageCase {
  text: string;
  signature: string | undefined;
  chunks: Uint8Array[] | undefined;
  lineFeeds: number;
}

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 });

test('messages, signatures and payloads survive any cutting and extra line feeds', () => {
  fc.assert(
    fc.property(messages, cuts, (list, lengths) => {
      const { seen, between } = decodeAll(cut(encodeAll(list), lengths));
      assert.ok(between);
      assert.deepEqual(
        seen,
        list.map(({ text, signature, chunks }) => ({
          body: toHex(encodeBody(text)),
          signature,
          payload: chunks === undefined ? undefined : toHex(concatBytes(...chunks)),
        })),
      );
    }),
  );
});

test('damaged streams throw only our error', () => {
  fc.assert(
    fc.property(mutated(messages.map(encodeAll)), cuts, (bytes, lengths) => {
      survives(() => decodeAll(cut(bytes, lengths)));
    }),
    { numRuns: 500 },
  );
});

test('the examples of core.md are read', () => {
  const signature = 'MC0CFGq+pt0m53OP9eZSndaUtWwKnoJ7AhUAy6ScPi8Kbwe4SJiIvsf9DUFHWKE=';
  const pretty =
    '{\n  "type": "foo",\n  "message": "Basic example message",\n  "declaration": "For great justice"\n}\n';
  const { seen, between } = decodeAll([
    // The draft announces 82 for this one, which has more: its lengths are not to be trusted everywhere.
    utf8(`m${pretty.length}${pretty}\n`),
    utf8(`s27:64{"type":"foo","arg":"bar"}\n${signature}\n`),
    utf8('!44{"type":"file_data","path":"test/file.txt"}\n'),
    utf8('45\nThis is just text, but could be binary data!\n25\nThis is more binary data\n0\n'),
    utf8(
      `$27:64{"type":"foo","arg":"bar"}\n${signature}\n40\nAnother example of possibly binary data\n\n0\n`,
    ),
  ]);
  assert.ok(between);
  assert.equal(seen.length, 4);
  assert.equal(seen[1]!.signature, signature);
  assert.equal(
    seen[2]!.payload,
    toHex(utf8('This is just text, but could be binary data!\nThis is more binary data\n')),
  );
});

test('lengths that are not 1 to 8 decimal digits, and too large ones, are refused from the header alone', () => {
  const refused: [string, string][] = [
    ['m-1{', 'wire.length_malformed'],
    ['m+1{', 'wire.length_malformed'],
    ['m0x10{', 'wire.length_malformed'],
    ['m1e3{', 'wire.length_malformed'],
    ['m1.5{', 'wire.length_malformed'],
    ['m 5{', 'wire.length_malformed'],
    ['m{', 'wire.length_malformed'],
    ['m123456789{', 'wire.length_malformed'],
    ['m16777217{', 'wire.too_large'],
    ['m0{', 'wire.body_malformed'],
    ['m5[', 'wire.length_malformed'],
    ['s5{', 'wire.length_malformed'],
    ['s5:{', 'wire.length_malformed'],
    ['s5:99999{', 'wire.too_large'],
    ['x5{', 'wire.prefix_unknown'],
    ['!2{}-1\n', 'wire.length_malformed'],
    ['!2{}16777217\n', 'wire.too_large'],
    ['!2{}5 \n', 'wire.length_malformed'],
  ];
  for (const [header, code] of refused) {
    assert.throws(
      () => decodeAll([utf8(header)]),
      (thrown) => errorCode(thrown) === code,
      header,
    );
  }
});
