import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../agent/base/bytes.ts';
import { environmentError, peerError, type SkylarkError } from '../../agent/base/errors.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import { MeteredStream } from '../../agent/club/meter.ts';
import { openSession, payloadLimits, type RunningSession } from '../../agent/club/open-session.ts';
import type { Extension, Session } from '../../agent/club/session.ts';
import { type IncomingMessage, openMessageStream } from '../../agent/wire/message-stream.ts';
import { type MemoryStreamOptions, memoryStreamPair } from '../support/memory-stream.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { framed, RawPeer } from './raw-peer.ts';

const SECOND = 1_000;

interface Setting {
  readonly clock: VirtualClock;
  readonly raw: RawPeer;
  readonly running: RunningSession;
  readonly session: Session;
  readonly entries: LogEntry[];
}

/** A session with a raw peer on the other side. */
function setting(
  extensions: readonly Extension[] = [],
  options: { readonly common?: readonly string[]; readonly timeout?: number } & MemoryStreamOptions = {},
): Setting {
  const clock = virtualClock();
  const [a, b] = memoryStreamPair(options);
  const meter = new MeteredStream(b, clock);
  const entries: LogEntry[] = [];
  const running = openSession({
    messages: openMessageStream(meter, { payloadLimit: payloadLimits(() => extensions) }),
    meter,
    introduction: {
      peer: { id: 'a'.repeat(32), name: 'Alice', software: 'test', instance: undefined, address: 'memory' },
      level: 'read_write',
      extensions: new Set(options.common ?? extensions.map(({ name }) => name)),
    },
    club: 'c'.repeat(32),
    self: 'b'.repeat(32),
    extensions,
    clock,
    log: new Logger((entry) => entries.push(entry)),
    timeout: options.timeout,
  });
  return { clock, raw: new RawPeer(a), running, session: running.session, entries };
}

interface Recorder extends Extension {
  readonly received: string[];
  attached: number;
  detached: number;
}

function recorder(
  name: string,
  receive: (message: IncomingMessage, session: Session) => Promise<void> = async () => {},
  payloads: Readonly<Record<string, bigint>> = {},
): Recorder {
  const own: Recorder = {
    name,
    payloadLimits: payloads,
    received: [],
    attached: 0,
    detached: 0,
    attach(session) {
      own.attached += 1;
      return {
        async receive(message) {
          own.received.push(message.type);
          await receive(message, session);
        },
        detach() {
          own.detached += 1;
        },
      };
    },
  };
  return own;
}

const ping = (timeout: unknown) => framed(`{"type":"core.ping","timeout":${String(timeout)}}`);
const say = (type: string) => framed(`{"type":"${type}"}`);

test('each extension receives its own messages, in order', async () => {
  const [database, directory] = [recorder('database'), recorder('directory')];
  const unofficial = recorder('.io.skylark.x');
  const { raw, running, clock } = setting([database, directory, unofficial], { pieces: [3] });
  const types = [
    'database.b',
    'directory.a',
    'database.a',
    '.io.skylark.x.y',
    'databases.z',
    'database',
    'x.y',
  ];
  await raw.say(types.map(say).join(''));
  await raw.stream.close();
  assert.equal(await clock.run(running.ended), undefined);
  assert.deepEqual(database.received, ['database.b', 'database.a']);
  assert.deepEqual(directory.received, ['directory.a']);
  assert.deepEqual(unofficial.received, ['.io.skylark.x.y']);
  assert.equal(running.unknownMessages, 3);
  assert.deepEqual([database.attached, database.detached], [1, 1]);
});

test('an extension that the peer does not have is not attached, and its messages are ignored', async () => {
  const database = recorder('database');
  const { raw, running, clock } = setting([database], { common: [] });
  await raw.say(say('database.update'));
  await raw.stream.close();
  await clock.run(running.ended);
  assert.deepEqual([database.attached, database.detached, database.received.length], [0, 0, 0]);
  assert.equal(running.unknownMessages, 1);
});

test('one message at a time: the next one waits for the extension', async () => {
  let inside = 0;
  const gates: (() => void)[] = [];
  const database = recorder('database', async () => {
    inside += 1;
    assert.equal(inside, 1);
    await new Promise<void>((resolve) => gates.push(resolve));
    inside -= 1;
  });
  const { raw, running, clock } = setting([database]);
  await raw.say(say('database.a').repeat(3));
  await raw.stream.close();
  for (let i = 1; i <= 3; i++) {
    await clock.pass(1);
    assert.equal(database.received.length, i);
    gates.shift()?.();
  }
  await clock.run(running.ended);
});

test('pings go out every half timeout, the first at once, also while an extension is slow', async () => {
  const database = recorder('database', () => new Promise(() => {}));
  const { raw, running, session, clock } = setting([database]);
  const times: number[] = [];
  const hearing = (async () => {
    for (let json = await raw.hear(); json !== null; json = await raw.hear()) {
      assert.equal(json.type, 'core.ping');
      assert.equal(json.timeout, 60);
      times.push(clock.monotonic() / SECOND);
    }
  })();
  await raw.say(say('database.slow'));
  await clock.pass(100 * SECOND);
  assert.deepEqual(times, [0, 30, 60, 90]);
  // We were not listening, so the silence is not the peer's fault.
  await clock.pass(3_600 * SECOND);
  assert.equal(session.signal.aborted, false);
  session.close(peerError('test.over', 'over'));
  await clock.run(running.ended);
  await hearing;
});

test('a peer from which nothing comes for 1.5 timeouts is given up; any byte counts', async () => {
  const { raw, running, session, clock, entries } = setting();
  await clock.pass(89 * SECOND);
  // Not even a whole message.
  await raw.say('m1');
  await clock.pass(89 * SECOND);
  assert.equal(session.signal.aborted, false);
  await clock.pass(2 * SECOND);
  const reason = await clock.run(running.ended);
  assert.equal((reason as SkylarkError).code, 'session.silent');
  assert.equal((reason as SkylarkError).fault, 'environment');
  assert.equal(entries.length, 1);
  await raw.hearAll();
  assert.ok(raw.failure !== undefined, 'the connection is gone');
});

test('the larger timeout holds for both, between 10 and 3600 seconds, however absurd the peer', async () => {
  for (const [theirs, limit] of [
    ['120', 180],
    ['5', 90],
    ['0', 90],
    ['3600', 5_400],
    ['9223372036854775807', 5_400],
  ] as const) {
    const { raw, session, clock } = setting();
    await raw.say(ping(theirs));
    await clock.pass((limit - 1) * SECOND);
    assert.equal(session.signal.aborted, false, theirs);
    await clock.pass(2 * SECOND);
    assert.equal(session.signal.aborted, true, theirs);
  }
  for (const theirs of ['-1', '1.5', '"60"', '9223372036854775808', 'null']) {
    const { raw, running, clock } = setting();
    await raw.say(ping(theirs));
    assert.equal(((await clock.run(running.ended)) as SkylarkError).code, 'schema.mismatch');
  }
});

test('our own timeout is announced, within the limits', async () => {
  for (const [timeout, announced] of [
    [1, 10],
    [300, 300],
    [1e9, 3_600],
  ] as const) {
    const { raw, session } = setting([], { timeout });
    assert.equal((await raw.hear())?.timeout, announced);
    session.close(undefined);
  }
});

test('while a peer does not read, pings do not pile up', async () => {
  const { raw, session, clock, running } = setting([], { capacity: 1 });
  // It sends, so that it is not given up, but reads nothing.
  for (let i = 0; i < 100; i++) {
    await raw.say(ping(60));
    await clock.pass(30 * SECOND);
  }
  assert.equal(session.signal.aborted, false);
  // Now it reads all that was waiting.
  let pings = 0;
  const hearing = (async () => {
    while ((await raw.hear()) !== null) pings += 1;
  })();
  await clock.pass(1);
  assert.ok(pings <= 2, String(pings));
  session.close(undefined);
  await clock.run(running.ended);
  await hearing;
});

test('keys after joining are ignored, with one warning', async () => {
  const { raw, running, entries, clock } = setting([recorder('database')]);
  await raw.say(framed('{"type":"core.keys","access_level":"read_write","keys":[]}').repeat(3));
  await raw.stream.close();
  assert.equal(await clock.run(running.ended), undefined);
  assert.equal(entries.filter(({ level }) => level === 'warn').length, 1);
  assert.equal(running.unknownMessages, 3);
});

test('a message that breaks the protocol ends the session with one line in the log', async () => {
  const database = recorder('database', () => Promise.reject(peerError('database.nonsense', 'no')));
  const { raw, running, session, entries, clock } = setting([database]);
  await raw.say(say('database.a').repeat(5));
  assert.equal(((await clock.run(running.ended)) as SkylarkError).code, 'database.nonsense');
  assert.equal(database.received.length, 1);
  assert.equal(database.detached, 1);
  assert.equal(session.signal.aborted, true);
  assert.deepEqual(
    entries.map(({ level, fields }) => [level, (fields.error as SkylarkError).code]),
    [['warn', 'database.nonsense']],
  );
  await assert.rejects(session.send({ body: utf8('{}') }), { code: 'database.nonsense' });
});

test('an error of our own ends the session as an error', async () => {
  const failing = [
    recorder('database', () => Promise.reject(new TypeError('bug'))),
    {
      ...recorder('database'),
      attach: () => {
        throw new TypeError('bug');
      },
    },
  ];
  for (const extension of failing) {
    const { raw, running, entries, clock } = setting([extension]);
    await raw.say(say('database.a'));
    assert.match(String(await clock.run(running.ended)), /bug/);
    assert.deepEqual(
      entries.map(({ level }) => level),
      ['error'],
    );
  }
});

test('malformed framing ends the session', async () => {
  for (const text of ['m-5{', 'x', 'm3[1]', `${say('x.y')}m99999999{`, `!14{"type":"x.y"}-1\n`]) {
    const { raw, running, clock } = setting();
    await raw.say(text);
    assert.equal(((await clock.run(running.ended)) as SkylarkError).fault, 'peer', text);
  }
});

test('payloads are bounded by their type: 0 for core, as declared for extensions, 64 MiB skipped for unknown ones', async () => {
  const limit = payloadLimits(() => [recorder('directory', undefined, { 'directory.data': 77n })]);
  assert.equal(limit('core.ping'), 0n);
  assert.equal(limit('core.unknown'), 0n);
  assert.equal(limit('directory.data'), 77n);
  assert.equal(limit('directory.other'), 0n);
  assert.equal(limit('directory.__proto__'), 0n);
  assert.equal(limit('constructor'), 67_108_864n);
  const directory = recorder('directory');
  const { raw, running, clock } = setting([directory], { pieces: [2] });
  await raw.say('!14{"type":"x.y"}5\nhello3\nabc0\n');
  await raw.say(say('directory.a'));
  await raw.stream.close();
  assert.equal(await clock.run(running.ended), undefined);
  assert.deepEqual(directory.received, ['directory.a']);
});

test('an orderly end sends what was given to be sent, and the peer sees an end, not a break', async () => {
  const { raw, running, session, clock } = setting();
  const sent = session.send({ body: utf8('{"type":"database.last"}') });
  session.close(undefined);
  session.close(peerError('test.late', 'too late to matter'));
  await sent;
  assert.equal(await clock.run(running.ended), undefined);
  assert.deepEqual(await raw.hearAll(), ['core.ping', 'database.last']);
});

test('an orderly end does not wait long for a peer that does not read', async () => {
  const { running, session, clock } = setting([], { capacity: 1 });
  void session.send({ body: utf8(`{"type":"x.y","a":"${'x'.repeat(1_000)}"}`) }).catch(() => {});
  session.close(undefined);
  const start = clock.monotonic();
  await clock.run(running.ended);
  assert.ok(clock.monotonic() - start <= 2_000);
});

test('an extension may send from within receiving, and close from within attaching', async () => {
  const echo = recorder('database', async ({ type }, session) => {
    if (type === 'database.ask') await session.send({ body: utf8('{"type":"database.answer"}') });
    else session.close(environmentError('test.enough', 'enough'));
  });
  const first = setting([echo]);
  await first.raw.say(say('database.ask') + say('database.end') + say('database.ask'));
  assert.equal(((await first.clock.run(first.running.ended)) as SkylarkError).code, 'test.enough');
  assert.deepEqual(echo.received, ['database.ask', 'database.end']);
  let detached = 0;
  const hasty: Extension = {
    name: 'database',
    payloadLimits: {},
    attach(session) {
      session.close(undefined);
      const detach = () => {
        detached += 1;
      };
      return { receive: () => Promise.reject(new Error('never')), detach };
    },
  };
  const later = recorder('directory');
  const second = setting([hasty, later]);
  assert.equal(await second.clock.run(second.running.ended), undefined);
  assert.deepEqual([detached, later.attached], [1, 0]);
});

test('a broken connection ends the session, and no timer is left behind', async () => {
  const { raw, running, session, clock } = setting([recorder('database')]);
  raw.stream.abort(environmentError('test.unplugged', 'unplugged'));
  assert.ok((await clock.run(running.ended)) instanceof Error);
  assert.equal(session.signal.aborted, true);
  // A clock with nothing to wait for says so.
  await assert.rejects(clock.run(new Promise(() => {})), /nothing is left/);
});

test('rates fade, totals stay', async () => {
  const clock = virtualClock();
  const [a, b] = memoryStreamPair();
  const meter = new MeteredStream(b, clock);
  await meter.write(new Uint8Array(50_000));
  await a.write(new Uint8Array(10));
  await meter.read();
  assert.equal(meter.sent.total, 50_000);
  assert.equal(meter.received.total, 10);
  assert.ok(Math.abs(meter.sent.rate - 10_000) < 1);
  await clock.pass(60_000);
  assert.ok(meter.sent.rate < 1);
  assert.equal(meter.sent.total, 50_000);
  // A steady stream shows its rate.
  for (let i = 0; i < 600; i++) {
    await meter.write(new Uint8Array(100));
    await a.read();
    await clock.pass(100);
  }
  assert.ok(Math.abs(meter.sent.rate - 1_000) < 50, String(meter.sent.rate));
});
