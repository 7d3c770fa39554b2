/** A piano on a virtual line, mirrored into a folder in memory: the stage for tests of the mirror. */

import assert from 'node:assert/strict';
import { silentLogger } from '../../agent/base/log.ts';
import type { Device, DeviceEvent } from '../../firmware-bridge/drivers/driver.ts';
import { skylinkDriver } from '../../firmware-bridge/drivers/skylink.ts';
import { Mirror, type MirrorEvent, type MirrorMode, type Problem } from '../../firmware-bridge/mirror.ts';
import { createPiano, type Piano, type PianoOptions } from '../../firmware-bridge/simulator/piano.ts';
import { seededRandom } from '../../firmware-bridge/simulator/random.ts';
import { type LineOptions, openLine, type SerialLine } from '../support/line.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { MemoryFolder, TestMemory } from './memory-folder.ts';

export interface StageOptions {
  readonly mode?: MirrorMode;
  readonly piano?: PianoOptions;
  readonly line?: Omit<LineOptions, 'clock'>;
}

export class Stage {
  readonly clock: VirtualClock = virtualClock();
  readonly piano: Piano;
  readonly folder = new MemoryFolder();
  readonly memory = new TestMemory();
  readonly events: MirrorEvent[] = [];
  readonly #mode: MirrorMode;
  readonly #lineOptions: Omit<LineOptions, 'clock'>;
  line: SerialLine | undefined;
  mirror: Mirror;
  #device: Device | undefined;

  constructor({ mode = 'archive', piano = {}, line = {} }: StageOptions = {}) {
    this.piano = createPiano({ seed: 5, frame: 254, ...piano, clock: this.clock });
    this.#mode = mode;
    this.#lineOptions = line;
    this.mirror = this.#openMirror();
  }

  /** As after a restart of the agent: only what was saved is known. */
  restartAgent(): void {
    this.#device = undefined;
    this.mirror = this.#openMirror();
  }

  /** Plugs in a new line with these accidents. */
  plug(options: Omit<LineOptions, 'clock'> = this.#lineOptions): SerialLine {
    this.line = openLine({ ...options, clock: this.clock });
    this.piano.attach(this.line.device);
    this.#device = undefined;
    return this.line;
  }

  /** One pass over the device that is plugged in; plugs one in if there is none. */
  pass(signal = new AbortController().signal): Promise<readonly Problem[]> {
    return this.clock.run(this.#pass(signal));
  }

  /** As the bridge does it: passes, opening the device anew when it is lost, until one has no problems. */
  async settle(tries = 20): Promise<void> {
    for (let i = 0; i < tries; i++) {
      try {
        const problems = await this.pass();
        if (problems.length === 0) return;
      } catch (thrown) {
        assert.match((thrown as { code?: string }).code ?? String(thrown), /^device\./);
        this.plug({});
      }
    }
    assert.fail('it never settles');
  }

  /** What the folder must hold now. */
  expected(): Map<string, Uint8Array> {
    return new Map(this.piano.recordings().map(({ name, bytes }) => [`/${name}`, bytes]));
  }

  assertMirrored(): void {
    for (const [path, bytes] of this.expected()) {
      const there = this.folder.bytes(path);
      assert.ok(there, `${path} is missing`);
      assert.ok(Buffer.compare(there, bytes) === 0, `${path} is not what the piano has`);
    }
  }

  async #pass(signal: AbortSignal): Promise<readonly Problem[]> {
    if (this.line === undefined) this.plug();
    this.#device ??= await this.#open();
    try {
      return await this.mirror.pass(this.#device, signal);
    } catch (thrown) {
      await this.#device.close();
      this.#device = undefined;
      this.line = undefined;
      throw thrown;
    }
  }

  #open(): Promise<Device> {
    assert.ok(this.line);
    const onEvent = (_: DeviceEvent) => {};
    return skylinkDriver.open(
      { kind: 'stream', stream: this.line.host },
      { clock: this.clock, log: silentLogger, random: seededRandom(6).next, onEvent },
    );
  }

  #openMirror(): Mirror {
    return new Mirror({
      folder: this.folder,
      memory: this.memory,
      memoryKey: 'test /',
      mode: this.#mode,
      clock: this.clock,
      log: silentLogger,
      onEvent: (event) => this.events.push(event),
    });
  }
}
