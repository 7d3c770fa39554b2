/** A club of this device as its users see it, over its part of the state file. */

import { userError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import type { Section } from '../platform/state-file.ts';
import type { CodeBook } from './code-book.ts';
import type { DeviceState, StoredClub, StoredPeer } from './device-state.ts';
import type { ClubKeys } from './keys.ts';
import type { AccessLevel } from './session.ts';
import { type ClubSigner, clubSigner } from './signer.ts';

/** A club of this device. The values are those of now; the object stays the same until the club is left. */
export interface Club {
  /** Our own name for it; never sent. */
  readonly id: string;
  /** Our peer ID in it; changes when a copy of this device shows up. */
  readonly peer: string;
  readonly level: AccessLevel;
  readonly keys: ClubKeys;
  readonly signer: ClubSigner;
  readonly codes: CodeBook;
  readonly name: string;
  readonly folder: string;
  readonly paused: boolean;
  /** When it was made or joined here, by the clock of then. Nanoseconds since 1970. */
  readonly created: bigint;
  /** Made by another device, which let us in. */
  readonly joined: boolean;
  readonly settings: ReadonlyMap<string, Json>;
  /** Whom we met in it lately, the latest first. */
  readonly peers: readonly StoredPeer[];
}

export interface ClubParts {
  readonly id: string;
  readonly state: Section<DeviceState>;
  readonly keys: ClubKeys;
  readonly codes: CodeBook;
  /** The peers that were met in a club, the latest first. */
  readonly acquaintances: { of(club: string): readonly StoredPeer[] };
}

/** Reads the club's changing parts from the state, so that there is one truth. */
export class ClubHandle implements Club {
  readonly id: string;
  readonly keys: ClubKeys;
  readonly signer: ClubSigner;
  readonly codes: CodeBook;
  readonly #state: Section<DeviceState>;
  readonly #acquaintances: { of(club: string): readonly StoredPeer[] };
  #last: StoredClub;

  constructor({ id, state, keys, codes, acquaintances }: ClubParts) {
    this.id = id;
    this.#state = state;
    this.#acquaintances = acquaintances;
    this.keys = keys;
    this.signer = clubSigner(keys);
    this.codes = codes;
    this.#last = storedClub(state, id);
  }

  /** After leaving: as it was at last, for those who still log and close. */
  get #stored(): StoredClub {
    this.#last = this.#state.value.clubs.find((club) => club.id === this.id) ?? this.#last;
    return this.#last;
  }
  get level(): AccessLevel {
    return this.keys.level;
  }
  get peer(): string {
    return this.#stored.peer;
  }
  get name(): string {
    return this.#stored.name;
  }
  get folder(): string {
    return this.#stored.folder;
  }
  get paused(): boolean {
    return this.#stored.paused;
  }
  get created(): bigint {
    return this.#stored.created;
  }
  get joined(): boolean {
    return this.#stored.joined;
  }
  get settings(): ReadonlyMap<string, Json> {
    return this.#stored.settings;
  }
  get peers(): readonly StoredPeer[] {
    return this.#acquaintances.of(this.id);
  }
}

/** @throws SkylarkError (user) `club.unknown`. */
export function storedClub(state: Section<DeviceState>, id: string): StoredClub {
  const club = state.value.clubs.find((each) => each.id === id);
  if (club === undefined) throw unknownClub();
  return club;
}

/** Replaces one club's part of the state; nothing is written if `change` returns what it was given. */
export function changeClub(
  state: Section<DeviceState>,
  id: string,
  change: (club: StoredClub) => StoredClub,
): Promise<void> {
  return state.update((value) => {
    const index = value.clubs.findIndex((club) => club.id === id);
    const club = value.clubs[index];
    if (club === undefined) throw unknownClub();
    const changed = change(club);
    return changed === club ? value : { ...value, clubs: value.clubs.with(index, changed) };
  });
}

export function unknownClub() {
  return userError('club.unknown', 'there is no such share');
}
