/** An access code as it is kept: its life in one tagged union, and its form in the state file. */

import { fromHex, toHex } from '../base/bytes.ts';
import { Secret } from '../base/log.ts';
import {
  choice,
  field,
  flag,
  hex,
  integer,
  nullable,
  object,
  optionalField,
  type Schema,
  text,
  timestamp,
} from '../base/schema.ts';
import { formatTimestamp, parseTimestamp } from '../base/timestamp.ts';
import type { AccessLevel } from './session.ts';

/** What lets somebody in. Gone, for good, once the code has ended. */
export type CodeSecret =
  | { readonly kind: 'code'; readonly raw: Secret<Uint8Array> }
  | { readonly kind: 'password'; readonly username: string; readonly secret: Secret<string> };

export type CodeState =
  /** `sentTo`: a peer that was sent the keys and never acknowledged them; it may have them all the same. */
  | { readonly kind: 'open'; readonly sentTo: string | undefined }
  /** This peer has begun to use it; nobody else may. */
  | { readonly kind: 'bound'; readonly peer: string }
  | { readonly kind: 'used'; readonly at: bigint; readonly peer: string }
  | { readonly kind: 'revoked'; readonly at: bigint }
  | { readonly kind: 'expired'; readonly at: bigint };

export interface StoredCode {
  /** Access ID. */
  readonly id: string;
  readonly level: AccessLevel;
  readonly multiUse: boolean;
  /** Nanoseconds since 1970. */
  readonly created: bigint;
  /** Seconds from `created`; undefined: for ever. */
  readonly lifetime: number | undefined;
  /** How many peers have acknowledged their keys. */
  readonly uses: number;
  readonly secret: CodeSecret | undefined;
  readonly state: CodeState;
}

/** For good. A code whose time is over but that was not looked at since is not ended yet. */
export function hasEnded({ state }: StoredCode): boolean {
  return state.kind === 'used' || state.kind === 'revoked' || state.kind === 'expired';
}

/** Nanoseconds since 1970; undefined: never. */
export function expiry({ created, lifetime }: StoredCode): bigint | undefined {
  return lifetime === undefined ? undefined : created + BigInt(lifetime) * 1_000_000_000n;
}

/** Longest lifetime, seconds: a hundred years. */
export const MAX_LIFETIME = 3_155_760_000;

const flat = object({
  id: field('id', hex(32)),
  level: field('access_level', choice('read_write', 'read_only')),
  multiUse: field('multi_use', flag),
  created: field('created', timestamp),
  lifetime: field('lifetime_s', nullable(integer({ min: 1, max: MAX_LIFETIME }))),
  uses: field('uses', integer({ min: 0, max: Number.MAX_SAFE_INTEGER })),
  raw: optionalField('code', hex(16)),
  username: optionalField('username', text({ max: 256 })),
  secret: optionalField('secret', text({ max: 1_024 })),
  state: field('state', choice('open', 'bound', 'used', 'revoked', 'expired')),
  peer: optionalField('peer', hex(16)),
  at: optionalField('at', timestamp),
});
type Flat = ReturnType<typeof flat.decode>;

export const storedCode: Schema<StoredCode> = {
  decode(json, path) {
    const { id, level, multiUse, lifetime, uses, ...rest } = flat.decode(json, path);
    return {
      id,
      level,
      multiUse,
      created: parseTimestamp(rest.created),
      lifetime: lifetime ?? undefined,
      uses,
      secret: secretOf(rest),
      state: stateOf(rest),
    };
  },
  encode({ id, level, multiUse, created, lifetime, uses, secret, state }) {
    return flat.encode({
      id,
      level,
      multiUse,
      created: formatTimestamp(created),
      lifetime: lifetime ?? null,
      uses,
      ...(secret?.kind === 'code' ? { raw: toHex(secret.raw.reveal()) } : {}),
      ...(secret?.kind === 'password' ? { username: secret.username, secret: secret.secret.reveal() } : {}),
      state: state.kind,
      peer: state.kind === 'open' ? state.sentTo : 'peer' in state ? state.peer : undefined,
      at: 'at' in state ? formatTimestamp(state.at) : undefined,
    });
  },
};

function secretOf({
  raw,
  username,
  secret,
}: Pick<Flat, 'raw' | 'username' | 'secret'>): CodeSecret | undefined {
  if (raw !== undefined) return { kind: 'code', raw: new Secret(fromHex(raw)) };
  if (username !== undefined && secret !== undefined) {
    return { kind: 'password', username, secret: new Secret(secret) };
  }
  return undefined;
}

function stateOf({ state, peer, at, created }: Pick<Flat, 'state' | 'peer' | 'at' | 'created'>): CodeState {
  const when = parseTimestamp(at ?? created);
  switch (state) {
    case 'bound':
      return peer === undefined ? { kind: 'open', sentTo: undefined } : { kind: 'bound', peer };
    case 'used':
      return { kind: 'used', at: when, peer: peer ?? '' };
    case 'revoked':
    case 'expired':
      return { kind: state, at: when };
    case 'open':
      return { kind: 'open', sentTo: peer };
  }
}
