/**
 * YMODEM's blocks and single bytes (Forsberg, XMODEM/YMODEM Protocol Reference, 1988): SOH or STX, number, its complement,
 * 128 or 1024 bytes, then a CRC-16 or, as in the first XMODEM, the sum of the bytes modulo 256.
 */

import { concatBytes } from '../../agent/base/bytes.ts';
import { crc16 } from './crc16.ts';

export const SOH = 0x01;
export const STX = 0x02;
export const EOT = 0x04;
export const ACK = 0x06;
export const NAK = 0x15;
export const CAN = 0x18;
/** `C`: the receiver is ready and wants CRCs. */
export const CRC_WANTED = 0x43;
const BACKSPACE = 0x08;
/** Fills the last block: Control-Z. */
export const PADDING = 0x1a;

export const SHORT_BLOCK = 128;
export const LONG_BLOCK = 1024;

export type Check = 'crc' | 'sum';

export type Heard =
  | { readonly kind: 'block'; readonly number: number; readonly data: Uint8Array; readonly check: Check }
  /** EOT: the end of a file. */
  | { readonly kind: 'end' }
  /** CAN CAN: the transfer is off. */
  | { readonly kind: 'cancel' }
  /** Something came that was none of these. */
  | { readonly kind: 'damaged' };

/** The receiver cancels by this; lrzsz and others want more than the two of the specification. */
export const CANCEL: Uint8Array = new Uint8Array(8).fill(CAN);

/** @param data at most 1024 bytes, padded to 128 or 1024. @param number 0 to 255. */
export function encodeBlock(number: number, data: Uint8Array, check: Check, padding = PADDING): Uint8Array {
  const length = data.length <= SHORT_BLOCK ? SHORT_BLOCK : LONG_BLOCK;
  const block = new Uint8Array(3 + length + (check === 'crc' ? 2 : 1)).fill(padding);
  block.set([length === SHORT_BLOCK ? SOH : STX, number, 255 - number]);
  block.set(data, 3);
  const whole = block.subarray(3, 3 + length);
  if (check === 'crc') {
    const crc = crc16(whole);
    block.set([crc >> 8, crc & 255], 3 + length);
  } else {
    block[3 + length] = sum(whole);
  }
  return block;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (const byte of bytes) total = (total + byte) & 255;
  return total;
}

/** Cancelling is said in so few bytes; longer garbage is a damaged block, whatever it ends with. */
const LONGEST_CANCEL = 64;
const WHOLE_LONG = 3 + LONG_BLOCK + 2;

/**
 * Finds blocks in what comes. A block counts only where one may begin: behind a good one, or after the line was quiet. Inside
 * garbage nothing is looked for, since the remains of a block may hold what looks like another one, or like an end. Holds
 * at most one block.
 */
export class BlockScanner {
  /** What the sender was asked for. `either`: whatever is right, as long as it is not known. */
  check: Check | 'either';
  #held: Uint8Array = new Uint8Array();
  #isGarbage = false;

  constructor(check: Check | 'either') {
    this.check = check;
  }

  /** Whether something has begun. */
  get isEmpty(): boolean {
    return this.#held.length === 0 && !this.#isGarbage;
  }

  /** Whether what has begun is a block. */
  get isWithinBlock(): boolean {
    return !this.#isGarbage && this.#held.length > 0 && isStart(this.#held[0]);
  }

  /** @returns whole blocks. Everything else shows only when the line is quiet. */
  push(bytes: Uint8Array): Heard[] {
    const heard: Heard[] = [];
    let rest = this.#held.length === 0 ? bytes : concatBytes(this.#held, bytes);
    while (rest.length > 0 && !this.#isGarbage) {
      if (!isStart(rest[0])) break;
      if (rest.length >= 3 && rest[1]! + rest[2]! !== 255) {
        this.#isGarbage = true;
        break;
      }
      const length = wholeLength(rest[0]!, this.check === 'sum' ? 'sum' : 'crc');
      if (rest.length < length) break;
      const block = this.#open(rest, length);
      if (block === undefined) {
        this.#isGarbage = true;
        break;
      }
      heard.push(block);
      rest = rest.subarray(wholeLength(rest[0]!, block.check));
    }
    if (rest.length > WHOLE_LONG) this.#isGarbage = true;
    // Of garbage only its length matters any more: it is no cancelling.
    this.#held = this.#isGarbage ? new Uint8Array() : rest.slice();
    return heard;
  }

  /** The line has been quiet: what came last is whole, or is not. Undefined if nothing came. */
  quiet(): Heard | undefined {
    const held = this.#held;
    const wasGarbage = this.#isGarbage;
    this.reset();
    if (wasGarbage) return { kind: 'damaged' };
    if (held.length === 0) return undefined;
    if (held.length <= LONGEST_CANCEL && held.every((byte) => byte === EOT)) return { kind: 'end' };
    if (this.check === 'either' && isStart(held[0]) && held.length === wholeLength(held[0]!, 'sum')) {
      const block = openAs(held, 'sum');
      if (block !== undefined) return block;
    }
    return { kind: isCancel(held) ? 'cancel' : 'damaged' };
  }

  reset(): void {
    this.#held = new Uint8Array();
    this.#isGarbage = false;
  }

  #open(bytes: Uint8Array, length: number): Extract<Heard, { kind: 'block' }> | undefined {
    if (this.check !== 'either') return openAs(bytes.subarray(0, length), this.check);
    return openAs(bytes.subarray(0, length), 'crc') ?? openAs(bytes.subarray(0, length - 1), 'sum');
  }
}

function isStart(byte: number | undefined): boolean {
  return byte === SOH || byte === STX;
}

function wholeLength(start: number, check: Check): number {
  return 3 + (start === SOH ? SHORT_BLOCK : LONG_BLOCK) + (check === 'crc' ? 2 : 1);
}

function openAs(bytes: Uint8Array, check: Check): Extract<Heard, { kind: 'block' }> | undefined {
  const trailer = check === 'crc' ? 2 : 1;
  const data = bytes.slice(3, bytes.length - trailer);
  const [last, before] = [bytes[bytes.length - 1]!, bytes[bytes.length - 2]!];
  const isRight = check === 'crc' ? crc16(data) === ((before << 8) | last) : sum(data) === last;
  if (!isRight || bytes[1]! + bytes[2]! !== 255) return undefined;
  return { kind: 'block', number: bytes[1]!, data, check };
}

/** Two or more CAN at the end, and the backspaces by which some programs wipe them off a terminal. */
function isCancel(bytes: Uint8Array): boolean {
  if (bytes.length > LONGEST_CANCEL) return false;
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === BACKSPACE) end -= 1;
  return end >= 2 && bytes[end - 1] === CAN && bytes[end - 2] === CAN;
}
