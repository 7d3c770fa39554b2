/**
 * The access codes of one club, from making to forgetting (core.md, "Access Codes"; docs/protocol.md, section 2). Every
 * decision is durable before anybody acts on it, so that a crash can't make a used code fresh again.
 */

import type { Clock } from '../base/clock.ts';
import { EXIT, internalError, peerError, userError } from '../base/errors.ts';
import { Secret } from '../base/log.ts';
import { BucketTable } from '../discovery/token-bucket.ts';
import type { Section } from '../platform/state-file.ts';
import {
  type Access,
  accessOfCode,
  accessOfCredentials,
  CODE_BYTES,
  encodeAccessCode,
  type Sha256,
} from './access-code.ts';
import { randomBytes } from './random.ts';
import type { AccessLevel } from './session.ts';
import {
  type CodeSecret,
  type CodeState,
  expiry,
  hasEnded,
  MAX_LIFETIME,
  type StoredCode,
} from './stored-code.ts';

export interface NewCode {
  readonly level: AccessLevel;
  /** Default false: good for one peer. */
  readonly multiUse?: boolean;
  /** Seconds; null: for ever. Default 24 hours. */
  readonly lifetime?: number | null;
  /** Chosen by the owner instead of a random code. */
  readonly credentials?: { readonly username: string; readonly password: Secret<string> };
}

/** A code as its owner may see it. */
export interface CodeInfo {
  readonly id: string;
  readonly level: AccessLevel;
  readonly multiUse: boolean;
  readonly state: CodeState['kind'];
  /** Nanoseconds since 1970. */
  readonly created: bigint;
  /** Undefined: never. */
  readonly expires: bigint | undefined;
  readonly uses: number;
  /** The 33 characters, as long as the code is good; undefined for a user name with a password. */
  readonly code: Secret<string> | undefined;
  readonly username: string | undefined;
}

/** The right to give the club's keys to one peer, over one connection. */
export interface Claim {
  readonly level: AccessLevel;
  /** Called just before the keys are sent: from here on they count as given. @throws `code.ended` (peer). */
  sending(): void;
  /** The peer has the keys: a single-use code has done its work. */
  acknowledged(): Promise<void>;
  /** The connection is over. Without keys sent, the code is free again at once; else after the binding time. */
  release(): Promise<void>;
}

export interface CodeBook {
  /** @throws SkylarkError (user) `code.level`, `code.lifetime`, `code.password_short`, `code.username_taken`, `code.too_many`, `code.*_malformed`. */
  create(request: NewCode): Promise<CodeInfo>;
  /** Live and remembered ones, oldest first. */
  list(): readonly CodeInfo[];
  /** @throws SkylarkError (user) `code.unknown`, `code.ended`. */
  revoke(id: string): Promise<void>;
  /** The secret by which a peer proves that it has the code; undefined once it is no longer good. */
  secretFor(id: string): Secret<string> | undefined;
  /** IDs that peers may still come with. */
  liveIds(): readonly string[];
  /**
   * A peer with the code has introduced itself.
   * @throws SkylarkError (peer) `code.ended`; `code.taken`: another peer, or another connection, is using it; `code.busy`: too
   *   often lately.
   */
  claim(id: string, peer: string): Promise<Claim>;
  /** A peer has shown that it has the club's keys: a code whose acknowledgment was lost on the way is used. */
  sawMember(peer: string): Promise<void>;
  /** Makes expired codes expired, forgets old ones. @returns milliseconds until something is due; Infinity: nothing. */
  sweep(): Promise<number>;
}

export interface CodeBookOptions {
  /** Ours: nobody can give away more than it has. */
  readonly level: AccessLevel;
  readonly stored: Section<readonly StoredCode[]>;
  readonly sha256: Sha256;
  readonly clock: Clock;
  /** Whether another club of this device already listens on the ID. */
  readonly isTaken: (id: string) => boolean;
}

const DEFAULT_LIFETIME = 86_400;
/** A peer that began to use a code has this long, milliseconds. */
const BINDING_MS = 60_000;
/** Ended codes are remembered for 30 days after they would have expired, nanoseconds. */
const REMEMBERED = 30n * 86_400n * 1_000_000_000n;
/** Uses of one code that are begun with: each is written down, and whoever has the code can begin as often as he likes. */
const CLAIMS = { burst: 256, perSecond: 1 / 120 };
const MAX_LIVE = 256;
const MAX_REMEMBERED = 1_024;
/** Guesses are limited to 20 an hour, but a code may live for ever. */
const SHORTEST_PASSWORD = 8;
/** 2025-01-01: a clock before this was never set. Devices without one of their own start in 1970. */
const CLOCK_IS_SET = 1_735_689_600n * 1_000_000_000n;

export function openCodeBook(options: CodeBookOptions): CodeBook {
  return new StoredCodeBook(options);
}

class StoredCodeBook implements CodeBook {
  readonly #options: CodeBookOptions;
  /** Until when a bound code is bound, by the monotonic clock. Bindings found at the start begin anew. */
  readonly #boundUntil = new Map<string, number>();
  /** Codes with a connection that may still send or has sent keys. */
  readonly #claimed = new Set<string>();
  readonly #opened: number;
  readonly #claims = new BucketTable(CLAIMS, MAX_LIVE);

  constructor(options: CodeBookOptions) {
    this.#options = options;
    this.#opened = options.clock.monotonic();
  }

  async create(request: NewCode): Promise<CodeInfo> {
    const { clock, isTaken, stored } = this.#options;
    if (request.level === 'read_write' && this.#options.level !== 'read_write') {
      throw userError('code.level', 'this device may only read in this share, and cannot let others write', {
        remedy: 'make the code on a device that may write, or make a read-only one',
        exitCode: EXIT.notPermitted,
      });
    }
    const lifetime = request.lifetime === undefined ? DEFAULT_LIFETIME : (request.lifetime ?? undefined);
    if (
      lifetime !== undefined &&
      !(Number.isInteger(lifetime) && lifetime >= 1 && lifetime <= MAX_LIFETIME)
    ) {
      throw userError('code.lifetime', 'a code can live from a second to a hundred years, or for ever');
    }
    const { id, secret } = this.#newSecret(request);
    const code: StoredCode = {
      id,
      level: request.level,
      multiUse: request.multiUse ?? false,
      created: clock.now(),
      lifetime,
      uses: 0,
      secret,
      state: { kind: 'open', sentTo: undefined },
    };
    await stored.update((codes) => {
      if (isTaken(id) || codes.some((other) => other.id === id && this.#isLive(other))) {
        throw userError('code.username_taken', 'there is already a code with this user name', {
          remedy: 'choose another one, or revoke that code',
        });
      }
      if (codes.filter((other) => this.#isLive(other)).length >= MAX_LIVE) {
        throw userError('code.too_many', `this share has ${MAX_LIVE} open codes`, { remedy: 'revoke some' });
      }
      // A name may be used again once its code has ended.
      return [...codes.filter((other) => other.id !== id), code];
    });
    return this.#info(code);
  }

  list(): readonly CodeInfo[] {
    return this.#options.stored.value.map((code) => this.#info(code));
  }

  async revoke(id: string): Promise<void> {
    await this.#change(id, (code) => {
      if (!this.#isLive(code)) throw userError('code.ended', `this code is ${this.#kind(code)} already`);
      return this.#ended(code, { kind: 'revoked', at: this.#options.clock.now() });
    });
  }

  secretFor(id: string): Secret<string> | undefined {
    const code = this.#options.stored.value.find((each) => each.id === id);
    if (code?.secret === undefined || !this.#isLive(code)) return undefined;
    return this.#access(code.secret).secret;
  }

  liveIds(): readonly string[] {
    return this.#options.stored.value.filter((code) => this.#isLive(code)).map(({ id }) => id);
  }

  async claim(id: string, peer: string): Promise<Claim> {
    let taken: { readonly level: AccessLevel; readonly single: boolean } | undefined;
    try {
      await this.#change(id, (code) => {
        if (!this.#isLive(code)) throw peerError('code.ended', `the code is ${this.#kind(code)}`);
        if (code.multiUse) {
          this.#begin(id);
          taken = { level: code.level, single: false };
          return code;
        }
        const boundToOther = code.state.kind === 'bound' && code.state.peer !== peer && !this.#isLoose(id);
        if (boundToOther || this.#claimed.has(id)) {
          throw peerError('code.taken', 'another peer is using the code at this moment');
        }
        this.#begin(id);
        // Inside the update, where nothing comes between looking and taking.
        this.#claimed.add(id);
        this.#boundUntil.set(id, this.#options.clock.monotonic() + BINDING_MS);
        taken = { level: code.level, single: true };
        return { ...code, state: { kind: 'bound', peer } };
      });
    } catch (thrown) {
      // It was free, but could not be written down.
      if (taken?.single) this.#claimed.delete(id);
      throw thrown;
    }
    if (taken === undefined) throw internalError('code.claim', 'a claim was neither granted nor refused');
    return this.#openClaim(id, peer, taken.level, taken.single);
  }

  #begin(id: string): void {
    if (this.#claims.take(id, this.#options.clock.monotonic())) return;
    throw peerError('code.busy', 'the code was begun with too often lately');
  }

  #openClaim(id: string, peer: string, level: AccessLevel, single: boolean): Claim {
    let state: 'taken' | 'sent' | 'done' = 'taken';
    return {
      level,
      sending: () => {
        if (this.secretFor(id) === undefined) throw peerError('code.ended', 'the code has ended meanwhile');
        state = 'sent';
      },
      acknowledged: async () => {
        state = 'done';
        try {
          await this.#change(id, (code) => {
            const used = { ...code, uses: code.uses + 1 };
            if (code.multiUse || code.state.kind === 'revoked') return used;
            return this.#ended(used, { kind: 'used', at: this.#options.clock.now(), peer });
          });
        } finally {
          if (single) this.#claimed.delete(id);
        }
      },
      release: async () => {
        if (!single || state === 'done') return;
        const sent = state === 'sent';
        state = 'done';
        this.#claimed.delete(id);
        if (sent) return;
        await this.#change(id, (code) => {
          const mine = code.state.kind === 'bound' && code.state.peer === peer && !this.#claimed.has(id);
          return mine ? { ...code, state: { kind: 'open', sentTo: undefined } } : code;
        });
      },
    };
  }

  async sawMember(peer: string): Promise<void> {
    const isFor = (code: StoredCode) =>
      !this.#claimed.has(code.id) &&
      ((code.state.kind === 'bound' && code.state.peer === peer) ||
        (code.state.kind === 'open' && code.state.sentTo === peer));
    if (!this.#options.stored.value.some(isFor)) return;
    const at = this.#options.clock.now();
    await this.#options.stored.update((codes) =>
      codes.map((code) =>
        isFor(code) ? this.#ended({ ...code, uses: code.uses + 1 }, { kind: 'used', at, peer }) : code,
      ),
    );
  }

  async sweep(): Promise<number> {
    const { stored, clock } = this.#options;
    const now = clock.now();
    const swept = (codes: readonly StoredCode[]): readonly StoredCode[] => {
      const kept = codes.map((code) => this.#aged(code, now)).filter((code) => !isForgotten(code, now));
      const ended = kept.filter((code) => !this.#isLive(code));
      const surplus = new Set(ended.slice(0, Math.max(0, ended.length - MAX_REMEMBERED)));
      const rest = kept.filter((code) => !surplus.has(code));
      const same = rest.length === codes.length && rest.every((code, i) => code === codes[i]);
      return same ? codes : rest;
    };
    if (swept(stored.value) !== stored.value) await stored.update(swept);
    return this.#nextDue(now);
  }

  /** What time alone makes of a code. */
  #aged(code: StoredCode, now: bigint): StoredCode {
    // Made before the clock was set: its life is counted from when we knew the time.
    if (code.created < CLOCK_IS_SET && now >= CLOCK_IS_SET) return { ...code, created: now };
    if (!hasEnded(code) && !this.#isLive(code)) return this.#ended(code, { kind: 'expired', at: now });
    if (code.state.kind === 'bound' && this.#isLoose(code.id) && !this.#claimed.has(code.id)) {
      return { ...code, state: { kind: 'open', sentTo: code.state.peer } };
    }
    return code;
  }

  #nextDue(now: bigint): number {
    let due = Number.POSITIVE_INFINITY;
    for (const code of this.#options.stored.value) {
      if (hasEnded(code)) continue;
      const expires = expiry(code);
      if (expires !== undefined) due = Math.min(due, Number((expires - now) / 1_000_000n) + 1);
      if (code.state.kind === 'bound') due = Math.min(due, BINDING_MS);
    }
    return Math.max(due, 0);
  }

  /** Whether somebody may still come with it. */
  #isLive(code: StoredCode): boolean {
    if (hasEnded(code) || code.secret === undefined) return false;
    const expires = expiry(code);
    const now = this.#options.clock.now();
    if (expires === undefined || now < expires) return true;
    // Not yet swept since the clock was set.
    return code.created < CLOCK_IS_SET && now >= CLOCK_IS_SET;
  }

  /** Whether the time of a binding is over. */
  #isLoose(id: string): boolean {
    const until = this.#boundUntil.get(id) ?? this.#opened + BINDING_MS;
    return this.#options.clock.monotonic() >= until;
  }

  #kind(code: StoredCode): CodeState['kind'] {
    return !hasEnded(code) && !this.#isLive(code) ? 'expired' : code.state.kind;
  }

  #ended(code: StoredCode, state: CodeState): StoredCode {
    this.#boundUntil.delete(code.id);
    return { ...code, state, secret: undefined };
  }

  async #change(id: string, change: (code: StoredCode) => StoredCode): Promise<void> {
    await this.#options.stored.update((codes) => {
      const index = codes.findIndex((code) => code.id === id);
      const code = codes[index];
      if (code === undefined) throw userError('code.unknown', 'there is no such code');
      const changed = change(code);
      return changed === code ? codes : codes.with(index, changed);
    });
  }

  #newSecret({ credentials }: NewCode): { id: string; secret: CodeSecret } {
    if (credentials === undefined) {
      const raw = new Secret(randomBytes(CODE_BYTES));
      return { id: accessOfCode(raw, this.#options.sha256).id, secret: { kind: 'code', raw } };
    }
    const { username, password } = credentials;
    const access = accessOfCredentials(username, password, this.#options.sha256);
    if (Array.from(password.reveal()).length < SHORTEST_PASSWORD) {
      throw userError('code.password_short', `a password has at least ${SHORTEST_PASSWORD} characters`);
    }
    return { id: access.id, secret: { kind: 'password', username, secret: access.secret } };
  }

  #access(secret: CodeSecret): Pick<Access, 'secret'> {
    return secret.kind === 'code' ? accessOfCode(secret.raw, this.#options.sha256) : secret;
  }

  #info(code: StoredCode): CodeInfo {
    const { id, level, multiUse, created, uses, secret } = code;
    return {
      id,
      level,
      multiUse,
      state: this.#kind(code),
      created,
      expires: expiry(code),
      uses,
      code:
        secret?.kind === 'code' && this.#isLive(code)
          ? new Secret(encodeAccessCode(secret.raw.reveal()))
          : undefined,
      username: secret?.kind === 'password' ? secret.username : undefined,
    };
  }
}

function isForgotten(code: StoredCode, now: bigint): boolean {
  if (!('at' in code.state)) return false;
  return now >= (expiry(code) ?? code.state.at) + REMEMBERED;
}
