import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { memoryStreamPair } from '../support/memory-stream.ts';
import {
  ALICE,
  BOB,
  given,
  grantOf,
  greeting,
  handshake,
  join,
  keysText,
  MEMBER,
  started,
  who,
} from './handshake-ends.ts';
import { framed, RawPeer } from './raw-peer.ts';

test('two members introduce themselves, however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 }),
      fc.subarray(['database', 'directory', 'gzip', '.io.skylark.x']),
      fc.subarray(['database', 'directory', 'rsync', '.io.skylark.x']),
      async (pieces, left, right) => {
        const [a, b] = memoryStreamPair({ pieces });
        const [server, client] = await Promise.all([
          handshake(a, { role: 'server', self: who(ALICE, left), purpose: MEMBER }),
          handshake(b, { role: 'client', self: who(BOB, right), purpose: MEMBER }),
        ]);
        const common = left.filter((name) => right.includes(name)).sort();
        assert.deepEqual([...server.extensions].sort(), common);
        assert.deepEqual([...client.extensions].sort(), common);
        assert.deepEqual(
          { ...server.peer, address: '' },
          { id: BOB, name: 'name b', software: 'test 1', instance: who(BOB).instance, address: '' },
        );
        assert.equal(client.peer.id, ALICE);
        assert.equal(client.level, 'read_write');
      },
    ),
    { numRuns: 50 },
  );
});

for (const role of ['server', 'client'] as const) {
  const other = role === 'server' ? 'client' : 'server';
  for (const level of ['read_write', 'read_only'] as const) {
    test(`who made the code gives the ${level} keys, as the TLS ${role}`, async () => {
      const [a, b] = memoryStreamPair({ pieces: [7, 300] });
      const { events, purpose } = grantOf(level);
      const [giver, taker] = await Promise.all([
        handshake(a, { role, self: who(ALICE), purpose }),
        handshake(b, {
          role: other,
          self: who(BOB),
          purpose: join(async (keys) => {
            assert.deepEqual(keys, given(level));
            events.push('stored');
          }),
        }),
      ]);
      assert.equal(giver.level, level);
      assert.equal(taker.level, level);
      assert.deepEqual(events, ['claimed by b', 'sending', 'stored', 'acknowledged']);
    });
  }

  test(`the keys are acknowledged only once they are stored, as the TLS ${role}`, async () => {
    const [a, b] = memoryStreamPair();
    const giver = new RawPeer(a);
    const stored = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const done = handshake(b, {
      role,
      self: who(BOB),
      purpose: join(() => {
        asked.resolve();
        return stored.promise;
      }),
    });
    if (role === 'client') await giver.say(framed(greeting()));
    await giver.hearOf(role === 'client' ? 'core.start' : 'core.greeting');
    if (role === 'server') await giver.say(framed(started()));
    await giver.say(framed(keysText('read_write')));
    await asked.promise;
    const heard = giver.hear();
    const first = await Promise.race([heard, new Promise((resolve) => setImmediate(resolve, 'silence'))]);
    assert.equal(first, 'silence');
    stored.resolve();
    assert.equal((await heard)?.type, 'core.keys_acknowledgment');
    assert.equal((await done).level, 'read_write');
  });
}

test('nothing goes on before the use of the code is written down', async () => {
  const [a, b] = memoryStreamPair();
  const written = Promise.withResolvers<void>();
  const { purpose } = grantOf('read_write', { acknowledged: () => written.promise });
  const giver = handshake(a, { role: 'server', self: who(ALICE), purpose });
  await handshake(b, { role: 'client', self: who(BOB), purpose: join() });
  const early = await Promise.race([giver, new Promise((resolve) => setImmediate(resolve, 'waiting'))]);
  assert.equal(early, 'waiting');
  written.resolve();
  assert.equal((await giver).level, 'read_write');
});

test('the messages look as in the specification; the name may be missing or null', async () => {
  const [a, b] = memoryStreamPair();
  const raw = new RawPeer(a);
  const done = handshake(b, { role: 'server', self: { ...who(BOB), name: undefined }, purpose: MEMBER });
  assert.deepEqual(Object.keys((await raw.hear()) ?? {}), [
    'type',
    'software',
    'protocol',
    'extensions',
    'peer',
    'instance',
  ]);
  await raw.say(
    framed('{"type":"core.start","protocol":1,"name":null,"peer":"77b8065588ec32f95f598e93db6672ac"}'),
  );
  const { peer, extensions } = await done;
  assert.equal(peer.name, undefined);
  assert.equal(peer.instance, undefined);
  assert.equal(extensions.size, 0);
});

test('a few unknown messages in between do no harm', async () => {
  const [a, b] = memoryStreamPair({ pieces: [5] });
  const raw = new RawPeer(a);
  const done = handshake(b, { role: 'server', self: who(BOB), purpose: grantOf('read_write').purpose });
  const noise = framed('{"type":".com.example.hello"}') + framed('{"type":"core.future","a":[1]}');
  await raw.say(`${noise}!14{"type":"x.y"}3\nabc0\n${framed(started())}${noise}`);
  await raw.say(framed('{"type":"core.ping","timeout":5}') + framed('{"type":"core.keys_acknowledgment"}'));
  assert.equal((await done).peer.id, ALICE);
});
