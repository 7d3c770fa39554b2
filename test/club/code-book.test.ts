import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Secret } from '../../agent/base/log.ts';
import { accessOfCode, accessOfCredentials, parseAccessCode } from '../../agent/club/access-code.ts';
import type { Club } from '../../agent/club/club.ts';
import type { CodeInfo } from '../../agent/club/code-book.ts';
import { keysFor } from '../../agent/club/keys.ts';
import type { Registry } from '../../agent/club/registry.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { TestDevice } from './test-device.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ALICE = 'a'.repeat(32);
const BOB = 'b'.repeat(32);

interface Setting {
  readonly clock: VirtualClock;
  readonly device: TestDevice;
  readonly registry: Registry;
  readonly club: Club;
}

async function setting(clock = virtualClock()): Promise<Setting> {
  const device = new TestDevice(clock);
  const registry = await device.start();
  const club = await registry.create({ name: 'Music', folder: '/music' });
  return { clock, device, registry, club };
}

function restarted({ device, club }: Setting): Promise<Club> {
  return device.start().then((registry) => {
    const again = registry.get(club.id);
    assert.ok(again !== undefined);
    return again;
  });
}

function stateOf(club: Club, { id }: CodeInfo): string | undefined {
  return club.codes.list().find((code) => code.id === id)?.state;
}

test('a new code lets in whoever can read it: its ID and secret are those of its text', async () => {
  const { club, clock } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  assert.ok(info.code !== undefined);
  const access = accessOfCode(parseAccessCode(info.code.reveal()), sha256);
  assert.equal(access.id, info.id);
  assert.equal(club.codes.secretFor(info.id)?.reveal(), access.secret.reveal());
  assert.equal(info.state, 'open');
  assert.equal(info.multiUse, false);
  assert.equal(info.expires, clock.now() + 86_400n * 1_000_000_000n);
  assert.deepEqual(club.codes.liveIds(), [info.id]);
});

test('a user name and a password serve as a code', async () => {
  const { club } = await setting();
  const password = new Secret('open sesame');
  const info = await club.codes.create({ level: 'read_only', credentials: { username: 'Müller', password } });
  const access = accessOfCredentials('Mu\u0308ller', password, sha256);
  assert.equal(info.id, access.id);
  assert.equal(club.codes.secretFor(info.id)?.reveal(), access.secret.reveal());
  assert.equal(info.code, undefined);
  assert.equal(info.username, 'Müller');
  await assert.rejects(
    club.codes.create({ level: 'read_only', credentials: { username: 'Müller', password } }),
    { code: 'code.username_taken', fault: 'user' },
  );
  await club.codes.revoke(info.id);
  await club.codes.create({ level: 'read_only', credentials: { username: 'Müller', password } });
  await assert.rejects(
    club.codes.create({
      level: 'read_only',
      credentials: { username: 'x', password: new Secret('1234567') },
    }),
    { code: 'code.password_short' },
  );
});

test('one user name serves one share of a device only', async () => {
  const { club, registry } = await setting();
  const other = await registry.create({ name: 'Other', folder: '/other' });
  const credentials = { username: 'name', password: new Secret('long enough') };
  await club.codes.create({ level: 'read_only', credentials });
  await assert.rejects(other.codes.create({ level: 'read_only', credentials }), {
    code: 'code.username_taken',
  });
});

test('a single-use code ends when its keys are acknowledged, also after a restart', async () => {
  const all = await setting();
  const { club } = all;
  const info = await club.codes.create({ level: 'read_write' });
  const claim = await club.codes.claim(info.id, ALICE);
  assert.equal(claim.level, 'read_write');
  claim.sending();
  await claim.acknowledged();
  assert.equal(stateOf(club, info), 'used');
  for (const each of [club, await restarted(all)]) {
    assert.equal(each.codes.secretFor(info.id), undefined);
    assert.deepEqual(each.codes.liveIds(), []);
    await assert.rejects(each.codes.claim(info.id, ALICE), { code: 'code.ended' });
    await assert.rejects(each.codes.claim(info.id, BOB), { code: 'code.ended' });
    assert.equal(each.codes.list()[0]?.code, undefined);
  }
  assert.equal((await restarted(all)).codes.list()[0]?.uses, 1);
});

test('while one peer uses a code nobody else may, not even under the same peer ID', async () => {
  const { club } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  await club.codes.claim(info.id, ALICE);
  await assert.rejects(club.codes.claim(info.id, BOB), { code: 'code.taken', fault: 'peer' });
  await assert.rejects(club.codes.claim(info.id, ALICE), { code: 'code.taken' });
  // Its secret is still good: who comes is told no after it has proved that it knows the code.
  assert.ok(club.codes.secretFor(info.id) !== undefined);
});

test('a peer that leaves before the keys were sent frees the code at once', async () => {
  const { club } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  const claim = await club.codes.claim(info.id, ALICE);
  await claim.release();
  assert.equal(stateOf(club, info), 'open');
  await club.codes.claim(info.id, BOB);
});

test('after the keys were sent, the code stays bound to that peer for 60 s', async () => {
  const { club, clock } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  const claim = await club.codes.claim(info.id, ALICE);
  claim.sending();
  await claim.release();
  await assert.rejects(club.codes.claim(info.id, BOB), { code: 'code.taken' });
  await clock.pass(59_000);
  await assert.rejects(club.codes.claim(info.id, BOB), { code: 'code.taken' });
  const again = await club.codes.claim(info.id, ALICE);
  again.sending();
  await again.release();
  await clock.pass(61_000);
  const bob = await club.codes.claim(info.id, BOB);
  bob.sending();
  await bob.acknowledged();
  assert.equal(stateOf(club, info), 'used');
});

test('a binding outlives a restart, and gets its 60 s anew', async () => {
  const all = await setting();
  const info = await all.club.codes.create({ level: 'read_write' });
  (await all.club.codes.claim(info.id, ALICE)).sending();
  await all.clock.pass(50_000);
  const again = await restarted(all);
  await assert.rejects(again.codes.claim(info.id, BOB), { code: 'code.taken' });
  await again.codes.claim(info.id, ALICE);
});

test('a peer that shows up with the keys has used the code, though its acknowledgment was lost', async () => {
  for (const pause of [0, 120_000]) {
    const { club, clock, registry } = await setting();
    const info = await club.codes.create({ level: 'read_write' });
    const claim = await club.codes.claim(info.id, ALICE);
    claim.sending();
    await claim.release();
    await clock.pass(pause);
    await club.codes.sawMember(BOB);
    assert.notEqual(stateOf(club, info), 'used');
    await club.codes.sawMember(ALICE);
    assert.equal(stateOf(club, info), 'used');
    await registry.close();
  }
});

test('a multi-use code serves many peers at once and counts them', async () => {
  const { club } = await setting();
  const info = await club.codes.create({ level: 'read_only', multiUse: true, lifetime: null });
  const claims = await Promise.all([ALICE, BOB, ALICE].map((peer) => club.codes.claim(info.id, peer)));
  for (const claim of claims) {
    claim.sending();
    await claim.acknowledged();
  }
  assert.equal(club.codes.list()[0]?.uses, 3);
  assert.equal(stateOf(club, info), 'open');
  assert.equal(info.expires, undefined);
});

test('a code expires by itself, and says so', async () => {
  const { club, clock, registry } = await setting();
  const day = await club.codes.create({ level: 'read_write' });
  const short = await club.codes.create({ level: 'read_write', lifetime: 60 });
  const never = await club.codes.create({ level: 'read_write', lifetime: null });
  const changes: string[] = [];
  registry.onChange(({ kind }) => changes.push(kind));
  await clock.pass(59_000);
  assert.equal(club.codes.liveIds().length, 3);
  await clock.pass(2_000);
  assert.equal(stateOf(club, short), 'expired');
  assert.ok(changes.includes('ids'), 'who announces the IDs is told');
  await clock.pass(DAY);
  assert.deepEqual(club.codes.liveIds(), [never.id]);
  assert.equal(club.codes.secretFor(day.id), undefined);
  await assert.rejects(club.codes.claim(day.id, ALICE), { code: 'code.ended' });
  await registry.close();
});

test('a revoked code is of no use, even to a peer in the middle of joining', async () => {
  const { club } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  const claim = await club.codes.claim(info.id, ALICE);
  await club.codes.revoke(info.id);
  assert.throws(() => claim.sending(), { code: 'code.ended' });
  await claim.release();
  assert.equal(stateOf(club, info), 'revoked');
  assert.equal(club.codes.secretFor(info.id), undefined);
  await assert.rejects(club.codes.revoke(info.id), { code: 'code.ended', fault: 'user' });
  await assert.rejects(club.codes.revoke('0'.repeat(64)), { code: 'code.unknown' });
});

test('ended codes are remembered until their expiry and 30 days, then forgotten', async () => {
  const { club, clock, registry } = await setting();
  const used = await club.codes.create({ level: 'read_write' });
  await (await club.codes.claim(used.id, ALICE)).acknowledged();
  const endless = await club.codes.create({ level: 'read_write', lifetime: null });
  await club.codes.revoke(endless.id);
  await clock.pass(29.5 * DAY);
  assert.deepEqual(
    club.codes.list().map(({ id }) => id),
    [used.id, endless.id],
  );
  await clock.pass(DAY);
  assert.deepEqual(
    club.codes.list().map(({ id }) => id),
    [used.id],
  );
  await clock.pass(DAY);
  assert.deepEqual(club.codes.list(), []);
  await registry.close();
});

test('a code made before the clock was set lives its time from when it is', async () => {
  let now = 1_000_000_000n;
  const virtual = virtualClock();
  const clock: VirtualClock = { ...virtual, now: () => now };
  const all = await setting(clock);
  const info = await all.club.codes.create({ level: 'read_write' });
  now = 1_790_000_000_000_000_000n;
  assert.deepEqual(all.club.codes.liveIds(), [info.id], 'also before anybody looked');
  const again = await restarted(all);
  assert.deepEqual(again.codes.liveIds(), [info.id]);
  assert.equal(again.codes.list()[0]?.expires, now + 86_400n * 1_000_000_000n);
  now += 86_500n * 1_000_000_000n;
  assert.deepEqual(again.codes.liveIds(), []);
  // A device without a clock of its own comes up in 1970 again.
  now = 5_000_000_000n;
  assert.equal((await restarted(all)).codes.list().length, 1);
});

test('a read-only member can let others read, not write', async () => {
  const { registry, club } = await setting();
  const keys = keysFor(club.keys, 'read_only');
  assert.ok(keys !== undefined);
  await registry.leave(club.id);
  const reader = await registry.adopt(keys, ALICE, { name: 'Music', folder: '/music' });
  await reader.codes.create({ level: 'read_only' });
  await assert.rejects(reader.codes.create({ level: 'read_write' }), { code: 'code.level', fault: 'user' });
});

test('nonsense is refused: lifetimes, and more codes than anybody needs', async () => {
  const { club } = await setting();
  for (const lifetime of [0, -1, 1.5, Number.NaN, 1e12]) {
    await assert.rejects(club.codes.create({ level: 'read_only', lifetime }), { code: 'code.lifetime' });
  }
  await Promise.all(Array.from({ length: 256 }, () => club.codes.create({ level: 'read_only' })));
  await assert.rejects(club.codes.create({ level: 'read_only' }), { code: 'code.too_many' });
});

test('of many joiners at once, whatever they do in whatever order, one gets the keys of a single-use code', async () => {
  const step = fc.record({
    peer: fc.constantFrom(ALICE, BOB, 'c'.repeat(32)),
    does: fc.constantFrom('leave', 'send', 'acknowledge'),
    pause: fc.constantFrom(0, 0, 1_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const { club, clock, registry } = await setting();
      const info = await club.codes.create({ level: 'read_write' });
      const acknowledged: string[] = [];
      let holders = 0;
      await clock.run(
        Promise.all(
          steps.map(async ({ peer, does, pause }) => {
            const claim = await club.codes.claim(info.id, peer).catch(() => undefined);
            if (claim === undefined) return;
            holders += 1;
            assert.equal(holders, 1, 'two hold the code at one time');
            await new Promise<void>((resolve) => clock.after(pause, resolve));
            if (does !== 'leave') claim.sending();
            holders -= 1;
            if (does === 'acknowledge') {
              await claim.acknowledged();
              acknowledged.push(peer);
            } else await claim.release();
          }),
        ),
      );
      assert.ok(acknowledged.length <= 1);
      assert.equal(stateOf(club, info) === 'used', acknowledged.length === 1);
      await registry.close();
    }),
    { numRuns: 60 },
  );
});

test('a code that could not be bound for want of space can be used once there is some', async () => {
  const { club, device } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  device.disk.steps = 0;
  device.disk.cutAt = 3;
  device.disk.failure = Object.assign(new Error('full'), { code: 'ENOSPC' });
  await assert.rejects(club.codes.claim(info.id, ALICE), { code: 'state.write_failed' });
  await club.codes.claim(info.id, BOB);
});

test('power may fail at any step of using a code: a used one never comes back, and no two peers get keys', async () => {
  for (let cut = 1; cut <= 16; cut++) {
    const all = await setting();
    const info = await all.club.codes.create({ level: 'read_write' });
    all.device.disk.steps = 0;
    all.device.disk.cutAt = cut;
    let sent = false;
    let used = false;
    try {
      const claim = await all.club.codes.claim(info.id, ALICE);
      claim.sending();
      sent = true;
      await claim.acknowledged();
      used = true;
    } catch (thrown) {
      assert.equal((thrown as { code?: string }).code, 'state.write_failed');
    }
    all.device.disk.restart((index) => (index + cut) % 2 === 0);
    const again = await restarted(all);
    const bob = await again.codes.claim(info.id, BOB).catch((thrown: { code?: string }) => thrown.code);
    if (used) assert.equal(bob, 'code.ended');
    else if (sent) assert.ok(bob === 'code.taken' || bob === 'code.ended');
  }
});

test('secrets are not in the log, and not in the state once a code has ended', async () => {
  const { club, device } = await setting();
  const info = await club.codes.create({ level: 'read_write' });
  const code = info.code?.reveal() ?? '';
  const { secret } = accessOfCode(parseAccessCode(code), sha256);
  const onDisk = async () => new TextDecoder().decode(await device.disk.read('/state.json'));
  assert.ok((await onDisk()).includes(secret.reveal()), 'what is looked for can be found');
  await (await club.codes.claim(info.id, ALICE)).acknowledged();
  assert.ok(!(await onDisk()).includes(secret.reveal()));
  assert.ok(!device.logText.includes(secret.reveal()) && !device.logText.includes(code));
  assert.ok(!JSON.stringify({ ...info, created: 0, expires: 0 }).includes(code));
});

test('whoever has a code and only begins with it, again and again, does not wear out the disk', async () => {
  for (const multiUse of [false, true]) {
    const { club, clock, device } = await setting();
    const info = await club.codes.create({ level: 'read_write', multiUse, lifetime: null });
    let writes = 0;
    let refusals = 0;
    for (let second = 0; second < 3_600; second++) {
      const before = device.disk.steps;
      try {
        const claim = await club.codes.claim(info.id, ALICE);
        claim.sending();
        await (multiUse ? claim.acknowledged() : claim.release());
      } catch (thrown) {
        assert.ok(['code.busy', 'code.taken'].includes((thrown as { code: string }).code), String(thrown));
        refusals += 1;
      }
      if (device.disk.steps > before) writes += 1;
      await clock.pass(1_000);
    }
    assert.ok(writes <= 400 && refusals >= 3_000, `${writes} writes, ${refusals} refusals`);
    // Somebody else's turn comes.
    await clock.pass(4 * 60_000);
    await club.codes.claim(info.id, ALICE);
  }
});
