import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { peerError } from '../../agent/base/errors.ts';
import type { Purpose } from '../../agent/club/handshake.ts';
import { memoryStreamPair } from '../support/memory-stream.ts';
import { mutated, survivesAsync } from '../support/properties.ts';
import {
  ALICE,
  BOB,
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

const HUGE = 'n'.repeat(1_000_000);

/** What a hostile client may say to a server, and why it is sent away. */
const TO_SERVER: Readonly<Record<string, readonly [string, string]>> = {
  'another version': [framed(started({ protocol: 2 })), 'session.version'],
  'no version': [framed(started({ protocol: undefined })), 'schema.mismatch'],
  'a version that is no integer': [framed(started({ protocol: 1.5 })), 'schema.mismatch'],
  'a huge name': [framed(started({ name: HUGE })), 'schema.mismatch'],
  'a huge software name': [framed(started({ software: HUGE })), 'schema.mismatch'],
  'a thousand extensions': [framed(started({ extensions: Array(1_000).fill('x') })), 'schema.mismatch'],
  'a peer ID that is a path': [
    framed(started({ peer: '../../../../../etc/passwd/////////' })),
    'schema.mismatch',
  ],
  'an upper-case peer ID': [framed(started({ peer: 'A'.repeat(32) })), 'schema.mismatch'],
  'our own peer ID': [framed(started({ peer: BOB })), 'session.loopback'],
  'our own peer ID from another process': [
    framed(started({ peer: BOB, instance: 'c'.repeat(32) })),
    'session.cloned',
  ],
  'our own process under another peer ID': [
    framed(started({ instance: who(BOB).instance })),
    'session.loopback',
  ],
  'a greeting': [framed(greeting()), 'session.out_of_turn'],
  'an update before the start': [framed('{"type":"database.update"}'), 'session.out_of_turn'],
  'keys before the start': [framed(keysText('read_write')), 'session.out_of_turn'],
  'nothing but unknown messages': [framed('{"type":"x.y"}').repeat(17), 'session.too_many_messages'],
  'nothing but pings': [framed('{"type":"core.ping","timeout":1}').repeat(17), 'session.too_many_messages'],
  'a negative length': ['m-5{"type":"x"}', 'wire.length_malformed'],
  'an HTTP request': ['GET / HTTP/1.1\r\n\r\n', 'wire.prefix_unknown'],
};

for (const [what, [text, code]] of Object.entries(TO_SERVER)) {
  test(`a client is sent away and hears nothing but the greeting: ${what}`, async () => {
    for (const purpose of [MEMBER, grantOf('read_write').purpose, join()]) {
      const [a, b] = memoryStreamPair();
      const raw = new RawPeer(a);
      const done = handshake(b, { role: 'server', self: who(BOB), purpose });
      const heard = raw.hearAll();
      await raw.say(text);
      await assert.rejects(done, { code, fault: 'peer' });
      assert.deepEqual(await heard, ['core.greeting']);
    }
  });
}

const TO_CLIENT: Readonly<Record<string, readonly [string, string]>> = {
  'only other versions': [framed(greeting({ protocol: [2, 3] })), 'session.version'],
  'no versions': [framed(greeting({ protocol: [] })), 'session.version'],
  'our own peer ID': [framed(greeting({ peer: BOB })), 'session.loopback'],
  'our own peer ID from another process': [
    framed(greeting({ peer: BOB, instance: 'c'.repeat(32) })),
    'session.cloned',
  ],
  'a start': [framed(started()), 'session.out_of_turn'],
  'a huge name': [framed(greeting({ name: HUGE })), 'schema.mismatch'],
};

for (const [what, [text, code]] of Object.entries(TO_CLIENT)) {
  test(`a server is left without a word: ${what}`, async () => {
    const [a, b] = memoryStreamPair();
    const raw = new RawPeer(a);
    const done = handshake(b, { role: 'client', self: who(BOB), purpose: MEMBER });
    const heard = raw.hearAll();
    await raw.say(text);
    await assert.rejects(done, { code, fault: 'peer' });
    assert.deepEqual(await heard, []);
  });
}

/** After a good start, while the acknowledgment of the keys is due. */
const TO_GRANTER: Readonly<Record<string, readonly [string, string]>> = {
  'keys of its own': [framed(keysText('read_write')), 'session.out_of_turn'],
  'an update before the acknowledgment': [framed('{"type":"database.get_updates"}'), 'session.out_of_turn'],
  'another start': [framed(started()), 'session.out_of_turn'],
  'nothing but unknown messages': [framed('{"type":"x.y"}').repeat(17), 'session.too_many_messages'],
};

for (const [what, [text, code]] of Object.entries(TO_GRANTER)) {
  test(`a joiner that does not acknowledge is sent away, and the code is released: ${what}`, async () => {
    const [a, b] = memoryStreamPair();
    const raw = new RawPeer(a);
    const { events, purpose } = grantOf('read_only');
    const done = handshake(b, { role: 'server', self: who(BOB), purpose });
    const heard = raw.hearAll();
    await raw.say(framed(started()) + text);
    await assert.rejects(done, { code, fault: 'peer' });
    assert.deepEqual(await heard, ['core.greeting', 'core.keys']);
    assert.deepEqual(events, ['claimed by a', 'sending', 'released']);
  });
}

test('a peer that may not have the keys gets none', async () => {
  const refusals: readonly Purpose[] = [
    { kind: 'grant', claim: () => Promise.reject(peerError('code.taken', 'no')) },
    grantOf('read_write', {
      sending: () => {
        throw peerError('code.taken', 'ended meanwhile');
      },
    }).purpose,
  ];
  for (const purpose of refusals) {
    const [a, b] = memoryStreamPair();
    const raw = new RawPeer(a);
    const done = handshake(b, { role: 'server', self: who(BOB), purpose });
    const heard = raw.hearAll();
    await raw.say(framed(started()));
    await assert.rejects(done, { code: 'code.taken' });
    assert.deepEqual(await heard, ['core.greeting']);
  }
});

test('keys that can not be stored are not acknowledged', async () => {
  const [a, b] = memoryStreamPair();
  const { events, purpose } = grantOf('read_write');
  const giver = handshake(a, { role: 'server', self: who(ALICE), purpose });
  const taker = handshake(b, {
    role: 'client',
    self: who(BOB),
    purpose: join(() => Promise.reject(new Error('disk full'))),
  });
  await assert.rejects(taker, /disk full/);
  await assert.rejects(giver);
  assert.deepEqual(events, ['claimed by b', 'sending', 'released']);
});

test('keys that come before the introduction, or malformed, are not taken', async () => {
  for (const text of [
    framed(keysText('read_write')),
    framed(greeting()) + framed('{"type":"core.keys","access_level":"read_write"}'),
    framed(greeting()) +
      framed(
        '{"type":"core.keys","access_level":"read_write","keys":[{"access_level":"read_write","id":"00"}]}',
      ),
  ]) {
    const [a, b] = memoryStreamPair();
    let stored = 0;
    const done = handshake(b, {
      role: 'client',
      self: who(BOB),
      purpose: join(async () => {
        stored += 1;
      }),
    });
    await new RawPeer(a).say(text);
    await assert.rejects(done, { fault: 'peer' });
    assert.equal(stored, 0);
  }
});

test('an end or a break at any byte ends the handshake and releases the code', async () => {
  const whole = utf8(framed(started()) + framed('{"type":"core.keys_acknowledgment"}'));
  for (let length = 0; length < whole.length; length += 3) {
    for (const how of ['end', 'break'] as const) {
      const [a, b] = memoryStreamPair();
      const { events, purpose } = grantOf('read_write');
      const done = handshake(b, { role: 'server', self: who(BOB), purpose });
      await a.write(whole.subarray(0, length));
      if (how === 'end') await a.close();
      else a.abort(peerError('test.broken', 'cut'));
      await assert.rejects(done);
      assert.ok(events.length === 0 || events.at(-1) === 'released', events.join());
    }
  }
});

test('no bytes make it do worse than refuse', async () => {
  const good = utf8(framed(started()) + framed('{"type":"core.keys_acknowledgment"}'));
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(good)), async (bytes) => {
      const [a, b] = memoryStreamPair();
      const done = handshake(b, { role: 'server', self: who(BOB), purpose: grantOf('read_write').purpose });
      await a.write(bytes).catch(() => {});
      await a.close();
      await survivesAsync(() => done);
    }),
    { numRuns: 200 },
  );
});
