/**
 * What a protocol extension (database, directory) sees of a connection to a peer. Runs in a browser.
 * The connection itself is made by handshake.ts and kept by open-session.ts.
 */

import type { SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { IncomingMessage, OutgoingMessage } from '../wire/message-stream.ts';

/** What the holder of a key may do (database.md, "Access Levels"). */
export type AccessLevel = 'read_write' | 'read_only';

/** Who is on the other side, by its own account. Never a reason to allow anything. */
export interface PeerIdentity {
  /** Peer ID within the club: 32 hexadecimal digits. */
  readonly id: string;
  readonly name: string | undefined;
  readonly software: string;
  /** Random for each process; Skylark peers only. */
  readonly instance: string | undefined;
  /** Where the connection leads, for people: `192.168.1.7:49221`. */
  readonly address: string;
}

/** An open connection to a member of a club: authenticated, introduced, and in possession of the keys. */
export interface Session {
  /** Our own name for the club; never sent. */
  readonly club: string;
  /** Our peer ID in this club. */
  readonly self: string;
  readonly peer: PeerIdentity;
  /** That of the key or the code that the connection was opened with. */
  readonly level: AccessLevel;
  /** Names of the extensions that both sides have. */
  readonly extensions: ReadonlySet<string>;
  readonly log: Logger;
  /** Aborted when the session ends, whatever the reason. */
  readonly signal: AbortSignal;
  /** Sends in the order of the calls; waits while the peer is slow. Rejects once the session has ended. */
  send(message: OutgoingMessage): Promise<void>;
  /** Ends the session: orderly without a reason, at once with one. */
  close(reason: SkylarkError | undefined): void;
}

/** A protocol spoken inside sessions, named as in `core.greeting`. */
export interface Extension {
  readonly name: string;
  /** Most payload bytes for each of its message types that carries any. */
  readonly payloadLimits: Readonly<Record<string, bigint>>;
  /** Called once for each session in which both sides have the extension, before any of its messages is received. */
  attach(session: Session): AttachedExtension;
}

export interface AttachedExtension {
  /**
   * Every message whose type begins with the extension's name and a dot; one at a time, in order. The next one is read
   * from the network when the promise resolves: awaiting is the back-pressure. A rejection ends the session.
   */
  receive(message: IncomingMessage): Promise<void>;
  /** Called once, when the session has ended. */
  detach(): void;
}
