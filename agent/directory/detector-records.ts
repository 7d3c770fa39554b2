/** The database as the detector changes it: whether the folder shows a record is decided when its batch is complete. */

import type { Json } from '../base/json.ts';
import { isJsonObject } from '../base/json.ts';
import type { ClubDatabase } from '../database/club-database.ts';
import type { Follower } from './follow.ts';
import type { RecordStore } from './record-changes.ts';
import type { Selection } from './selection.ts';

export interface DetectorRecordsOptions {
  readonly database: ClubDatabase;
  readonly follower: Follower;
  readonly selection: Selection;
  /** After a commit: these contents are in the folder, and a record says so. */
  readonly onContent: (sha256: string) => unknown;
}

export function detectorRecords(options: DetectorRecordsOptions): RecordStore {
  const { database, follower, selection, onContent } = options;
  let recorded: string[] = [];
  return {
    writable: database.writable && selection.rules.direction !== 'receive',
    get: (key) => database.get(key),
    getByUuid: (uuid) => database.getByUuid(uuid),
    put(key, value, change) {
      const written = database.put(key, value, change);
      const sha256 = sha256In(value);
      if (sha256 !== undefined) recorded.push(sha256);
      return written;
    },
    rename: (uuid, key, change) => database.rename(uuid, key, change),
    remove: (uuid, change) => database.remove(uuid, change),
    transaction(work) {
      try {
        const result = database.transaction(() => follower.together(work));
        for (const sha256 of recorded) onContent(sha256);
        return result;
      } finally {
        recorded = [];
      }
    },
  };
}

function sha256In(value: Json): string | undefined {
  return isJsonObject(value) && typeof value.sha256 === 'string' ? value.sha256 : undefined;
}
