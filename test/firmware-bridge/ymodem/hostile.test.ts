/** Devices that send too much, too long, under bad names, or no YMODEM at all: bounded, told, and over by itself. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes, utf8 } from '../../../agent/base/bytes.ts';
import { environmentError } from '../../../agent/base/errors.ts';
import { ACK, CAN, type Check, EOT, encodeBlock, NAK } from '../../../firmware-bridge/ymodem/blocks.ts';
import { LONGEST_UNANNOUNCED } from '../../../firmware-bridge/ymodem/receiving.ts';
import { content } from '../conformance.ts';
import { keptSender } from './kept-sender.ts';

type Stage = ReturnType<typeof keptSender>;

const header = (facts: string, check: Check = 'crc') => encodeBlock(0, utf8(facts), check, 0);

/** Sends this and waits for one of these bytes. @returns the last byte that came; undefined if none of them did. */
async function say(
  { sender }: Stage,
  bytes: Uint8Array,
  wanted: readonly number[] = [ACK, CAN],
): Promise<number | undefined> {
  sender.line.drain();
  await sender.line.write(bytes);
  for (let tries = 0; tries < 10; tries++) {
    const found = (await sender.line.next(2_000))?.find((byte) => wanted.includes(byte));
    if (found !== undefined) return found;
  }
  return undefined;
}

async function finish(stage: Stage, where: string): Promise<void> {
  // Whatever was before, the next transfer succeeds.
  const bytes = content(9, 700);
  await stage.sendUntilStored('after.mid', bytes);
  assert.deepEqual(stage.folder.bytes('/after.mid'), bytes, where);
  await stage.clock.run(stage.keeper.close());
  assert.equal(stage.folder.open, 0, where);
}

test('a device that sends blocks without end behind the announced length is cancelled', async () => {
  const stage = keptSender();
  await stage.clock.run(
    (async () => {
      assert.equal(await say(stage, header('a.mid\x00300 0 0\0')), ACK);
      let last: number | undefined = ACK;
      let blocks = 0;
      for (; last === ACK && blocks < 1_000; blocks++) {
        last = await say(stage, encodeBlock((blocks + 1) & 255, content(1, 128), 'crc'));
      }
      assert.equal(last, CAN);
      assert.equal(blocks, 4);
    })(),
  );
  assert.equal(stage.folder.paths().length, 0);
  await finish(stage, 'endless');
});

test('a file without a length is held up to its bound, and has to say its end twice', async () => {
  const stage = keptSender();
  const bytes = content(2, 5 * 128);
  await stage.clock.run(
    (async () => {
      assert.equal(await say(stage, header('held.bin\0')), ACK);
      for (let i = 0; i < 5; i++) {
        const block = encodeBlock(i + 1, bytes.subarray(128 * i, 128 * i + 128), 'crc');
        assert.equal(await say(stage, block), ACK);
      }
      assert.equal(await say(stage, Uint8Array.of(EOT), [ACK, NAK, CAN]), NAK);
      assert.equal(stage.folder.paths().length, 0);
      assert.equal(await say(stage, Uint8Array.of(EOT), [ACK, NAK, CAN]), ACK);
      assert.equal(await say(stage, header('')), ACK);
      assert.deepEqual(stage.folder.bytes('/held.bin'), bytes);
      // The same without an end.
      assert.equal(await say(stage, header('endless.bin\0')), ACK);
      let last: number | undefined = ACK;
      let sent = 0;
      for (; last === ACK && sent < 2 * LONGEST_UNANNOUNCED; sent += 1_024) {
        last = await say(stage, encodeBlock((sent / 1_024 + 1) & 255, new Uint8Array(1_024), 'crc'));
      }
      assert.equal(last, CAN);
      assert.equal(sent, LONGEST_UNANNOUNCED + 1_024);
    })(),
  );
  assert.deepEqual(stage.folder.paths(), ['/held.bin']);
  await finish(stage, 'without a length');
});

test('four gigabytes are announced: where there is no room, the device is told', async () => {
  const stage = keptSender();
  stage.folder.failNext = { step: 'begin', error: environmentError('files.no_space', 'no room') };
  const reply = await stage.clock.run(say(stage, header('huge.bin\x004294967296 0 0\0')));
  assert.equal(reply, CAN);
  await finish(stage, 'huge');
});

test('lengths that are none are cancelled and told', async () => {
  for (const size of ['-1', '99999999999999999999', '1e3']) {
    const stage = keptSender();
    assert.equal(await stage.clock.run(say(stage, header(`a.mid\0${size} 0 0\0`))), CAN, size);
    assert.ok(
      stage.entries.some(({ fields }) => /announces a\.mid/.test(String(fields.text))),
      size,
    );
    await finish(stage, size);
  }
});

test('names with .., slashes and control characters stay within the folder', async () => {
  const stage = keptSender();
  const names = ['../../etc/passwd', '/etc/shadow', '..', '.', 'a\x1b[2Jb.mid', '.hidden', 'C:\\x.mid', ' '];
  await stage.clock.run(
    (async () => {
      for (const name of names) {
        assert.equal(await say(stage, header(`${name}\x0010 0 0\0`)), ACK, name);
        assert.equal(await say(stage, encodeBlock(1, utf8(name.padEnd(10).slice(0, 10)), 'crc')), ACK, name);
        assert.equal(await say(stage, Uint8Array.of(EOT)), ACK, name);
      }
      assert.equal(await say(stage, header('')), ACK);
    })(),
  );
  assert.equal(stage.folder.paths().length, names.length);
  for (const path of stage.folder.paths()) {
    assert.match(path, /^(?:\/[^./\\\p{Cc}][^/\\\p{Cc}]*)+$/u);
  }
  await finish(stage, 'names');
});

test('garbage before, between and after blocks costs time only', async () => {
  const stage = keptSender();
  const bytes = content(3, 3 * 128);
  const noise = content(4, 500);
  const { line } = stage.sender;
  const noisy = async (block: Uint8Array) => {
    await line.write(noise);
    await line.next(1_000);
    // A block is repeated until it is acknowledged.
    for (let tries = 0; tries < 5; tries++) {
      if ((await say(stage, block)) === ACK) return;
    }
    assert.fail('it is never acknowledged');
  };
  await stage.clock.run(
    (async () => {
      await noisy(header(`a.mid\0${bytes.length} 0 0\0`));
      for (let i = 0; i < 3; i++)
        await noisy(encodeBlock(i + 1, bytes.subarray(128 * i, 128 * i + 128), 'crc'));
      await noisy(Uint8Array.of(EOT));
      await noisy(header(''));
      await line.write(noise);
    })(),
  );
  assert.deepEqual(stage.folder.bytes('/a.mid'), bytes);
  stage.assertOnly([bytes], 'garbage');
  await finish(stage, 'garbage');
});

test('a device that knows sums only is asked for them in time', async () => {
  const stage = keptSender();
  const bytes = content(5, 2 * 128);
  const { line } = stage.sender;
  await stage.clock.run(
    (async () => {
      line.drain();
      for (let waits = 0; waits < 20; waits++) if ((await line.next(2_000))?.includes(NAK)) break;
      assert.equal(await say(stage, header(`sum.mid\0${bytes.length} 0 0\0`, 'sum')), ACK);
      for (let i = 0; i < 2; i++) {
        const block = encodeBlock(i + 1, bytes.subarray(128 * i, 128 * i + 128), 'sum');
        assert.equal(
          await say(stage, concatBytes(block.subarray(0, 50), block.subarray(51)), [NAK, ACK]),
          NAK,
        );
        assert.equal(await say(stage, block), ACK);
      }
      assert.equal(await say(stage, Uint8Array.of(EOT)), ACK);
    })(),
  );
  assert.deepEqual(stage.folder.bytes('/sum.mid'), bytes);
  await finish(stage, 'sums');
});

test('ten megabytes of noise without a pause, then a transfer', async () => {
  const stage = keptSender({ baud: 12_000_000 });
  const noise = content(6, 65_536);
  await stage.clock.run(
    (async () => {
      for (let i = 0; i < 160; i++) await stage.sender.line.write(noise);
    })(),
  );
  assert.equal(stage.folder.paths().length, 0);
  await finish(stage, 'noise');
});

test('the middle of a transfer that nobody saw begin is cancelled', async () => {
  const stage = keptSender();
  assert.equal(await stage.clock.run(say(stage, encodeBlock(7, content(7, 128), 'crc'))), CAN);
  await finish(stage, 'middle');
});
