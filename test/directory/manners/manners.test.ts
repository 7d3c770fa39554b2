import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDailyHours } from '../../../agent/base/daily-hours.ts';
import { type LogEntry, Logger } from '../../../agent/base/log.ts';
import { SteadyTime } from '../../../agent/base/steady-time.ts';
import { Manners, type MannersSettings } from '../../../agent/directory/manners/manners.ts';
import type { StoredMonth } from '../../../agent/directory/manners/month-count.ts';
import { settableClock } from '../../support/settable-clock.ts';

const NONE: MannersSettings = {
  rate: { upload: undefined, download: undefined },
  month: { upload: undefined, download: undefined },
  quietHours: [],
  onBattery: 'sync',
  onMetered: 'sync',
};
const HOUR = 3_600_000;

/** A machine, and what it tells of itself. */
function machine(settings: Partial<MannersSettings> = {}, time = '2026-11-15T12:00:00Z') {
  const clock = settableClock(time);
  const state = {
    clock,
    battery: undefined as boolean | undefined,
    metered: undefined as boolean | undefined,
    asked: { battery: 0, metered: 0 },
    stored: undefined as StoredMonth | undefined,
    told: [] as string[],
    log: [] as LogEntry[],
  };
  const open = (changed: Partial<MannersSettings> = settings) =>
    new Manners({
      settings: { ...NONE, ...changed },
      circumstances: {
        isOnBattery: async () => {
          state.asked.battery += 1;
          return state.battery;
        },
        isMetered: async () => {
          state.asked.metered += 1;
          return state.metered;
        },
      },
      store: {
        load: () => state.stored,
        save: (count) => {
          state.stored = count;
        },
      },
      time: new SteadyTime(clock),
      clock,
      log: new Logger((entry) => state.log.push(entry)),
      onHold: ({ code }) => state.told.push(code),
    });
  return Object.assign(state, { open });
}

/** At so many hours and minutes of the day before the test's, by the local clock. */
function localTime(hours: number, minutes: number): string {
  return new Date(2026, 10, 15, hours, minutes).toISOString().replace('.000Z', 'Z');
}

const codes = (manners: Manners) => manners.holds.map(({ code }) => code);
const held = ({ upload, download }: Manners) => [upload.isHeld, download.isHeld];

describe('quiet hours', () => {
  it('hold back both directions, and are over by themselves', async () => {
    const { clock, open, told } = machine({ quietHours: parseDailyHours('22:00-07:00') }, localTime(21, 59));
    const manners = open();
    assert.deepEqual(held(manners), [false, false]);
    await clock.pass(2 * 60_000);
    assert.deepEqual(held(manners), [true, true]);
    assert.equal(manners.holds[0]?.message, 'contents wait: quiet hours until 07:00');
    assert.equal(manners.holds[0].isProblem, false);
    await clock.pass(9 * HOUR);
    assert.deepEqual(held(manners), [false, false]);
    assert.deepEqual(told, ['manners.quiet_hours']);
    manners.close();
  });

  it('are nobody knows when in 1970', async () => {
    const { clock, open } = machine({ quietHours: parseDailyHours('00:00-24:00') }, '1970-01-01T00:00:00Z');
    const manners = open();
    assert.deepEqual(held(manners), [false, false]);
    clock.set('2026-01-01T00:00:00Z');
    await clock.pass(60_000);
    assert.deepEqual(held(manners), [true, true]);
    assert.equal(manners.holds[0]?.message, 'contents wait: quiet hours');
    manners.close();
  });

  it('end at once when the option is taken away', () => {
    const { open } = machine({ quietHours: parseDailyHours('00:00-24:00') });
    const manners = open();
    manners.configure(NONE);
    assert.deepEqual(held(manners), [false, false]);
    manners.close();
  });
});

describe('the limits of a month', () => {
  it('hold back the direction that is used up, as a problem, until the next month', async () => {
    const { clock, open, told, log } = machine(
      { month: { upload: 1_000_000n, download: 2_000_000n } },
      localTime(12, 0),
    );
    const manners = open();
    await clock.pass(HOUR);
    manners.download.passed(1_999_999);
    assert.deepEqual(held(manners), [false, false]);
    manners.download.passed(1);
    assert.deepEqual(held(manners), [false, true]);
    assert.deepEqual(codes(manners), ['manners.monthly_download']);
    assert.equal(manners.holds[0]?.isProblem, true);
    assert.match(manners.holds[0].message, /^contents wait to be received: 2MB of them were in this month/);
    await clock.pass(14 * 24 * HOUR);
    assert.deepEqual(held(manners), [false, true]);
    await clock.pass(2 * 24 * HOUR);
    assert.deepEqual(held(manners), [false, false]);
    assert.deepEqual(told, ['manners.monthly_download']);
    assert.equal(log.filter(({ message }) => message === 'contents are held back').length, 1);
    manners.close();
  });

  it('hold over a restart, and end when they are raised', async () => {
    const { clock, open } = machine({ month: { upload: 1_000n, download: undefined } });
    const before = open();
    const passage = await before.upload.enter(1_000, new AbortController().signal);
    await passage?.pass(1_000);
    assert.deepEqual(held(before), [true, false]);
    before.close();
    const manners = open();
    assert.deepEqual(held(manners), [true, false]);
    manners.configure({ ...NONE, month: { upload: 1_001n, download: undefined } });
    assert.deepEqual(held(manners), [false, false]);
    await clock.pass(60_000);
    assert.deepEqual(held(manners), [false, false]);
    manners.close();
  });
});

describe('battery and metered network', () => {
  it('hold contents back while the system says so', async () => {
    const state = machine({ onBattery: 'pause', onMetered: 'pause' });
    const { clock, open } = state;
    state.battery = true;
    state.metered = false;
    const manners = open();
    await clock.pass(1);
    assert.deepEqual(codes(manners), ['manners.on_battery']);
    state.metered = true;
    await clock.pass(150_000);
    assert.deepEqual(codes(manners), ['manners.on_battery', 'manners.on_metered']);
    state.battery = false;
    await clock.pass(20_000);
    assert.deepEqual(codes(manners), ['manners.on_metered']);
    state.metered = undefined;
    await clock.pass(150_000);
    assert.deepEqual(held(manners), [false, false]);
    manners.close();
  });

  it('are not asked for by whoever does not care, and seldom where the system can not tell', async () => {
    const { clock, open, asked } = machine({ onMetered: 'pause' });
    const manners = open();
    await clock.pass(24 * HOUR);
    assert.equal(asked.battery, 0);
    assert.ok(asked.metered <= 49, `${asked.metered} times`);
    manners.configure(NONE);
    const { metered } = asked;
    await clock.pass(24 * HOUR);
    assert.equal(asked.metered, metered);
    manners.close();
  });

  it('let contents go on at once when the option says so', async () => {
    const state = machine({ onBattery: 'pause' });
    state.battery = true;
    const manners = state.open();
    await state.clock.pass(1);
    assert.deepEqual(held(manners), [true, true]);
    manners.configure(NONE);
    assert.deepEqual(held(manners), [false, false]);
    manners.close();
  });
});

it('rates are those of the settings, also when these change', async () => {
  const { open } = machine({ rate: { upload: 1_000_000n, download: undefined } });
  const manners = open();
  assert.deepEqual([manners.upload.piece, manners.download.piece], [114_688, Number.POSITIVE_INFINITY]);
  manners.configure({ ...NONE, rate: { upload: undefined, download: 10_000n } });
  assert.deepEqual([manners.upload.piece, manners.download.piece], [Number.POSITIVE_INFINITY, 16_384]);
  manners.close();
});
