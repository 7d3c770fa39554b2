/** How versions lie in the database: compact, and exact. */

import { type Json, parseJson } from '../base/json.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import type { SqlOutput } from '../platform/sqlite.ts';
import type { VersionText } from './messages.ts';
import type { Known, Version } from './record.ts';
import type { VectorClock } from './vector-clock.ts';

/** Peer IDs stand in the database once; elsewhere by small numbers. */
export interface PeerNumbers {
  /** Gives it one if it has none. */
  numberOf(peer: string): number;
  /** Undefined: it has none. */
  find(peer: string): number | undefined;
  peerOf(number: number): string;
}

/** The columns of `database_record` that make a version. */
export interface RecordRow {
  readonly id: bigint;
  readonly uuid: Uint8Array;
  readonly key: string;
  readonly deleted: bigint;
  readonly value: string;
  readonly author: bigint;
  readonly revision: bigint;
  readonly time: SqlOutput;
  readonly clock: Uint8Array;
  readonly seen: Uint8Array | null;
}

/** A stored version; value and time are decoded when somebody asks for them. */
export interface StoredVersion extends Version, VersionText {}

/** A stored record, and its place in the order of arrival. */
export interface StoredRecord extends Known {
  readonly version: StoredVersion;
  readonly sequence: number;
}

export function decodeRow(row: RecordRow, peers: PeerNumbers): StoredRecord {
  const vectorClock = decodeClock(row.clock, peers);
  let value: Json | undefined;
  let time: string | undefined;
  const version: StoredVersion = {
    uuid: hexOf(row.uuid),
    key: row.key,
    valueText: row.value,
    get value() {
      if (value === undefined) value = parseJson(row.value);
      return value;
    },
    deleted: row.deleted !== 0n,
    lastUpdatedBy: peers.peerOf(Number(row.author)),
    lastUpdatedRev: row.revision,
    get updateTime() {
      if (time === undefined)
        time = typeof row.time === 'bigint' ? formatTimestamp(row.time) : String(row.time);
      return time;
    },
    vectorClock,
  };
  return {
    version,
    seen: row.seen === null ? vectorClock : decodeClock(row.seen, peers),
    sequence: Number(row.id),
  };
}

const MAX_INT64 = 2n ** 63n - 1n;

/** Nanoseconds if they fit and the text is the shortest for them, which is nearly always; else the text itself. */
export function encodeTime(text: string): bigint | string {
  const time = parseTimestamp(text);
  const isShortest = !text.includes('.') || !text.endsWith('0Z');
  return isShortest && time <= MAX_INT64 && time >= -MAX_INT64 ? time : text;
}

/** For each component the peer's number and the count, seven bits a byte, the lowest first. */
export function encodeClock(clock: VectorClock, peers: PeerNumbers): Uint8Array {
  const bytes: number[] = [];
  for (const [peer, count] of clock) {
    putVarint(bytes, BigInt(peers.numberOf(peer)));
    putVarint(bytes, count);
  }
  return Uint8Array.from(bytes);
}

function decodeClock(bytes: Uint8Array, peers: PeerNumbers): VectorClock {
  const clock = new Map<string, bigint>();
  const reader = { bytes, at: 0 };
  while (reader.at < bytes.length) {
    const peer = peers.peerOf(Number(takeVarint(reader)));
    clock.set(peer, takeVarint(reader));
  }
  return clock;
}

function putVarint(bytes: number[], value: bigint): void {
  let rest = value;
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
}

/** Groups of seven bits that a JavaScript number holds exactly. */
const SMALL_GROUPS = 7;

function takeVarint(reader: { readonly bytes: Uint8Array; at: number }): bigint {
  let small = 0;
  let large = 0n;
  for (let group = 0; ; group++) {
    const byte = reader.bytes[reader.at++] ?? 0;
    const bits = byte & 0x7f;
    if (group < SMALL_GROUPS) small += bits * 2 ** (7 * group);
    else large |= BigInt(bits) << BigInt(7 * group);
    if (byte < 0x80) return large === 0n ? BigInt(small) : large | BigInt(small);
  }
}

export function bytesOf(hex: string): Uint8Array {
  return Buffer.from(hex, 'hex');
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** 256 bytes instead of 344 characters, if the text can be made from them again. */
export function encodeSignature(text: string): Uint8Array | string {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : text;
}

export function decodeSignature(stored: Uint8Array | string): string {
  return typeof stored === 'string' ? stored : Buffer.from(stored).toString('base64');
}
