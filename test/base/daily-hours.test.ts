import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type DailyHours,
  endOfHours,
  formatDailyHours,
  parseDailyHours,
} from '../../agent/base/daily-hours.ts';
import { SkylarkError } from '../../agent/base/errors.ts';

const at = (hours: number, minutes = 0) => hours * 60 + minutes;

test('ranges of hours are read, also over midnight and to the end of the day', () => {
  assert.deepEqual(parseDailyHours('22:00-07:00'), [{ from: at(22), to: at(7) }]);
  assert.deepEqual(parseDailyHours(' 9:30 - 11:05,22:00-24:00 '), [
    { from: at(9, 30), to: at(11, 5) },
    { from: at(22), to: at(24) },
  ]);
});

test('anything else is refused, and a range without a length is explained', () => {
  const texts = [
    '',
    '22:00',
    '22-7',
    '22:00-07:60',
    '24:00-01:00',
    '25:00-01:00',
    '22:00-07:00,',
    '-1:00-2:00',
  ];
  for (const text of [...texts, '08:00-08:00', Array(25).fill('01:00-02:00').join()])
    assert.throws(
      () => parseDailyHours(text),
      (thrown) => thrown instanceof SkylarkError && thrown.code === 'hours.malformed',
      text,
    );
});

test('they end when the last of those that follow each other does', () => {
  const hours = parseDailyHours('22:00-02:00, 02:00-05:00, 04:30-07:00, 12:00-13:00');
  assert.equal(endOfHours(hours, at(21, 59)), undefined);
  for (const minute of [at(22), at(0), at(2), at(6, 59)]) assert.equal(endOfHours(hours, minute), at(7));
  assert.equal(endOfHours(hours, at(7)), undefined);
  assert.equal(endOfHours(hours, at(12, 30)), at(13));
  assert.equal(endOfHours(hours, at(13)), undefined);
});

test('hours all around the clock never end', () => {
  for (const text of ['00:00-24:00', '06:00-18:00,18:00-06:00', '06:00-05:00,04:00-07:00'])
    for (const minute of [0, at(5, 30), at(6), at(23, 59)])
      assert.equal(endOfHours(parseDailyHours(text), minute), minute, `${text} at ${minute}`);
});

const range: fc.Arbitrary<DailyHours> = fc
  .tuple(fc.integer({ min: 0, max: 1_439 }), fc.integer({ min: 0, max: 1_440 }))
  .filter(([from, to]) => from !== to)
  .map(([from, to]) => ({ from, to }));
const ranges = fc.array(range, { minLength: 1, maxLength: 6 });

test('what is written is read as the same', () => {
  fc.assert(
    fc.property(ranges, (hours) => {
      assert.deepEqual(parseDailyHours(formatDailyHours(hours)), hours);
    }),
  );
});

test('each minute of the day is in them or not as each range has it, and none before their end is out', () => {
  /** Minute by minute, as a finger on the dial. */
  const dialOf = (hours: readonly DailyHours[]) => {
    const dial = new Array<boolean>(1_440).fill(false);
    for (const { from, to } of hours)
      for (let i = 0, m = from; i === 0 || m !== to % 1_440; i++, m = (m + 1) % 1_440) dial[m] = true;
    return dial;
  };
  fc.assert(
    fc.property(ranges, fc.integer({ min: 0, max: 1_439 }), (hours, minute) => {
      const dial = dialOf(hours);
      const end = endOfHours(hours, minute);
      assert.equal(end !== undefined, dial[minute]);
      if (end === undefined) return;
      for (let i = 0, m = minute; i === 0 || m !== end; i++, m = (m + 1) % 1_440)
        if (!dial[m]) assert.fail(`${m} is before the end`);
      assert.equal(dial[end], end === minute);
    }),
  );
});

test('any text is a list of hours or refused by us', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9:, -]{0,30}$/)), (text) => {
      try {
        for (const { from, to } of parseDailyHours(text)) assert.ok(from >= 0 && from < 1_440 && to <= 1_440);
      } catch (thrown) {
        assert.ok(thrown instanceof SkylarkError && thrown.fault === 'user');
      }
    }),
  );
});
