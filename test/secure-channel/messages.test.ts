import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { decodeAlert } from '../../agent/secure-channel/tls-srp/alert.ts';
import { prf } from '../../agent/secure-channel/tls-srp/key-schedule.ts';
import {
  decodeClientHello,
  decodeClientKeyExchange,
  decodeFinished,
  decodeServerHello,
  decodeServerHelloDone,
  decodeServerKeyExchange,
  decodeSrpExtension,
  decodeSupportedVersions,
  encodeClientHello,
  encodeClientKeyExchange,
  encodeServerHello,
  encodeServerKeyExchange,
  encodeSrpExtension,
} from '../../agent/secure-channel/tls-srp/messages.ts';
import { mutated, survives } from '../support/properties.ts';

const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const u16 = fc.integer({ min: 0, max: 0xffff });
const extensions = fc.array(fc.tuple(u16, bytes(0, 40)), { maxLength: 6 }).map((list) => new Map(list));

const plain = { noNullPrototype: true } as const;
const clientHello = fc.record(
  {
    version: u16,
    random: bytes(32, 32),
    sessionId: bytes(0, 32),
    suites: fc.array(u16, { minLength: 1, maxLength: 50 }),
    compressions: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 10 }),
    extensions,
  },
  plain,
);
const serverHello = fc.record(
  {
    version: u16,
    random: bytes(32, 32),
    sessionId: bytes(0, 32),
    suite: u16,
    extensions,
  },
  plain,
);
const serverKeyExchange = fc.record(
  {
    prime: bytes(1, 400),
    generator: bytes(1, 3),
    salt: bytes(1, 255),
    publicValue: bytes(1, 400),
  },
  plain,
);
const clientKeyExchange = fc.record({ publicValue: bytes(1, 400) }, plain);

/** Round trip, and damage. */
function codec<T>(
  name: string,
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (body: Uint8Array) => T,
): void {
  test(`${name}: what is written is read again`, () => {
    fc.assert(fc.property(values, (value) => assert.deepEqual(decode(encode(value)), value)));
  });
  test(`${name}: damaged and arbitrary bytes are read, or refused with the peer's fault`, () => {
    fc.assert(fc.property(mutated(values.map(encode)), (body) => survives(() => decode(body))));
    fc.assert(fc.property(bytes(0, 200), (body) => survives(() => decode(body))));
  });
  test(`${name}: cut short or with a byte more, it is refused`, () => {
    fc.assert(
      fc.property(values, fc.nat(), (value, n) => {
        const body = encode(value);
        // What ends just before the extensions is whole.
        const cut = body.subarray(0, n % body.length);
        try {
          assert.deepEqual(encode(decode(cut)), cut);
        } catch (thrown) {
          survives(() => {
            throw thrown;
          });
        }
        assert.throws(() => decode(Uint8Array.of(...body, 0)), { code: 'tls.malformed' });
      }),
    );
  });
}

codec('ClientHello', clientHello, encodeClientHello, decodeClientHello);
codec('ServerHello', serverHello, encodeServerHello, decodeServerHello);
codec('ServerKeyExchange', serverKeyExchange, encodeServerKeyExchange, decodeServerKeyExchange);
codec('ClientKeyExchange', clientKeyExchange, encodeClientKeyExchange, decodeClientKeyExchange);
codec('the SRP extension', bytes(1, 255), encodeSrpExtension, decodeSrpExtension);

test('ServerHelloDone, Finished, supported_versions and alerts have the one length that they can have', () => {
  for (const decode of [decodeServerHelloDone, decodeFinished, decodeSupportedVersions, decodeAlert]) {
    fc.assert(fc.property(bytes(0, 30), (body) => survives(() => decode(body))));
  }
  assert.throws(() => decodeServerHelloDone(new Uint8Array(1)), { code: 'tls.malformed' });
  assert.throws(() => decodeFinished(new Uint8Array(11)), { code: 'tls.malformed' });
  assert.throws(() => decodeFinished(new Uint8Array(13)), { code: 'tls.malformed' });
  assert.throws(() => decodeSupportedVersions(Uint8Array.of(3, 3, 3, 3)), { code: 'tls.malformed' });
  assert.throws(() => decodeAlert(new Uint8Array(3)), { code: 'tls.alert_malformed' });
  // A level that does not exist is fatal, whatever it was meant to be.
  assert.deepEqual(decodeAlert(Uint8Array.of(3, 90)), { fatal: true, description: 90 });
});

test('an extension that comes twice is refused', () => {
  const hello = encodeClientHello({
    version: 0x0303,
    random: new Uint8Array(32),
    sessionId: new Uint8Array(0),
    suites: [0xc020],
    compressions: [0],
    extensions: new Map([[22, new Uint8Array(0)]]),
  });
  const twice = new Uint8Array(hello.length + 4);
  twice.set(hello);
  twice.set([0, 22, 0, 0], hello.length);
  twice[hello.length - 5] = 8; // the block's length
  assert.throws(() => decodeClientHello(twice), { code: 'tls.extension_repeated' });
});

test("TLS 1.2's pseudorandom function with SHA-256 gives the published test vector", () => {
  // Posted to the TLS working group's list when RFC 5246 was new, and used by most implementations since.
  const secret = fromHex('9bbe436ba940f017b17652849a71db35');
  const seed = fromHex('a0ba9f936cda311827a6f796ffd5198c');
  assert.equal(
    toHex(prf(secret, 'test label', seed, 100)),
    'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af' +
      '0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701' +
      '87347b66',
  );
});
