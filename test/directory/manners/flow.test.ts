import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Allowance, Inflow, Outflow } from '../../../agent/directory/manners/flow.ts';
import { type Request, Schedule } from '../../../agent/directory/schedule.ts';
import { virtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;

/** Sends answers one after the other until it is stopped. */
async function send(flow: Outflow, bytes: number, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const passage = await flow.enter(bytes, stop);
    for (let left = bytes; left > 0; ) {
      const piece = Math.min(left, flow.piece, 262_144);
      if (!(await passage?.pass(piece))) return;
      left -= piece;
    }
    passage?.end();
  }
}

describe('what is sent', () => {
  it('keeps its rate within 5 % over ten seconds, over all who send together', async () => {
    for (const rate of [50_000, 100_000, 1_000_000, 20_000_000]) {
      const clock = virtualClock();
      let counted = 0;
      const flow = new Outflow(clock, (bytes) => {
        counted += bytes;
      });
      flow.regulate(rate, undefined);
      const stop = new AbortController();
      const senders = [3_000, 64_000, 200_000, 4_194_304].map((bytes) => send(flow, bytes, stop.signal));
      await clock.pass(5_000);
      counted = 0;
      await clock.pass(10_000);
      const expected = rate * 10;
      const difference = Math.abs(counted - expected);
      const piece = Math.max(65_536, flow.piece);
      assert.ok(difference < 0.05 * expected + piece, `${counted} of ${expected}`);
      stop.abort();
      await Promise.allSettled(senders);
    }
  });

  it('is served in the order in which it came', async () => {
    const clock = virtualClock();
    const flow = new Outflow(clock);
    flow.regulate(100_000, undefined);
    const order: number[] = [];
    const all = [0, 1, 2, 3].map(async (i) => {
      (await flow.enter(50_000, never))?.end();
      order.push(i);
    });
    await clock.run(Promise.all(all));
    assert.deepEqual(order, [0, 1, 2, 3]);
  });

  it('passes in one go up to a piece, and after that waits for each of its parts', async () => {
    const clock = virtualClock();
    const flow = new Outflow(clock);
    flow.regulate(100_000, undefined);
    const short = await clock.run(flow.enter(65_536, never));
    const before = clock.monotonic();
    assert.equal(await short?.pass(65_536), true);
    assert.equal(clock.monotonic(), before);
    short?.end();
    const long = await clock.run(flow.enter(1_000_000, never));
    const begin = clock.monotonic();
    for (let i = 0; i < 10; i++) assert.equal(await clock.run(long!.pass(100_000)), true);
    assert.ok(Math.abs(clock.monotonic() - begin - 9_000) < 20, `${clock.monotonic() - begin} ms`);
  });

  it('gets back what an answer did not take', async () => {
    const clock = virtualClock();
    const flow = new Outflow(clock);
    flow.regulate(10_000, undefined);
    await clock.pass(100);
    for (let i = 0; i < 1_000; i++) (await clock.run(flow.enter(65_536, never)))?.end();
    assert.ok(clock.monotonic() < 200, 'nothing was sent, so nobody had to wait');
  });

  it('counts what passes, not what was asked for', async () => {
    let counted = 0;
    const flow = new Outflow(virtualClock(), (bytes) => {
      counted += bytes;
    });
    const passage = await flow.enter(1_000, never);
    await passage?.pass(300);
    passage?.end();
    assert.equal(counted, 300);
  });

  it('lets go whoever waits when a hold begins, when the limit ends, and when the session does', async () => {
    const clock = virtualClock();
    const flow = new Outflow(clock);
    const outcome = (signal = never) =>
      flow.enter(65_536, signal).then(
        (passage) => (passage === undefined ? 'held' : 'free'),
        (reason: unknown) => reason,
      );
    const session = new AbortController();
    flow.regulate(10_000, undefined);
    await clock.run(flow.enter(65_536, never));
    const [gone, held] = [outcome(session.signal), outcome()];
    session.abort('gone');
    assert.equal(await gone, 'gone');
    flow.regulate(10_000, 'quiet hours');
    assert.equal(await held, 'held');
    assert.equal(await outcome(), 'held');
    flow.regulate(10_000, undefined);
    const waiting = outcome();
    flow.regulate(undefined, undefined);
    assert.equal(await waiting, 'free');
  });

  it('ends an answer that is too long when a hold begins, but not what may pass already', async () => {
    const clock = virtualClock();
    const flow = new Outflow(clock);
    flow.regulate(1_000_000, undefined);
    const passage = await clock.run(flow.enter(2_000_000, never));
    flow.regulate(1_000_000, 'quiet hours');
    assert.equal(await passage?.pass(100_000), true);
    assert.equal(await passage?.pass(100_000), false);
  });

  it('tells of changes, once each', () => {
    const flow = new Outflow(virtualClock());
    let told = 0;
    const stop = flow.listen(() => {
      told += 1;
    });
    flow.regulate(undefined, undefined);
    assert.equal(told, 0);
    flow.regulate(10_000, undefined);
    flow.regulate(10_000, 'quiet hours until 07:00');
    flow.regulate(10_000, 'quiet hours until 08:00');
    assert.equal(told, 2);
    assert.equal(flow.holdReason, 'quiet hours until 08:00');
    flow.regulate(10_000, undefined);
    stop();
    flow.regulate(undefined, undefined);
    assert.equal(told, 3);
  });
});

/** Asks whenever it may; what it asks for comes `delay` milliseconds later. */
function asker(flow: Inflow, clock: ReturnType<typeof virtualClock>, delay: number, loss = 0) {
  const state = { underWay: 0, came: 0, asked: 0, isAsking: true };
  let allowance: Allowance | undefined;
  const ask = () => {
    while (state.isAsking && allowance?.mayAsk()) {
      const bytes = Math.min(65_536, allowance.piece);
      state.underWay += bytes;
      state.asked += 1;
      clock.after(delay, () => {
        state.underWay -= bytes;
        // Some peers have not what they are asked for.
        if (state.asked % 100 >= loss) {
          flow.passed(bytes);
          state.came += bytes;
        }
        ask();
      });
    }
  };
  allowance = flow.open({ underWay: () => state.underWay, onRoom: ask, onRegulated: ask });
  return { state, ask };
}

describe('what is received', () => {
  it('keeps its rate within 5 % over ten seconds, also over a long line', async () => {
    for (const rate of [50_000, 500_000, 5_000_000])
      for (const delay of [1, 800]) {
        const clock = virtualClock();
        const flow = new Inflow(clock);
        flow.regulate(rate, undefined);
        const { state, ask } = asker(flow, clock, delay);
        ask();
        await clock.pass(5_000);
        const before = state.came;
        await clock.pass(10_000);
        const came = state.came - before;
        const piece = Math.min(65_536, flow.piece);
        assert.ok(Math.abs(came - rate * 10) <= 0.05 * rate * 10 + piece, `${came} at ${rate}, ${delay} ms`);
      }
  });

  it('is not slower for peers that have not what they are asked for', async () => {
    const clock = virtualClock();
    const flow = new Inflow(clock);
    flow.regulate(100_000, undefined);
    const { state, ask } = asker(flow, clock, 5, 90);
    ask();
    await clock.pass(20_000);
    assert.ok(state.came > 0.9 * 2_000_000, `${state.came}`);
    assert.ok(state.came < 1.1 * 2_000_000, `${state.came}`);
  });

  it('is shared evenly by those who ask', async () => {
    const clock = virtualClock();
    const flow = new Inflow(clock);
    flow.regulate(200_000, undefined);
    const askers = [1, 2, 3, 4].map(() => asker(flow, clock, 20));
    for (const { ask } of askers) ask();
    await clock.pass(20_000);
    for (const { state } of askers)
      assert.ok(Math.abs(state.came - 1_000_000) < 100_000, askers.map((one) => one.state.came).join());
  });

  it('stops asking when a hold begins, and goes on when it is over', async () => {
    const clock = virtualClock();
    const flow = new Inflow(clock);
    flow.regulate(100_000, undefined);
    const { state, ask } = asker(flow, clock, 1);
    ask();
    await clock.pass(1_000);
    flow.regulate(100_000, 'on its battery');
    await clock.pass(1_000);
    const { came } = state;
    await clock.pass(10_000);
    assert.equal(state.came, came);
    flow.regulate(100_000, undefined);
    await clock.pass(1_000);
    assert.ok(state.came > came);
    state.isAsking = false;
  });
});

describe('many members that share little', () => {
  it('all get what they want, at the rate, and nothing twice', async () => {
    const clock = virtualClock();
    const rate = 10_000;
    let counted = 0;
    const flow = new Outflow(clock, (bytes) => {
      counted += bytes;
    });
    flow.regulate(rate, undefined);
    const size = 150_000;
    const members = Array.from({ length: 10 }, (_, i) => {
      const sha256 = `${i}${i}`.repeat(32);
      const schedule = new Schedule(() => 'ask');
      schedule.addSource(0, clock.monotonic());
      schedule.limitRange(0, flow.piece);
      schedule.want({ sha256, size });
      const state = { isWhole: false, late: 0 };
      const answer = async ({ offset, length }: Request) => {
        const passage = await flow.enter(length, never);
        await passage?.pass(length);
        passage?.end();
        const now = clock.monotonic();
        if (schedule.begin(0, sha256, offset, length, now) !== 'useful') state.late += 1;
        if (schedule.delivered(0, sha256, offset, length, now) === 'complete') state.isWhole = true;
        ask(schedule.next(now));
      };
      const ask = (requests: readonly Request[]) => {
        for (const request of requests) void answer(request);
      };
      const tick = () => {
        const { requests, exhausted } = schedule.tick(clock.monotonic());
        assert.deepEqual(exhausted, []);
        ask(requests);
        if (!state.isWhole) clock.after(1_000, tick);
      };
      ask(schedule.next(clock.monotonic()));
      tick();
      return state;
    });
    await clock.pass((10 * size * 1_050) / rate);
    assert.ok(members.every(({ isWhole }) => isWhole));
    assert.equal(counted, 10 * size, 'nobody took the others for stalled');
    assert.ok(members.every(({ late }) => late === 0));
  });
});
