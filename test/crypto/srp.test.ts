import assert from 'node:assert/strict';
import { checkPrimeSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { fromBigInt, modExp, toBigInt } from '../../agent/crypto/mod-exp.ts';
import {
  isSrpPublicValue,
  srpClientExchange,
  srpPrivateKey,
  srpServerExchange,
  srpVerifier,
} from '../../agent/crypto/srp.ts';
import { findSrpGroup, srpGroup, srpGroupOf } from '../../agent/crypto/srp-groups.ts';

interface Rfc5054 {
  readonly [name: string]: string;
}

const rfc = JSON.parse(
  readFileSync(new URL('../vectors/rfc5054.json', import.meta.url), 'utf8'),
) as Rfc5054 & { readonly g: number };

function vector(name: string): string {
  const value = rfc[name];
  assert.ok(typeof value === 'string', name);
  return value.toLowerCase();
}

test("RFC 5054, appendix B: k, x, v, A, B and both sides' premaster secret", () => {
  const group = srpGroup(fromHex(vector('N')), rfc.g);
  const credentials = {
    username: utf8(vector('I')),
    password: utf8(vector('P')),
    salt: fromHex(vector('s')),
  };
  assert.equal(group.bits, 1024);
  assert.equal(toHex(fromBigInt(group.k)), vector('k'));
  assert.equal(toHex(srpPrivateKey(credentials)), vector('x'));
  assert.equal(toHex(srpVerifier(group, credentials)), vector('v'));

  const server = srpServerExchange(group, credentials, fromHex(vector('b')));
  assert.equal(toHex(server.publicValue), vector('B'));
  const client = srpClientExchange(group, credentials, server.publicValue, fromHex(vector('a')));
  assert.equal(toHex(client.publicValue), vector('A'));
  // u has no door of its own; S comes out right only with it.
  assert.equal(toHex(client.premasterSecret), vector('S'));
  assert.equal(toHex(server.premasterSecret(client.publicValue)), vector('S'));
});

const group = srpGroupOf(2048);
const credentials = {
  username: utf8(`clearskies:1:${'ab'.repeat(32)}`),
  password: utf8('0123456789abcdef'),
  salt: utf8('sixteen byte sal'),
};
/** Private values that are known to lead to leading zeros. */
const privateValue = (n: number) => sha256(utf8(`private value ${n}`));
const ownValue = new Uint8Array(32).fill(0x5a);

test('leading zero bytes of A, B and S are stripped, and both sides still agree', () => {
  const cases = [
    { a: ownValue, b: privateValue(449), short: 'S' },
    { a: ownValue, b: privateValue(57), short: 'B' },
    { a: privateValue(35), b: ownValue, short: 'A' },
  ];
  for (const { a, b, short } of cases) {
    const server = srpServerExchange(group, credentials, b);
    const client = srpClientExchange(group, credentials, server.publicValue, a);
    const lengths = {
      A: client.publicValue.length,
      B: server.publicValue.length,
      S: client.premasterSecret.length,
    };
    assert.deepEqual(lengths, { A: 256, B: 256, S: 256, [short]: 255 });
    assert.deepEqual(server.premasterSecret(client.publicValue), client.premasterSecret);
    // Padded public values mean the same.
    const padded = (value: Uint8Array) => concatBytes(new Uint8Array(1), value);
    assert.deepEqual(server.premasterSecret(padded(client.publicValue)), client.premasterSecret);
    assert.deepEqual(
      srpClientExchange(group, credentials, padded(server.publicValue), a).premasterSecret,
      client.premasterSecret,
    );
  }
});

test('both sides agree for any name, password and salt, and disagree for another password', () => {
  const bytes = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });
  fc.assert(
    fc.property(bytes(255), bytes(80), bytes(255), bytes(80), (username, password, salt, other) => {
      fc.pre(toHex(password) !== toHex(other));
      const server = srpServerExchange(group, { username, password, salt });
      const client = srpClientExchange(group, { username, password, salt }, server.publicValue);
      assert.deepEqual(server.premasterSecret(client.publicValue), client.premasterSecret);
      const wrong = srpClientExchange(group, { username, password: other, salt }, server.publicValue);
      assert.notDeepEqual(server.premasterSecret(wrong.publicValue), wrong.premasterSecret);
    }),
    { numRuns: 20 },
  );
});

test('0, N, 2N and everything above N are refused as A and as B', () => {
  const server = srpServerExchange(group, credentials);
  const illegal = [0n, group.N, group.N + 1n, 2n * group.N, 2n * group.N + 5n].map((value) =>
    fromBigInt(value),
  );
  for (const value of [...illegal, new Uint8Array(0), new Uint8Array(300)]) {
    assert.equal(isSrpPublicValue(group, value), false);
    assert.throws(() => server.premasterSecret(value), { code: 'srp.public_value', fault: 'peer' });
    assert.throws(() => srpClientExchange(group, credentials, value), {
      code: 'srp.public_value',
      fault: 'peer',
    });
  }
  assert.equal(isSrpPublicValue(group, fromBigInt(group.N - 1n)), true);
  // B = k v makes the client's base 0: only somebody with the verifier can send it, and it still gets no known secret.
  const kv = (group.k * toBigInt(srpVerifier(group, credentials))) % group.N;
  assert.throws(() => srpClientExchange(group, credentials, fromBigInt(kv)), { code: 'srp.public_value' });
});

test('the groups are those of RFC 5054, appendix A', () => {
  // The digests are those of GnuTLS's own parameters (srptool --create-conf).
  const expected = {
    2048: [2, '91b71d6b40d439954568d412e883de5186f9381e25aef36e7a4607722f7e15ca'],
    3072: [5, '48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c'],
    4096: [5, '4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33'],
    8192: [19, '39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf'],
  } as const;
  for (const bits of [2048, 3072, 4096, 8192] as const) {
    const { N, g, prime } = srpGroupOf(bits);
    assert.equal(N.toString(2).length, bits);
    assert.deepEqual([Number(g), toHex(sha256(prime))], expected[bits]);
  }
  assert.ok(checkPrimeSync(group.N) && checkPrimeSync((group.N - 1n) / 2n), 'a safe prime');
});

test('a group is found by its exact parameters, and only if it is allowed', () => {
  const all = [2048, 3072, 4096, 8192] as const;
  const { prime, generator } = srpGroupOf(3072);
  const zero = new Uint8Array(2);
  assert.equal(findSrpGroup(prime, generator, all)?.bits, 3072);
  assert.equal(findSrpGroup(concatBytes(zero, prime), concatBytes(zero, generator), all)?.bits, 3072);
  assert.equal(findSrpGroup(prime, generator, [2048, 4096]), undefined);
  assert.equal(findSrpGroup(prime, Uint8Array.of(2), all), undefined);
  assert.equal(findSrpGroup(prime.with(200, prime[200]! ^ 1), generator, all), undefined);
  assert.equal(findSrpGroup(fromHex(vector('N')), Uint8Array.of(2), all), undefined);
  assert.equal(findSrpGroup(zero, zero, all), undefined);
});

function slowPower(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) {
    if (e & 1n) result = (result * b) % modulus;
  }
  return result;
}

test('modular exponentiation equals the schoolbook one', () => {
  const exponent = fc.uint8Array({ minLength: 1, maxLength: 40 }).filter((e) => toBigInt(e) > 0n);
  fc.assert(
    fc.property(fc.bigInt({ min: 2n, max: group.N - 2n }), exponent, (base, e) => {
      const expected = slowPower(base, toBigInt(e), group.N);
      assert.deepEqual(modExp(group.prime, fromBigInt(base), e), fromBigInt(expected));
    }),
    { numRuns: 30 },
  );
});

test('integers and bytes convert both ways', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const integer = toBigInt(bytes);
      assert.deepEqual(fromBigInt(integer, bytes.length || 1), bytes.length === 0 ? Uint8Array.of(0) : bytes);
      assert.equal(toBigInt(fromBigInt(integer)), integer);
    }),
  );
  assert.throws(() => fromBigInt(256n, 1), { code: 'crypto.integer_range' });
  assert.throws(() => fromBigInt(-1n), { code: 'crypto.integer_range' });
});
