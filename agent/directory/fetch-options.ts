/** What a fetcher is made with. */

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Absences } from './absences.ts';
import type { DeliveryOptions } from './deliver.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Inflow } from './manners/flow.ts';
import type { RefusalStore } from './refusals.ts';
import type { LocalContents } from './supply.ts';

export interface FetcherOptions extends DeliveryOptions {
  readonly refusals: RefusalStore;
  readonly local: LocalContents;
  readonly room: DiskRoom;
  readonly absences: Absences;
  readonly clock: Clock;
  readonly log: Logger;
  /** False while nothing may be written to the folder, or it is not yet known what is in it. */
  readonly mayFetch: () => boolean;
  /** The disk refused something: nothing more is fetched for a while. */
  readonly onTrouble: (error: Error) => void;
  /** It works (again). */
  readonly onPlaced: () => void;
  readonly received: (bytes: number) => void;
  /** How much may be asked for. */
  readonly download: Inflow;
}
