/**
 * A ClearSkies channel: bytes between two sides that have proved to each other that they know the same secret. This is
 * the only door; which way of establishing it is taken shows in the first byte.
 */

import { asError, internalError, peerError, type SkylarkError } from '../base/errors.ts';
import type { Secret } from '../base/log.ts';
import type { ByteStream } from '../base/stream.ts';
import { connectTlsSrp } from './tls-srp/client.ts';
import type { TlsPolicy } from './tls-srp/policy.ts';
import { acceptTlsSrp } from './tls-srp/server.ts';

export type { TlsPolicy };

/** Plaintext bytes. `close` says goodbye in a way that the other side can tell from a cut connection. */
export interface SecureChannel extends ByteStream {
  readonly version: 1 | 2;
  /** The ID (64 lower-case hex digits: access ID or key ID) that both sides authenticated with. */
  readonly id: string;
  readonly role: 'client' | 'server';
  /** For people. */
  readonly cipher: string;
}

/**
 * Looks up what proves membership of an ID: lower-case hex text (the password of version 1). Undefined if the ID is
 * unknown, or must not be answered: the handshake then goes on, indistinguishable in bytes and in time, and fails.
 */
export type Authenticator = (
  id: string,
  remote: string,
) => Secret<string> | undefined | Promise<Secret<string> | undefined>;

export interface AcceptOptions {
  readonly authenticate: Authenticator;
  /** 32 random bytes, kept for the life of the installation: salts and fakes are derived from it. */
  readonly fakeVerifierKey: Secret<Uint8Array>;
  /** Bounds the handshake only. When it aborts, all ends at once. */
  readonly signal: AbortSignal;
  readonly tls?: TlsPolicy;
  /**
   * Called once when a handshake fails, except by `signal`: with the ID that was claimed, if it came to that. A guess
   * at a secret that failed has the code `channel.authentication_failed`.
   */
  readonly onFailure?: (id: string | undefined, why: SkylarkError) => void;
}

export interface ConnectOptions {
  /** Access ID or key ID, 64 lower-case hex digits. */
  readonly id: string;
  /** Lower-case hex text of the secret (16 digits) or key (64 digits). */
  readonly secret: Secret<string>;
  /** Bounds the handshake only. When it aborts, all ends at once. */
  readonly signal: AbortSignal;
  readonly tls?: TlsPolicy;
}

/** The first byte of a TLS handshake record. */
const FIRST_BYTE_TLS = 0x16;
/** `C`, of version 2's preamble. */
const FIRST_BYTE_VERSION_2 = 0x43;

/**
 * The side that was called. Takes over the stream: if this rejects, the stream is closed.
 * @throws SkylarkError `channel.authentication_failed` for an unknown ID or a wrong secret, `channel.*` and `tls.*` for
 *   everything else; or the reason of `signal`.
 */
export function acceptChannel(stream: ByteStream, options: AcceptOptions): Promise<SecureChannel> {
  return bounded(stream, options.signal, async () => {
    const first = await stream.read();
    if (first === null)
      return refuse(stream, options, 'channel.closed_early', 'the peer closed the connection at once');
    switch (first[0]) {
      case FIRST_BYTE_TLS:
        return acceptTlsSrp(stream, first, {
          ...options,
          onFailure: (id, why) => {
            if (!options.signal.aborted) options.onFailure?.(id, why);
          },
        });
      case FIRST_BYTE_VERSION_2:
        return refuse(stream, options, 'channel.version_unsupported', 'the peer wants channel version 2');
      default:
        return refuse(stream, options, 'channel.not_clearskies', 'the peer does not speak ClearSkies');
    }
  });
}

/**
 * The side that calls. Takes over the stream: if this rejects, the stream is closed.
 * @throws SkylarkError `channel.authentication_failed` if the other side does not know the ID or has another secret,
 *   `channel.*` and `tls.*` for everything else; or the reason of `signal`.
 */
export function connectChannel(stream: ByteStream, options: ConnectOptions): Promise<SecureChannel> {
  return bounded(stream, options.signal, async () => {
    if (!/^[0-9a-f]{64}$/.test(options.id)) {
      await stream.close();
      throw internalError('channel.id', 'an ID is not 64 lower-case hex digits');
    }
    return connectTlsSrp(stream, options);
  });
}

async function refuse(
  stream: ByteStream,
  options: AcceptOptions,
  code: string,
  message: string,
): Promise<never> {
  const why = peerError(code, message);
  options.onFailure?.(undefined, why);
  await stream.close();
  throw why;
}

/** Runs a handshake that ends, together with the stream, as soon as the signal aborts. */
async function bounded<T>(stream: ByteStream, signal: AbortSignal, handshake: () => Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    const reason = asError(signal.reason);
    stream.abort(reason);
    reject(reason);
  };
  if (signal.aborted) {
    onAbort();
    return aborted;
  }
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([handshake(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
