import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { Announcer } from '../../agent/directory/announce.ts';
import { Partial } from '../../agent/directory/partials.ts';
import { readBytes, readFilter, writeBytes } from '../../agent/directory/receive.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import type { OutgoingMessage, Payload } from '../../agent/wire/message-stream.ts';

/** Hands out the bytes in pieces, always in the same piece of memory: what is to stay must be copied at once. */
function inPieces(bytes: Uint8Array, length: number): Payload {
  const memory = new Uint8Array(length);
  let at = 0;
  return {
    read: async () => {
      if (at === bytes.length) return null;
      const piece = bytes.subarray(at, at + length);
      at += piece.length;
      memory.fill(0).set(piece);
      return memory.subarray(0, piece.length);
    },
  };
}

const byteByByte = (bytes: Uint8Array) => inPieces(bytes, 1);

function someBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) % 251);
}

describe('contents that are kept in memory', () => {
  it('are copied as they come', async () => {
    const bytes = someBytes(5_000);
    for (const length of [1, 999, 5_000]) {
      const heard: number[] = [];
      assert.deepEqual(await readBytes(inPieces(bytes, length), 5_000, (count) => heard.push(count)), bytes);
      assert.equal(
        heard.reduce((sum, count) => sum + count, 0),
        5_000,
      );
    }
    assert.equal((await readBytes(inPieces(new Uint8Array(0), 1), 0, () => {}))?.length, 0);
  });

  it('are nothing when they are too short, and the fault of their sender when they are too long', async () => {
    assert.equal(await readBytes(inPieces(someBytes(99), 50), 100, () => {}), undefined);
    await assert.rejects(
      readBytes(inPieces(someBytes(101), 50), 100, () => {}),
      { code: 'directory.too_much_data', fault: 'peer' },
    );
  });
});

describe('contents that are written to a file as they come', () => {
  const withPartial = async (size: number, body: (partial: Partial) => Promise<void>) => {
    const folder = await mkdtemp(join(tmpdir(), 'skylark-receive-'));
    const root = await openShareRoot(folder);
    try {
      const temporary = await root.openTemporary('contents', {});
      const partial = new Partial(temporary, 'aa'.repeat(32), size, [], () => {});
      await body(partial);
      await partial.settled();
      await temporary.close();
    } finally {
      root.close();
      await rm(folder, { recursive: true });
    }
  };

  for (const pieceLength of [1_000, 65_536, 131_072, 700_000]) {
    it(`are whole, at their offset, in pieces of ${pieceLength}`, async () => {
      const [offset, bytes] = [12_345, someBytes(700_001)];
      await withPartial(offset + bytes.length, async (partial) => {
        assert.ok(await writeBytes(inPieces(bytes, pieceLength), partial, offset, bytes.length, () => {}));
        const [have] = partial.have;
        assert.deepEqual(have, { start: offset, end: offset + bytes.length });
        const written = new Uint8Array(bytes.length);
        assert.equal(await partial.temporary.read(written, BigInt(offset)), bytes.length);
        assert.deepEqual(written, bytes);
      });
    });
  }

  it('are kept as far as they came', async () => {
    await withPartial(600_000, async (partial) => {
      assert.equal(
        await writeBytes(inPieces(someBytes(300_000), 70_000), partial, 0, 600_000, () => {}),
        false,
      );
      assert.deepEqual(partial.have, [{ start: 0, end: 300_000 }]);
    });
  });

  it('are the fault of their sender when there are more than were asked for', async () => {
    await withPartial(100, async (partial) => {
      await assert.rejects(
        writeBytes(inPieces(someBytes(101), 50), partial, 0, 100, () => {}),
        { code: 'directory.too_much_data', fault: 'peer' },
      );
    });
  });

  it('can fail with the disk', async () => {
    await withPartial(600_000, async (partial) => {
      await partial.temporary.close();
      await assert.rejects(
        writeBytes(inPieces(someBytes(600_000), 70_000), partial, 0, 600_000, () => {}),
        {
          code: 'files.temporary_ended',
        },
      );
    });
  });
});

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
