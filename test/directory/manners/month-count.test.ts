import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { environmentError } from '../../../agent/base/errors.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import { SteadyTime } from '../../../agent/base/steady-time.ts';
import { MonthCount, type StoredMonth } from '../../../agent/directory/manners/month-count.ts';
import { type SettableClock, settableClock } from '../../support/settable-clock.ts';

const MINUTE = 60_000;

/** The count over restarts, with the disk that keeps it. */
class Device {
  readonly clock: SettableClock;
  stored: StoredMonth | undefined;
  writes = 0;
  isFull = false;
  time!: SteadyTime;
  count!: MonthCount;

  constructor(time: string) {
    this.clock = settableClock(time);
    this.start();
  }

  start(): void {
    this.time = new SteadyTime(this.clock);
    this.count = new MonthCount({
      store: {
        load: () => {
          this.#touch();
          return this.stored;
        },
        save: (count) => {
          this.#touch();
          this.writes += 1;
          this.stored = count;
        },
      },
      time: this.time,
      clock: this.clock,
      log: silentLogger,
    });
  }

  #touch(): void {
    if (this.isFull) throw environmentError('sqlite.io', 'the disk does not work');
  }

  /** The daemon looks at the clock a few times a minute. */
  async run(minutes: number): Promise<void> {
    for (let i = 0; i < 4 * minutes; i++) {
      this.count.look();
      await this.clock.pass(MINUTE / 4);
    }
    this.count.look();
  }

  get up(): bigint {
    return this.count.of('upload');
  }
}

/** A device that has sent 1,000 bytes in November. */
async function inNovember(time = '2026-11-15T12:00:00Z'): Promise<Device> {
  const device = new Device(time);
  await device.run(15);
  device.count.add('upload', 1_000);
  return device;
}

describe('what passed in this month', () => {
  it('begins anew when the next one does', async () => {
    const device = await inNovember('2026-11-30T10:00:00Z');
    device.count.add('download', 7);
    assert.deepEqual([device.up, device.count.of('download')], [1_000n, 7n]);
    // Local time: in whatever zone the test runs, the month ends within these two days.
    await device.run(48 * 60);
    assert.deepEqual([device.up, device.count.of('download')], [0n, 0n]);
  });

  it('is kept over restarts, and written seldom', async () => {
    const device = await inNovember();
    for (let i = 0; i < 60; i++) {
      await device.run(1);
      device.count.add('upload', 1);
    }
    assert.ok(device.writes <= 21, `${device.writes} times in an hour`);
    device.count.close();
    device.start();
    assert.equal(device.up, 1_060n);
    const { writes } = device;
    await device.run(600);
    assert.equal(device.writes, writes, 'nothing passes, so nothing is written');
  });

  it('loses only the last minutes by a crash', async () => {
    const device = await inNovember();
    await device.run(4);
    device.count.add('upload', 30);
    device.start();
    assert.equal(device.up, 1_000n);
  });

  it('is written later when the disk does not take it now', async () => {
    const device = await inNovember();
    device.isFull = true;
    await device.run(30);
    assert.equal(device.stored?.upload, 0n);
    device.isFull = false;
    await device.run(4);
    assert.equal(device.stored?.upload, 1_000n);
  });

  it('is added to what is on the disk when that could not be read at the start', async () => {
    const device = await inNovember();
    device.count.close();
    device.isFull = true;
    device.start();
    device.count.add('upload', 20);
    await device.run(30);
    assert.equal(device.up, 20n);
    device.isFull = false;
    await device.run(4);
    assert.equal(device.up, 1_020n);
    assert.equal(device.stored?.upload, 1_020n);
  });

  it('begins anew after a pause of months, but only once the clock is to be relied upon', async () => {
    const device = await inNovember();
    device.count.close();
    device.clock.set('2027-02-10T00:00:00Z');
    device.start();
    await device.run(9);
    assert.equal(device.up, 1_000n);
    await device.run(2);
    assert.equal(device.up, 0n);
  });

  it('goes on counting for the last month known while the clock is in 1970', async () => {
    const device = await inNovember();
    device.count.close();
    device.clock.set('1970-01-01T00:00:00Z');
    device.start();
    device.count.add('upload', 1);
    await device.run(120);
    assert.equal(device.up, 1_001n);
    device.clock.set('2026-11-16T12:00:00Z');
    await device.run(20);
    assert.equal(device.up, 1_001n, 'it is still November');
    assert.equal(device.stored?.month, '2026-11');
  });

  it('counts from the first start in 1970, too', async () => {
    const device = new Device('1970-01-01T00:00:00Z');
    device.count.add('upload', 5);
    await device.run(20);
    assert.equal(device.up, 5n);
    device.clock.set('2026-11-16T12:00:00Z');
    await device.run(20);
    assert.equal(device.up, 5n);
  });

  it('is not made to begin anew by a clock that jumps and comes back', async () => {
    const device = await inNovember();
    for (const wrong of [
      '2031-01-01T00:00:00Z',
      '9999-12-31T23:59:00Z',
      '2026-12-05T00:00:00Z',
      '1970-01-01T00:00:00Z',
    ]) {
      device.clock.set(wrong);
      await device.run(9);
      assert.equal(device.up, 1_000n, wrong);
      device.clock.set('2026-11-17T12:00:00Z');
      await device.run(30);
      assert.equal(device.up, 1_000n, wrong);
    }
  });

  it('goes on in the month before when the clock was wrong for long', async () => {
    const device = await inNovember();
    device.clock.set('2027-05-01T12:00:00Z');
    await device.run(60);
    assert.equal(device.up, 0n);
    device.count.add('upload', 40);
    device.clock.set('2026-11-18T12:00:00Z');
    await device.run(60);
    assert.equal(device.up, 40n);
    device.clock.set('2026-12-18T12:00:00Z');
    await device.run(60);
    assert.equal(device.up, 0n, 'and the next month is one');
  });
});
