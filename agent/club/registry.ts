/** The clubs of this device: making, joining, leaving, and everything about them that must outlive a restart. */

import { fromHex } from '../base/bytes.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { asError, EXIT, environmentError, userError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import { type Logger, Secret } from '../base/log.ts';
import type { Rsa } from '../crypto/rsa.ts';
import type { Section } from '../platform/state-file.ts';
import type { Sha256 } from './access-code.ts';
import { Acquaintances, type MetPeer } from './acquaintances.ts';
import { type Club, ClubHandle, changeClub, storedClub, unknownClub } from './club.ts';
import { openCodeBook } from './code-book.ts';
import { type DeviceState, MAX_CLUBS, type StoredClub } from './device-state.ts';
import {
  type ClubKeys,
  generateClubKeys,
  heldLevels,
  type KeysMessage,
  keysFor,
  readClubKeys,
} from './keys.ts';
import { mintAgain } from './minting.ts';
import { randomId } from './random.ts';
import type { AccessLevel } from './session.ts';
import { hasEnded } from './stored-code.ts';

/** What an ID (of a key or a code) that a peer comes with stands for. */
export type Resolved =
  | {
      readonly kind: 'member';
      readonly club: Club;
      readonly level: AccessLevel;
      readonly secret: Secret<string>;
    }
  | { readonly kind: 'code'; readonly club: Club; readonly secret: Secret<string> };

export type RegistryChange =
  | { readonly kind: 'added' | 'left'; readonly club: Club }
  /** We took a new peer ID: sessions under the old one must end. */
  | { readonly kind: 'peer'; readonly club: Club }
  /** The IDs that peers may come with have changed. */
  | { readonly kind: 'ids'; readonly club: Club }
  /** Name, folder, settings, paused. */
  | { readonly kind: 'configured'; readonly club: Club };

/** What the club is about here: a folder. */
export interface ShareFolder {
  readonly name: string;
  /** Absolute path. */
  readonly folder: string;
  readonly settings?: ReadonlyMap<string, Json>;
}

export type ClubChange = Partial<Pick<StoredClub, 'name' | 'folder' | 'paused' | 'settings'>>;

export interface Registry {
  readonly deviceId: string;
  readonly fakeVerifierKey: Secret<Uint8Array>;
  list(): readonly Club[];
  get(id: string): Club | undefined;
  /** A new club, with us as its first read-write member. @throws SkylarkError (user) `club.too_many`. */
  create(share: ShareFolder): Promise<Club>;
  /**
   * Takes over the keys of a club that let us in; resolves when they are durable.
   * @param peer the peer ID by which we joined.
   * @throws SkylarkError (user) `club.already_member`, `club.too_many`; (peer) as `readClubKeys`.
   */
  adopt(keys: KeysMessage, peer: string, share: ShareFolder): Promise<Club>;
  /** Forgets the keys. @throws SkylarkError (user) `club.unknown`. */
  leave(id: string): Promise<void>;
  /** Settings that are not named stay as they are. */
  configure(id: string, change: ClubChange): Promise<void>;
  /**
   * Takes a new peer ID in a club, since a copy of us goes by the old one. The first time at once, then ever more seldom
   * (minting.ts), restarts or not.
   * @returns whether a new one was taken.
   */
  mintPeer(id: string): Promise<boolean>;
  /** Keeps in mind who was met and, for peers that we dialled, where. Written down seldom (acquaintances.ts). */
  remember(id: string, peer: MetPeer): Promise<void>;
  /** Undefined for unknown IDs, codes that have ended, and paused clubs. */
  resolve(id: string): Resolved | undefined;
  /** Listeners must not throw. @returns how to stop. */
  onChange(listener: (change: RegistryChange) => void): () => void;
  /** Resolves when what was to be written later is written. */
  close(): Promise<void>;
}

export interface RegistryOptions {
  readonly state: Section<DeviceState>;
  readonly rsa: Rsa;
  readonly sha256: Sha256;
  readonly clock: Clock;
  readonly log: Logger;
}

const SWEEP_MIN_MS = 1_000;
const SWEEP_MAX_MS = 3_600_000;

/** @throws SkylarkError (environment) `club.keys_damaged`. */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const registry = new StoredRegistry(options);
  for (const { id, name, keys } of options.state.value.clubs) {
    try {
      registry.open(id, await readClubKeys(keys, options.rsa));
    } catch (cause) {
      throw environmentError('club.keys_damaged', `the stored keys of the share ${name} are damaged`, {
        cause,
        remedy: 'put back a copy of the state file, or join again with a new access code',
        exitCode: EXIT.configuration,
      });
    }
  }
  await registry.sweep();
  return registry;
}

class StoredRegistry implements Registry {
  readonly #options: RegistryOptions;
  readonly #clubs = new Map<string, ClubHandle>();
  /** Key ID to club and level. */
  readonly #keyIds = new Map<string, { readonly club: ClubHandle; readonly level: AccessLevel }>();
  readonly #listeners = new Set<(change: RegistryChange) => void>();
  /** When a new peer ID was taken, by the monotonic clock. */
  readonly #minted = new Map<string, number>();
  readonly #opened: number;
  readonly #acquaintances: Acquaintances;
  #sweepTimer: Timer | undefined;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#opened = options.clock.monotonic();
    this.#acquaintances = new Acquaintances(options);
  }

  get deviceId(): string {
    return this.#options.state.value.device.id;
  }

  get fakeVerifierKey(): Secret<Uint8Array> {
    return new Secret(fromHex(this.#options.state.value.device.fakeVerifierKey.reveal()));
  }

  list(): readonly Club[] {
    return [...this.#clubs.values()];
  }

  get(id: string): Club | undefined {
    return this.#clubs.get(id);
  }

  async create(share: ShareFolder): Promise<Club> {
    return this.#add(await generateClubKeys(this.#options.rsa), randomId(), share, false);
  }

  async adopt(keys: KeysMessage, peer: string, share: ShareFolder): Promise<Club> {
    return this.#add(await readClubKeys(keys, this.#options.rsa), peer, share, true);
  }

  async #add(keys: ClubKeys, peer: string, share: ShareFolder, joined: boolean): Promise<Club> {
    const stored = keysFor(keys, keys.level);
    if (stored === undefined) throw new TypeError('keys without the keys of their own level');
    const id = randomId();
    await this.#options.state.update((state) => {
      if (state.clubs.length >= MAX_CLUBS) {
        throw userError('club.too_many', `a device can be in ${MAX_CLUBS} shares`);
      }
      const ids = new Set([...heldLevels(keys).values()].map((level) => level.id));
      const known = state.clubs.find((club) =>
        club.keys.keys.some((entry) => entry.id !== undefined && ids.has(entry.id)),
      );
      if (known !== undefined) {
        throw userError('club.already_member', `this device is in that share already: ${known.name}`);
      }
      const club: StoredClub = {
        id,
        name: share.name,
        folder: share.folder,
        created: this.#options.clock.now(),
        paused: false,
        joined,
        peer,
        keys: stored,
        codes: [],
        peers: [],
        settings: share.settings ?? new Map(),
      };
      return { ...state, clubs: [...state.clubs, club] };
    });
    const club = this.open(id, keys);
    this.#tell({ kind: 'added', club });
    return club;
  }

  /** Makes a stored club usable. */
  open(id: string, keys: ClubKeys): Club {
    const { state, sha256, clock } = this.#options;
    const codes = openCodeBook({
      level: keys.level,
      stored: this.#codesOf(id),
      sha256,
      clock,
      isTaken: (accessId) => {
        const resolved = this.#find(accessId);
        return resolved !== undefined && resolved.club.id !== id;
      },
    });
    const club = new ClubHandle({ id, state, keys, codes, acquaintances: this.#acquaintances });
    this.#clubs.set(id, club);
    for (const [level, { id: keyId }] of heldLevels(keys)) this.#keyIds.set(keyId, { club, level });
    return club;
  }

  #codesOf(id: string): Section<StoredClub['codes']> {
    const { state } = this.#options;
    return {
      get value() {
        // Empty once the club is left, for those who still hold the book.
        return state.value.clubs.find((club) => club.id === id)?.codes ?? [];
      },
      update: async (change) => {
        const before = unendedIds(storedClub(state, id).codes);
        await changeClub(state, id, (club) => {
          const codes = change(club.codes);
          return codes === club.codes ? club : { ...club, codes };
        });
        const club = this.#clubs.get(id);
        if (club === undefined) return;
        this.#scheduleSweep(SWEEP_MIN_MS);
        if (unendedIds(storedClub(state, id).codes) !== before) this.#tell({ kind: 'ids', club });
      },
    };
  }

  async leave(id: string): Promise<void> {
    const club = this.#clubs.get(id);
    if (club === undefined) throw unknownClub();
    await this.#options.state.update((state) => ({
      ...state,
      clubs: state.clubs.filter((each) => each.id !== id),
    }));
    this.#clubs.delete(id);
    this.#acquaintances.forget(id);
    for (const { id: keyId } of heldLevels(club.keys).values()) this.#keyIds.delete(keyId);
    this.#tell({ kind: 'left', club });
  }

  async configure(id: string, change: ClubChange): Promise<void> {
    await changeClub(this.#options.state, id, (club) => ({
      ...club,
      ...change,
      settings: new Map([...club.settings, ...(change.settings ?? [])]),
    }));
    const club = this.#clubs.get(id);
    if (club !== undefined) this.#tell({ kind: 'configured', club });
  }

  async mintPeer(id: string): Promise<boolean> {
    const club = this.#clubs.get(id);
    if (club === undefined) throw unknownClub();
    const { clock, state } = this.#options;
    let isTaken = false;
    await changeClub(state, id, (stored) => {
      const ran = clock.monotonic() - (this.#minted.get(id) ?? this.#opened);
      const { isDue, history } = mintAgain(stored.minted, clock.now(), ran);
      if (!isDue) return history === stored.minted ? stored : { ...stored, minted: history };
      this.#minted.set(id, clock.monotonic());
      isTaken = true;
      return { ...stored, peer: randomId(), minted: history };
    });
    if (!isTaken) return false;
    this.#options.log.warn('a copy of this device is about: it goes by a new peer ID from now on', {
      share: club.name,
    });
    this.#tell({ kind: 'peer', club });
    return true;
  }

  async remember(id: string, peer: MetPeer): Promise<void> {
    await this.#acquaintances.met(id, peer);
  }

  resolve(id: string): Resolved | undefined {
    const resolved = this.#find(id);
    return resolved?.club.paused === true ? undefined : resolved;
  }

  #find(id: string): Resolved | undefined {
    const member = this.#keyIds.get(id);
    const secret = member === undefined ? undefined : heldLevels(member.club.keys).get(member.level)?.key;
    if (member !== undefined && secret !== undefined) {
      return { kind: 'member', club: member.club, level: member.level, secret };
    }
    for (const club of this.#clubs.values()) {
      const codeSecret = club.codes.secretFor(id);
      if (codeSecret !== undefined) return { kind: 'code', club, secret: codeSecret };
    }
    return undefined;
  }

  onChange(listener: (change: RegistryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#sweepTimer?.cancel();
    this.#listeners.clear();
    await this.#acquaintances.close();
  }

  #tell(change: RegistryChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  /** Ages all codes and acquaintances, and comes again when the next one is due. */
  async sweep(): Promise<void> {
    this.#acquaintances.sweep();
    let due = SWEEP_MAX_MS;
    for (const club of this.#clubs.values()) due = Math.min(due, await club.codes.sweep());
    this.#scheduleSweep(due);
  }

  #scheduleSweep(ms: number): void {
    this.#sweepTimer?.cancel();
    if (this.#closed) return;
    this.#sweepTimer = this.#options.clock.after(Math.max(SWEEP_MIN_MS, ms), () => {
      this.sweep().catch((thrown: unknown) => {
        this.#options.log.error('access codes could not be brought up to date', { error: asError(thrown) });
        this.#scheduleSweep(SWEEP_MAX_MS);
      });
    });
  }
}

function unendedIds(codes: StoredClub['codes']): string {
  return codes.flatMap((code) => (hasEnded(code) ? [] : [code.id])).join();
}
