/** The Skylink driver against the simulated piano: over TCP, over a slow line, over a bad one, and with little ability. */

import type { TestContext } from 'node:test';
import { type Clock, systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import type { ByteStream } from '../../../agent/base/stream.ts';
import { connectTcp } from '../../../agent/platform/net.ts';
import type { DeviceEvent } from '../../../firmware-bridge/drivers/driver.ts';
import { skylinkDriver } from '../../../firmware-bridge/drivers/skylink.ts';
import {
  createPiano,
  openPiano,
  type Piano,
  type PianoOptions,
} from '../../../firmware-bridge/simulator/piano.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import { corrupting, type LineOptions, openLine } from '../../support/line.ts';
import { virtualClock } from '../../support/virtual-clock.ts';
import { conformance, type Hand, type Rig } from '../conformance.ts';

conformance('Skylink over TCP', {
  open: async (t, events) => {
    const piano = await openPiano({ seed: 1 });
    t.after(() => piano.close());
    const stream = await connectTcp(piano.address.host, piano.address.port);
    const run = <T>(promise: Promise<T>) => promise;
    return await openRig(t, piano, stream, { clock: systemClock, events, run });
  },
});

const lines: readonly {
  readonly name: string;
  readonly piano: PianoOptions;
  readonly line: Omit<LineOptions, 'clock'>;
  readonly corrupt?: number;
}[] = [
  { name: 'at 115200 baud with 16 ms latency', piano: { frame: 254 }, line: { baud: 115_200, latency: 16 } },
  { name: 'at 1 Mbaud', piano: { frame: 1024 }, line: { baud: 1_000_000, latency: 16 } },
  { name: 'with 0.1 % of bytes corrupted', piano: { frame: 512 }, line: { baud: 115_200 }, corrupt: 0.001 },
  {
    name: 'with little ability and the smallest frames',
    piano: {
      frame: 128,
      without: [
        'since',
        'tombstones',
        'hash',
        'write',
        'delete',
        'time',
        'events',
        'show',
        'button',
        'battery',
      ],
    },
    line: { baud: 57_600 },
  },
];

for (const { name, piano, line, corrupt } of lines) {
  conformance(`Skylink ${name}`, {
    open: async (t, events) => {
      const clock = virtualClock();
      const device = createPiano({ ...piano, seed: 2, clock });
      const random = seededRandom(3).next;
      const noise = corrupt
        ? { toHost: corrupting(corrupt, random), toDevice: corrupting(corrupt, random) }
        : {};
      const { host, device: end } = openLine({ ...line, clock, ...noise });
      device.attach(end);
      const run = <T>(promise: Promise<T>) => clock.run(promise);
      const { baud } = line;
      return await openRig(t, device, host, { clock, events, run, ...(baud ? { baud } : {}) });
    },
  });
}

interface RigParts {
  readonly clock: Clock;
  readonly events: DeviceEvent[];
  readonly run: Rig['run'];
  readonly baud?: number;
}

async function openRig(
  t: TestContext,
  piano: Piano,
  stream: ByteStream,
  { clock, events, run, baud }: RigParts,
): Promise<Rig> {
  const connection = { kind: 'stream', stream, ...(baud ? { baud } : {}) } as const;
  const device = await run(
    skylinkDriver.open(connection, {
      clock,
      log: silentLogger,
      random: seededRandom(4).next,
      onEvent: (event) => events.push(event),
    }),
  );
  t.after(() => device.close());
  return { device, events, hand: handOf(piano), run };
}

function handOf(piano: Piano): Hand {
  const id = (name: string) => piano.recordings().find((one) => one.name === name)?.id ?? 0;
  return {
    add: (name, bytes) => void piano.save(name, bytes),
    change: (name, bytes) => void piano.save(name, bytes, id(name)),
    rename: (from, to) => piano.rename(id(from), to),
    remove: (name) => piano.delete(id(name)),
    pressButton: () => piano.pressButton(),
    display: () => piano.display(),
  };
}
