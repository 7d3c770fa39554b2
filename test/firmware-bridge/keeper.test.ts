/** A device kept for a long time on lines that come and go, in virtual time. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { content } from './conformance.ts';
import { keptPiano, liveThrough } from './kept-piano.ts';

test('a pulled cable: what was recorded meanwhile is there within 5 s of its being back', async () => {
  const { clock, piano, pull, plug, isMirrored, keeper } = keptPiano();
  piano.save('a.mid', content(1, 5_000));
  await clock.pass(2_000);
  for (const away of [100, 10_000, 3_600_000]) {
    pull();
    piano.save(`${away}.mid`, content(away, 3_000));
    await clock.pass(away);
    assert.equal(keeper.status.state.kind, 'waiting');
    plug();
    await clock.pass(5_000);
    assert.ok(isMirrored(), `after ${away} ms`);
  }
  await clock.run(keeper.close());
});

test('a device that is switched off and on, on a port that stays', async () => {
  const { clock, piano, powerOff, powerOn, isMirrored, keeper } = keptPiano();
  await clock.pass(2_000);
  for (const away of [100, 10_000, 600_000]) {
    powerOff();
    piano.save(`${away}.mid`, content(away, 3_000));
    await clock.pass(away);
    powerOn();
    await clock.pass(5_000);
    assert.ok(isMirrored(), `after ${away} ms`);
  }
  await clock.run(keeper.close());
});

test('a port that is away for a day is tried every few seconds and told once', async () => {
  const { clock, pull, keeper, entries, state } = keptPiano();
  await clock.pass(1_000);
  pull();
  await clock.pass(24 * 3_600_000);
  assert.equal(keeper.status.state.kind, 'waiting');
  const warnings = entries.filter(({ level }) => level === 'warn');
  assert.ok(warnings.length <= 2, warnings.map(({ message }) => message).join());
  assert.equal(state.opened, 1);
  await clock.run(keeper.close());
});

test('a device that is silent for hours is greeted all the time and told once', async () => {
  const { clock, powerOff, powerOn, keeper, entries, state } = keptPiano();
  await clock.pass(1_000);
  powerOff();
  await clock.pass(4 * 3_600_000);
  const warnings = entries.filter(({ level }) => level === 'warn');
  assert.ok(warnings.length <= 2, warnings.map(({ message }) => message).join());
  assert.ok(state.opened > 350);
  powerOn();
  await clock.pass(5_000);
  assert.equal(keeper.status.state.kind, 'idle');
  await clock.run(keeper.close());
});

test('a device that says all the time that something has changed is listed four times a second at most', async () => {
  const { clock, piano, keeper } = keptPiano();
  await clock.pass(1_000);
  const before = keeper.status.line.bytesOut;
  for (let i = 0; i < 1_000; i++) {
    piano.save('x.mid', new Uint8Array(), 1);
    await clock.pass(10);
  }
  // Ten seconds: each pass asks a handful of questions of some 30 bytes.
  assert.ok(keeper.status.line.bytesOut - before < 40 * 6 * 40);
  await clock.run(keeper.close());
});

test('hours of everything that can happen: all is mirrored in the end, and nothing has piled up', async () => {
  const stage = keptPiano(42);
  await liveThrough(stage, 300, 43);
  await stage.clock.run(stage.keeper.close());
});
