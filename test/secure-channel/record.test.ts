import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, toHex } from '../../agent/base/bytes.ts';
import { cbcPadding } from '../../agent/crypto/constant-time.ts';
import { hmacSha1, hmacSha1InPlace } from '../../agent/crypto/hash.ts';
import { randomBytes } from '../../agent/crypto/random.ts';
import { CONTENT, RecordDeframer, type TlsRecord } from '../../agent/secure-channel/tls-srp/record.ts';
import {
  MAX_SEALED_CONTENT,
  RecordOpener,
  RecordSealer,
} from '../../agent/secure-channel/tls-srp/record-protection.ts';
import { cut, mutated, survives } from '../support/properties.ts';

const modes = [16, 32].flatMap((keyBytes) =>
  [true, false].map((encryptThenMac) => ({ keyBytes, encryptThenMac })),
);
type Mode = (typeof modes)[number];

const nameOf = ({ keyBytes, encryptThenMac }: Mode) =>
  `AES-${keyBytes * 8}, ${encryptThenMac ? 'encrypt-then-MAC' : 'MAC-then-encrypt'}`;

function keysFor({ keyBytes }: Mode) {
  return { cipher: randomBytes(keyBytes), mac: randomBytes(20) };
}

/** A direction of a connection. */
function direction(mode: Mode) {
  const keys = keysFor(mode);
  return {
    keys,
    sealer: new RecordSealer(keys, mode.encryptThenMac),
    opener: new RecordOpener(keys, mode.encryptThenMac),
  };
}

/** All content of application data, as a stream would deliver it. */
function openAll(opener: RecordOpener, chunks: readonly Uint8Array[]): Uint8Array {
  const deframer = new RecordDeframer();
  const contents: Uint8Array[] = [];
  for (const chunk of chunks) {
    deframer.push(chunk);
    for (let record = deframer.next(true); record !== undefined; record = deframer.next(true)) {
      contents.push(opener.open(record, () => deframer.next(true, CONTENT.applicationData)));
    }
  }
  return concatBytes(...contents);
}

const one = (opener: RecordOpener, record: TlsRecord) => opener.open(record, () => undefined);

function recordsIn(bytes: Uint8Array): TlsRecord[] {
  const deframer = new RecordDeframer();
  deframer.push(bytes);
  const records: TlsRecord[] = [];
  for (let record = deframer.next(true); record !== undefined; record = deframer.next(true)) {
    records.push({ type: record.type, body: record.body.slice() });
  }
  return records;
}

/** Around the limits of a record and of a batch, and anywhere. */
const sizes = fc.oneof(
  fc.integer({ min: 1, max: 400 }),
  fc.constantFrom(16_383, 16_384, 16_385, 32_768, 50_000, MAX_SEALED_CONTENT - 1, MAX_SEALED_CONTENT),
);

for (const mode of modes) {
  test(`${nameOf(mode)}: what is sealed is opened, however it is cut on the way`, () => {
    fc.assert(
      fc.property(
        fc.array(sizes, { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 5 }),
        (lengths, pieces) => {
          const { sealer, opener } = direction(mode);
          const contents = lengths.map(randomBytes);
          const wire = concatBytes(
            ...contents.map((content) => sealer.seal(CONTENT.applicationData, content)),
          );
          assert.deepEqual(openAll(opener, cut(wire, pieces)), concatBytes(...contents));
        },
      ),
      { numRuns: 40 },
    );
  });

  test(`${nameOf(mode)}: a record with any byte changed, or cut or lengthened, is refused in one way`, () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (length, at, flip, cutTo) => {
        const sealed = () => {
          const { sealer, opener } = direction(mode);
          const [record] = recordsIn(sealer.seal(CONTENT.applicationData, randomBytes(length)));
          assert.ok(record !== undefined);
          return { opener, record };
        };
        const refused = (change: (record: TlsRecord) => TlsRecord) => {
          const { opener, record } = sealed();
          assert.throws(() => one(opener, change(record)), {
            code: 'tls.bad_record',
            alert: 20,
            message: 'a TLS record is not authentic',
          });
        };
        refused(({ type, body }) => {
          const place = at % body.length;
          return { type, body: body.with(place, body[place]! ^ flip) };
        });
        refused(({ type, body }) => ({ type, body: body.slice(0, cutTo % body.length) }));
        refused(({ type, body }) => ({ type, body: concatBytes(body, new Uint8Array(16)) }));
        refused(({ body }) => ({ type: CONTENT.handshake, body }));
      }),
      { numRuns: 30 },
    );
  });

  test(`${nameOf(mode)}: records that are replayed, swapped or missing are refused`, () => {
    const contents = [1, 2, 3].map((byte) => new Uint8Array(100).fill(byte));
    for (const order of [[0, 0], [1], [0, 2], [1, 0]]) {
      const { sealer, opener } = direction(mode);
      const records = contents.flatMap((content) => recordsIn(sealer.seal(CONTENT.applicationData, content)));
      assert.throws(
        () => {
          for (const i of order) one(opener, records[i]!);
        },
        { code: 'tls.bad_record' },
      );
    }
  });

  test(`${nameOf(mode)}: each record is what the RFCs say, opened with its own IV by plain AES and HMAC`, () => {
    const { keys, sealer } = direction(mode);
    const content = randomBytes(40_000);
    const wire = [sealer.seal(CONTENT.handshake, content), sealer.seal(CONTENT.alert, Uint8Array.of(1, 0))];
    const opened = recordsIn(concatBytes(...wire)).map(({ type, body }, sequence) => {
      const macAt = body.length - (mode.encryptThenMac ? 20 : 0);
      const decipher = createDecipheriv(`aes-${mode.keyBytes * 8}-cbc`, keys.cipher, body.subarray(0, 16));
      const plain = decipher.setAutoPadding(false).update(body.subarray(16, macAt));
      const padding = plain[plain.length - 1]!;
      assert.ok(plain.subarray(plain.length - 1 - padding).every((byte) => byte === padding));
      const end = plain.length - 1 - padding - (mode.encryptThenMac ? 0 : 20);
      const covered = mode.encryptThenMac ? body.subarray(0, macAt) : plain.subarray(0, end);
      const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, sequence, type, 3, 3, 0, 0]);
      header.writeUInt16BE(covered.length, 11);
      const mac = createHmac('sha1', keys.mac).update(header).update(covered).digest();
      assert.deepEqual(
        mac,
        Buffer.from(mode.encryptThenMac ? body.subarray(macAt) : plain.subarray(end, end + 20)),
      );
      return { type, content: plain.subarray(0, end) };
    });
    assert.deepEqual(
      opened.map(({ type }) => type),
      [CONTENT.handshake, CONTENT.handshake, CONTENT.handshake, CONTENT.alert],
    );
    assert.deepEqual(
      concatBytes(...opened.map(({ content }) => new Uint8Array(content))),
      concatBytes(content, Uint8Array.of(1, 0)),
    );
  });
}

test('no IV comes twice, and none can be told from the bytes that went before it', () => {
  const { sealer } = direction({ keyBytes: 32, encryptThenMac: true });
  const content = new Uint8Array(20_000);
  const ivs = new Set<string>();
  const blocksBefore = new Set<string>();
  for (let i = 0; i < 200; i++) {
    for (const { body } of recordsIn(sealer.seal(CONTENT.applicationData, content))) {
      const iv = toHex(body.subarray(0, 16));
      // The weakness of TLS 1.0: the IV was the last block of ciphertext, known before the plaintext was chosen.
      assert.ok(!blocksBefore.has(iv));
      ivs.add(iv);
      blocksBefore.add(toHex(body.subarray(-36, -20)));
    }
  }
  assert.equal(ivs.size, 400);
});

test('a peer may choose each IV anew, as other implementations do', () => {
  const keys = keysFor({ keyBytes: 32, encryptThenMac: true });
  const opener = new RecordOpener(keys, true);
  const sealers = [new RecordSealer(keys, true), new RecordSealer(keys, true)];
  // Each sealer has a chain of its own; taking turns, their IVs have nothing to do with each other's last blocks.
  for (let i = 0; i < 6; i++) {
    const sealed = sealers.map((sealer) => recordsIn(sealer.seal(CONTENT.applicationData, Uint8Array.of(i))));
    assert.deepEqual(one(opener, sealed[i % 2]![0]!), Uint8Array.of(i));
  }
});

test('records of the longest content are opened, of a byte more refused', () => {
  for (const [length, code] of [
    [16_384, undefined],
    [16_385, 'tls.record_overflow'],
  ] as const) {
    const keys = keysFor({ keyBytes: 32, encryptThenMac: true });
    const body = sealedByHand(keys, new Uint8Array(length));
    const open = () => one(new RecordOpener(keys, true), { type: CONTENT.applicationData, body });
    if (code === undefined) assert.equal(open().length, length);
    else assert.throws(open, { code, alert: 22 });
  }
});

/** What no sealer of ours makes: a first record with content of any length. */
function sealedByHand(keys: { cipher: Uint8Array; mac: Uint8Array }, content: Uint8Array): Uint8Array {
  const iv = randomBytes(16);
  // Node's own padding differs from TLS's by one in each byte.
  const padding = 16 - (content.length % 16);
  const cipher = createCipheriv('aes-256-cbc', keys.cipher, iv).setAutoPadding(false);
  const encrypted = cipher.update(concatBytes(content, new Uint8Array(padding).fill(padding - 1)));
  const covered = concatBytes(iv, encrypted);
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, CONTENT.applicationData, 3, 3, 0, 0]);
  header.writeUInt16BE(covered.length, 11);
  return concatBytes(covered, createHmac('sha1', keys.mac).update(header).update(covered).digest());
}

test('the deframer cuts any cutting into the same records, and refuses bad headers as soon as it sees them', () => {
  const record = fc.tuple(fc.constantFrom(20, 21, 22, 23), fc.uint8Array({ maxLength: 600 }));
  fc.assert(
    fc.property(fc.array(record), fc.array(fc.integer({ min: 1, max: 700 })), (records, pieces) => {
      const wire = concatBytes(
        ...records.map(([type, body]) =>
          Uint8Array.of(type, 3, 3, body.length >> 8, body.length & 255, ...body),
        ),
      );
      const deframer = new RecordDeframer();
      const seen: unknown[] = [];
      for (const chunk of cut(wire, pieces)) {
        deframer.push(chunk);
        for (let next = deframer.next(true); next !== undefined; next = deframer.next(true))
          seen.push([next.type, next.body.slice()]);
      }
      assert.deepEqual(seen, records);
    }),
  );
  const bad: [number[], boolean, string][] = [
    [[19, 3, 3, 0, 1], true, 'tls.record_type'],
    [[24, 3, 3, 0, 1], true, 'tls.record_type'],
    [[22, 2, 3, 0, 1], false, 'tls.record_version'],
    [[22, 3, 1, 0, 1], true, 'tls.record_version'],
    [[22, 3, 3, 0x40, 1], false, 'tls.record_overflow'],
    [[22, 3, 3, 0x48, 1], true, 'tls.record_overflow'],
  ];
  for (const [header, isProtected, code] of bad) {
    for (const pieces of [[5], [1]]) {
      const deframer = new RecordDeframer();
      assert.throws(
        () => {
          for (const chunk of cut(Uint8Array.from(header), pieces)) {
            deframer.push(chunk);
            deframer.next(isProtected);
          }
        },
        { code, fault: 'peer' },
      );
    }
  }
});

test('damaged records never do anything but fail with the fault of the peer', () => {
  for (const mode of modes) {
    const keys = keysFor(mode);
    const wire = new RecordSealer(keys, mode.encryptThenMac).seal(CONTENT.applicationData, randomBytes(100));
    fc.assert(
      fc.property(mutated(fc.constant(wire)), (bytes) =>
        survives(() => openAll(new RecordOpener(keys, mode.encryptThenMac), [bytes])),
      ),
    );
  }
});

test('padding is right only if every byte of it is', () => {
  const naive = (plain: Uint8Array, atLeast: number) => {
    const count = plain[plain.length - 1]!;
    const length = plain.length - 1 - count;
    return length >= atLeast && plain.subarray(length).every((byte) => byte === count);
  };
  const plains = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 300 }),
    fc
      .tuple(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 255 }), fc.option(fc.nat()))
      .map(([content, count, flipAt]) => {
        const plain = concatBytes(content, new Uint8Array(count + 1).fill(count));
        if (flipAt !== null) plain[flipAt % plain.length]! ^= 1;
        return plain;
      }),
  );
  fc.assert(
    fc.property(plains, fc.constantFrom(0, 20), (plain, atLeast) => {
      const { length, good } = cbcPadding(plain, atLeast);
      assert.equal(good, naive(plain, atLeast));
      assert.equal(length, plain.length - 1 - (good ? plain[plain.length - 1]! : 0));
    }),
    { numRuns: 1000 },
  );
});

test('the HMAC that works in place equals the other one', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 300 }), (key, message) => {
      const bytes = concatBytes(new Uint8Array(70), message);
      assert.deepEqual(hmacSha1InPlace(key)(bytes, 70, bytes.length), hmacSha1(key)(message));
    }),
  );
});
