/** The extension "directory" in one session: hands each message to whoever deals with it. */

import type { AttachedExtension, Session } from '../club/session.ts';
import type { ShareRoot } from '../platform/files.ts';
import { decode, type MessageOf } from '../wire/message.ts';
import type { IncomingMessage, Payload } from '../wire/message-stream.ts';
import { Announcer } from './announce.ts';
import type { Demand } from './demand.ts';
import type { Fetcher } from './fetch.ts';
import type { HeldFilter } from './held-filter.ts';
import type { Outflow } from './manners/flow.ts';
import * as messages from './messages.ts';
import { ContentServer, type Holdings } from './serve.ts';

export interface DirectorySessionOptions {
  readonly session: Session;
  readonly root: ShareRoot;
  readonly fetcher: Fetcher;
  readonly demand: Demand;
  readonly holdings: Holdings;
  /** What is here, if that is not everything. */
  readonly held: () => Promise<HeldFilter> | undefined;
  readonly sent: (bytes: number) => void;
  /** How much may be sent. */
  readonly upload: Outflow;
  readonly onDetach: () => void;
}

export interface DirectoryPeer extends AttachedExtension {
  /** Contents have arrived here. */
  announce(sha256: string): void;
  /** What is here may be other than was said. */
  renewPresence(): void;
}

/** "Ask for nothing that is not announced." */
const NOTHING: HeldFilter = { bits: Uint8Array.of(0x00), k: 1 };

export function attachDirectory(options: DirectorySessionOptions): DirectoryPeer {
  const { session, root, holdings, sent, upload } = options;
  const { log } = session;
  const send = (message: Parameters<Session['send']>[0]) => session.send(message);
  const server = new ContentServer({ send, root, holdings, log, sent, upload });
  const announcer = new Announcer(send, log, {
    held: () => (upload.isHeld ? Promise.resolve(NOTHING) : options.held()),
    range: () => (Number.isFinite(upload.piece) ? upload.piece : undefined),
  });
  // Peers know by it that asking is of no use, or is again.
  const stopListening = upload.listen(() => announcer.renew());
  const source = options.fetcher.attach({ id: session.peer.id, log, send });
  const demand = options.demand.attach({ id: session.peer.id, log, send });
  let isDetached = false;

  // Two ask over one session, and each request has one answer: which of two for the same bytes gets which makes no difference.
  const data = async (answer: MessageOf<typeof messages.data>, payload: Payload | undefined) => {
    if (!(await demand.data(answer, payload))) await source.data(answer, payload);
  };
  const notPresent = (answer: MessageOf<typeof messages.notPresent>) => {
    if (!demand.refused(answer.sha256)) source.notPresent(answer);
  };
  const getError = (answer: MessageOf<typeof messages.getError>) => {
    if (!demand.refused(answer.sha256)) source.getError(answer);
  };

  const receive = async (message: IncomingMessage): Promise<void> => {
    if (isDetached) return;
    switch (message.type) {
      case messages.get.type:
        return server.get(decode(messages.get, message));
      case messages.data.type:
        return data(decode(messages.data, message), message.payload);
      case messages.notPresent.type:
        return notPresent(decode(messages.notPresent, message));
      case messages.getError.type:
        return getError(decode(messages.getError, message));
      case messages.getPresence.type:
        return announcer.getPresence();
      case messages.bloomFilter.type: {
        const filter = decode(messages.bloomFilter, message);
        demand.limitRange(filter.range);
        return source.bloomFilter(filter, message.payload);
      }
      case messages.present.type:
        return source.present(decode(messages.present, message));
      default:
        // Of a later version of the protocol.
        return undefined;
    }
  };

  return {
    receive,
    announce(sha256) {
      if (!source.has(sha256) && !upload.isHeld) announcer.announce(sha256);
    },
    renewPresence: () => announcer.renew(),
    detach() {
      if (isDetached) return;
      isDetached = true;
      stopListening();
      server.close();
      announcer.close();
      source.detach();
      demand.detach();
      options.onDetach();
    },
  };
}
