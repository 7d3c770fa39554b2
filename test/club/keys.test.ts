import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { type Json, parseJson, stringifyJson } from '../../agent/base/json.ts';
import {
  generateClubKeys,
  heldLevels,
  type KeysMessage,
  keysFor,
  readClubKeys,
} from '../../agent/club/keys.ts';
import { coreKeys } from '../../agent/club/messages.ts';
import { clubSigner } from '../../agent/club/signer.ts';
import { rsa } from '../../agent/crypto/rsa.ts';
import { encode } from '../../agent/wire/message.ts';
import { survivesAsync } from '../support/properties.ts';

const keys = await generateClubKeys(rsa);
const others = await generateClubKeys(rsa);

function message(level: 'read_write' | 'read_only', from = keys): KeysMessage {
  const given = keysFor(from, level);
  assert.ok(given !== undefined);
  return given;
}

test('a new club has 256-bit key IDs and keys and RSA-2048 keys, all different', () => {
  assert.ok(keys.level === 'read_write');
  const texts = [keys.readOnly, keys.readWrite].flatMap(({ id, key }) => [id, key.reveal()]);
  for (const text of texts) assert.match(text, /^[0-9a-f]{64}$/);
  assert.equal(new Set(texts).size, 4);
  assert.notEqual(keys.readOnly.rsa.publicKey.pem, keys.readWrite.rsa.publicKey.pem);
});

test('read-write members listen on both keys, read-only members on theirs', async () => {
  assert.deepEqual([...heldLevels(keys).keys()], ['read_write', 'read_only']);
  const readOnly = await readClubKeys(message('read_only'), rsa);
  assert.deepEqual([...heldLevels(readOnly).keys()], ['read_only']);
});

test('a read-write member gets everything', async () => {
  const received = await readClubKeys(message('read_write'), rsa);
  assert.ok(received.level === 'read_write' && keys.level === 'read_write');
  for (const level of ['readOnly', 'readWrite'] as const) {
    assert.equal(received[level].id, keys[level].id);
    assert.equal(received[level].key.reveal(), keys[level].key.reveal());
    assert.equal(received[level].rsa.pem.reveal(), keys[level].rsa.pem.reveal());
  }
});

test('a read-only member gets of the read-write keys only what verifies signatures', async () => {
  const sent = stringifyJson(encode(coreKeys, message('read_only')));
  assert.ok(keys.level === 'read_write');
  assert.ok(!sent.includes(keys.readWrite.key.reveal()));
  assert.ok(!sent.includes(keys.readWrite.id));
  assert.equal(sent.match(/PRIVATE KEY-----/g)?.length, 2, 'one private key, beginning and end');
  const received = await readClubKeys(message('read_only'), rsa);
  assert.ok(received.level === 'read_only');
  assert.equal(received.readWriteRsa.pem, keys.readWrite.rsa.publicKey.pem);
  assert.equal(received.readOnly.id, keys.readOnly.id);
});

test('a read-only member can pass on read-only membership, and nothing else', async () => {
  const readOnly = await readClubKeys(message('read_only'), rsa);
  assert.equal(keysFor(readOnly, 'read_write'), undefined);
  assert.deepEqual(keysFor(readOnly, 'read_only'), message('read_only'));
});

test('keys survive the way over the wire', async () => {
  for (const level of ['read_write', 'read_only'] as const) {
    const json = parseJson(stringifyJson(encode(coreKeys, message(level))));
    assert.deepEqual(coreKeys.schema.decode(json), message(level));
  }
});

test('the shape is that of the example in the specification', () => {
  const json = encode(coreKeys, message('read_only'));
  assert.equal(json.type, 'core.keys');
  assert.equal(json.access_level, 'read_only');
  const [own, other] = json.keys as [Record<string, Json>, Record<string, Json>];
  assert.deepEqual(Object.keys(own), ['access_level', 'id', 'key', 'private_rsa']);
  assert.deepEqual(Object.keys(other), ['access_level', 'public_rsa']);
  assert.match(String(own.private_rsa), /^-----BEGIN RSA PRIVATE KEY-----\n/);
  assert.match(String(other.public_rsa), /^-----BEGIN RSA PUBLIC KEY-----\n/);
});

const [readWriteEntry, readOnlyEntry] = message('read_write').keys;
assert.ok(readWriteEntry !== undefined && readOnlyEntry !== undefined);
const publicEntry = message('read_only').keys[1];
assert.ok(publicEntry !== undefined);

const WRONG: Readonly<Record<string, [KeysMessage, string]>> = {
  'an unknown level': [{ accessLevel: 'root', keys: [readWriteEntry, readOnlyEntry] }, 'keys.level_unknown'],
  'no keys': [{ accessLevel: 'read_write', keys: [] }, 'keys.incomplete'],
  'no read-only keys': [{ accessLevel: 'read_write', keys: [readWriteEntry] }, 'keys.incomplete'],
  'a level twice': [
    { accessLevel: 'read_write', keys: [readWriteEntry, readOnlyEntry, readOnlyEntry] },
    'keys.contradictory',
  ],
  'no key': [
    { accessLevel: 'read_only', keys: [{ ...readOnlyEntry, key: undefined }, publicEntry] },
    'keys.incomplete',
  ],
  'no private RSA key': [
    { accessLevel: 'read_write', keys: [publicEntry, readOnlyEntry] },
    'keys.incomplete',
  ],
  'private read-write keys for a read-only member': [
    { accessLevel: 'read_only', keys: [readOnlyEntry, readWriteEntry] },
    'keys.too_many',
  ],
  'the read-write key alone for a read-only member': [
    { accessLevel: 'read_only', keys: [readOnlyEntry, { ...publicEntry, key: readWriteEntry.key }] },
    'keys.too_many',
  ],
  'one RSA key for both levels': [
    {
      accessLevel: 'read_write',
      keys: [{ ...readWriteEntry, privateRsa: readOnlyEntry.privateRsa }, readOnlyEntry],
    },
    'keys.contradictory',
  ],
  'one key ID for both levels': [
    { accessLevel: 'read_write', keys: [{ ...readWriteEntry, id: readOnlyEntry.id }, readOnlyEntry] },
    'keys.contradictory',
  ],
  'one key for both levels': [
    { accessLevel: 'read_write', keys: [{ ...readWriteEntry, key: readOnlyEntry.key }, readOnlyEntry] },
    'keys.contradictory',
  ],
  'a public RSA key of another private key': [
    {
      accessLevel: 'read_write',
      keys: [
        { ...readWriteEntry, publicRsa: message('read_only', others).keys[1]?.publicRsa },
        readOnlyEntry,
      ],
    },
    'keys.contradictory',
  ],
  'a private key where the public one is due': [
    {
      accessLevel: 'read_only',
      keys: [readOnlyEntry, { accessLevel: 'read_write', publicRsa: readWriteEntry.privateRsa }],
    },
    'rsa.key_malformed',
  ],
};

for (const [what, [wrong, code]] of Object.entries(WRONG)) {
  test(`keys are refused: ${what}`, async () => {
    await assert.rejects(readClubKeys(wrong, rsa), { fault: 'peer', code });
  });
}

test('levels that we do not know are passed over', async () => {
  const received = await readClubKeys(
    {
      accessLevel: 'read_only',
      keys: [{ accessLevel: 'untrusted', id: 'ab'.repeat(32) }, ...message('read_only').keys],
    },
    rsa,
  );
  assert.equal(received.level, 'read_only');
});

test('arbitrary messages are refused and nothing worse', async () => {
  const part = fc.oneof(fc.json(), fc.constantFrom('read_write', 'read_only', readOnlyEntry.privateRsa));
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        access_level: part,
        keys: fc.array(
          fc.record(
            { access_level: part, id: part, key: part, private_rsa: part, public_rsa: part },
            { requiredKeys: [] },
          ),
          { maxLength: 4 },
        ),
      }),
      (json) => survivesAsync(async () => readClubKeys(coreKeys.schema.decode(json as Json), rsa)),
    ),
  );
});

test('what a read-write member signs, every member can verify, and only a read-write member can sign', async () => {
  const readOnly = await readClubKeys(message('read_only'), rsa);
  const [owner, reader, stranger] = [clubSigner(keys), clubSigner(readOnly), clubSigner(others)];
  const body = utf8('{"type":"database.update"}\n');
  const signature = await owner.sign(body);
  assert.match(signature, /^[A-Za-z0-9+/]{342}==$/);
  assert.equal(owner.canSign, true);
  assert.equal(await owner.verify(body, signature), true);
  assert.equal(await reader.verify(body, signature), true);
  assert.equal(await stranger.verify(body, signature), false);
  assert.equal(await reader.verify(utf8('{"type":"database.update"}'), signature), false);
  assert.equal(reader.canSign, false);
  await assert.rejects(reader.sign(body), { code: 'club.cannot_sign' });
});

test('a signature has one text only', async () => {
  const signer = clubSigner(keys);
  const body = utf8('{}');
  const signature = await signer.sign(body);
  const last = signature.at(-3);
  assert.ok(last !== undefined);
  // The last letter carries four bits that mean nothing.
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const sibling = alphabet[alphabet.indexOf(last) ^ 1];
  for (const other of [
    `${signature.slice(0, -3)}${sibling}==`,
    `${signature}\n`,
    signature.slice(0, -2),
    signature.replace(/(.{60})/, '$1\n'),
    '',
    '====',
    'A'.repeat(10_000),
  ]) {
    assert.equal(await signer.verify(body, other), false);
  }
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 400 }), async (text) => {
      assert.equal(await signer.verify(body, text), false);
    }),
  );
});

test('keys do not show themselves', () => {
  assert.doesNotMatch(JSON.stringify(keys), /PRIVATE/);
  assert.ok(!JSON.stringify(keys).includes(keys.readOnly.key.reveal()));
});
