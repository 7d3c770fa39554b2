import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../agent/base/bytes.ts';
import { environmentError, peerError, type SkylarkError } from '../../agent/base/errors.ts';
import { payloadLimits } from '../../agent/club/open-session.ts';
import type { Extension } from '../../agent/club/session.ts';
import { framed } from './raw-peer.ts';

import { recorder, say, setting } from './session-setting.ts';

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

test('a connection that breaks off is no fault of the peer in the log', async () => {
  const ends = [`${say('x.y')}m99{"type":`, '!14{"type":"x.y"}5\nhe', say('database.a')];
  for (const text of ends) {
    // What a TLS channel says when the bytes end before its own end does.
    const truncated = peerError('channel.truncated', 'no close_notify');
    const { raw, running, entries, clock } = setting([recorder('database', () => Promise.reject(truncated))]);
    await raw.say(text);
    await raw.stream.close();
    assert.equal(((await clock.run(running.ended)) as SkylarkError).fault, 'peer');
    assert.deepEqual(
      entries.map(({ level, message }) => [level, message]),
      [['info', 'disconnected: the connection broke off']],
      text,
    );
  }
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
