/** What fetching needs of a session, and what the session gives to it. */

import type { Logger } from '../base/log.ts';
import type { MessageOf } from '../wire/message.ts';
import type { OutgoingMessage, Payload } from '../wire/message-stream.ts';
import type * as messages from './messages.ts';

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
  detach(): void;
}
