import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex, utf8 } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import { Secret } from '../../agent/base/log.ts';
import {
  accessCodeUrl,
  accessOfCode,
  accessOfCredentials,
  encodeAccessCode,
  groupAccessCode,
  parseAccessCode,
} from '../../agent/club/access-code.ts';
import { decodeBase32, encodeBase32, luhnCheckCharacter } from '../../agent/club/base32.ts';
import { sha256 } from '../../agent/crypto/hash.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const raw = fc.uint8Array({ minLength: 16, maxLength: 16 });

function refused(input: string, code: string): void {
  assert.throws(
    () => parseAccessCode(input),
    (thrown: unknown) =>
      thrown instanceof SkylarkError &&
      thrown.fault === 'user' &&
      thrown.code === code &&
      // A code is a secret, even a mistyped one.
      (input.length < 8 || !thrown.message.includes(input)),
  );
}

test('base32 gives the test vectors of RFC 4648, section 10', () => {
  for (const [text, base32] of [
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ] as const) {
    assert.equal(encodeBase32(utf8(text)), base32);
  }
  assert.deepEqual(decodeBase32('MZXW6YTB'), utf8('fooba'));
});

test('a code has 33 characters, begins with SYNC74 and reads back to its bytes', () => {
  fc.assert(
    fc.property(raw, (bytes) => {
      const code = encodeAccessCode(bytes);
      assert.equal(code.length, 33);
      assert.match(code, /^SYNC74[A-Z2-7]{27}$/);
      assert.deepEqual(parseAccessCode(code).reveal(), bytes);
    }),
  );
});

test('a code of known bytes has a known text, ID and secret', () => {
  const bytes = fromHex('000102030405060708090a0b0c0d0e0f');
  const code = encodeAccessCode(bytes);
  // 96 1A 2F F3 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F, five bits at a time, by hand.
  assert.equal(code.slice(0, 32), 'SYNC74YAAEBAGBAFAYDQQCIKBMGA2DQP');
  assert.equal(code.charAt(32), luhnByTheBook(code.slice(0, 32)));
  const access = accessOfCode(parseAccessCode(code), sha256);
  assert.equal(access.id, toHex(sha256(fromHex('0001020304050607'))));
  assert.equal(access.id, '8a851ff82ee7048ad09ec3847f1ddf44944104d2cbd17ef4e3db22c6785a0d45');
  assert.equal(access.secret.reveal(), '08090a0b0c0d0e0f');
});

/** The definition in words: from the right, double every second value, add its two base-32 digits. */
function luhnByTheBook(text: string): string {
  const values = Array.from(text, (character) => ALPHABET.indexOf(character)).reverse();
  const sum = values
    .map((value, index) => (index % 2 === 0 ? 2 * value : value))
    .flatMap((value) => [value >> 5, value & 31])
    .reduce((a, b) => a + b, 0);
  return ALPHABET.charAt((32 - (sum % 32)) % 32);
}

test('the check character follows the definition', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...ALPHABET), maxLength: 40 }), (text) => {
      assert.equal(luhnCheckCharacter(text), luhnByTheBook(text));
    }),
  );
});

test('every single wrong character is told as a typo', () => {
  const code = encodeAccessCode(fromHex('00ff10203a4b5c6d7e8f90a1b2c3d4e5'));
  for (let at = 0; at < code.length; at++) {
    for (const other of ALPHABET) {
      if (other === code.charAt(at)) continue;
      refused(code.slice(0, at) + other + code.slice(at + 1), 'code.typo');
    }
  }
  fc.assert(
    fc.property(raw, fc.nat(32), fc.constantFrom(...ALPHABET), (bytes, at, other) => {
      const good = encodeAccessCode(bytes);
      fc.pre(good.charAt(at) !== other);
      refused(good.slice(0, at) + other + good.slice(at + 1), 'code.typo');
    }),
  );
});

test('swapped neighbours are told as a typo, except A with 7, which Luhn mod 32 cannot see', () => {
  fc.assert(
    fc.property(raw, fc.nat(31), (bytes, at) => {
      const code = encodeAccessCode(bytes);
      const [first, second] = [code.charAt(at), code.charAt(at + 1)];
      fc.pre(first !== second);
      const swapped = code.slice(0, at) + second + first + code.slice(at + 2);
      fc.pre(`${first}${second}` !== 'A7' && `${first}${second}` !== '7A');
      refused(swapped, 'code.typo');
    }),
    { numRuns: 500 },
  );
});

test('the one swap that the check character cannot see is A with 7', () => {
  const code = encodeAccessCode(Uint8Array.of(0, 0b00000_111, 0b11_000000, ...new Uint8Array(13)));
  assert.equal(code.slice(8, 10), 'A7');
  const swapped = `${code.slice(0, 8)}7A${code.slice(10)}`;
  assert.notDeepEqual(parseAccessCode(swapped).reveal(), parseAccessCode(code).reveal());
});

test('missing and added characters are told with their number', () => {
  const code = encodeAccessCode(fromHex('00ff10203a4b5c6d7e8f90a1b2c3d4e5'));
  for (let at = 6; at < code.length; at++) {
    refused(code.slice(0, at) + code.slice(at + 1), 'code.length');
    refused(`${code.slice(0, at)}Q${code.slice(at)}`, 'code.length');
  }
  assert.throws(
    () => parseAccessCode(code.slice(0, 30)),
    /has 30 characters, a code has 33: some are missing/,
  );
});

test('case, groups, odd dashes, full-width letters and misread digits are understood', () => {
  fc.assert(
    fc.property(
      raw,
      fc.array(fc.constantFrom(' ', '-', '\u2013', '\u2014', '\u00a0', '\u2011', '\n', '.'), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.boolean(),
      (bytes, separators, lower) => {
        const code = encodeAccessCode(bytes);
        let typed = groupAccessCode(code).replace(/O/g, '0').replace(/L/g, '1').replace(/B/g, '8');
        let next = 0;
        typed = typed.replace(/-/g, () => separators[next++ % separators.length] ?? '-');
        if (lower) typed = typed.toLowerCase();
        assert.deepEqual(parseAccessCode(typed).reveal(), bytes);
        const wide = code.replace(/[A-Z2-7]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0));
        assert.deepEqual(parseAccessCode(wide).reveal(), bytes);
      },
    ),
  );
});

test('people see groups of five', () => {
  const grouped = groupAccessCode(encodeAccessCode(new Uint8Array(16)));
  assert.match(grouped, /^SYNC7-4[A-Z2-7]{4}(-[A-Z2-7]{5}){4}-[A-Z2-7]{3}$/);
});

test('URLs and web addresses with the code in the fragment are understood', () => {
  fc.assert(
    fc.property(raw, (bytes) => {
      const code = encodeAccessCode(bytes);
      for (const form of [
        accessCodeUrl(code),
        accessCodeUrl(code).toUpperCase(),
        `${accessCodeUrl(groupAccessCode(code))}/`,
        `http://192.168.1.20:4960/#${code}`,
        `https://piano.local/#${groupAccessCode(code).toLowerCase()}`,
        `http://[fe80::1]:4960/?lang=de#${code}&name=Klavier`,
        `#${code}`,
        `  ${code}\n`,
        `clearskies://directory/${code.slice(0, 5)}%20${code.slice(5)}`,
      ]) {
        assert.deepEqual(parseAccessCode(form).reveal(), bytes, form);
      }
    }),
    { numRuns: 20 },
  );
  const code = encodeAccessCode(new Uint8Array(16));
  refused(`clearskies://chat/${code}`, 'code.other_application');
  refused('https://example.org/', 'code.malformed');
  refused('http://example.org/#%zz', 'code.malformed');
});

test('what is not a code is refused as such, whatever it is', () => {
  for (const input of ['', '   ', 'hello', '9'.repeat(33), 'A'.repeat(33 * 100), 'SYNC\u0000', '🎹']) {
    refused(input, 'code.malformed');
  }
  // 33 characters with a right check character, but another prefix.
  const other = encodeBase32(new Uint8Array(20));
  refused(other + luhnCheckCharacter(other), 'code.malformed');
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (input) => {
      try {
        parseAccessCode(input);
      } catch (thrown) {
        assert.ok(thrown instanceof SkylarkError && thrown.fault === 'user');
      }
    }),
  );
});

test('a user name and a password give the same access whichever way they were typed', () => {
  const composed = accessOfCredentials('M\u00fcller', new Secret('caf\u00e9'), sha256);
  const decomposed = accessOfCredentials('Mu\u0308ller', new Secret('cafe\u0301'), sha256);
  assert.equal(composed.id, decomposed.id);
  assert.equal(composed.secret.reveal(), decomposed.secret.reveal());
  assert.equal(composed.id, toHex(sha256(utf8('M\u00fcller'))));
  assert.equal(composed.secret.reveal(), '636166c3a9');
});

test('unusable user names and passwords are refused', () => {
  const good = new Secret('correct horse');
  for (const username of ['', '\ud800', 'x'.repeat(257), 'ü'.repeat(129)]) {
    assert.throws(() => accessOfCredentials(username, good, sha256), { code: 'code.username_malformed' });
    assert.throws(() => accessOfCredentials('name', new Secret(username), sha256), {
      code: 'code.password_malformed',
    });
  }
});

test('a parsed code does not show itself', () => {
  const parsed = parseAccessCode(encodeAccessCode(new Uint8Array(16)));
  assert.equal(`${parsed} ${JSON.stringify(parsed)}`, '[redacted] "[redacted]"');
});
