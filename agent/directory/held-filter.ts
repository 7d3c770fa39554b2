/**
 * The Bloom filter of a device that keeps only a part of a share: over the contents that it has, so that nobody asks it
 * for others (directory.md, "File Presence"). Made anew whenever somebody asks, row by row.
 */

import type { Sqlite } from '../platform/sqlite.ts';

export interface HeldFilter {
  readonly bits: Uint8Array;
  /** Bits that are set for each content. */
  readonly k: number;
}

/** One in a hundred contents that are not here seems to be. */
const BITS_EACH = 10;
const K = 7;
/** What a peer takes. */
const MAX_BYTES = 16_777_216;
/** Rows that are read at a time. */
const PAGE = 1_024;

/** "Do not ask for anything that was not announced." */
const NOTHING: HeldFilter = { bits: Uint8Array.of(0), k: 1 };

/** @param contents SHA-256 of each, and how many there are about */
export async function filterOf(contents: AsyncIterable<Uint8Array>, about: number): Promise<HeldFilter> {
  const bits = new Uint8Array(Math.min(MAX_BYTES, Math.max(1, Math.ceil((about * BITS_EACH) / 8))));
  let isEmpty = true;
  for await (const sha256 of contents) {
    isEmpty = false;
    const hash = new DataView(sha256.buffer, sha256.byteOffset, sha256.byteLength);
    for (let i = 0; i < K; i++) {
      const bit = hash.getUint32(4 * i) % (bits.length * 8);
      bits[bit >>> 3] = (bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  return isEmpty ? NOTHING : { bits, k: K };
}

/** The contents of the share's records that lie in the folder. Others get their turn after each page. */
export async function* heldContents(
  sqlite: Sqlite,
  club: string,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  for (let after = -1n; ; ) {
    const page = sqlite
      .prepare<{ id: bigint; sha256: Uint8Array }>(
        `SELECT id, sha256 FROM directory_file WHERE share = (SELECT id FROM directory_share WHERE club = ?)
           AND id > ? AND sha256 IS NOT NULL AND uuid IS NOT NULL ORDER BY id LIMIT ${PAGE}`,
      )
      .all(club, after);
    for (const { sha256 } of page) yield sha256;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    after = last.id;
    await new Promise<void>((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
}
