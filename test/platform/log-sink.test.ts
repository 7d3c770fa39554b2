import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../agent/base/clock.ts';
import { environmentError, internalError, userError } from '../../agent/base/errors.ts';
import { Logger, Secret } from '../../agent/base/log.ts';
import { type LogSinkOptions, openLogSink } from '../../agent/platform/log-sink.ts';

const CODE = 'SYNC74XD7AJ6J4KTIDHOR6B7S4CLRVJVQ';
const KEY = '0f'.repeat(32);

/** Time stands still; timers are run by hand. */
function frozenClock() {
  const timers = new Set<() => void>();
  const clock: Clock = {
    now: () => 1_700_000_000_123_000_000n,
    monotonic: () => 0,
    after: (_ms, callback) => {
      timers.add(callback);
      return { cancel: () => timers.delete(callback) };
    },
  };
  const runTimers = () => {
    for (const callback of [...timers]) callback();
  };
  return { clock, runTimers };
}

function openRecorder(options: Partial<LogSinkOptions> = {}) {
  const lines: string[] = [];
  const { clock, runTimers } = frozenClock();
  const log = openLogSink({
    level: 'debug',
    format: 'text',
    clock,
    write: (line) => lines.push(line),
    ...options,
  });
  return { lines, runTimers, log, logger: new Logger(log.sink) };
}

test('a line has time, level, scope, message and fields', () => {
  const { lines, logger } = openRecorder();
  logger.child('club.session', { peer: '10.0.0.7:49221' }).info('keys received', {
    count: 3,
    size: 5_000_000_000n,
    name: 'my piano',
    empty: '',
    nothing: undefined,
    list: ['a', 'b'],
    quote: 'a"b',
  });
  assert.deepEqual(lines, [
    '2023-11-14T22:13:20.123Z info  club.session keys received peer=10.0.0.7:49221 count=3 size=5000000000 name="my piano" empty="" list=a,b quote="a\\"b"\n',
  ]);
});

test('JSON lines carry the same, with numbers as numbers', () => {
  const { lines, logger } = openRecorder({ format: 'json' });
  logger.child('bridge').warn('device lost', {
    retries: 3,
    rate: Number.NaN,
    size: 9_007_199_254_740_993n,
    on: false,
    secret: new Secret('x'),
    error: userError('a.b', 'no such port', { remedy: 'plug it in' }),
    ports: ['a', 2],
  });
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    time: '2023-11-14T22:13:20.123Z',
    level: 'warn',
    scope: 'bridge',
    message: 'device lost',
    fields: {
      retries: 3,
      rate: 'NaN',
      size: '9007199254740993',
      on: false,
      secret: '[redacted]',
      error: 'no such port; plug it in',
      ports: ['a', 2],
    },
  });
});

test('levels below the chosen one are not written', () => {
  const { lines, logger } = openRecorder({ level: 'warn' });
  logger.debug('a');
  logger.info('b');
  logger.warn('c');
  logger.error('d');
  assert.deepEqual(
    lines.map((line) => line.split(' ').at(-1)),
    ['c\n', 'd\n'],
  );
});

test('under the journal lines begin with their priority and have no time', () => {
  const { lines, logger } = openRecorder({ journal: true });
  logger.debug('a');
  logger.info('b');
  logger.warn('c');
  logger.error('d');
  assert.deepEqual(lines, ['<7>debug a\n', '<6>info  b\n', '<4>warn  c\n', '<3>error d\n']);
});

test('colours appear only when asked for', () => {
  const { lines, logger } = openRecorder({ colour: true });
  logger.error('a', { b: 1 });
  assert.ok(lines[0]?.endsWith('\u001b[31merror\u001b[0m a \u001b[90mb=\u001b[0m1\n'));
});

test('text from a peer can neither end the line, nor colour it, nor pass for another field', () => {
  for (const format of ['text', 'json'] as const) {
    const { lines, logger } = openRecorder({ format });
    logger.info('named', { name: 'x\nerror forged level=error \u001b[2J\u202egpj' });
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.indexOf('\n'), (lines[0]?.length ?? 0) - 1);
    for (const unfit of ['\u001b', '\u202e']) assert.ok(!lines[0]?.includes(unfit));
  }
  const { lines, logger } = openRecorder();
  logger.info('named', { name: 'a=b c' });
  assert.ok(lines[0]?.endsWith('name="a=b c"\n'));
});

test('long values, long lists and many fields are cut', () => {
  const { lines, logger } = openRecorder();
  const many = Object.fromEntries(
    Array.from({ length: 1_000 }, (_, index) => [`f${index}`, 'y'.repeat(10_000)]),
  );
  logger.info('much', { list: Array.from({ length: 10_000 }, () => 'z'.repeat(10_000)), ...many });
  assert.ok((lines[0]?.length ?? 0) < 16_384);
  assert.match(lines[0] ?? '', /\.\.\.\(9984 more\)/);
});

test('secrets are redacted by type, by their looks, and by the name of their field', () => {
  const { lines, logger } = openRecorder();
  const grouped = CODE.replace(/(.{5})/g, '$1-');
  logger.info(`joining with ${CODE}`, {
    wrapped: new Secret(KEY),
    nested: [new Secret(KEY)],
    url: `clearskies:///directory/${CODE.toLowerCase()}`,
    typed: grouped,
    error: userError('a.b', `${CODE} is used up`),
    broken: `${CODE.slice(0, 12)}\n${CODE.slice(12)}`,
    cut: `${' '.repeat(240)}${CODE}`,
    private_key: KEY,
    password: `${KEY}${KEY}`,
    club_id: KEY,
  });
  const line = lines[0] ?? '';
  assert.ok(
    !line.includes(CODE.slice(8, 20)) && !line.toLowerCase().includes(CODE.slice(8, 20).toLowerCase()),
  );
  assert.ok(!line.includes(grouped.slice(8, 20)));
  assert.ok(!line.includes(CODE.slice(0, 12)) && !line.includes(CODE.slice(12)));
  assert.equal(line.split(KEY).length, 2, 'only the public ID is shown');
  assert.ok(line.includes(`club_id=${KEY}`));
});

test('an error says why, what to do, what caused it, and where if it is our mistake', () => {
  const { lines, logger } = openRecorder();
  const cause = new Error('ENOSPC');
  logger.error('a', {
    error: environmentError('disk.full', 'the disk is full', { remedy: 'make room', cause }),
  });
  assert.match(lines[0] ?? '', /error="the disk is full; make room \(because: ENOSPC\)"\n$/);
  logger.error('b', { error: internalError('x.y', 'impossible') });
  assert.match(lines[1] ?? '', /impossible \[at .*log-sink\.test\.ts/);
});

test('the same warning is said once and then counted', () => {
  const { lines, logger, runTimers } = openRecorder();
  for (let i = 0; i < 1_000; i++) logger.warn('no route', { peer: 'a' });
  assert.equal(lines.length, 1);
  runTimers();
  assert.ok(lines[1]?.endsWith('no route repeated=999\n'));
  logger.warn('no route', { peer: 'a' });
  assert.equal(lines.length, 3);
});

test('warnings that differ only in their fields are said ten times and then counted; other ones are not held back', () => {
  const { lines, logger, log } = openRecorder();
  for (let i = 0; i < 500; i++) logger.warn('bad frame', { peer: `10.0.0.${i}` });
  logger.warn('something else');
  logger.info('bad frame');
  assert.equal(lines.length, 12);
  log.close();
  assert.ok(lines[12]?.endsWith('bad frame repeated=490\n'));
  log.close();
  assert.equal(lines.length, 13);
});

test('the memory of what was said is bounded', () => {
  const { lines, logger, log } = openRecorder();
  for (let i = 0; i < 2_000; i++) {
    logger.warn(`message ${i}`);
    logger.warn(`message ${i}`);
  }
  // What was pushed out has told its count already.
  assert.equal(lines.length, 2_000 + (2_000 - 256));
  log.close();
  assert.equal(lines.length, 4_000);
});

test('whatever is logged, each entry is one clean line', () => {
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.bigInt(),
    fc.boolean(),
    fc.array(fc.string()),
  );
  fc.assert(
    fc.property(
      fc.constantFrom('text' as const, 'json' as const),
      fc.string({ unit: 'binary' }),
      fc.dictionary(fc.string({ unit: 'binary' }), value),
      (format, message, fields) => {
        const { lines, logger } = openRecorder({ format });
        logger.info(message, fields);
        assert.equal(lines.length, 1);
        assert.ok(!/[\p{Cc}\u2028\u2029\u202a-\u202e]/u.test(lines[0]?.slice(0, -1) ?? ''));
        if (format === 'json') JSON.parse(lines[0] ?? '');
      },
    ),
  );
});
