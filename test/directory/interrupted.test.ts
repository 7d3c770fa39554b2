/** Contents that stop coming in the middle: a line that breaks, a record that changes, a disk that says no. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { eventually } from '../support/eventually.ts';
import { type Member, withClub } from './members.ts';
import { inPieces, ScriptedPeer } from './scripted-peer.ts';

const sha256Of = (contents: Uint8Array) => createHash('sha256').update(contents).digest('hex');

/** A record of contents that are still to come. */
function announce(member: Member, key: string, contents: Uint8Array): string {
  const value = { size: contents.length, sha256: sha256Of(contents), unix_mode: '0644' };
  return member.database.put(key, value).uuid;
}

function hasTrouble(member: Member): boolean {
  return member.log.some(({ message }) => message === 'a file could not be put into its place');
}

const temporaries = (member: Member) => readdirSync(member.at('.clearskies/tmp'));

/** Temporaries of the share that this process has open. */
function openTemporaries(folder: string): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    })
    .filter((path) => path.startsWith(join(folder, '.clearskies/tmp/')));
}

it(
  'a line that breaks in the middle of a large file is no trouble of the disk, and what has come is kept',
  { timeout: 40_000 },
  () =>
    withClub(async (club) => {
      const member = await club.member('a');
      const large = randomBytes(1_500_000);
      announce(member, '/large', large);
      const middle = Promise.withResolvers<void>();
      const first = new ScriptedPeer(member, 'first', (asked) =>
        inPieces(large, asked, (sent) => {
          if (asked.offset === 0 || sent < 300_000) return undefined;
          middle.resolve();
          return new Promise(() => {});
        }),
      );
      await middle.promise;
      await first.cut();
      assert.deepEqual(member.share.problems(), []);
      assert.equal(hasTrouble(member), false);
      const second = new ScriptedPeer(member, 'second', (asked) => inPieces(large, asked));
      await eventually('the rest comes from another', () => existsSync(member.at('large')));
      assert.deepEqual(readFileSync(member.at('large')), large);
      const whole = first.asked.find(({ offset }) => offset === 0);
      assert.ok(whole);
      assert.ok(second.asked.every(({ offset }) => offset >= whole.length));
    }),
);

it(
  'contents that nobody needs any more may go on coming: they are thrown away, and others follow',
  { timeout: 40_000 },
  () =>
    withClub(async (club) => {
      const member = await club.member('a');
      const [large, other] = [randomBytes(1_500_000), randomBytes(200_000)];
      const uuid = announce(member, '/large', large);
      const [middle, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      new ScriptedPeer(member, 'peer', (asked) => {
        if (asked.sha256 !== sha256Of(large)) return inPieces(other, asked);
        return inPieces(large, asked, (sent) => {
          if (sent < 300_000) return undefined;
          middle.resolve();
          return gate.promise;
        });
      });
      await middle.promise;
      await eventually('it grows', () => temporaries(member).length === 1);
      member.database.remove(uuid);
      await eventually('it is removed', () => temporaries(member).length === 0);
      announce(member, '/other', other);
      gate.resolve();
      await eventually('the other one comes', () => existsSync(member.at('other')));
      assert.deepEqual(member.share.problems(), []);
      assert.equal(hasTrouble(member), false);
      assert.deepEqual(temporaries(member), []);
    }),
);

it('what another has delivered meanwhile is not written to any more', { timeout: 40_000 }, () =>
  withClub(async (club) => {
    let ahead = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead };
    const member = await club.member('a', { share: { clock } });
    const [large, other] = [randomBytes(400_000), randomBytes(200_000)];
    announce(member, '/large', large);
    const [mayBegin, mayEnd] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const wrong = new Uint8Array(large.length);
    const slow = new ScriptedPeer(member, 'slow', (asked) => {
      if (asked.sha256 !== sha256Of(large)) return inPieces(other, asked);
      return inPieces(wrong, asked, (sent) => (sent === 0 ? mayBegin.promise : mayEnd.promise));
    });
    await eventually('the slow one is asked', () => slow.asked.length === 1);
    ahead = 6_000;
    const mayDeliver = Promise.withResolvers<void>();
    const fast = new ScriptedPeer(member, 'fast', (asked) =>
      asked.sha256 === sha256Of(large) ? inPieces(large, asked, () => mayDeliver.promise) : undefined,
    );
    await eventually('the fast one is asked too', () => fast.asked.length === 1);
    mayBegin.resolve();
    await eventually('the slow one has begun', () => member.share.traffic().received >= 100_000);
    mayDeliver.resolve();
    await eventually('it is there', () => existsSync(member.at('large')));
    announce(member, '/other', other);
    mayEnd.resolve();
    await eventually('the other one comes', () => existsSync(member.at('other')));
    assert.deepEqual(readFileSync(member.at('large')), large);
    assert.deepEqual(member.share.problems(), []);
    assert.equal(hasTrouble(member), false);
  }),
);

it(
  'files that the file system can not hold leave nothing open, and nothing behind',
  { timeout: 40_000 },
  (t) =>
    withClub(async (club) => {
      const member = await club.member('a');
      const contents = Array.from({ length: 5 }, () => randomBytes(3_000_000));
      if (!limitFileSize(t, 1_000_000)) return t.skip('needs prlimit');
      for (const [i, one] of contents.entries()) announce(member, `/large ${i}`, one);
      const bySha256 = new Map(contents.map((one) => [sha256Of(one), one]));
      new ScriptedPeer(member, 'peer', (asked) => {
        const one = bySha256.get(asked.sha256);
        return one && inPieces(one, asked);
      });
      await eventually('it is told', () =>
        member.share.problems().some(({ code }) => code === 'files.too_big'),
      );
      await eventually('nothing is left', () => temporaries(member).length === 0);
      await eventually('nothing is open', () => openTemporaries(member.folder).length === 0);
    }),
);

it('files that a full disk refused do not stay open, and go on where they were', { timeout: 40_000 }, (t) =>
  withClub(async (club) => {
    const small = mountSmall(t);
    if (small === undefined) return t.skip('needs root, to mount');
    const member = await club.member('a', { share: { path: small, reserve: 0n } });
    const large = randomBytes(3_000_000);
    announce(member, '/large', large);
    const [middle, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const peer = new ScriptedPeer(member, 'peer', (asked) =>
      inPieces(large, asked, (sent) => {
        if (asked.offset === 0 || sent < 300_000) return undefined;
        middle.resolve();
        return gate.promise;
      }),
    );
    await middle.promise;
    const filling = join(small, '.clearskies/filling');
    assert.throws(() => writeFileSync(filling, Buffer.alloc(16_000_000)), { code: 'ENOSPC' });
    gate.resolve();
    await eventually('it is told', () =>
      member.share.problems().some(({ code }) => code === 'files.no_space'),
    );
    await eventually('nothing is open', () => openTemporaries(small).length === 0);
    assert.equal(readdirSync(join(small, '.clearskies/tmp')).length, 1);
    rmSync(filling);
    await eventually('it comes', () => existsSync(join(small, 'large')));
    assert.deepEqual(readFileSync(join(small, 'large')), large);
    assert.equal(peer.asked.filter(({ offset }) => offset === 0).length, 1);
  }),
);

/** A file system of 8 MiB; undefined where nothing can be mounted. */
function mountSmall(t: TestContext): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'skylark-small-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', path]);
  t.after(() => {
    if (mounted.status === 0) spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  });
  return mounted.status === 0 ? path : undefined;
}

/** Of this process, until the test ends. False if that can't be set. */
function limitFileSize(t: TestContext, bytes: number): boolean {
  const limit = (value: string) => ['--pid', String(process.pid), `--fsize=${value}:`];
  const set = spawnSync('prlimit', limit(String(bytes)));
  if (set.status !== 0) return false;
  t.after(() => execFileSync('prlimit', limit('unlimited')));
  return true;
}
