/** Changes records for ever and says each revision once it is committed, until it is killed. Argument: the database's path. */

import { writeSync } from 'node:fs';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import { policy } from './club-simulation.ts';

const database = openClubDatabase({
  sqlite: openSqlite(process.argv[2]!),
  club: 'club',
  self: 'a'.repeat(32),
  writable: true,
  conflicts: policy,
  clock: systemClock,
  log: silentLogger,
});
for (let i = 0; ; i++) {
  const { uuid, lastUpdatedRev } = database.transaction(() => {
    database.put(`/${i % 7}`, { v: `${process.pid} ${i}` });
    return database.put('/latest', { v: `${process.pid} ${i}` });
  });
  writeSync(1, `${uuid} ${lastUpdatedRev} ${process.pid} ${i}\n`);
}
