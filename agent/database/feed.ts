/** What replication reads from the records: everything that one peer does not have yet, in the order it must be sent. */

import type { Sqlite } from '../platform/sqlite.ts';
import type { VersionText } from './messages.ts';
import {
  decodeRow,
  decodeSignature,
  encodeSignature,
  type PeerNumbers,
  type RecordRow,
} from './row-codec.ts';

/** A version to be sent. */
export interface FeedItem {
  /** Its place in the order of arrival. */
  readonly sequence: number;
  readonly version: VersionText;
  /** As received; undefined: what `updateBody` makes. */
  readonly body: Uint8Array | undefined;
  readonly signature: string | undefined;
}

export interface Feed {
  /** The place of the newest record of all clubs. */
  last(): number;
  /** Peer IDs of all who made a current version. */
  authors(): Iterable<string>;
  /** The author's versions behind a place, in the order of revisions, without those that came after `upTo`. */
  byAuthor(author: string, after: AuthorPlace, upTo: number, limits: FeedLimits): FeedItem[];
  /** What came after `after`, in the order of arrival; `next` is where to go on. */
  bySequence(after: number, limits: FeedLimits): { readonly items: FeedItem[]; readonly next: number };
  /** Keeps signatures that were made here. A version that was replaced meanwhile is left out. */
  keepSignatures(signatures: readonly { readonly sequence: number; readonly signature: string }[]): void;
}

/** Behind it: a later revision, or the same one (which a broken peer may have used twice) with a larger sequence. */
export interface AuthorPlace {
  readonly revision: bigint;
  readonly sequence: number;
}

/** A batch ends with the item that reaches one of these. */
export interface FeedLimits {
  readonly items: number;
  /** Characters of keys and values. */
  readonly size: number;
}

interface FeedRow extends RecordRow {
  readonly body: Uint8Array | null;
  readonly signature: Uint8Array | string | null;
}

const COLUMNS = 'id, uuid, key, deleted, value, author, revision, time, clock, NULL AS seen, body, signature';
/** Places that are looked through in one go when most of them belong to other clubs. */
const STRIDE = 2_048;

export function openFeed(sqlite: Sqlite, club: number, peers: PeerNumbers): Feed {
  const last = sqlite.prepare<{ seq: bigint }>(
    "SELECT seq FROM sqlite_sequence WHERE name = 'database_record'",
  );
  const nextAuthor = sqlite.prepare<{ author: bigint }>(
    'SELECT author FROM database_record WHERE club = ? AND author > ? ORDER BY author LIMIT 1',
  );
  const byAuthor = sqlite.prepare<FeedRow>(
    `SELECT ${COLUMNS} FROM database_record
     WHERE club = ? AND author = ? AND (revision, id) > (?, ?) AND id <= ? ORDER BY revision, id`,
  );
  const bySequence = sqlite.prepare<FeedRow>(
    `SELECT ${COLUMNS} FROM database_record WHERE id > ? AND id <= ? AND +club = ? ORDER BY id`,
  );
  const keep = sqlite.prepare('UPDATE database_record SET signature = ? WHERE id = ?');

  /** At least one row, if there is one. `full`: there may be more. */
  const take = (rows: Iterable<FeedRow>, limits: FeedLimits): { items: FeedItem[]; full: boolean } => {
    const items: FeedItem[] = [];
    let size = 0;
    for (const row of rows) {
      items.push(decodeItem(row, peers));
      size += row.key.length + row.value.length + (row.body?.length ?? 0);
      if (items.length >= limits.items || size >= limits.size) return { items, full: true };
    }
    return { items, full: false };
  };
  const lastSequence = () => Number(last.get()?.seq ?? 0n);

  return {
    last: lastSequence,
    *authors() {
      for (let row = nextAuthor.get(club, 0); row !== undefined; row = nextAuthor.get(club, row.author)) {
        yield peers.peerOf(Number(row.author));
      }
    },
    byAuthor: (author, { revision, sequence }, upTo, limits) =>
      take(byAuthor.iterate(club, peers.numberOf(author), revision, sequence, upTo), limits).items,
    bySequence(after, limits) {
      const end = Math.min(lastSequence(), after + STRIDE);
      const { items, full } = take(bySequence.iterate(after, end, club), limits);
      return { items, next: full ? items.at(-1)!.sequence : end };
    },
    keepSignatures(signatures) {
      sqlite.transaction(() => {
        for (const { sequence, signature } of signatures) keep.run(encodeSignature(signature), sequence);
      });
    },
  };
}

function decodeItem(row: FeedRow, peers: PeerNumbers): FeedItem {
  const { version, sequence } = decodeRow(row, peers);
  return {
    sequence,
    version,
    body: row.body ?? undefined,
    signature: row.signature === null ? undefined : decodeSignature(row.signature),
  };
}
