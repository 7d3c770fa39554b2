/**
 * What is said about the files of a share beyond listing them: what the archive has kept of them, one of them as a whole,
 * and whether all of them are still right. Part of messages.ts.
 */

import { peerError } from '../base/errors.ts';
import {
  choice,
  field,
  flag,
  type Infer,
  integer,
  list,
  nullable,
  object,
  optionalField,
  type Schema,
  text,
  timestamp,
} from '../base/schema.ts';
import { command, count, stream } from './command.ts';

const path = text({ min: 1, max: 16_384 });
/** A path, a name or an ID. */
const share = text({ min: 1, max: 16_384 });
const sha256 = text({ max: 64 });
/** Of a version in the archive: the one that it has for as long as it is kept. */
const version = integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

/** Most bytes in a piece of a file. */
export const MAX_PIECE = 262_144;

/** Bytes as base64 (RFC 4648, section 4). */
const bytes: Schema<Uint8Array> = {
  decode(json, where = '') {
    if (typeof json === 'string' && json.length % 4 === 0 && json.length <= 2 * MAX_PIECE) {
      const decoded = Buffer.from(json, 'base64');
      const padding = json.endsWith('==') ? 2 : json.endsWith('=') ? 1 : 0;
      // What is no digit is passed over without a word.
      if (decoded.length === (json.length / 4) * 3 - padding) return new Uint8Array(decoded);
    }
    throw peerError('schema.mismatch', `${where || 'the value'} is not base64`);
  },
  encode: (value) => Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64'),
};

const archivedVersion = object({
  version: field('version', version),
  path: field('path', path),
  archived: field('archived', timestamp),
  reason: field('reason', choice('replaced', 'deleted', 'found_at_joining', 'not_permitted', 'damaged')),
  size: field('size', count),
  mtime: field('mtime', timestamp),
  /** As it was known when it was archived; null: it had not been read. */
  sha256: field('sha256', nullable(sha256)),
});

/** What the archive has of a file, or of everything below a folder; the newest first, one page. */
export const HISTORY = command(
  '.io.skylark.history',
  {
    share: field('share', share),
    /** Missing: everything. */
    path: optionalField('path', path),
    /** `next` of the page before. */
    before: optionalField('before', version),
    limit: optionalField('limit', integer({ min: 1, max: 1_000 })),
  },
  {
    versions: field('versions', list(archivedVersion, { max: 1_000 })),
    next: field('next', nullable(version)),
  },
);

/** Puts a version from the archive into the folder; what is there is archived first. */
export const RESTORE = command(
  '.io.skylark.restore',
  {
    share: field('share', share),
    path: field('path', path),
    /** Missing: the newest that was not damaged. */
    version: optionalField('version', version),
    /** In the share; missing: where it was. */
    to: optionalField('to', path),
  },
  {
    version: field('version', version),
    path: field('path', path),
    size: field('size', count),
    sha256: field('sha256', sha256),
    /** False: this very version was there already. */
    changed: field('changed', flag),
    /** Number of what was there before. */
    replaced: field('replaced', nullable(version)),
    /** It had been written to after it was archived. */
    newer: field('newer', flag),
  },
);

const verifyCounts = {
  /** Files that were read, and their bytes. */
  files: field('files', count),
  bytes: field('bytes', count),
  totalFiles: field('total_files', count),
  totalBytes: field('total_bytes', count),
  damaged: field('damaged', count),
  repaired: field('repaired', count),
  /** Changed by somebody meanwhile, and noted as usual. */
  changed: field('changed', count),
  unreadable: field('unreadable', count),
} as const;

/** Reads everything again. Told now and then: how far it is, and each file that is not right. */
export const VERIFY = stream(
  '.io.skylark.verify',
  { share: field('share', share) },
  {
    ...verifyCounts,
    path: optionalField('path', path),
    outcome: optionalField('outcome', choice('repaired', 'damaged', 'unreadable')),
    message: optionalField('message', text({ max: 16_384 })),
  },
  {
    ...verifyCounts,
    /** Files of the share that the folder does not have yet. */
    missing: field('missing', count),
    /** Files that are still to be read for the first time. */
    unread: field('unread', count),
  },
);

/** One file: first what it is, then its bytes, which are verified before the first of them is sent. */
export const READ_FILE = stream(
  '.io.skylark.read_file',
  {
    share: field('share', share),
    path: field('path', path),
    /** Of the archive; null: its newest that was not damaged; missing: what the share has now. */
    version: optionalField('version', nullable(version)),
  },
  {
    /** Bytes that have come from a member so far, while it is not here. */
    fetched: optionalField('fetched', count),
    /** Of so many; missing: none has come yet. */
    size: optionalField('size', count),
    file: optionalField(
      'file',
      object({
        size: field('size', count),
        sha256: field('sha256', sha256),
        mtime: field('mtime', nullable(timestamp)),
        /** `folder`; `archive`: another copy that is here; `member`: it was fetched. */
        from: field('from', choice('folder', 'archive', 'member')),
        version: field('version', nullable(version)),
      }),
    ),
    data: optionalField('data', bytes),
  },
  {},
);

export type ArchivedVersion = Infer<typeof archivedVersion>;
