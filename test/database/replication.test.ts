import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../agent/base/bytes.ts';
import { parseJson, stringifyJson } from '../../agent/base/json.ts';
import { Secret, silentLogger } from '../../agent/base/log.ts';
import { rsa } from '../../agent/crypto/rsa.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import { getUpdates, update, updateBody } from '../../agent/database/messages.ts';
import { encode } from '../../agent/wire/message.ts';
import type { OutgoingMessage } from '../../agent/wire/message-stream.ts';
import { survivesAsync } from '../support/properties.ts';
import {
  cheapSigner,
  incoming,
  Link,
  type Member,
  policy,
  recordsOf,
  Simulation,
} from './club-simulation.ts';

const DAY_MS = 86_400_000;

function simulate(t: TestContext, ...writable: readonly boolean[]): [Simulation, ...Member[]] {
  const simulation = new Simulation();
  t.after(() => simulation.close());
  const members = writable.map((each, i) => simulation.add({ id: `${i}`.repeat(32), writable: each }));
  return [simulation, ...members];
}

/** Sees what travels from one side of a link. */
function watch(link: Link, side: 0 | 1): OutgoingMessage[] {
  return link.sent[side];
}

const typeOf = (message: OutgoingMessage) => incoming(message).type;
const updatesIn = (messages: readonly OutgoingMessage[]) =>
  messages.filter((message) => typeOf(message) === update.type).length;

function same(...members: readonly Member[]): void {
  for (const member of members) assert.deepEqual(recordsOf(member), recordsOf(members[0]!));
}

test('what one member has, the other gets: first all, then each change once', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  a!.database.transaction(() => {
    for (let i = 0; i < 1_000; i++) a!.database.put(`/${i}`, { v: `${i}` });
  });
  const link = simulation.connect(a!, b!);
  await simulation.settle();
  same(a!, b!);
  assert.equal(updatesIn(watch(link, 0)), 1_000);
  assert.equal(updatesIn(watch(link, 1)), 0, 'nothing is sent back to where it came from');
  b!.database.put('/new', { v: 'new' });
  await simulation.settle();
  same(a!, b!);
  assert.equal(updatesIn(watch(link, 1)), 1);
  assert.equal(updatesIn(watch(link, 0)), 1_000);
});

test('after a break, only what came meanwhile is sent', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  for (let i = 0; i < 300; i++) a!.database.put(`/${i}`, { v: `${i}` });
  simulation.connect(a!, b!);
  await simulation.settle();
  simulation.restart(b!);
  a!.database.put('/5', { v: 'changed' });
  b!.database.put('/6', { v: 'changed too' });
  const link = simulation.connect(a!, b!);
  await simulation.settle();
  same(a!, b!);
  assert.equal(updatesIn(watch(link, 0)), 1);
  assert.equal(updatesIn(watch(link, 1)), 1);
});

test('changes made while the first part is being sent follow it, in order, without gaps', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  for (let i = 0; i < 400; i++) a!.database.put(`/${String(i).padStart(3, '0')}`, { v: `${i}` });
  // A window of one: the sender always waits for the receiver.
  const link = simulation.connect(a!, b!, 1);
  await link.deliver(1);
  for (let i = 0; i < 400; i += 7) {
    await simulation.clock.pass(0);
    await link.deliver(0);
    a!.database.put(`/${String(i).padStart(3, '0')}`, { v: `changed ${i}` });
    a!.database.put(`/new ${i}`, { v: `new ${i}` });
  }
  await simulation.settle();
  same(a!, b!);
  const revisions = watch(link, 0)
    .filter((message) => typeOf(message) === update.type)
    .map((message) => Number(incoming(message).json.last_updated_rev));
  assert.deepEqual(
    revisions,
    revisions.toSorted((x, y) => x - y),
    'all are by one author, and in its order',
  );
});

test('a slow peer costs no memory: what is sent is read as fast as it is taken', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  a!.database.transaction(() => {
    for (let i = 0; i < 2_000; i++) a!.database.put(`/${i}`, { v: `${i}` });
  });
  const link = simulation.connect(a!, b!, 8);
  await link.deliver(1);
  for (let i = 0; i < 20; i++) await simulation.clock.pass(0);
  assert.ok(link.pending(0) <= 130, `${link.pending(0)} messages wait`);
});

test('updates travel through members that are not connected to each other, and back to nobody', async (t) => {
  const [simulation, a, b, c] = simulate(t, true, true, true);
  simulation.connect(a!, b!);
  const second = simulation.connect(b!, c!);
  await simulation.settle();
  for (let i = 0; i < 50; i++) a!.database.put(`/a${i}`, { v: `a${i}` });
  for (let i = 0; i < 50; i++) c!.database.put(`/c${i}`, { v: `c${i}` });
  await simulation.settle();
  same(a!, b!, c!);
  assert.equal(updatesIn(watch(second, 0)), 50);
  assert.equal(updatesIn(watch(second, 1)), 50);
});

test('read-only members get signed updates, keep them, and pass them on while no writer is up', async (t) => {
  const [simulation, writer, first, second] = simulate(t, true, false, false);
  const signer = countingSigner(true);
  const author = simulation.add({ id: 'e'.repeat(32), writable: true, signer });
  for (let i = 0; i < 20; i++) author.database.put(`/${i}`, { v: `${i}` });
  simulation.connect(author, first!);
  await simulation.settle();
  assert.equal(signer.signed, 20);
  simulation.restart(author);
  simulation.connect(author, second!);
  await simulation.settle();
  assert.equal(signer.signed, 20, 'each version is signed once, whoever asks and whenever');
  simulation.disconnect(author);
  simulation.restart(first!);
  const link = simulation.connect(first!, writer!);
  await simulation.settle();
  same(author, first!, second!, writer!);
  for (const message of watch(link, 0)) {
    if (typeOf(message) === update.type) assert.ok('signature' in message && message.signature !== undefined);
  }
  // What a writer has from a reader, it need not sign again.
  const sealed = countingSigner(true);
  const late = simulation.add({ id: 'd'.repeat(32), writable: true, signer: sealed });
  simulation.connect(first!, late);
  await simulation.settle();
  const third = simulation.add({ id: 'c'.repeat(32), writable: false });
  simulation.connect(late, third);
  await simulation.settle();
  same(author, third);
  assert.equal(sealed.signed, 0);
});

function countingSigner(canSign: boolean) {
  const inner = cheapSigner(canSign);
  return {
    ...inner,
    signed: 0,
    sign(body: Uint8Array) {
      this.signed += 1;
      return inner.sign(body);
    },
  };
}

test('on a read-only connection, what no writer has signed is neither stored nor passed on', async (t) => {
  const [simulation, writer, reader, other] = simulate(t, true, false, false);
  const toWriter = simulation.connect(reader!, writer!);
  simulation.connect(writer!, other!);
  await simulation.settle();
  const body = updateBody({
    uuid: '1'.repeat(32),
    key: '/forged',
    valueText: '{}',
    deleted: false,
    lastUpdatedBy: writer!.id,
    lastUpdatedRev: 1n,
    updateTime: '2026-01-01T00:00:00Z',
    vectorClock: new Map([[writer!.id, 1n]]),
  });
  const signature = await cheapSigner(true).sign(utf8('something else'));
  for (const message of [{ body }, { body, signature }, { body, signature: '' }, { body, signature: '!' }]) {
    toWriter.inject(0, message);
  }
  await simulation.settle();
  assert.deepEqual(recordsOf(writer!), []);
  assert.deepEqual(recordsOf(other!), []);
  assert.equal(writer!.replication.counters.refused, 4);
  assert.deepEqual(writer!.warnings, ['refused an update that no read-write member has signed']);
  assert.ok(toWriter.isOpen);
  // Nor does it count as told: the real first revision still comes through.
  writer!.database.put('/real', { v: 'real' });
  await simulation.settle();
  same(writer!, reader!, other!);
});

test('a body that we would have written otherwise is passed on as its author signed it', async (t) => {
  const [simulation, reader, next] = simulate(t, false, false);
  const link = simulation.connect(reader!, next!);
  await simulation.settle();
  const body = utf8(
    `{ "vector_clock": {"${'9'.repeat(32)}":1}, "type":"database.update", ".com.ibm.music":{"x":1.50},\n` +
      `"key":"/a","value":{"size":1e2, "a":"\\u0041"},"uuid":"${'1'.repeat(32)}","last_updated_by":"${'9'.repeat(32)}",` +
      `"last_updated_rev":1,"update_time":"2026-01-01T00:00:00.000Z"}`,
  );
  link.inject(1, { body, signature: await cheapSigner(true).sign(body) });
  await simulation.settle();
  const third = simulation.add({ id: 'c'.repeat(32), writable: false });
  const onward = simulation.connect(reader!, third);
  await simulation.settle();
  const [relayed] = watch(onward, 0).filter((message) => typeOf(message) === update.type);
  assert.ok(relayed !== undefined && 'body' in relayed);
  assert.deepEqual(Buffer.from(relayed.body).toString(), Buffer.from(body).toString());
  same(reader!, third);
});

test('real RSA signatures pass through a reader to another one', async (t) => {
  const key = await rsa.generate();
  const publicKey = rsa.readPublic(key.publicKey.pem);
  const verify = (body: Uint8Array, signature: string) =>
    publicKey.verify(body, Buffer.from(signature, 'base64'));
  const writerKey = await rsa.readPrivate(new Secret(key.pem.reveal()));
  const sign = async (body: Uint8Array) => Buffer.from(await writerKey.sign(body)).toString('base64');
  const simulation = new Simulation();
  t.after(() => simulation.close());
  const writer = simulation.add({
    id: 'a'.repeat(32),
    writable: true,
    signer: { canSign: true, sign, verify },
  });
  const readOnly = { canSign: false, sign: () => Promise.reject(new Error('no key')), verify };
  const [first, second] = ['b', 'c'].map((id) =>
    simulation.add({ id: id.repeat(32), writable: false, signer: readOnly }),
  );
  simulation.connect(writer, first!);
  simulation.connect(first!, second!);
  for (let i = 0; i < 30; i++) writer.database.put(`/${i}`, { v: `${i}` });
  // RSA works on other threads, so this is not over when the event loop is idle.
  while (recordsOf(second!).length < 30) {
    await new Promise((resolve) => setImmediate(resolve));
    await simulation.settle();
  }
  same(writer, first!, second!);
});

test('only one connection to a peer is subscribed, and another one takes over when it ends', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  const first = simulation.connect(a!, b!);
  const second = simulation.connect(a!, b!);
  await simulation.settle();
  assert.deepEqual(watch(first, 0).map(typeOf), [getUpdates.type]);
  assert.deepEqual(watch(second, 0), []);
  a!.database.put('/a', { v: 'a' });
  await simulation.settle();
  assert.equal(updatesIn(watch(second, 0)), 0);
  first.close();
  a!.database.put('/b', { v: 'b' });
  await simulation.settle();
  same(a!, b!);
  assert.equal(updatesIn(watch(second, 0)), 1);
});

test('once a day, and on demand, a peer is asked for everything again', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  a!.database.put('/a', { v: 'a' });
  const link = simulation.connect(a!, b!);
  await simulation.settle();
  const requests = () =>
    watch(link, 1)
      .map(incoming)
      .filter(({ type }) => type === getUpdates.type)
      .map(({ json }) => stringifyJson(json.since!));
  assert.deepEqual(requests(), [`{"${b!.id}":0}`]);
  await simulation.clock.pass(DAY_MS);
  await simulation.settle();
  assert.deepEqual(requests().slice(1), ['{}']);
  b!.replication.refresh();
  b!.replication.refresh(a!.id);
  b!.replication.refresh('nobody');
  await simulation.settle();
  assert.deepEqual(requests().slice(2), ['{}', '{}']);
  assert.equal(updatesIn(watch(link, 0)), 2, 'and not sent what it has sent itself since');
  same(a!, b!);
  // A restart does not begin the day anew.
  simulation.restart(b!);
  const again = simulation.connect(a!, b!);
  await simulation.settle();
  assert.equal(stringifyJson(incoming(watch(again, 1)[0]!).json.since!).length > 2, true);
  simulation.restart(b!);
  await simulation.clock.pass(DAY_MS);
  const later = simulation.connect(a!, b!);
  await simulation.settle();
  assert.equal(stringifyJson(incoming(watch(later, 1)[0]!).json.since!), '{}');
});

test('what a relay has withheld comes with the next full request', async (t) => {
  const [simulation, a, relay, b] = simulate(t, true, true, true);
  a!.database.put('/withheld', { v: 'withheld' });
  a!.database.put('/told', { v: 'told' });
  const told = a!.database.get('/told')!;
  // The relay tells of the second change, hides the first, and later has both.
  const link = simulation.connect(relay!, b!);
  await simulation.settle();
  link.inject(0, { body: updateBody({ ...told, valueText: stringifyJson(told.value) }) });
  simulation.connect(a!, relay!);
  await simulation.settle();
  b!.replication.refresh(relay!.id);
  await simulation.settle();
  same(a!, relay!, b!);
});

test('a device that was put back to an earlier state is told so, once, and gets its changes back', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  for (let i = 0; i < 5; i++) a!.database.put(`/${i}`, { v: `${i}` });
  simulation.connect(a!, b!);
  await simulation.settle();
  simulation.disconnect(a!);
  // The same peer ID on a card that is older.
  const restored = simulation.add({ id: a!.id, writable: true });
  restored.database.put('/0', { v: '0' });
  const link = simulation.connect(restored, b!);
  await simulation.settle();
  assert.deepEqual(restored.restored, [5n]);
  assert.deepEqual(b!.restored, []);
  assert.ok(link.isOpen);
  simulation.restart(restored, 'f'.repeat(32));
  restored.database.put('/after', { v: 'after' });
  simulation.connect(restored, b!);
  await simulation.settle();
  same(restored, b!);
  assert.ok(recordsOf(b!).some((line) => line.includes('/after')));
});

test('an update in our own name that we have never made is a sign of that too', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  const link = simulation.connect(a!, b!);
  await simulation.settle();
  link.inject(0, {
    body: updateBody({
      uuid: '1'.repeat(32),
      key: '/a',
      valueText: '{}',
      deleted: false,
      lastUpdatedBy: b!.id,
      lastUpdatedRev: 2n ** 63n - 1n,
      updateTime: '2026-01-01T00:00:00Z',
      vectorClock: new Map([[b!.id, 7n]]),
    }),
  });
  await simulation.settle();
  assert.deepEqual(b!.restored, [2n ** 63n - 1n]);
  // Whoever has seen the forgery never asks for less than it again: hence the new ID, under which everything flows.
  const c = simulation.add({ id: 'c'.repeat(32), writable: true });
  simulation.connect(b!, c);
  await simulation.settle();
  simulation.restart(b!, 'b'.repeat(32));
  b!.database.put('/mine', { v: 'mine' });
  simulation.connect(b!, c);
  await simulation.settle();
  same(b!, c);
  assert.equal(recordsOf(c).length, 2);
});

test('updates that can not be stored end that connection, and are asked for again', async (t) => {
  const [simulation, a, b, c] = simulate(t, true, true, true);
  const link = simulation.connect(a!, b!);
  const other = simulation.connect(c!, b!);
  await simulation.settle();
  const stop = b!.database.inTransaction(({ after }) => {
    if (after.key === '/2') throw new Error('the disk is full');
  });
  for (let i = 0; i < 5; i++) a!.database.put(`/${i}`, { v: `${i}` });
  c!.database.put('/c', { v: 'c' });
  await simulation.settle();
  assert.ok(!link.isOpen);
  assert.ok(other.isOpen, 'what another peer sent at the same time was stored');
  assert.ok(b!.database.get('/c') !== undefined);
  assert.ok(b!.database.get('/1') !== undefined);
  assert.equal(
    b!.database.get('/3'),
    undefined,
    'nothing behind the failure was stored: it would be skipped',
  );
  stop();
  simulation.connect(a!, b!);
  await simulation.settle();
  same(a!, b!, c!);
});

test('malformed messages end the connection, and nothing else', async (t) => {
  const [simulation, a, b, c] = simulate(t, true, true, true);
  const good = simulation.connect(c!, b!);
  for (const body of [
    `{"type":"database.update"}`,
    `{"type":"database.update","key":"/a","value":1,"uuid":"x"}`,
    `{"type":"database.get_updates"}`,
    `{"type":"database.get_updates","since":{"__proto__":1}}`,
    `{"type":"database.get_updates","since":{"${'1'.repeat(32)}":-1}}`,
    `{"type":"database.get_updates","since":{"${'1'.repeat(32)}":9223372036854775808}}`,
  ]) {
    const link = simulation.connect(a!, b!);
    link.inject(0, { body: utf8(body) });
    await simulation.settle();
    assert.ok(!link.isOpen, body);
    assert.equal((link.closedBy as { fault?: string } | undefined)?.fault, 'peer');
  }
  const link = simulation.connect(a!, b!);
  link.inject(0, { body: utf8('{"type":"database.of_the_future","x":1}') });
  c!.database.put('/c', { v: 'c' });
  await simulation.settle();
  assert.ok(link.isOpen && good.isOpen);
  same(a!, b!, c!);
});

test('whatever JSON comes, it is taken or refused as the fault of the peer', async (t) => {
  const [simulation, a] = simulate(t, true);
  const ids = fc.constantFrom('1'.repeat(32), '2'.repeat(32), 'x');
  const counts = fc.oneof(fc.nat(), fc.constant(-1), fc.double(), fc.string());
  const messages = fc.record(
    {
      type: fc.constantFrom('database.update', 'database.get_updates', 'database.x'),
      key: fc.oneof(fc.string(), fc.nat()),
      value: fc.jsonValue(),
      uuid: ids,
      last_updated_by: ids,
      last_updated_rev: counts,
      update_time: fc.oneof(fc.constant('2026-01-01T00:00:00Z'), fc.string()),
      vector_clock: fc.dictionary(ids, counts),
      since: fc.dictionary(ids, counts),
      deleted: fc.oneof(fc.boolean(), fc.nat()),
    },
    { requiredKeys: ['type'] },
  );
  await fc.assert(
    fc.asyncProperty(messages, async (json) => {
      const link = new Link(a!, a!, 1_000);
      const message = incoming({ body: utf8(JSON.stringify(json)) });
      await survivesAsync(() => link.receive(1, message));
      await simulation.clock.pass(0);
      link.close();
    }),
  );
});

test('asking again begins again, and asking a thousand times costs one batch at a time', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  for (let i = 0; i < 300; i++) a!.database.put(`/${i}`, { v: `${i}` });
  const link = simulation.connect(a!, b!, 4);
  const request = { json: encode(getUpdates, { since: new Map() }) };
  for (let i = 0; i < 1_000; i++) link.inject(1, request);
  while (link.pending(1) > 0) await link.deliver(1);
  await simulation.clock.pass(0);
  assert.ok(link.pending(0) < 300, `${link.pending(0)} messages wait`);
  await simulation.settle();
  same(a!, b!);
});

test('one peer does not wait for what is stored for another club', async (t) => {
  const [simulation, a, b] = simulate(t, true, true);
  simulation.connect(a!, b!);
  await simulation.settle();
  // Thousands of records of another club in between, which must be passed over.
  const other = openClubDatabase({
    sqlite: a!.sqlite,
    club: 'another',
    self: 'd'.repeat(32),
    writable: true,
    conflicts: policy,
    clock: simulation.clock,
    log: silentLogger,
  });
  other.transaction(() => {
    for (let i = 0; i < 5_000; i++) other.put(`/${i}`, parseJson(`{"v":"x${i}"}`));
  });
  assert.deepEqual(
    a!.replication.peers().map(({ isCaughtUp }) => isCaughtUp),
    [true],
  );
  a!.database.put('/mine', { v: 'mine' });
  await simulation.settle();
  same(a!, b!);
  assert.equal(recordsOf(b!).length, 1);
  other.close();
});
