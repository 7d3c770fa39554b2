/** Contents on demand: several members, of which some have nothing, lie, fall silent or break the rules. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { it } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { type Collector, Demand, type DemandSession } from '../../agent/directory/demand.ts';
import { Inflow } from '../../agent/directory/manners/flow.ts';
import * as messages from '../../agent/directory/messages.ts';
import { decode } from '../../agent/wire/message.ts';
import type { OutgoingMessage, Payload } from '../../agent/wire/message-stream.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
const whole = new Uint8Array(3_500_000).map((_, i) => (i * 7) % 251);
const sha256 = createHash('sha256').update(whole).digest('hex');

function payloadOf(...pieces: readonly Uint8Array[]): Payload {
  const left = [...pieces];
  return { read: async () => left.shift() ?? null };
}

interface Collected extends Collector {
  readonly bytes: Uint8Array;
  heardBytes: number;
}

function collector(overrides: Partial<Collector> = {}): Collected {
  const bytes = new Uint8Array(whole.length);
  const own: Collected = {
    sha256,
    size: BigInt(whole.length),
    bytes,
    heardBytes: 0,
    async write(piece, position) {
      bytes.set(piece, Number(position));
    },
    verify: async () => createHash('sha256').update(bytes).digest('hex') === sha256,
    heard: (count) => {
      own.heardBytes += count;
    },
    ...overrides,
  };
  return own;
}

type Range = readonly [bigint, bigint];
type Behaviour = (session: DemandSession, range: Range) => void;

/** A member of the club that answers as it likes. */
function member(demand: Demand, behave: Behaviour, soon: (go: () => void) => unknown = setImmediate) {
  const asked: Range[] = [];
  const session: DemandSession = demand.attach({
    id: 'ab',
    log: silentLogger,
    async send(message: OutgoingMessage) {
      assert.ok('json' in message);
      const { range } = decode(messages.get, { type: messages.get.type, json: message.json });
      assert.ok(range !== undefined);
      asked.push(range);
      soon(() => behave(session, range));
    },
  });
  return { session, asked };
}

const give: Behaviour = (session, range) => {
  const [start, length] = [Number(range[0]), Number(range[1])];
  const bytes = whole.subarray(start, start + length);
  const cut = Math.floor(bytes.length / 3);
  void session.data({ sha256, range }, payloadOf(bytes.subarray(0, cut), bytes.subarray(cut)));
};
const refuse: Behaviour = (session) => assert.equal(session.refused(sha256), true);

function demandWith(): {
  readonly demand: Demand;
  readonly received: () => number;
  readonly clock: ReturnType<typeof virtualClock>;
} {
  const clock = virtualClock();
  let received = 0;
  const demand = new Demand(clock, (bytes) => {
    received += bytes;
  });
  return { demand, received: () => received, clock };
}

it('comes in ranges, some of them asked ahead, and is counted', async () => {
  const { demand, received } = demandWith();
  const { asked } = member(demand, give);
  const into = collector();
  assert.equal(await demand.collect(into, never), 'collected');
  assert.deepEqual(
    asked.map(([start, length]) => [Number(start), Number(length)]),
    [
      [0, 1_048_576],
      [1_048_576, 1_048_576],
      [2_097_152, 1_048_576],
      [3_145_728, 354_272],
    ],
  );
  assert.deepEqual([received(), into.heardBytes], [whole.length, whole.length]);
});

it('goes on with the next member when one has not all of it, lies, or leaves', async () => {
  const { demand } = demandWith();
  member(demand, refuse);
  member(demand, (session, range) => {
    if (range[0] === 0n) give(session, range);
    else refuse(session, range);
  });
  member(demand, (session, range) => {
    void session.data({ sha256, range }, payloadOf(new Uint8Array(Number(range[1]))));
  });
  member(demand, (session, range) => {
    void session.data({ sha256, range }, payloadOf(new Uint8Array(Number(range[1]) - 1)));
  });
  member(demand, (session) => session.detach());
  const last = member(demand, give);
  assert.equal(await demand.collect(collector(), never), 'collected');
  assert.equal(last.asked.length, 4);
});

it('is absent if nobody has it, and nobody is there if nobody is connected', async () => {
  const { demand } = demandWith();
  assert.equal(await demand.collect(collector(), never), 'nobody');
  const { session } = member(demand, refuse);
  assert.equal(await demand.collect(collector(), never), 'absent');
  session.detach();
  assert.equal(await demand.collect(collector(), never), 'nobody');
});

it('gives a silent member up, and takes its late answers for nothing', async () => {
  const { demand, clock } = demandWith();
  const silent = member(demand, () => {});
  const collecting = demand.collect(collector(), never);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await clock.run(collecting), 'absent');
  assert.equal(clock.monotonic(), 20_000);
  const into = collector();
  for (const range of silent.asked)
    assert.equal(await silent.session.data({ sha256, range }, payloadOf(into.bytes)), true);
  assert.equal(
    await silent.session.data({ sha256, range: [0n, 1_048_576n] }, payloadOf()),
    false,
    'once each',
  );
});

it('leaves answers to others that were not asked for here', async () => {
  const { demand } = demandWith();
  const { session } = member(demand, () => {});
  assert.equal(await session.data({ sha256, range: [0n, 5n] }, payloadOf()), false);
  assert.equal(session.refused(sha256), false);
});

it('ends the session of a member that sends more than it was asked for, and asks another', async () => {
  const { demand } = demandWith();
  const ended = Promise.withResolvers<unknown>();
  member(demand, (session, range) => {
    session
      .data({ sha256, range }, payloadOf(new Uint8Array(Number(range[1])), Uint8Array.of(1)))
      .catch(ended.resolve);
  });
  member(demand, give);
  assert.equal(await demand.collect(collector(), never), 'collected');
  assert.equal(((await ended.promise) as { code: string }).code, 'directory.too_much_data');
});

it('does not blame a member for a full disk, and stops asking', async () => {
  const { demand } = demandWith();
  const { asked } = member(demand, give);
  const full = Object.assign(new Error('full'), { code: 'files.no_space' });
  const write = async () => {
    throw full;
  };
  await assert.rejects(demand.collect(collector({ write }), never), full);
  assert.equal(asked.length, 4);
});

it('ends when it is given up', async () => {
  const { demand } = demandWith();
  member(demand, () => {});
  const left = new AbortController();
  const collecting = demand.collect(collector(), left.signal);
  left.abort(new Error('enough'));
  await assert.rejects(collecting, /enough/);
});

it('keeps to a limit, in pieces, and blames no peer for the wait', async () => {
  const clock = virtualClock();
  const download = new Inflow(clock);
  download.regulate(100_000, undefined);
  const demand = new Demand(clock, (bytes) => download.passed(bytes), download);
  const { asked } = member(demand, give, (go) => clock.after(5, go));
  const into = collector();
  assert.equal(await clock.run(demand.collect(into, never)), 'collected');
  const ms = clock.monotonic();
  assert.ok(Math.abs(ms - 35_000) < 1_750, `3.5 MB at 100 kB/s in ${ms} ms`);
  assert.ok(asked.every(([, length]) => length <= 16_384n));
});

it('asks a peer for no more at a time than it wants to give', async () => {
  const { demand } = demandWith();
  const { session, asked } = member(demand, give);
  session.limitRange(100_000);
  assert.equal(await demand.collect(collector(), never), 'collected');
  assert.ok(asked.every(([, length]) => length <= 100_000n) && asked.length === 35);
  session.limitRange(1);
  assert.equal(await demand.collect(collector(), never), 'collected');
  assert.equal(asked.at(-2)?.[1], 16_384n);
  asked.length = 0;
  session.limitRange(undefined);
  assert.equal(await demand.collect(collector(), never), 'collected');
  assert.equal(asked.length, 4);
});

it('does not come while contents are held, and says so', async () => {
  const clock = virtualClock();
  const download = new Inflow(clock);
  download.regulate(undefined, 'contents wait: quiet hours');
  const demand = new Demand(clock, (bytes) => download.passed(bytes), download);
  const { asked } = member(demand, give, (go) => clock.after(5, go));
  assert.equal(await demand.collect(collector(), never), 'held');
  assert.equal(asked.length, 0);
  download.regulate(100_000, undefined);
  const collecting = demand.collect(collector(), never);
  await clock.pass(5_000);
  download.regulate(100_000, 'contents wait: quiet hours');
  assert.equal(await clock.run(collecting), 'held');
  assert.equal(demand.holdReason, 'contents wait: quiet hours');
});

it('gives up a peer that falls silent, with a limit, too', async () => {
  const clock = virtualClock();
  const download = new Inflow(clock);
  download.regulate(100_000, undefined);
  const demand = new Demand(clock, (bytes) => download.passed(bytes), download);
  let left = 3;
  const sometimes: Behaviour = (session, range) => {
    if (left-- > 0) give(session, range);
  };
  member(demand, sometimes, (go) => clock.after(5, go));
  assert.equal(await clock.run(demand.collect(collector(), never)), 'absent');
  assert.ok(clock.monotonic() < 25_000);
});

it('stops waiting for its turn when nobody wants it any more', async () => {
  const clock = virtualClock();
  const download = new Inflow(clock);
  download.regulate(10_000, undefined);
  const demand = new Demand(clock, (bytes) => download.passed(bytes), download);
  member(demand, give, (go) => clock.after(5, go));
  const asking = new AbortController();
  const collecting = demand.collect(collector(), asking.signal);
  await clock.pass(3_000);
  asking.abort(new Error('left'));
  await assert.rejects(collecting, /left/);
});
