/**
 * Block 0, which names the file that follows (Forsberg 1988, chapter 5): the name, NUL, then, as far as the sender knows them,
 * the length in decimal, the time of modification in octal seconds since 1970, and the mode in octal. Without a name it ends the
 * batch.
 */

import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { userError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import { deviceError } from '../device-error.ts';
import { LONG_BLOCK, SHORT_BLOCK } from './blocks.ts';

export interface FileHeader {
  /** As the device says: data, not yet a path. Never empty. */
  readonly name: string;
  /** Bytes; undefined if the sender does not say. */
  readonly size: number | undefined;
  /** Seconds since 1970; undefined if the sender does not say. */
  readonly mtime: number | undefined;
}

/** 2^40 - 1 seconds since 1970: longer than any file system counts, and far below what a number can't hold. */
const MOST_OCTAL_DIGITS = 13;
/** Bytes of a name, in UTF-8, that leaves room for the rest in the shorter block. */
export const LONGEST_NAME = 90;
export const LARGEST_SIZE = 0xffff_ffff;

/**
 * @returns undefined for the end of the batch.
 * @throws SkylarkError `device.protocol` for a length that is no number or that nobody could count to.
 */
export function decodeHeader(data: Uint8Array): FileHeader | undefined {
  const end = data.indexOf(0);
  if (end === 0) return undefined;
  const name = toText(end === -1 ? data : data.subarray(0, end));
  const facts = end === -1 ? new Uint8Array() : data.subarray(end + 1);
  const factsEnd = facts.indexOf(0);
  const [size, mtime] = toText(factsEnd === -1 ? facts : facts.subarray(0, factsEnd))
    .trim()
    .split(/ +/);
  return { name, size: decodeSize(size, name), mtime: decodeTime(mtime) };
}

/** @throws SkylarkError `bridge.not_for_device` for a name that the block can't carry. */
export function encodeHeader({ name, size, mtime }: FileHeader): Uint8Array {
  const encoded = utf8(name);
  if (encoded.length === 0 || encoded.length > LONGEST_NAME || /\p{Cc}/u.test(name)) {
    throw userError(
      'bridge.not_for_device',
      `the name ${printable(name, 80)} can't be sent by YMODEM: it is empty, too long or has control characters`,
    );
  }
  const facts = size === undefined ? '' : `${size} ${(mtime ?? 0).toString(8)} 100644`;
  const whole = [...encoded, 0, ...utf8(facts), 0];
  const block = new Uint8Array(whole.length <= SHORT_BLOCK ? SHORT_BLOCK : LONG_BLOCK);
  block.set(whole);
  return block;
}

/** UTF-8 as most senders use, else the bytes as Latin 1: a name in whatever code is still a name. */
function toText(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return String.fromCharCode(...bytes);
  }
}

function decodeSize(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  const size = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  throw deviceError(
    'device.protocol',
    `the device announces ${printable(name, 80)} with the length ${printable(text, 40)}`,
  );
}

function decodeTime(text: string | undefined): number | undefined {
  if (text === undefined || text.length > MOST_OCTAL_DIGITS || !/^[0-7]+$/.test(text)) return undefined;
  // 0 says that the sender does not know.
  return Number.parseInt(text, 8) || undefined;
}
