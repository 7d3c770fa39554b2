/** Shares that are in step with nobody for long: told once in the log, for as long as it lasts in the status. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import { SteadyTime } from '../../agent/base/steady-time.ts';
import type { Club } from '../../agent/club/club.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { SyncAlert } from '../../agent/daemon/sync-alert.ts';
import { TestDevice } from '../club/test-device.ts';
import { type SettableClock, settableClock } from '../support/settable-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MEMBER = { id: 'b'.repeat(32), software: 'test' };

/** A device with one share, over its restarts. */
class Owner {
  readonly clock: SettableClock;
  readonly device: TestDevice;
  readonly log: LogEntry[] = [];
  readonly told: string[] = [];
  /** Whether it is in step with another member now, and when it was last, as the daemon would have written it down. */
  isInStep = false;
  last: bigint | undefined;
  after = 7 * DAY;
  registry!: Registry;
  alert!: SyncAlert;
  #share = '';

  constructor(time: string) {
    this.clock = settableClock(time);
    this.device = new TestDevice(this.clock);
  }

  async start(): Promise<void> {
    this.registry = await this.device.start();
    const [known] = this.registry.list();
    this.#share = (known ?? (await this.registry.create({ name: 'Music', folder: '/music' }))).id;
    this.alert = new SyncAlert({
      registry: this.registry,
      lastSync: {
        isInStep: () => this.isInStep,
        of: () => {
          if (this.isInStep) this.last = this.clock.now();
          return this.last;
        },
      },
      after: () => this.after,
      time: new SteadyTime(this.clock),
      clock: this.clock,
      log: new Logger((entry) => this.log.push(entry)),
      onAlert: (_, { code }) => this.told.push(code),
    });
  }

  async stop(): Promise<void> {
    this.alert.close();
    await this.registry.close();
  }

  get club(): Club {
    const club = this.registry.get(this.#share);
    assert.ok(club);
    return club;
  }

  get message(): string | undefined {
    return this.alert.of(this.club)?.message;
  }

  async pass(ms: number): Promise<void> {
    await this.clock.pass(ms);
    if (this.isInStep) this.last = this.clock.now();
  }
}

/** A share with another member, in step until now. */
async function inStep(time = '2026-11-01T12:00:00Z'): Promise<Owner> {
  const owner = new Owner(time);
  await owner.start();
  await owner.registry.remember(owner.club.id, MEMBER);
  owner.isInStep = true;
  await owner.pass(HOUR);
  owner.isInStep = false;
  return owner;
}

describe('a share that is in step with nobody', () => {
  it('is told of after a week, once in the log, and no more when it is in step again', async () => {
    const owner = await inStep();
    await owner.pass(7 * DAY - HOUR);
    assert.equal(owner.message, undefined);
    await owner.pass(2 * HOUR);
    assert.equal(owner.message, 'the share was not in step with any other member for 7 days');
    await owner.pass(5 * DAY);
    assert.equal(owner.message, 'the share was not in step with any other member for 12 days');
    assert.equal(owner.alert.of(owner.club)?.remedy, 'connect a device that has it');
    assert.deepEqual(owner.told, ['share.unsynced']);
    assert.equal(owner.log.filter(({ level }) => level === 'warn').length, 1);
    owner.isInStep = true;
    await owner.pass(HOUR);
    assert.equal(owner.message, undefined);
    owner.isInStep = false;
    await owner.pass(8 * DAY);
    assert.deepEqual(owner.told, ['share.unsynced', 'share.unsynced']);
    await owner.stop();
  });

  it('is told of as often or as seldom as the option says', async () => {
    const owner = await inStep();
    owner.after = 2 * HOUR;
    await owner.pass(3 * HOUR);
    assert.match(owner.message ?? '', /for 3 hours$/);
    owner.after = DAY;
    await owner.pass(HOUR);
    assert.equal(owner.message, undefined);
    await owner.stop();
  });

  it('is told of after restarts and time without power, but not at once', async () => {
    const owner = await inStep();
    await owner.pass(3 * DAY);
    await owner.stop();
    owner.clock.set('2026-11-20T00:00:00Z');
    await owner.start();
    assert.equal(owner.message, undefined, 'the others may be about to come');
    await owner.pass(15 * 60_000);
    assert.match(owner.message ?? '', /for 18 days$/);
    await owner.stop();
  });

  it('is told of when it never was, counted from when it was made', async () => {
    const owner = new Owner('2026-11-01T12:00:00Z');
    await owner.start();
    await owner.pass(6 * DAY);
    await owner.registry.remember(owner.club.id, MEMBER);
    await owner.pass(2 * DAY);
    assert.match(owner.message ?? '', /for [78] days$/);
    await owner.registry.configure(owner.club.id, { paused: true });
    assert.equal(owner.alert.of(owner.club)?.remedy, "'skylark resume' it");
    await owner.stop();
  });

  it('is not told of while there is nobody to be in step with', async () => {
    const owner = new Owner('2026-11-01T12:00:00Z');
    await owner.start();
    await owner.pass(30 * DAY);
    assert.equal(owner.message, undefined);
    await owner.stop();
  });
});

describe('with a clock that is wrong', () => {
  it('a jump into the future and back tells nothing', async () => {
    const owner = await inStep();
    await owner.pass(DAY);
    owner.clock.set('9999-01-01T00:00:00Z');
    await owner.pass(9 * 60_000);
    assert.equal(owner.message, undefined);
    owner.clock.set('2026-11-02T14:00:00Z');
    await owner.pass(DAY);
    assert.equal(owner.message, undefined);
    await owner.stop();
  });

  it('in 1970, what was seen by the time that has passed counts', async () => {
    const owner = await inStep('1970-01-01T00:00:00Z');
    await owner.pass(6 * DAY);
    assert.equal(owner.message, undefined);
    await owner.pass(2 * DAY);
    assert.match(owner.message ?? '', /for 7 days$|for 8 days$/);
    await owner.stop();
  });

  it('what was in step in 1970 is not told of as half a century old, and after restarts the week still ends', async () => {
    const owner = await inStep('1970-01-01T00:00:00Z');
    owner.clock.set('2026-11-01T00:00:00Z');
    await owner.pass(3 * DAY);
    assert.equal(owner.message, undefined);
    await owner.stop();
    await owner.start();
    await owner.pass(3 * DAY);
    assert.equal(owner.message, undefined);
    await owner.stop();
    await owner.start();
    await owner.pass(2 * DAY);
    assert.match(owner.message ?? '', /for [78] days$/);
    await owner.stop();
  });

  it('what was in step in a future that has not come yet counts from when that is seen', async () => {
    const owner = await inStep('2031-01-01T00:00:00Z');
    await owner.stop();
    owner.clock.set('2026-11-01T00:00:00Z');
    await owner.start();
    await owner.pass(6 * DAY);
    assert.equal(owner.message, undefined);
    await owner.pass(2 * DAY);
    assert.match(owner.message ?? '', /for [78] days$/);
    await owner.stop();
  });

  it('what is known holds while it can not be relied upon', async () => {
    const owner = await inStep();
    await owner.pass(8 * DAY);
    owner.clock.set('1970-01-01T00:00:00Z');
    await owner.pass(5 * 60_000);
    assert.match(owner.message ?? '', /for 8 days$/);
    assert.deepEqual(owner.told, ['share.unsynced']);
    await owner.stop();
  });
});
