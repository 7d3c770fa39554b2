/** All sources and the dialler, joined: what the daemon opens. */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type InterfaceAddress, type InterfaceWatch, watchInterfaces } from '../platform/interfaces.ts';
import type { UdpOptions, UdpSocket } from '../platform/udp.ts';
import { type Attempt, type Dial, Dialler } from './dialler.ts';
import { openLan } from './lan.ts';
import { type ManualAddress, ManualSource } from './manual.ts';
import { type RememberedPeer, RememberedSource } from './remembered.ts';
import type { Announcement, Candidate, DiscoverySource } from './source.ts';

export interface DiscoveryOptions {
  readonly dial: Dial;
  /** Members met before and where; asked at each announcement. */
  readonly recall: () => Iterable<RememberedPeer>;
  /** The broadcast and its UDP port; undefined: switched off. */
  readonly lan: { readonly port?: number } | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
  /** The operating system; given by tests only. */
  readonly network?: {
    readonly interfaces: () => readonly InterfaceAddress[];
    readonly openSocket: (options: UdpOptions) => Promise<UdpSocket>;
  };
}

/** Another program may hold the broadcast port for a while. */
const REOPEN_MS = 30_000;

/** Starts without a network, too: what is not there now is tried again. */
export function openDiscovery(options: DiscoveryOptions): Discovery {
  return new Discovery(options);
}

export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #dialler: Dialler;
  readonly #manual: ManualSource;
  readonly #sources: DiscoverySource[];
  readonly #watch: InterfaceWatch;
  #announcement: Announcement = { listen: undefined, ids: [] };
  #opening: Promise<void> | undefined;
  #reopen: Timer | undefined;
  #problem: SkylarkError | undefined;
  /** While there is one, the network works; if it ends, it may no longer. */
  #sessions = 0;
  #closed = false;

  constructor(options: DiscoveryOptions) {
    const { clock, log, dial, recall, network, random } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    const onCandidate = (candidate: Candidate) => this.#dialler.offer(candidate);
    this.#dialler = new Dialler({
      dial,
      clock,
      log,
      ...(random === undefined ? {} : { random }),
    });
    this.#manual = new ManualSource({ onCandidate, clock });
    this.#sources = [this.#manual, new RememberedSource({ recall, onCandidate, clock })];
    this.#watch = watchInterfaces({
      clock,
      onChange: () => this.#networkChanged(),
      isUrgent: () => this.#sessions === 0,
      ...(network === undefined ? {} : { list: network.interfaces }),
    });
    if (options.lan !== undefined) this.#openLan(options.lan);
  }

  /** What keeps a source from working, for `status`. */
  get problem(): SkylarkError | undefined {
    return this.#problem;
  }

  /**
   * Where we listen and what we seek from now on, complete. To be told again after every change: a club joined or left, a code
   * made, used, revoked or expired.
   */
  announce(announcement: Announcement): void {
    this.#announcement = announcement;
    // First, so that no source's candidate comes before its ID is known.
    this.#dialler.seek(announcement.ids);
    for (const source of this.#sources) source.announce(announcement);
  }

  /** Addresses given by people, complete. */
  setAddresses(addresses: readonly ManualAddress[]): void {
    this.#manual.setAddresses(addresses);
  }

  /** To be told for each session with a member, whoever dialled, as soon as it stands. */
  sessionOpened(club: string, peer: string): void {
    this.#sessions += 1;
    this.#dialler.sessionOpened(club, peer);
  }

  sessionEnded(club: string, peer: string): void {
    this.#sessions -= 1;
    if (!this.#closed) this.#watch.hurry();
    this.#dialler.sessionEnded(club, peer);
  }

  /** What kept us from our peers is over: they are tried again soon, however often it was in vain. */
  retry(): void {
    this.#dialler.networkChanged();
  }

  /** The places known, and what came of trying them. */
  attempts(): Attempt[] {
    return this.#dialler.attempts();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watch.close();
    this.#reopen?.cancel();
    await this.#dialler.close();
    await this.#opening;
    for (const source of this.#sources) await source.close();
  }

  #openLan(lan: { readonly port?: number }): void {
    const { clock, log, network, random } = this.#options;
    const opening = openLan({
      clock,
      log: log.child('lan'),
      interfaces: () => this.#watch.addresses,
      onCandidate: (candidate) => this.#dialler.offer(candidate),
      ...lan,
      ...(random === undefined ? {} : { random }),
      ...(network === undefined ? {} : { openSocket: network.openSocket }),
    });
    this.#opening = opening.then(
      async (source) => {
        this.#problem = undefined;
        this.#sources.push(source);
        source.announce(this.#announcement);
      },
      (thrown: unknown) => {
        const first = this.#problem === undefined;
        if (thrown instanceof SkylarkError) this.#problem = thrown;
        if (first)
          this.#log.warn('members in the local network can not be found', { error: asError(thrown) });
        if (!this.#closed) this.#reopen = this.#clock.after(REOPEN_MS, () => this.#openLan(lan));
      },
    );
  }

  #networkChanged(): void {
    const addresses = this.#watch.addresses.filter(({ internal }) => !internal);
    this.#log.info('the network changed', {
      addresses: addresses.map(({ name, address }) => `${name} ${address}`),
    });
    for (const source of this.#sources) source.refresh();
    this.#dialler.networkChanged();
  }
}
