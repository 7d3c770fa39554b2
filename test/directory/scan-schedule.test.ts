/** When everything is scanned: at most a tenth of the time goes into it, however long it takes. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sleep } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { ProblemList } from '../../agent/directory/problems.ts';
import { RefusedWrites } from '../../agent/directory/refused-writes.ts';
import { ScanSchedule } from '../../agent/directory/scan-schedule.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const MINUTE = 60_000;

/** Scans that take a while, and when they began. */
function scansOf(options: { period?: number; isWatched?: boolean }) {
  const clock = virtualClock();
  const state = { takes: 0, began: [] as number[] };
  const controller = new AbortController();
  const problems = new ProblemList();
  const schedule = new ScanSchedule({
    clock,
    log: silentLogger,
    signal: controller.signal,
    writes: new RefusedWrites({ problems, clock, log: silentLogger, onFree: () => {} }),
    scan: async (path) => {
      if (path === '/') state.began.push(clock.monotonic());
      await sleep(clock, state.takes);
      return { entries: 1, differing: 0, gone: 0 };
    },
    isPaused: () => false,
    checkRoot: () => Promise.resolve(true),
    isWatched: () => options.isWatched ?? true,
    onFullScan: () => {},
    onEnd: () => {},
    period: options.period,
  });
  const close = async () => {
    controller.abort();
    await schedule.close();
  };
  return { clock, schedule, state, close };
}

const gaps = (times: readonly number[]) => times.slice(1).map((time, i) => time - (times[i] ?? 0));

describe('full scans', () => {
  it('come as often as they should while they are short', async () => {
    const { clock, schedule, state, close } = scansOf({ period: 60 * MINUTE });
    state.takes = MINUTE;
    schedule.request('/', 'deep');
    await clock.pass(10 * 60 * MINUTE);
    assert.equal(state.began.length, 10);
    assert.ok(gaps(state.began).every((gap) => gap === 61 * MINUTE));
    await close();
  });

  it('wait ten times as long as the last one took', async () => {
    const { clock, schedule, state, close } = scansOf({ period: 60 * MINUTE });
    state.takes = 30 * MINUTE;
    schedule.request('/', 'deep');
    await clock.pass(48 * 60 * MINUTE);
    assert.equal(state.began.length, 9);
    assert.ok(
      gaps(state.began).every((gap) => gap === 330 * MINUTE),
      gaps(state.began).join(),
    );
    state.takes = MINUTE;
    state.began.length = 0;
    await clock.pass(24 * 60 * MINUTE);
    assert.equal(gaps(state.began).at(-1), 61 * MINUTE, 'and no longer once they are short again');
    await close();
  });

  it('do so also where nothing is watched', async () => {
    const { clock, schedule, state, close } = scansOf({ period: 60 * MINUTE, isWatched: false });
    state.takes = MINUTE;
    schedule.request('/', 'deep');
    await clock.pass(60 * MINUTE);
    assert.ok(
      gaps(state.began).every((gap) => gap === 11 * MINUTE),
      gaps(state.began).join(),
    );
    await close();
  });

  it('do not follow each other in a storm of changes that went unseen', async () => {
    const { clock, schedule, state, close } = scansOf({ period: 7 * 24 * 60 * MINUTE });
    state.takes = 10 * MINUTE;
    schedule.request('/', 'deep');
    for (let i = 0; i < 24 * 60; i++) {
      schedule.lost();
      await clock.pass(MINUTE);
    }
    // How long one takes is not known before the first has ended.
    const [, ...later] = gaps(state.began);
    assert.ok(later.length > 60 && later.every((gap) => gap >= 20 * MINUTE), later.join());
    await close();
  });
});
