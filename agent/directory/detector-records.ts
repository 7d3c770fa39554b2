/** The database, as the detector of a share changes it. */

import type { ClubDatabase } from '../database/club-database.ts';
import type { Follower } from './follow.ts';
import type { RecordStore } from './record-changes.ts';

/** Whether the folder shows a record is decided when its batch is complete. */
export function detectorRecords(database: ClubDatabase, follower: Follower): RecordStore {
  return {
    writable: database.writable,
    get: (key) => database.get(key),
    getByUuid: (uuid) => database.getByUuid(uuid),
    put: (key, value, options) => database.put(key, value, options),
    rename: (uuid, key, options) => database.rename(uuid, key, options),
    remove: (uuid, options) => database.remove(uuid, options),
    transaction: (work) => database.transaction(() => follower.together(work)),
  };
}
