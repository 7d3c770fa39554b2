/** Whatever happens on the line, at whichever byte: the folder ends right and nothing partial is ever visible. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../firmware-bridge/simulator/random.ts';
import { FrameDecoder } from '../../firmware-bridge/skylink/frame.ts';
import { READ } from '../../firmware-bridge/skylink/messages.ts';
import { type Accident, accidentAt, corrupting, type Tamper } from '../support/line.ts';
import { content } from './conformance.ts';
import { Stage } from './mirrored-piano.ts';

/** One small file and an empty one, in small frames: some twenty frames each way. */
function smallStage(): Stage {
  const stage = new Stage({ piano: { frame: 128 } });
  stage.piano.save('a.mid', content(1, 300));
  stage.piano.save('b.mid', new Uint8Array());
  return stage;
}

/** Bytes that an undisturbed session carries. */
const { carried } = await (async () => {
  const stage = smallStage();
  const line = stage.plug();
  await stage.settle();
  return line;
})();

function assertRight(stage: Stage, where: string): void {
  stage.assertMirrored();
  assert.equal(stage.folder.open, 0, where);
  // Each content that was ever visible under its name is one that the piano had.
  const had = [...stage.expected().values()];
  for (const { path, bytes } of stage.folder.seen) {
    assert.ok(
      had.some((one) => Buffer.compare(one, bytes) === 0),
      `${where}: ${path} was visible with other content`,
    );
  }
}

async function sweep(
  direction: 'toHost' | 'toDevice',
  step: number,
  what: string,
  accident: (stage: Stage, offset: number) => { readonly tamper: Tamper },
): Promise<void> {
  for (let offset = 0; offset < carried[direction]; offset += step) {
    const stage = smallStage();
    const began = stage.clock.monotonic();
    const { tamper } = accident(stage, offset);
    stage.plug({ [direction]: tamper });
    await stage.settle();
    const where = `${what} at byte ${offset} ${direction}`;
    assertRight(stage, where);
    assert.ok(stage.clock.monotonic() - began < 5_000, `${where}: recovery took too long`);
  }
}

for (const direction of ['toHost', 'toDevice'] as const) {
  for (const accident of ['lose', 'double', 'flip'] as const satisfies readonly Accident[]) {
    test(`a byte ${direction} that meets the accident "${accident}", at every offset`, async () => {
      // Losing a byte is the worst of the three; the others are swept coarser.
      const step = accident === 'lose' ? 1 : 4;
      await sweep(direction, step, accident, (_, offset) => ({ tamper: accidentAt(offset, accident) }));
    });
  }

  test(`a cable pulled at every offset ${direction}`, async () => {
    await sweep(direction, 5, 'pulled', (stage, offset) => ({
      tamper: onceAt(offset, () => stage.line?.cut()),
    }));
  });

  test(`a device that restarts at every offset ${direction}, on a line that stays`, async () => {
    await sweep(direction, 5, 'restart', (stage, offset) => ({
      tamper: onceAt(offset, () => {
        stage.piano.reset();
        if (stage.line) stage.piano.attach(stage.line.restarted());
      }),
    }));
  });
}

test('a file that is recorded over while it is read arrives in its newest version only', async () => {
  for (let offset = 0; offset < carried.toHost; offset += 3) {
    const stage = smallStage();
    const id = stage.piano.recordings()[0]?.id;
    const before = stage.piano.recordings()[0]?.bytes;
    stage.plug({ toHost: onceAt(offset, () => stage.piano.save('a.mid', content(2, 310), id)) });
    await stage.settle();
    await stage.settle();
    stage.assertMirrored();
    const contents = stage.folder.seen.filter(({ path }) => path === '/a.mid').map(({ bytes }) => bytes);
    for (const bytes of contents) {
      const whole = [before, content(2, 310)].some((one) => one && Buffer.compare(one, bytes) === 0);
      assert.ok(whole, `changed at byte ${offset}: a mixture was visible`);
    }
  }
});

test('a device that restarts with other files under the same IDs never gets them mixed', async () => {
  for (let offset = 0; offset < carried.toHost; offset += 3) {
    const stage = smallStage();
    const swap = () => {
      stage.piano.renumber();
      if (stage.line) stage.piano.attach(stage.line.restarted());
    };
    stage.piano.save('c.mid', content(3, 300));
    stage.plug({ toHost: onceAt(offset, swap) });
    await stage.settle();
    await stage.settle();
    assertRight(stage, `renumbered at byte ${offset}`);
    assert.equal(stage.folder.paths().length, 3);
  }
});

test('a long transfer goes on where the cable was pulled', async () => {
  const stage = new Stage({ piano: { frame: 1024 } });
  stage.piano.save('long.mid', content(4, 200_000));
  let total = 0;
  for (const at of [30_000, 50_000, 70_000]) {
    const line = stage.plug({ toHost: onceAt(at, () => stage.line?.cut()) });
    await assert.rejects(stage.pass(), { code: 'device.lost' });
    total += line.carried.toHost;
  }
  const line = stage.plug({});
  await stage.settle();
  stage.assertMirrored();
  total += line.carried.toHost;
  assert.ok(total < 215_000, `${total} bytes for 200,000`);
});

test('a long transfer goes on where it was when the agent is stopped, and begins anew if what is left is wrong', async () => {
  for (const isSpoilt of [false, true]) {
    const stage = new Stage({ piano: { frame: 1024 } });
    stage.piano.save('long.mid', content(4, 200_000));
    stage.plug({ toHost: onceAt(150_000, () => stage.line?.cut()) });
    await assert.rejects(stage.pass(), { code: 'device.lost' });
    await stage.mirror.close();
    assert.equal(stage.folder.open, 0);
    if (isSpoilt) stage.folder.spoil();
    stage.restartAgent();
    const line = stage.plug({});
    await stage.settle();
    stage.assertMirrored();
    const { toHost } = line.carried;
    if (isSpoilt) assert.ok(toHost > 250_000, `${toHost} bytes after the restart, of which 200,000 anew`);
    else assert.ok(toHost < 60_000, `${toHost} bytes after the restart`);
  }
});

test('a file that makes the device fall does not keep the others', async () => {
  const stage = new Stage();
  const { id: bad } = stage.piano.save('bad.mid', content(1, 500));
  stage.piano.save('good.mid', content(2, 500));
  stage.piano.save('better.mid', content(3, 500));
  const fallAtReading = (): Tamper => {
    const decoder = new FrameDecoder();
    return (bytes) => {
      for (const { type, body } of decoder.push(bytes)) {
        if (type === READ.type && READ.decode(body).id === bad) stage.line?.cut();
      }
      return bytes;
    };
  };
  for (let i = 0; i < 4; i++) {
    stage.plug({ toDevice: fallAtReading() });
    await assert.rejects(stage.pass(), { code: 'device.lost' });
  }
  assert.deepEqual(stage.folder.paths(), ['/better.mid', '/good.mid']);
  stage.plug({});
  await stage.settle();
  stage.assertMirrored();
});

test('with one byte in a thousand damaged everything arrives', async () => {
  const random = seededRandom(7).next;
  const line = {
    toHost: corrupting(0.001, random),
    toDevice: corrupting(0.001, random),
    baud: 115_200,
    latency: 16,
  };
  const stage = new Stage({ line });
  for (let i = 0; i < 5; i++) await stage.piano.record();
  stage.piano.save('long.mid', content(5, 40_000));
  stage.plug();
  await stage.settle();
  stage.assertMirrored();
});

test('with one byte in a hundred damaged it takes long, and ends right', async () => {
  const random = seededRandom(8).next;
  const line = { toHost: corrupting(0.01, random), toDevice: corrupting(0.01, random), baud: 115_200 };
  const stage = new Stage({ line });
  stage.piano.save('a.mid', content(6, 2_000));
  stage.plug();
  await stage.settle();
  stage.assertMirrored();
});

/** Does something when the byte with that offset comes by; the byte and what follows in its packet pass. */
function onceAt(offset: number, action: () => void): Tamper {
  let done = false;
  return (bytes, first) => {
    if (!done && first + bytes.length > offset) {
      done = true;
      action();
    }
    return bytes;
  };
}
