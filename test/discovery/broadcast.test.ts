import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import {
  type Broadcast,
  decodeBroadcast,
  encodeBroadcast,
  MAX_DATAGRAM,
  mentions,
} from '../../agent/discovery/broadcast.ts';
import { mutated, survives } from '../support/properties.ts';

const ID = 'adf6447b553841835aaa712219e01f10486fd1003b1324e94de59f5646b060f3';
const PEER = '2a3728dca353324de4d6bfbebf2128d9';

const digits = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((all) => Array.from(all, (byte) => byte.toString(16).padStart(2, '0')).join(''));
const broadcast: fc.Arbitrary<Broadcast> = fc.record(
  {
    id: digits(32),
    peer: digits(16),
    port: fc.integer({ min: 1, max: 65_535 }),
    versions: fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 16 }),
  },
  { noNullPrototype: true },
);

test('the example of core.md is understood, and means version 1 of the channel', () => {
  const example = `{
  "name": "ClearSkiesBroadcast",
  "version": 1,
  "id": "${ID}",
  "peer": "${PEER}",
  "myport": 40121
}`;
  assert.deepEqual(decodeBroadcast(utf8(example)), { id: ID, peer: PEER, port: 40_121, versions: [1] });
});

test('ours is the example plus the channel versions', () => {
  const bytes = encodeBroadcast({ id: ID, peer: PEER, port: 40_121, versions: [1, 2] });
  assert.equal(
    new TextDecoder().decode(bytes),
    `{"name":"ClearSkiesBroadcast","version":1,"id":"${ID}","peer":"${PEER}","myport":40121,"establish":[1,2]}`,
  );
});

test('what is encoded is decoded', () => {
  fc.assert(
    fc.property(broadcast, (value) => {
      const bytes = encodeBroadcast(value);
      assert.ok(bytes.length < MAX_DATAGRAM);
      assert.deepEqual(decodeBroadcast(bytes), value);
      assert.ok(mentions(bytes, new Set([value.id])));
    }),
  );
});

test('garbage and damaged datagrams are refused as the sender fault that they are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => survives(() => decodeBroadcast(bytes))),
  );
  fc.assert(
    fc.property(mutated(broadcast.map(encodeBroadcast)), (bytes) => survives(() => decodeBroadcast(bytes))),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => !mentions(bytes, new Set([ID]))));
});

for (const [what, change] of Object.entries({
  'another protocol': { name: 'SomethingElse' },
  'another version': { version: 2 },
  'an upper-case ID': { id: ID.toUpperCase() },
  'a short ID': { id: ID.slice(2) },
  'a peer ID that is none': { peer: 'me' },
  'port 0': { myport: 0 },
  'port 65536': { myport: 65_536 },
  'a port as text': { myport: '22' },
  'too many channel versions': { establish: Array.from({ length: 17 }, () => 1) },
  'a channel version 0': { establish: [0] },
})) {
  test(`${what} is refused`, () => {
    const datagram = { name: 'ClearSkiesBroadcast', version: 1, id: ID, peer: PEER, myport: 1, ...change };
    assert.throws(
      () => decodeBroadcast(utf8(JSON.stringify(datagram))),
      (error) => error instanceof SkylarkError && error.fault === 'peer',
    );
  });
}

test('a datagram that is too long is not looked at', () => {
  const long = utf8(
    JSON.stringify({
      name: 'ClearSkiesBroadcast',
      version: 1,
      id: ID,
      peer: PEER,
      myport: 1,
      more: 'x'.repeat(MAX_DATAGRAM),
    }),
  );
  assert.throws(() => decodeBroadcast(long), /too long/);
  assert.equal(mentions(long, new Set([ID])), false);
});
