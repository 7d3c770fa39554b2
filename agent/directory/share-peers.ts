/** The sessions of a share, and what goes over them. */

import type { Clock } from '../base/clock.ts';
import { RateMeter } from '../club/meter.ts';
import type { AttachedExtension, Session } from '../club/session.ts';
import type { ShareRoot } from '../platform/files.ts';
import { attachDirectory, type DirectoryPeer } from './directory-session.ts';
import type { ShareParts } from './share-parts.ts';

export class SharePeers {
  readonly #peers = new Set<DirectoryPeer>();
  readonly #received: RateMeter;
  readonly #sent: RateMeter;

  constructor(clock: Clock) {
    this.#received = new RateMeter(clock);
    this.#sent = new RateMeter(clock);
  }

  get count(): number {
    return this.#peers.size;
  }

  /** Bytes of contents per second, lately. */
  get rates(): { readonly receiving: number; readonly sending: number } {
    return { receiving: Math.round(this.#received.rate), sending: Math.round(this.#sent.rate) };
  }

  /** Bytes of contents since the opening. */
  get traffic(): { readonly received: number; readonly sent: number } {
    return { received: this.#received.total, sent: this.#sent.total };
  }

  attach(session: Session, root: ShareRoot, parts: ShareParts): AttachedExtension {
    const peer = attachDirectory({
      session,
      root,
      fetcher: parts.fetcher,
      demand: parts.custody.demand,
      holdings: parts.holdings,
      held: () => parts.holdings.filter(),
      sent: (bytes) => this.#sent.add(bytes),
      upload: parts.flows.upload,
      onDetach: () => this.#peers.delete(peer),
    });
    this.#peers.add(peer);
    return peer;
  }

  received(bytes: number): void {
    this.#received.add(bytes);
  }

  /** These contents are here now. */
  announce(sha256: string): void {
    for (const peer of this.#peers) peer.announce(sha256);
  }

  renewPresence(): void {
    for (const peer of this.#peers) peer.renewPresence();
  }

  detachAll(): void {
    for (const peer of this.#peers) peer.detach();
  }
}
