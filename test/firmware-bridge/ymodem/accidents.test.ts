/** Whatever happens to a byte of a YMODEM transfer: the folder ends right, and nothing partial is ever visible. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes, utf8 } from '../../../agent/base/bytes.ts';
import { encodeBlock } from '../../../firmware-bridge/ymodem/blocks.ts';
import { type Accident, accidentAt } from '../../support/line.ts';
import { content } from '../conformance.ts';
import { keptSender } from './kept-sender.ts';

const BYTES = content(1, 1_300);

/** Bytes of an undisturbed transfer each way. */
const { carried } = await (async () => {
  const stage = keptSender();
  await stage.sendUntilStored('a.mid', BYTES, 1);
  return stage.line;
})();

for (const direction of ['toHost', 'toDevice'] as const) {
  for (const accident of ['lose', 'double', 'flip'] as const satisfies readonly Accident[]) {
    test(`a byte ${direction} that meets the accident "${accident}", at every offset`, async (t) => {
      let again = 0;
      let longest = 0;
      for (let offset = 0; offset < carried[direction]; offset++) {
        const stage = keptSender({ [direction]: accidentAt(offset, accident) });
        const began = stage.clock.monotonic();
        const presses = await stage.sendUntilStored('a.mid', BYTES);
        const where = `${accident} at byte ${offset} ${direction}`;
        again += presses - 1;
        const there = stage.folder.bytes('/a.mid');
        assert.ok(there && Buffer.compare(there, BYTES) === 0, where);
        stage.assertOnly([BYTES], where);
        const took = stage.clock.monotonic() - began;
        longest = Math.max(longest, took);
        assert.ok(took < 10_000, `${where}: took too long`);
        await stage.clock.run(stage.keeper.close());
      }
      t.diagnostic(`${carried[direction]} offsets; the longest took ${longest / 1000} s of virtual time`);
      assert.equal(again, 0, 'somebody had to press the button again');
    });
  }

  test(`a cable pulled at every offset ${direction}`, async () => {
    for (let offset = 0; offset < carried[direction]; offset += direction === 'toHost' ? 7 : 1) {
      let cut = () => {};
      const stage = keptSender({
        [direction]: (bytes: Uint8Array, first: number) => {
          if (first <= offset && offset < first + bytes.length) cut();
          return bytes;
        },
      });
      cut = stage.line.cut;
      const isStored = await stage.clock.run(stage.sender.send('a.mid', BYTES));
      await stage.clock.pass(1_000);
      // The unfinished file is let go of with the keeper, or with the next one.
      await stage.clock.run(stage.keeper.close());
      const where = `pulled at byte ${offset} ${direction}`;
      stage.assertOnly([BYTES], where);
      if (isStored) assert.ok(stage.folder.bytes('/a.mid'), `${where}: stored only in the device's opinion`);
    }
  });
}

test('a device that begins anew at any block never mixes two transfers', async () => {
  const long = content(2, 300 * 128);
  const short = content(3, 40 * 128);
  const blocks = (name: string, bytes: Uint8Array) => [
    encodeBlock(0, utf8(`${name}\0${bytes.length} 0 0\0`), 'crc', 0),
    ...Array.from({ length: bytes.length / 128 }, (_, i) => {
      return encodeBlock((i + 1) & 255, bytes.subarray(128 * i, 128 * i + 128), 'crc');
    }),
  ];
  for (const second of [long, short]) {
    for (const stop of [1, 2, 40, 254, 255, 256, 257, 299]) {
      const stage = keptSender();
      const { line } = stage.sender;
      await stage.clock.run(
        (async () => {
          for (const block of blocks('a.mid', long).slice(0, stop)) {
            await line.write(block);
            await line.next(1_000);
          }
        })(),
      );
      // Its user presses the button again, and it forgets what it was doing.
      await stage.sendUntilStored('a.mid', second, 4);
      const where = `begun anew after ${stop} blocks with ${second.length} bytes`;
      stage.assertOnly([second], where);
      assert.ok(stage.folder.bytes('/a.mid'), where);
      await stage.clock.run(stage.keeper.close());
    }
  }
});

test('a disk that fails makes the device know it, and the next try succeeds', async () => {
  for (const step of ['begin', 'write', 'commit'] as const) {
    const stage = keptSender();
    stage.folder.failNext = { step, error: new Error('the disk is full') };
    assert.equal(await stage.clock.run(stage.sender.send('a.mid', BYTES)), false, step);
    assert.equal(stage.folder.paths().length, 0);
    await stage.sendUntilStored('a.mid', BYTES);
    stage.assertOnly([BYTES], step);
    await stage.clock.run(stage.keeper.close());
  }
});

test('a name that comes again replaces its file, and the same content changes nothing', async () => {
  const stage = keptSender({ baud: 115_200 });
  const other = content(4, 900);
  for (const bytes of [BYTES, BYTES, other]) await stage.sendUntilStored('a.mid', bytes, 1);
  assert.deepEqual(stage.folder.paths(), ['/a.mid']);
  assert.equal(stage.folder.seen.length, 2);
  assert.deepEqual(stage.folder.bytes('/a.mid'), other);
  assert.equal(
    concatBytes(...stage.folder.seen.map(({ bytes }) => bytes)).length,
    BYTES.length + other.length,
  );
  await stage.clock.run(stage.keeper.close());
});
