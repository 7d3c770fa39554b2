import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { Announcer } from '../../agent/directory/announce.ts';
import { readFilter } from '../../agent/directory/receive.ts';
import type { OutgoingMessage, Payload } from '../../agent/wire/message-stream.ts';

/** Hands out the bytes one by one, always in the same piece of memory: what is to stay must be copied at once. */
function byteByByte(bytes: Uint8Array): Payload {
  const piece = new Uint8Array(1);
  let at = 0;
  return {
    read: async () => {
      const byte = bytes[at];
      if (byte === undefined) return null;
      at += 1;
      piece[0] = byte;
      return piece;
    },
  };
}

describe('a Bloom filter on its way', () => {
  it('is copied as it comes, so that chunks of one byte cost no more than others', async () => {
    const filter = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 7) % 256);
    assert.deepEqual(await readFilter(byteByByte(filter)), filter);
  });

  it('may be missing', async () => {
    assert.equal((await readFilter(undefined)).length, 0);
    assert.equal((await readFilter(byteByByte(new Uint8Array(0)))).length, 0);
  });
});

describe('the answer to a question for presence', () => {
  it('is on its way once, however often a peer asks that does not read', async () => {
    const sent: OutgoingMessage[] = [];
    const taken: (() => void)[] = [];
    const announcer = new Announcer((message) => {
      sent.push(message);
      return new Promise((resolve) => taken.push(resolve));
    }, silentLogger);
    for (let i = 0; i < 1_000; i++) announcer.getPresence();
    assert.equal(sent.length, 1);
    taken[0]?.();
    await new Promise((resolve) => setImmediate(resolve));
    announcer.getPresence();
    assert.equal(sent.length, 2);
    announcer.close();
    announcer.getPresence();
    assert.equal(sent.length, 2);
  });
});
