/** A piano that a keeper keeps over lines that come and go, in virtual time; and long lives of both. */

import assert from 'node:assert/strict';
import { environmentError } from '../../agent/base/errors.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import type { Connection } from '../../firmware-bridge/drivers/driver.ts';
import { skylinkDriver } from '../../firmware-bridge/drivers/skylink.ts';
import { Keeper, type KeeperEvent } from '../../firmware-bridge/keeper.ts';
import { createPiano } from '../../firmware-bridge/simulator/piano.ts';
import { seededRandom } from '../../firmware-bridge/simulator/random.ts';
import { openLine, type SerialLine } from '../support/line.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { content } from './conformance.ts';
import { MemoryFolder, TestMemory } from './memory-folder.ts';

export function keptPiano(seed = 1) {
  const clock = virtualClock();
  const piano = createPiano({ seed, clock, frame: 512 });
  const folder = new MemoryFolder();
  const events: KeeperEvent[] = [];
  const entries: LogEntry[] = [];
  const state = { pluggedIn: true, powered: true, line: undefined as SerialLine | undefined, opened: 0 };
  const connect = async (): Promise<Connection> => {
    if (!state.pluggedIn) throw environmentError('serial.absent', 'there is no port');
    state.opened += 1;
    state.line = openLine({ clock, baud: 115_200, latency: 4 });
    if (state.powered) piano.attach(state.line.device);
    return { kind: 'stream', stream: state.line.host, baud: 115_200 };
  };
  const keeper = new Keeper({
    connect,
    driver: skylinkDriver,
    mode: 'archive',
    send: { patterns: [], largest: 0 },
    memory: new TestMemory(),
    memoryKey: 'test /',
    openFolder: async () => folder,
    clock,
    log: new Logger((entry) => entries.push(entry)),
    random: seededRandom(seed).next,
    onEvent: (event) => events.push(event),
  });
  keeper.start();
  return {
    clock,
    piano,
    folder,
    events,
    entries,
    state,
    keeper,
    pull() {
      state.pluggedIn = false;
      state.line?.cut();
    },
    plug() {
      state.pluggedIn = true;
    },
    /** The port stays, nobody answers. */
    powerOff() {
      state.powered = false;
      piano.reset();
      state.line?.restarted();
    },
    powerOn() {
      state.powered = true;
      if (state.line) piano.attach(state.line.restarted());
    },
    isMirrored: () =>
      piano.recordings().every(({ name, bytes }) => {
        const there = folder.bytes(`/${name}`);
        return there !== undefined && Buffer.compare(there, bytes) === 0;
      }),
  };
}

export type KeptPiano = ReturnType<typeof keptPiano>;

/** So many things happen, a minute or less apart; then everything must be mirrored, and nothing have piled up. */
export async function liveThrough(stage: KeptPiano, things: number, seed: number): Promise<void> {
  const { clock, piano, folder, keeper } = stage;
  const random = seededRandom(seed);
  let saved = 0;
  const happenings: readonly (() => unknown)[] = [
    () => piano.save(`${saved++}.mid`, content(saved, random.integer(0, 4_000))),
    () => piano.record({ bars: 4 }),
    () => piano.reset(),
    () => piano.pressButton(),
    () => piano.setBattery(random.integer(0, 100)),
    () => stage.pull(),
    () => stage.plug(),
    () => stage.powerOff(),
    () => stage.powerOn(),
    () => piano.corrupt(random.pick([0, 0, 0.0005, 0.002])),
    () => keeper.show({ kind: 'text', text: 'hello' }, random.integer(0, 60)),
  ];
  for (let i = 0; i < things; i++) {
    await happenings[random.integer(0, happenings.length - 1)]?.();
    await clock.pass(random.integer(0, 60_000));
  }
  piano.corrupt(0);
  stage.powerOn();
  stage.plug();
  await clock.pass(120_000);
  assert.ok(stage.isMirrored());
  assert.equal(keeper.status.state.kind, 'idle');
  assert.equal(folder.open, 0);
  assert.equal(folder.paths().length, piano.recordings().length);
  assert.ok(stage.entries.length < 5 * things);
}
