/**
 * Contents that no connected peer has. Records may give one content different sizes, by mistake or in order to keep it
 * from others: then each size is tried, so that a wrong one hurts only its own record. And of a conflict copy, whose
 * record every member makes by itself, the contents may be gone for good, when their only owner deleted them before
 * anybody had fetched them: what stays away for long is told apart from what is on its way.
 */

import type { Clock } from '../base/clock.ts';
import type { PendingRow } from './pending.ts';

export interface AbsencesOptions {
  readonly clock: Clock;
  readonly waitingFor: (sha256: string) => readonly PendingRow[];
  /** Whether the record holds the loser of a conflict. */
  readonly isConflictCopy: (uuid: string) => boolean;
  /** Milliseconds after which contents that nobody has are missing. Default: a minute. */
  readonly missingAfter?: number | undefined;
}

/** Records whose contents nobody has. */
export interface Missing {
  readonly files: number;
  /** Bytes. */
  readonly bytes: bigint;
  /** Some of the records. */
  readonly uuids: readonly string[];
}

const MISSING_AFTER_MS = 60_000;
const MAX_ABSENT = 1_024;
const SHOWN = 10;

interface Absence {
  /** Since when nobody has had them, monotonic milliseconds. */
  readonly since: number;
  readonly tried: Set<bigint>;
}

export class Absences {
  readonly #options: AbsencesOptions;
  /** By SHA-256. */
  readonly #absent = new Map<string, Absence>();

  constructor(options: AbsencesOptions) {
    this.#options = options;
  }

  /**
   * All connected peers say that they don't have these contents of this size.
   * @returns another size to be tried, if any record gives one; undefined if all were tried since the last time.
   */
  note(sha256: string, size: bigint): bigint | undefined {
    const rows = this.#options.waitingFor(sha256);
    let absence = this.#absent.get(sha256);
    if (absence === undefined) {
      absence = { since: this.#options.clock.monotonic(), tried: new Set() };
      if (this.#absent.size < MAX_ABSENT) this.#absent.set(sha256, absence);
    }
    absence.tried.add(size);
    for (const row of rows) if (!absence.tried.has(row.size)) return row.size;
    absence.tried.clear();
    return undefined;
  }

  /** They have come, or nobody wants them any more. */
  over(sha256: string): void {
    this.#absent.delete(sha256);
  }

  /** Conflict copies whose contents nobody has had for long. */
  missing(): Missing {
    const { clock, waitingFor, isConflictCopy, missingAfter = MISSING_AFTER_MS } = this.#options;
    const before = clock.monotonic() - missingAfter;
    let bytes = 0n;
    const uuids: string[] = [];
    for (const [sha256, { since }] of this.#absent) {
      if (since > before) continue;
      const rows = waitingFor(sha256);
      if (rows.length === 0) this.#absent.delete(sha256);
      if (!rows.every(({ uuid }) => isConflictCopy(uuid))) continue;
      for (const { uuid, size } of rows) {
        uuids.push(uuid);
        bytes += size;
      }
    }
    return { files: uuids.length, bytes, uuids: uuids.slice(0, SHOWN) };
  }
}
