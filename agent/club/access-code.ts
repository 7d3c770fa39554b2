/**
 * Access codes (core.md, "Access Codes"; docs/protocol.md, section 2): what an owner reads, types, scans or clicks to let
 * a new peer in. Runs in a browser, so the hash is handed in.
 *
 *     code = base32(96 1A 2F F3 || 8 bytes that name it || 8 bytes that are its secret) || check character
 *
 * 33 characters, always beginning with SYNC74.
 */

import { concatBytes, equalBytes, toHex, utf8 } from '../base/bytes.ts';
import { userError } from '../base/errors.ts';
import { Secret } from '../base/log.ts';
import { decodeBase32, encodeBase32, isBase32, luhnCheckCharacter } from './base32.ts';

/** SHA-256 of bytes that lie in memory. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** What a code, or a user name with a password, comes down to on the network. */
export interface Access {
  /** Public: 64 hexadecimal digits by which peers find each other. */
  readonly id: string;
  /** The password of the secure channel: lower-case hexadecimal. */
  readonly secret: Secret<string>;
}

const PREFIX = Uint8Array.of(0x96, 0x1a, 0x2f, 0xf3);
/** Random bytes of a code: the first half names it, the second half is its secret. */
export const CODE_BYTES = 16;
const NAME_BYTES = 8;
const CODE_LENGTH = 33;
const GROUP_LENGTH = 5;
/** The application (official extension) whose codes these are. */
const APPLICATION = 'directory';
/** Longer input is no code, whatever it is; a URL with a code in its fragment may be some hundred characters. */
const MAX_INPUT = 2_048;
/** Longest user name and password, UTF-8 bytes. */
const MAX_CREDENTIAL = 256;
/** What people and telephones put between groups: spaces, hyphens, dashes, minus, soft hyphen, zero width space. */
const SEPARATORS = /[\s\-_.\u00ad\u2010-\u2015\u2212\u200b-\u200d\u2060\ufeff]/gu;
const RETYPE = 'compare it with the original and type it again';

/** The text of a code in its one canonical form: 33 characters, upper case, no groups. */
export function encodeAccessCode(raw: Uint8Array): string {
  if (raw.length !== CODE_BYTES) throw new RangeError(`an access code has ${CODE_BYTES} bytes`);
  const text = encodeBase32(concatBytes(PREFIX, raw));
  return text + luhnCheckCharacter(text);
}

/**
 * Reads a code as people give it: any case, with spaces and dashes, `0` for `O`, `1` for `L`, `8` for `B`, alone or inside
 * a `clearskies://directory/` URL or the fragment of a web address (`http://piano.local:4960/#SYNC74...`). A mistyped
 * code is found out here, before anything is tried on the network.
 * @returns the 16 raw bytes.
 * @throws SkylarkError (user) `code.malformed`, `code.length`, `code.typo`, `code.other_application`.
 */
export function parseAccessCode(input: string): Secret<Uint8Array> {
  if (input.length > MAX_INPUT) throw malformed();
  const typed = codeInside(input.trim()).normalize('NFKC').replace(SEPARATORS, '');
  const text = typed.replace(/[a-z]/g, upper).replace(/[018]/g, misread);
  if (text.length === 0) throw malformed();
  for (const character of text) {
    if (isBase32(character)) continue;
    throw userError('code.malformed', 'this is not an access code: it has a character that no code has', {
      remedy: 'a code has only the letters A to Z and the digits 2 to 7',
    });
  }
  if (text.length !== CODE_LENGTH) {
    // What does not even begin like a code is more likely something else than a code with a missing character.
    if (!text.startsWith('SYNC')) throw malformed();
    throw userError(
      'code.length',
      `this code has ${text.length} characters, a code has ${CODE_LENGTH}: ${text.length < CODE_LENGTH ? 'some are missing' : 'there are too many'}`,
      { remedy: RETYPE },
    );
  }
  const content = text.slice(0, -1);
  if (luhnCheckCharacter(content) !== text.charAt(CODE_LENGTH - 1)) {
    throw userError('code.typo', 'this code has a typo', { remedy: RETYPE });
  }
  const bytes = decodeBase32(content);
  if (!equalBytes(bytes.subarray(0, PREFIX.length), PREFIX)) throw malformed();
  return new Secret(bytes.slice(PREFIX.length));
}

/** For reading aloud and typing: `SYNC7-4....-.....-.....-.....-.....-...`. */
export function groupAccessCode(code: string): string {
  const groups: string[] = [];
  for (let i = 0; i < code.length; i += GROUP_LENGTH) groups.push(code.slice(i, i + GROUP_LENGTH));
  return groups.join('-');
}

/** For clicking and for QR codes. */
export function accessCodeUrl(code: string): string {
  return `clearskies://${APPLICATION}/${code}`;
}

/** The ID and the secret of a code's raw bytes. */
export function accessOfCode(raw: Secret<Uint8Array>, sha256: Sha256): Access {
  const bytes = raw.reveal();
  return {
    id: toHex(sha256(bytes.subarray(0, NAME_BYTES))),
    secret: new Secret(toHex(bytes.subarray(NAME_BYTES))),
  };
}

/**
 * The ID and the secret of a user name and a password that the owner chose instead of a code; both in Unicode's NFC, so
 * that every keyboard gives the same bytes.
 * @throws SkylarkError (user) `code.username_malformed`, `code.password_malformed`: empty, longer than 256 bytes of UTF-8,
 *   or not Unicode text.
 */
export function accessOfCredentials(username: string, password: Secret<string>, sha256: Sha256): Access {
  const name = credential(username);
  if (name === undefined) {
    throw userError('code.username_malformed', `a user name has 1 to ${MAX_CREDENTIAL} bytes of text`);
  }
  const secret = credential(password.reveal());
  if (secret === undefined) {
    throw userError('code.password_malformed', `a password has 1 to ${MAX_CREDENTIAL} bytes of text`);
  }
  return { id: toHex(sha256(name)), secret: new Secret(toHex(secret)) };
}

function credential(given: string): Uint8Array | undefined {
  if (given.length > MAX_CREDENTIAL || !given.isWellFormed()) return undefined;
  const bytes = utf8(given.normalize('NFC'));
  return bytes.length > 0 && bytes.length <= MAX_CREDENTIAL ? bytes : undefined;
}

/** The code inside a URL, or the input itself. */
function codeInside(input: string): string {
  const own = /^clearskies:\/{0,2}([^/]*)\/+(.*)$/is.exec(input);
  if (own !== null) {
    const [, application = '', rest = ''] = own;
    if (application.toLowerCase() !== APPLICATION) {
      throw userError('code.other_application', 'this code belongs to another application');
    }
    return unescaped(rest.replace(/[/?#].*$/s, ''));
  }
  if (/^https?:\/\//i.test(input)) {
    const hash = input.indexOf('#');
    if (hash < 0) throw malformed();
    return unescaped(input.slice(hash + 1).replace(/[&?].*$/s, ''));
  }
  return input.startsWith('#') ? input.slice(1) : input;
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw malformed();
  }
}

function upper(letter: string): string {
  return letter.toUpperCase();
}

function misread(digit: string): string {
  return digit === '0' ? 'O' : digit === '1' ? 'L' : 'B';
}

function malformed() {
  return userError('code.malformed', 'this is not an access code', {
    remedy: 'a code has 33 characters and begins with SYNC',
  });
}
