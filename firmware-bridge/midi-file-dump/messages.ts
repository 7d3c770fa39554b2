/**
 * The messages of MIDI File Dump (MIDI 1.0, Recommended Practice "File Dump": Universal Non-Real Time, sub-ID 07) and the
 * handshaking messages that go with it (sub-IDs 7B to 7F). Only what stands between F0 and F7 is looked at here.
 */

import { asciiOf, fromAscii } from './ascii.ts';

export const HANDSHAKE = { eof: 0x7b, wait: 0x7c, cancel: 0x7d, nak: 0x7e, ack: 0x7f } as const;
export type Handshake = keyof typeof HANDSHAKE;

export interface FileHeader {
  readonly kind: 'header';
  /** Device numbers, 0 to 7F; 7F stands for all. */
  readonly to: number;
  readonly from: number;
  /** Four characters: `MIDI`, `TEXT`, `BIN `, ... */
  readonly type: string;
  /** Of the file itself, bytes: 0 to 268,435,455. Some devices send 0 when they do not know. */
  readonly length: number;
  readonly name: string;
}

export interface FileData {
  readonly kind: 'data';
  readonly to: number;
  /** 0 to 7F, and then 0 again. */
  readonly packet: number;
  /** Of the file. */
  readonly bytes: Uint8Array;
  /** The checksum fits, and so does the length. */
  readonly isGood: boolean;
}

export interface FileRequest {
  readonly kind: 'request';
  readonly to: number;
  readonly from: number;
  readonly type: string;
  readonly name: string;
}

export interface HandshakeMessage {
  readonly kind: Handshake;
  readonly to: number;
  readonly packet: number;
}

export type DumpMessage = FileHeader | FileData | FileRequest | HandshakeMessage;

/** Bytes of the file in a full packet: 16 groups of 7. */
export const MOST_IN_PACKET = 112;
/** Seven bits each in four bytes. */
export const LONGEST_FILE = 0x0fff_ffff;
/** Names have no limit of their own. */
export const LONGEST_NAME = 255;
/** Between F0 and F7: the longest message that is of use, a header with its name. */
export const LONGEST_MESSAGE = 13 + LONGEST_NAME;

const NON_REAL_TIME = 0x7e;
const FILE_DUMP = 0x07;
const HEADER = 0x01;
const DATA = 0x02;
const REQUEST = 0x03;
const HANDSHAKES = new Map<number, Handshake>(
  (Object.keys(HANDSHAKE) as Handshake[]).map((name) => [HANDSHAKE[name], name]),
);

/** @param content between F0 and F7. @returns undefined for what is none of these messages. Never throws. */
export function decodeMessage(content: Uint8Array): DumpMessage | undefined {
  const [id, to, first, second] = content;
  if (id !== NON_REAL_TIME || to === undefined || first === undefined || second === undefined)
    return undefined;
  const handshake = HANDSHAKES.get(first);
  if (handshake !== undefined)
    return content.length === 4 ? { kind: handshake, to, packet: second } : undefined;
  if (first !== FILE_DUMP) return undefined;
  if (second === DATA) return decodeData(to, content);
  const from = content[4];
  if (from === undefined) return undefined;
  const type = asciiOf(content.subarray(5, 9));
  if (second === REQUEST && content.length >= 9)
    return { kind: 'request', to, from, type, name: asciiOf(content.subarray(9)) };
  if (second !== HEADER || content.length < 13) return undefined;
  const length = content.subarray(9, 13).reduceRight((sum, digit) => sum * 128 + digit, 0);
  return { kind: 'header', to, from, type, length, name: asciiOf(content.subarray(13)) };
}

function decodeData(to: number, content: Uint8Array): FileData | undefined {
  const [, , , , packet, count] = content;
  if (packet === undefined || count === undefined) return undefined;
  const data = content.subarray(6, -1);
  const isGood = data.length === count + 1 && content.at(-1) === checksumOf(content.subarray(0, -1));
  return { kind: 'data', to, packet, bytes: from7Bits(data), isGood };
}

/** @returns what stands between F0 and F7. Text is cut and made ASCII. */
export function encodeMessage(message: DumpMessage): Uint8Array {
  const { kind, to } = message;
  const start = [NON_REAL_TIME, to & 0x7f];
  switch (kind) {
    case 'header': {
      const length = Array.from({ length: 4 }, (_, i) => (message.length >>> (7 * i)) & 0x7f);
      const names = [...typeBytes(message.type), ...length, ...fromAscii(message.name, LONGEST_NAME)];
      return Uint8Array.from([...start, FILE_DUMP, HEADER, message.from & 0x7f, ...names]);
    }
    case 'request': {
      const names = [...typeBytes(message.type), ...fromAscii(message.name, LONGEST_NAME)];
      return Uint8Array.from([...start, FILE_DUMP, REQUEST, message.from & 0x7f, ...names]);
    }
    case 'data': {
      const data = to7Bits(message.bytes);
      const content = [...start, FILE_DUMP, DATA, message.packet & 0x7f, data.length - 1, ...data];
      return Uint8Array.from([...content, checksumOf(content)]);
    }
    default:
      return Uint8Array.from([...start, HANDSHAKE[kind], message.packet & 0x7f]);
  }
}

function typeBytes(type: string): number[] {
  return [...fromAscii(type.padEnd(4).slice(0, 4), 4)];
}

function checksumOf(content: Iterable<number>): number {
  let sum = 0;
  for (const byte of content) sum ^= byte;
  return sum & 0x7f;
}

/** Seven bytes become eight: the first has the highest bits of the others, that of the first byte foremost. */
export function to7Bits(bytes: Uint8Array): Uint8Array {
  const coded = new Uint8Array(bytes.length + Math.ceil(bytes.length / 7));
  let at = 0;
  for (let start = 0; start < bytes.length; start += 7) {
    const high = at++;
    for (let i = 0; i < 7 && start + i < bytes.length; i++) {
      const byte = bytes[start + i] ?? 0;
      coded[high] = (coded[high] ?? 0) | ((byte >> 7) << (6 - i));
      coded[at++] = byte & 0x7f;
    }
  }
  return coded;
}

/** A byte of high bits with nothing behind it stands for nothing. */
export function from7Bits(coded: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(coded.length - Math.ceil(coded.length / 8));
  let at = 0;
  for (let start = 0; start < coded.length; start += 8) {
    const high = coded[start] ?? 0;
    for (let i = 0; i < 7 && start + 1 + i < coded.length; i++)
      bytes[at++] = (coded[start + 1 + i] ?? 0) | (((high >> (6 - i)) & 1) << 7);
  }
  return bytes;
}
