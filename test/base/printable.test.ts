import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { printable } from '../../agent/base/printable.ts';

test('ordinary names stay as they are, emoji and other scripts included', () => {
  for (const name of ['Étude № 3.mid', '演奏 2.mid', '👩‍👩‍👧 family', 'e\u0301', 'نص', 'a\u00adb'])
    assert.equal(printable(name), name);
});

test('line ends, terminal sequences and direction overrides become escapes', () => {
  assert.equal(printable('a\nb\r\tc'), 'a\\nb\\r\\tc');
  assert.equal(printable('\u001b[2Jgone'), '\\u{1b}[2Jgone');
  assert.equal(printable('\u009b31m'), '\\u{9b}31m');
  assert.equal(printable('gpj.\u202eexe'), 'gpj.\\u{202e}exe');
  assert.equal(printable('C:\\music'), 'C:\\\\music');
  assert.equal(printable('lone \ud83d'), 'lone \ufffd');
});

test('long text is cut, and says so', () => {
  assert.equal(printable('x'.repeat(12), 10), 'xxxxxxxxxx...(2 more)');
  assert.equal(printable('x'.repeat(10), 10), 'x'.repeat(10));
});

test('whatever comes in, one well-formed line comes out, and nothing in it is a control character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      const shown = printable(text);
      assert.ok(shown.isWellFormed());
      assert.ok(!/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(shown));
    }),
  );
});
