/** What fetching needs of a session, and what the session gives to it. */

import { asError, peerError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { MessageOf } from '../wire/message.ts';
import type { OutgoingMessage, Payload } from '../wire/message-stream.ts';
import type * as messages from './messages.ts';
import { Presence } from './presence.ts';

/** A session, as far as fetching needs it. */
export interface SourcePeer {
  /** Its peer ID. */
  readonly id: string;
  readonly log: Logger;
  send(message: OutgoingMessage): Promise<void>;
}

/** The messages of one session that are about what we fetch. */
export interface FetchSource {
  /** Resolves when the next message may be received. @throws SkylarkError (peer) if too much is sent. */
  data(message: MessageOf<typeof messages.data>, payload: Payload | undefined): Promise<void>;
  notPresent(message: MessageOf<typeof messages.notPresent>): void;
  getError(message: MessageOf<typeof messages.getError>): void;
  bloomFilter(message: MessageOf<typeof messages.bloomFilter>, payload: Payload | undefined): Promise<void>;
  present(message: MessageOf<typeof messages.present>): void;
  /** Whether the peer has delivered or announced these contents. */
  has(sha256: string): boolean;
  detach(): void;
}

/** A peer that answers so much that nobody asked is not worth its connection. */
const MAX_UNASKED = 1_000;

/** What the fetcher remembers of a session. */
export class Source {
  readonly number: number;
  readonly peer: SourcePeer;
  readonly presence = new Presence();
  #unasked = 0;
  #hasLied = false;

  constructor(number: number, peer: SourcePeer) {
    this.number = number;
    this.peer = peer;
  }

  /** A session whose sending fails ends, and its end detaches the source. */
  send(message: OutgoingMessage): void {
    this.peer.send(message).catch((reason: unknown) => {
      this.peer.log.debug('a request could not be sent', { reason: asError(reason) });
    });
  }

  /** @throws SkylarkError (peer) `directory.unasked` if it goes on like this. */
  answeredUnasked(): void {
    this.#unasked += 1;
    if (this.#unasked === 1) this.peer.log.warn('a peer answers what nobody asked');
    if (this.#unasked > MAX_UNASKED)
      throw peerError('directory.unasked', 'a peer keeps answering what nobody asked');
  }

  lied(sha256: string): void {
    if (!this.#hasLied) this.peer.log.warn('a peer delivered wrong contents', { sha256 });
    this.#hasLied = true;
  }
}
