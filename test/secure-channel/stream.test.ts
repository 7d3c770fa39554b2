import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { randomBytes } from '../../agent/crypto/random.ts';
import { CONTENT, type ContentType } from '../../agent/secure-channel/tls-srp/record.ts';
import { RecordLayer } from '../../agent/secure-channel/tls-srp/record-layer.ts';
import { RecordOpener, RecordSealer } from '../../agent/secure-channel/tls-srp/record-protection.ts';
import { TlsStream } from '../../agent/secure-channel/tls-srp/stream.ts';
import { type MemoryStreamOptions, memoryStreamPair } from '../support/memory-stream.ts';
import { readAll, readExactly } from './both-ends.ts';

interface Established {
  readonly stream: TlsStream;
  /** The other side, record by record. */
  readonly peer: RecordLayer;
  readonly send: (type: ContentType, ...contents: readonly Uint8Array[]) => Promise<void>;
  readonly below: ByteStream;
}

/** A channel right after its handshake, and a peer that does what a test says. */
function established(options: MemoryStreamOptions = {}): Established {
  const [a, b] = memoryStreamPair(options);
  const keys = [0, 1].map(() => ({ cipher: randomBytes(32), mac: randomBytes(20) }));
  const layer = (stream: ByteStream, seal: number) => {
    const records = new RecordLayer(stream, new Uint8Array(0));
    records.sealWith(new RecordSealer(keys[seal]!, true));
    records.openWith(new RecordOpener(keys[1 - seal]!, true));
    return records;
  };
  const facts = { role: 'server', id: 'ab', cipher: 'TLS_SRP_SHA_WITH_AES_256_CBC_SHA' } as const;
  const peer = layer(b, 1);
  return {
    stream: new TlsStream(layer(a, 0), facts),
    peer,
    below: b,
    send: (type, ...contents) => b.write(concatBytes(...contents.map((content) => peer.seal(type, content)))),
  };
}

/** Two channels back to back. */
function pair(options: MemoryStreamOptions = {}): [TlsStream, TlsStream] {
  const { stream, peer } = established(options);
  return [
    stream,
    new TlsStream(peer, { role: 'client', id: 'ab', cipher: 'TLS_SRP_SHA_WITH_AES_256_CBC_SHA' }),
  ];
}

const CLOSE_NOTIFY = Uint8Array.of(1, 0);

/** The number of the alert that comes next. */
async function alertFrom(peer: RecordLayer): Promise<number> {
  try {
    const { type } = await peer.next();
    throw new Error(`a record of type ${type} came instead of an alert`);
  } catch (thrown) {
    if (thrown instanceof Error && 'description' in thrown) return thrown.description as number;
    throw thrown;
  }
}

test('what is written is read, in order, whatever the sizes and the cutting', async () => {
  const size = fc.oneof(fc.nat(100), fc.nat(20_000), fc.constantFrom(16_384, 131_072, 131_073, 400_000));
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 50_000 }), { maxLength: 4 }),
      async (lengths, pieces) => {
        const [a, b] = pair(pieces.length === 0 ? {} : { pieces });
        const contents = lengths.map(randomBytes);
        // Not awaited one by one: order is that of the calls.
        const written = Promise.all(contents.map((content) => a.write(content))).then(() => a.close());
        assert.deepEqual(await readAll(b), concatBytes(...contents));
        await written;
      },
    ),
    { numRuns: 40 },
  );
});

test('a writer waits while the other side does not read, and holds little meanwhile', async () => {
  const [a, b] = pair({ capacity: 100_000 });
  const content = randomBytes(2_000_000);
  let done = false;
  const written = a.write(content).then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(done, false);
  assert.deepEqual(await readExactly(b, content.length), content);
  await written;
});

test("read gives a plain Uint8Array that is the reader's own", async () => {
  const { stream, send } = established();
  await send(CONTENT.applicationData, utf8('one'), utf8('two'));
  const piece = await stream.read();
  assert.equal(Object.getPrototypeOf(piece), Uint8Array.prototype);
  assert.equal(fromUtf8(piece!), 'onetwo');
});

test('close_notify ends the reader, and is answered; both sides then have closed', async () => {
  const { stream, peer, send, below } = established();
  await send(CONTENT.applicationData, utf8('last words'));
  await send(CONTENT.alert, CLOSE_NOTIFY);
  assert.equal(fromUtf8(await readAll(stream)), 'last words');
  assert.equal(await stream.read(), null);
  await assert.rejects(peer.next(), { code: 'channel.closed_early' });
  assert.equal(peer.closedByPeer, true);
  await assert.rejects(stream.write(utf8('too late')), { code: 'channel.closed' });
  await stream.close();
  assert.equal(await below.read(), null);
});

test("close says close_notify after all that was written, and reading goes on to the other side's end", async () => {
  const [a, b] = pair();
  const closing = Promise.all([a.write(randomBytes(300_000)), a.write(utf8('end')), a.close()]);
  await assert.rejects(a.write(utf8('after close')), { code: 'channel.closed' });
  const pending = a.read();
  assert.equal((await readAll(b)).length, 300_003);
  await closing;
  assert.equal(await pending, null);
  await a.close();
  await b.close();
});

test('closing while a read is waiting ends that read', async () => {
  const [a, b] = pair();
  const pending = a.read();
  await a.close();
  assert.equal(await b.read(), null);
  await b.close();
  assert.equal(await pending, null);
});

test('an end without close_notify is an error: between records, and within one', async () => {
  for (const rest of [new Uint8Array(0), Uint8Array.of(23, 3, 3), Uint8Array.of(23, 3, 3, 0, 64, 1, 2)]) {
    const { stream, send, below } = established();
    await send(CONTENT.applicationData, utf8('some'));
    if (rest.length > 0) await below.write(rest);
    await below.close();
    assert.equal(fromUtf8((await stream.read())!), 'some');
    await assert.rejects(stream.read(), { code: 'channel.truncated', fault: 'peer' });
    await assert.rejects(stream.read(), { code: 'channel.truncated' });
    await assert.rejects(stream.write(utf8('x')), { code: 'channel.truncated' });
    await stream.close();
  }
});

test('what comes behind close_notify is ignored', async () => {
  const { stream, send, below } = established();
  await send(CONTENT.alert, CLOSE_NOTIFY);
  await below.write(utf8('anything at all'));
  assert.equal(await stream.read(), null);
  assert.equal(await stream.read(), null);
});

test('a changed byte is a fatal bad_record_mac, told to the other side, and nothing works after it', async () => {
  const { stream, peer, below } = established();
  const record = peer.seal(CONTENT.applicationData, utf8('pay 100'));
  await below.write(record.with(30, record[30]! ^ 1));
  await assert.rejects(stream.read(), { code: 'tls.bad_record', fault: 'peer' });
  assert.equal(await alertFrom(peer), 20);
  await assert.rejects(stream.read(), { code: 'tls.bad_record' });
  for (const bytes of [utf8('x'), new Uint8Array(0)])
    await assert.rejects(stream.write(bytes), { code: 'tls.bad_record' });
  await stream.close();
  await assert.rejects(below.write(utf8('x')));
});

test('nothing of a batch is delivered that has a forged record in it', async () => {
  const { stream, peer, below } = established();
  const good = peer.seal(CONTENT.applicationData, utf8('good'));
  const bad = peer.seal(CONTENT.applicationData, utf8('bad'));
  await below.write(concatBytes(good, bad.with(40, bad[40]! ^ 1)));
  await assert.rejects(stream.read(), { code: 'tls.bad_record' });
});

test('data and the alert behind it, in one piece, are both seen', async () => {
  const { stream, peer, below } = established();
  const data = peer.seal(CONTENT.applicationData, utf8('data'));
  await below.write(concatBytes(data, peer.seal(CONTENT.alert, Uint8Array.of(2, 80))));
  assert.equal(fromUtf8((await stream.read())!), 'data');
  await assert.rejects(stream.read(), { code: 'tls.alert_received', message: /internal error \(80\)/ });
});

const broken: readonly {
  what: string;
  type: ContentType;
  contents: readonly Uint8Array[];
  alert: number;
  code: string;
}[] = [
  {
    what: 'a HelloRequest',
    type: CONTENT.handshake,
    contents: [Uint8Array.of(0, 0, 0, 0)],
    alert: 100,
    code: 'tls.renegotiation',
  },
  {
    what: 'a ClientHello',
    type: CONTENT.handshake,
    contents: [Uint8Array.of(1, 0, 0, 99)],
    alert: 100,
    code: 'tls.renegotiation',
  },
  {
    what: 'a change of keys',
    type: CONTENT.changeCipherSpec,
    contents: [Uint8Array.of(1)],
    alert: 10,
    code: 'tls.unexpected_message',
  },
  {
    what: 'an alert in pieces',
    type: CONTENT.alert,
    contents: [Uint8Array.of(1)],
    alert: 50,
    code: 'tls.alert_malformed',
  },
  {
    what: 'an empty alert',
    type: CONTENT.alert,
    contents: [new Uint8Array(0)],
    alert: 10,
    code: 'tls.empty_record',
  },
  {
    what: 'seventeen warnings',
    type: CONTENT.alert,
    contents: Array.from({ length: 17 }, () => Uint8Array.of(1, 90)),
    alert: 10,
    code: 'tls.warnings',
  },
];

for (const { what, type, contents, alert, code } of broken) {
  test(`${what} ends an established channel with alert ${alert}`, async () => {
    const { stream, peer, send } = established();
    await send(type, ...contents);
    await assert.rejects(stream.read(), { code, fault: 'peer' });
    // no_renegotiation is a warning by its nature, so it does not end the scripted side's reading.
    if (alert !== 100) assert.equal(await alertFrom(peer), alert);
    await assert.rejects(stream.write(utf8('x')), { code });
  });
}

test('some empty records and warnings are put up with, endless empty records are not', async () => {
  const { stream, send } = established();
  const empty = (count: number) => Array.from({ length: count }, () => new Uint8Array(0));
  await send(CONTENT.applicationData, ...empty(5), utf8('a'), ...empty(5));
  await send(CONTENT.alert, Uint8Array.of(1, 90));
  await send(CONTENT.applicationData, utf8('b'));
  assert.equal(fromUtf8(await readExactly(stream, 2)), 'ab');

  const flood = (async () => {
    for (let i = 0; i < 200; i++) await send(CONTENT.applicationData, ...empty(1));
  })();
  await assert.rejects(stream.read(), { code: 'tls.empty_record' });
  await flood;
});

test('thousands of one-byte records in one piece are read', async () => {
  const { stream, send } = established();
  const bytes = randomBytes(5000);
  const sent = send(CONTENT.applicationData, ...Array.from(bytes, (byte) => Uint8Array.of(byte)));
  assert.deepEqual(await readExactly(stream, bytes.length), bytes);
  await sent;
});

test('an abort ends reads and writes at once, with its reason, also those that are waiting', async () => {
  const [a, b] = pair({ capacity: 1000 });
  const reason = new Error('the owner left');
  const reading = assert.rejects(a.read(), reason);
  const writing = assert.rejects(a.write(randomBytes(500_000)), reason);
  a.abort(reason);
  await Promise.all([reading, writing]);
  await assert.rejects(a.write(utf8('x')), reason);
  await assert.rejects(a.read(), reason);
  await a.close();
  await assert.rejects(async () => {
    while ((await b.read()) !== null);
  });
});

test('what breaks below is told as it is, to readers and to writers', async () => {
  const { stream, below } = established();
  const reading = assert.rejects(stream.read(), { message: 'connection reset by peer' });
  below.abort(new Error('gone'));
  await reading;
  await assert.rejects(stream.write(utf8('x')), { message: 'connection reset by peer' });
});

test('a peer that closes while we write ends the write', async () => {
  const { stream, send, below } = established({ capacity: 10_000 });
  const writing = assert.rejects(stream.write(randomBytes(1_000_000)), { code: 'channel.closed' });
  await send(CONTENT.alert, CLOSE_NOTIFY);
  assert.equal(await stream.read(), null);
  const draining = readAll(below);
  await writing;
  await stream.close();
  assert.ok((await draining).length < 400_000);
});
