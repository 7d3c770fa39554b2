/** The manners of the daemon: by its configuration, by what the system tells, and counted in `records.db`. */

import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { SteadyTime } from '../base/steady-time.ts';
import type { Configuration } from '../config/options.ts';
import { type Hold, Manners, type MannersSettings } from '../directory/manners/manners.ts';
import type { MonthStore } from '../directory/manners/month-count.ts';
import { isMetered } from '../platform/metered-network.ts';
import { isOnBattery } from '../platform/power-supply.ts';
import type { Sqlite } from '../platform/sqlite.ts';

export interface DaemonMannersOptions {
  readonly configuration: Configuration;
  readonly sqlite: Sqlite;
  readonly time: SteadyTime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onHold: (hold: Hold) => void;
}

/** @throws SkylarkError (environment) `sqlite.newer_schema`. */
export function openManners({ configuration, sqlite, ...options }: DaemonMannersOptions): Manners {
  return new Manners({
    ...options,
    settings: mannersSettings(configuration),
    circumstances: { isOnBattery: () => isOnBattery(), isMetered: () => isMetered() },
    store: openMonthStore(sqlite),
  });
}

export function mannersSettings(configuration: Configuration): MannersSettings {
  return {
    rate: {
      upload: configuration['manners.upload_rate'],
      download: configuration['manners.download_rate'],
    },
    month: {
      upload: configuration['manners.monthly_upload'],
      download: configuration['manners.monthly_download'],
    },
    quietHours: configuration['manners.quiet_hours'] ?? [],
    onBattery: configuration['manners.on_battery'],
    onMetered: configuration['manners.on_metered'],
  };
}

const MIGRATIONS = [
  `CREATE TABLE manners_month (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     month TEXT NOT NULL,
     upload INTEGER NOT NULL,
     download INTEGER NOT NULL
   ) STRICT;`,
];

interface MonthRow {
  readonly month: string;
  readonly upload: bigint | number;
  readonly download: bigint | number;
}

/** @throws SkylarkError (environment) `sqlite.newer_schema`. What the disk refuses is tried again at each use. */
export function openMonthStore(sqlite: Sqlite): MonthStore {
  const migrate = () => sqlite.migrate('manners', MIGRATIONS);
  try {
    migrate();
  } catch (thrown) {
    if (errorCode(thrown) === 'sqlite.newer_schema') throw thrown;
  }
  return {
    load() {
      migrate();
      const row = sqlite.prepare<MonthRow>('SELECT month, upload, download FROM manners_month').get();
      return row && { month: row.month, upload: BigInt(row.upload), download: BigInt(row.download) };
    },
    save({ month, upload, download }) {
      sqlite.transaction(() => {
        sqlite
          .prepare('INSERT OR REPLACE INTO manners_month VALUES (1, ?, ?, ?)')
          .run(month, upload, download);
      });
    },
  };
}
