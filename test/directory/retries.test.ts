import assert from 'node:assert/strict';
import { symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { Retries } from '../../agent/directory/retries.ts';
import { eventually } from '../support/eventually.ts';
import { virtualClock } from '../support/virtual-clock.ts';
import { connect, withClub } from './members.ts';

function timesOf(keepsFailing: ReadonlySet<string>) {
  const clock = virtualClock();
  const tries: { readonly sha256: string; readonly at: number }[] = [];
  const retries = new Retries({
    clock,
    onAll: () => tries.push({ sha256: 'everything', at: clock.monotonic() }),
    onDue(due) {
      for (const sha256 of due) {
        tries.push({ sha256, at: clock.monotonic() });
        if (keepsFailing.has(sha256)) retries.later(sha256, 'blocked');
        else retries.settled(sha256);
      }
    },
  });
  const of = (wanted: string) => tries.filter(({ sha256 }) => sha256 === wanted).map(({ at }) => at);
  return { clock, retries, of };
}

describe('what could not be placed is tried again', () => {
  it('less and less often, up to every two minutes', async () => {
    const { clock, retries, of } = timesOf(new Set(['never']));
    retries.later('never', 'blocked');
    await clock.pass(3_600_000);
    const waits = of('never').map((at, i, all) => at - (all[i - 1] ?? 0));
    assert.ok(waits[0]! <= 500, 'soon at first');
    assert.ok(waits.every((wait) => wait <= 120_000));
    assert.ok(waits.length > 30 && waits.length < 75, `${waits.length} tries in an hour`);
    retries.cancel();
  });

  it('soon, although something else has been tried in vain for an hour', async () => {
    const { clock, retries, of } = timesOf(new Set(['never']));
    retries.later('never', 'blocked');
    await clock.pass(3_600_000);
    const before = clock.monotonic();
    retries.later('new', 'blocked');
    await clock.pass(600);
    assert.equal(of('new').length, 1);
    assert.ok(of('new')[0]! - before <= 500);
    retries.cancel();
  });

  it('not at all when it has its place, and soon again after circumstances have changed', async () => {
    const { clock, retries, of } = timesOf(new Set());
    retries.later('placed', 'blocked');
    retries.settled('placed');
    await clock.pass(60_000);
    assert.deepEqual(of('placed'), []);
    for (let i = 0; i < 8; i++) {
      retries.later('absent', 'absent');
      await clock.pass(600_000);
    }
    retries.reset();
    const before = clock.monotonic();
    retries.later('absent', 'absent');
    await clock.pass(1_100);
    assert.ok((of('absent').at(-1) ?? 0) - before > 0);
    retries.cancel();
  });

  it('together with everything else, when there is too much of it to remember', async () => {
    const { clock, retries, of } = timesOf(new Set());
    for (let i = 0; i < 3_000; i++) retries.later(String(i), 'absent');
    await clock.pass(1_100);
    assert.equal(of('everything').length, 1);
    assert.equal(of('7').length, 1);
    assert.equal(of('2999').length, 0);
    retries.cancel();
  });
});

describe('files that can not be placed', () => {
  it('are not tried without a pause, also if they have the same contents', () =>
    withClub(async (club) => {
      const a = await club.member('a');
      const b = await club.member('b');
      for (const name of ['one', 'two']) {
        await writeFile(a.at(name), 'the same in both');
        await symlink('/nowhere', b.at(name));
      }
      await writeFile(a.at('three'), 'the same in both');
      connect(a, b);
      const isTry = ({ message }: { readonly message: string }) =>
        message === 'something on the disk is not as expected';
      await eventually('both were tried twice', () => b.log.filter(isTry).length >= 4);
      const start = b.log.length;
      const until = Date.now() + 1_000;
      await eventually('a second has passed', () => Date.now() > until);
      const tries = b.log.slice(start).filter(isTry).length;
      assert.ok(tries <= 12, `${tries} tries in a second`);
    }));
});
