import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync, verify as verifyWith } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, utf8 } from '../../agent/base/bytes.ts';
import { Secret } from '../../agent/base/log.ts';
import { rsa } from '../../agent/crypto/rsa.ts';
import { mutated, survives, survivesAsync } from '../support/properties.ts';

interface Vectors {
  readonly publicKeyPem: string;
  readonly smallExponentPem: string;
  readonly tests: readonly {
    readonly tcId: number;
    readonly comment: string;
    readonly msg: string;
    readonly sig: string;
    readonly result: 'valid' | 'invalid' | 'acceptable';
  }[];
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../vectors/rsa-pkcs1-sha256.json', import.meta.url), 'utf8'),
);
const key = await rsa.generate();

test('what is signed verifies, and nothing else does', async () => {
  const body = utf8('{"type":"database.update"}');
  const signature = await key.sign(body);
  assert.equal(signature.length, 256);
  assert.equal(await key.publicKey.verify(body, signature), true);
  assert.equal(await key.publicKey.verify(utf8('{"type":"database.updatE"}'), signature), false);
  const other = await rsa.generate();
  assert.equal(await other.publicKey.verify(body, signature), false);
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(signature)), async (damaged) => {
      const same = damaged.length === signature.length && damaged.every((byte, i) => byte === signature[i]);
      assert.equal(await key.publicKey.verify(body, damaged), same);
    }),
    { numRuns: 200 },
  );
});

test('signatures are those of PKCS#1 v1.5 with SHA-256: deterministic, and an independent call agrees', async () => {
  const body = utf8('body');
  const signature = await key.sign(body);
  assert.deepEqual(await key.sign(body), signature);
  assert.equal(verifyWith('RSA-SHA256', body, createPublicKey(key.publicKey.pem), signature), true);
});

test('bad signatures of the Wycheproof project are refused, good ones accepted', async () => {
  const publicKey = rsa.readPublic(vectors.publicKeyPem);
  const counts = { valid: 0, invalid: 0, acceptable: 0 };
  for (const { tcId, comment, msg, sig, result } of vectors.tests) {
    const good = await publicKey.verify(fromHex(msg), fromHex(sig));
    // A signature without the NULL of the algorithm ("acceptable") may go either way there; we are strict.
    assert.equal(good, result === 'valid', `test ${tcId}: ${comment}`);
    counts[result] += 1;
  }
  assert.deepEqual(counts, { valid: 7, invalid: 54, acceptable: 1 });
});

test('keys survive the way through PEM, in PKCS#1 form', async () => {
  assert.match(key.pem.reveal(), /^-----BEGIN RSA PRIVATE KEY-----\n/);
  assert.match(key.publicKey.pem, /^-----BEGIN RSA PUBLIC KEY-----\n/);
  const again = await rsa.readPrivate(key.pem);
  assert.equal(again.pem.reveal(), key.pem.reveal());
  assert.equal(again.publicKey.pem, key.publicKey.pem);
  assert.equal(rsa.readPublic(key.publicKey.pem).pem, key.publicKey.pem);
  assert.equal(rsa.readPublic(key.publicKey.pem.replaceAll('\n', '\r\n')).pem, key.publicKey.pem);
});

test('the PKCS#8 and SubjectPublicKeyInfo forms are understood and become PKCS#1', async () => {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const read = await rsa.readPrivate(new Secret(pair.privateKey));
  assert.match(read.pem.reveal(), /^-----BEGIN RSA PRIVATE KEY-----\n/);
  assert.equal(rsa.readPublic(pair.publicKey).pem, read.publicKey.pem);
});

test('unsuitable keys are refused: too small, too large, odd exponents, other algorithms', async () => {
  const make = (bits: number, exponent = 65_537) =>
    generateKeyPairSync('rsa', {
      modulusLength: bits,
      publicExponent: exponent,
      publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    });
  for (const pair of [make(1024), make(2048, 3)]) {
    assert.throws(() => rsa.readPublic(pair.publicKey), { code: 'rsa.key_unsuitable' });
    await assert.rejects(rsa.readPrivate(new Secret(pair.privateKey)), { code: 'rsa.key_unsuitable' });
  }
  assert.throws(() => rsa.readPublic(vectors.smallExponentPem), { code: 'rsa.key_unsuitable' });
  const ed25519 = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  assert.throws(() => rsa.readPublic(ed25519.publicKey), { code: 'rsa.key_unsuitable' });
  await assert.rejects(rsa.readPrivate(new Secret(ed25519.privateKey)), { code: 'rsa.key_unsuitable' });
});

test('a private key does not pass for a public one, nor text around a key', () => {
  assert.throws(() => rsa.readPublic(key.pem.reveal()), { code: 'rsa.key_malformed' });
  assert.throws(() => rsa.readPublic(`hello\n${key.publicKey.pem}`), { code: 'rsa.key_malformed' });
  assert.throws(() => rsa.readPublic(`${key.publicKey.pem}${key.publicKey.pem}`), {
    code: 'rsa.key_malformed',
  });
  assert.throws(() => rsa.readPublic(key.publicKey.pem + ' '.repeat(10_000)), { code: 'rsa.key_malformed' });
});

test('damaged keys are refused and nothing worse', async () => {
  const text = new TextDecoder('latin1');
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(utf8(key.pem.reveal()))), async (damaged) => {
      const pem = text.decode(damaged);
      survives(() => rsa.readPublic(pem));
      await survivesAsync(() => rsa.readPrivate(new Secret(pem)));
    }),
    { numRuns: 300 },
  );
});

test('a private key whose parts do not fit each other is refused', async () => {
  const parts = createPrivateKey(key.pem.reveal()).export({ format: 'jwk' });
  const others = createPrivateKey((await rsa.generate()).pem.reveal()).export({ format: 'jwk' });
  for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
    const mixed = createPrivateKey({ key: { ...parts, [part]: others[part] }, format: 'jwk' });
    const pem = new Secret(String(mixed.export({ type: 'pkcs1', format: 'pem' })));
    await assert.rejects(rsa.readPrivate(pem), { code: 'rsa.key_unsuitable' }, part);
  }
});

test('keys do not show themselves', () => {
  assert.doesNotMatch(JSON.stringify(key), /PRIVATE/);
});
