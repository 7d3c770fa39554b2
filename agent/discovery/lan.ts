/**
 * Finding each other in the local network by broadcast (core.md, "LAN Broadcast"): one datagram for each ID, to each
 * interface's directed broadcast address (255.255.255.255 would leave by one interface only, and by none without a default
 * route). Announced at the start, for each new club or code, when the network changed, and every minute; the first
 * announcements are repeated, since nobody acknowledges a broadcast. Whoever hears a new peer answers soon, so that two
 * agents know of each other within a second or two, whoever came first.
 *
 * Anybody in the network can send anything here. A datagram costs us a few microseconds unless it names one of our IDs; then
 * it is decoded, within a budget for each sending host and one for all. It makes us answer at most once a second for each
 * ID; and the candidates that it makes are the dialler's to bound.
 */

import { type Clock, sleep, type Timer } from '../base/clock.ts';
import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { asError, internalError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type InterfaceAddress, isOnLink } from '../platform/interfaces.ts';
import { openUdp, type UdpOptions, type UdpSocket } from '../platform/udp.ts';
import { BROADCAST_PORT, type Broadcast, decodeBroadcast, encodeBroadcast, mentions } from './broadcast.ts';
import type { Announcement, Candidate, DiscoverySource, SoughtId } from './source.ts';
import { BucketTable, TokenBucket } from './token-bucket.ts';

export interface LanOptions {
  /** UDP port, the same for all agents of a network. Default 60106. */
  readonly port?: number;
  readonly onCandidate: (candidate: Candidate) => void;
  /** The machine's addresses as of now. */
  readonly interfaces: () => readonly InterfaceAddress[];
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 to below 1. */
  readonly random?: () => number;
  /** The network; given by tests only. */
  readonly openSocket?: (options: UdpOptions) => Promise<UdpSocket>;
}

const PERIOD_MS = 60_000;
/** After something new the announcements are repeated this much later, each after the other. */
const REPEATS_MS = [1_000, 4_000];
/** Datagrams in a row before a pause, so that many clubs don't overrun a small device's receive buffer. */
const BATCH = 16;
const BATCH_PAUSE_MS = 20;

/** An answer comes this much later at random, so that a whole network does not answer in the same moment. */
const ANSWER_DELAY_MS = 150;
const ANSWER_PERIOD_MS = 1_000;
/** A peer not heard for this long is new again. */
const FORGOTTEN_MS = 10 * PERIOD_MS;
const MAX_HEARD = 4_096;

/** Datagrams that name an ID of ours. A member with a hundred clubs in common sends 200 at once. */
const PER_HOST = { burst: 512, perSecond: 32 };
const OVERALL = { burst: 2_048, perSecond: 512 };
const MAX_HOSTS = 1_024;

/** @throws SkylarkError (environment) if the port can't be had. */
export async function openLan(options: LanOptions): Promise<DiscoverySource> {
  const lan = new LanSource(options);
  await lan.open();
  return lan;
}

class LanSource implements DiscoverySource {
  readonly name = 'lan';
  readonly #options: LanOptions;
  readonly #port: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #closed = new AbortController();
  #socket: UdpSocket | undefined;
  #listen: Endpoint | undefined;
  #ids: ReadonlyMap<string, SoughtId> = new Map();
  /** IDs to announce as soon as possible. */
  readonly #due = new Set<string>();
  #sending: Promise<void> | undefined;
  #next: Timer | undefined;
  /** Peers heard, as `heardKey`, and when; the longest unheard first. */
  readonly #heard = new Map<string, number>();
  readonly #answers = new Map<string, Timer>();
  readonly #announcedAt = new Map<string, number>();
  readonly #perHost = new BucketTable(PER_HOST, MAX_HOSTS);
  readonly #overall: TokenBucket;

  constructor(options: LanOptions) {
    this.#options = options;
    this.#port = options.port ?? BROADCAST_PORT;
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#overall = new TokenBucket(OVERALL, options.clock.monotonic());
  }

  async open(): Promise<void> {
    const { openSocket = openUdp, log } = this.#options;
    this.#socket = await openSocket({
      host: '0.0.0.0',
      port: this.#port,
      shared: true,
      broadcast: true,
      onDatagram: (bytes, from) => this.#onDatagram(bytes, from),
      onError: (error) => log.warn('the broadcast socket failed', { error }),
    });
  }

  announce({ listen, ids }: Announcement): void {
    const before = this.#ids;
    const moved = listen?.host !== this.#listen?.host || listen?.port !== this.#listen?.port;
    this.#listen = listen;
    this.#ids = new Map(ids.map((each) => [each.id, each]));
    for (const id of this.#announcedAt.keys()) if (!this.#ids.has(id)) this.#announcedAt.delete(id);
    const isNew = ({ id, peer }: SoughtId) => moved || before.get(id)?.peer !== peer;
    const news = ids.filter(isNew);
    if (news.length === 0) return;
    this.#enqueue(news.map(({ id }) => id));
    this.#schedule(0);
  }

  refresh(): void {
    // What was heard was heard in another network.
    this.#heard.clear();
    this.#enqueue(this.#ids.keys());
    this.#schedule(0);
  }

  async close(): Promise<void> {
    this.#closed.abort(internalError('lan.closed', 'the LAN discovery was closed'));
    this.#next?.cancel();
    for (const timer of this.#answers.values()) timer.cancel();
    this.#answers.clear();
    this.#due.clear();
    await this.#sending;
    await this.#socket?.close();
  }

  /** Announces everything again after the `step`th wait. */
  #schedule(step: number): void {
    if (this.#closed.signal.aborted) return;
    this.#next?.cancel();
    const wait = REPEATS_MS[step] ?? PERIOD_MS;
    this.#next = this.#clock.after(wait * (0.9 + 0.2 * this.#random()), () => {
      this.#enqueue(this.#ids.keys());
      this.#schedule(step + 1);
    });
  }

  #enqueue(ids: Iterable<string>): void {
    if (this.#closed.signal.aborted) return;
    for (const id of ids) this.#due.add(id);
    if (this.#due.size === 0) return;
    this.#sending ??= this.#sendDue().finally(() => {
      this.#sending = undefined;
      // Something may have come between the last look and now.
      if (this.#due.size > 0) this.#enqueue([]);
    });
  }

  async #sendDue(): Promise<void> {
    let sent = 0;
    for (const id of this.#due) {
      this.#due.delete(id);
      for (const host of this.#targets()) {
        const sought = this.#ids.get(id);
        if (sought === undefined || this.#listen === undefined) break;
        await this.#send(sought, this.#listen.port, host);
        sent += 1;
        if (sent % BATCH === 0) await sleep(this.#clock, BATCH_PAUSE_MS, this.#closed.signal).catch(() => {});
      }
      if (this.#closed.signal.aborted) return;
    }
  }

  /** The broadcast addresses of the interfaces on which we can be reached, each once. */
  #targets(): Set<string> {
    const host = this.#listen?.host;
    const everywhere = host === '::' || host === '0.0.0.0';
    const targets = new Set<string>();
    for (const { address, broadcast } of this.#options.interfaces())
      if (broadcast !== undefined && (everywhere || address === host)) targets.add(broadcast);
    return targets;
  }

  async #send({ id, peer, establish }: SoughtId, port: number, host: string): Promise<void> {
    this.#announcedAt.set(id, this.#clock.monotonic());
    const bytes = encodeBroadcast({ id, peer, port, versions: establish });
    try {
      await this.#socket?.send(bytes, { host, port: this.#port });
    } catch (thrown) {
      // An interface may go down between our look and now; the change is noticed and announced by itself.
      this.#options.log.debug('a broadcast was not sent', { to: host, error: asError(thrown) });
    }
  }

  #onDatagram(bytes: Uint8Array, from: Endpoint): void {
    if (!mentions(bytes, this.#ids)) return;
    const interfaces = this.#options.interfaces();
    // A broadcast does not cross a router: any other sender is forged, to make us dial strangers.
    if (!isOnLink(from.host, interfaces)) return;
    const now = this.#clock.monotonic();
    if (!this.#perHost.take(from.host, now) || !this.#overall.take(now)) return;
    let broadcast: Broadcast;
    try {
      broadcast = decodeBroadcast(bytes);
    } catch (thrown) {
      if (!(thrown instanceof SkylarkError)) throw thrown;
      this.#options.log.debug('a broadcast was malformed', { from: from.host, error: thrown });
      return;
    }
    const sought = this.#ids.get(broadcast.id);
    if (sought === undefined) return;
    const isMe = broadcast.peer === sought.peer;
    if (isMe && this.#isOurs(from.host, broadcast.port, interfaces)) return;
    this.#hear(broadcast, from.host, now);
    this.#options.onCandidate({
      id: broadcast.id,
      address: { host: from.host, port: broadcast.port },
      // Our peer ID on another machine is a copied card: both ends must meet to find that out.
      peer: isMe ? undefined : broadcast.peer,
      versions: broadcast.versions,
      source: 'lan',
      seenAt: now,
    });
  }

  #isOurs(host: string, port: number, interfaces: readonly InterfaceAddress[]): boolean {
    return port === this.#listen?.port && interfaces.some(({ address }) => address === host);
  }

  /** Answers whoever was not heard before, so that it need not wait for our next minute. */
  #hear({ id, peer, port }: Broadcast, host: string, now: number): void {
    const key = `${id} ${peer} ${formatEndpoint({ host, port })}`;
    const before = this.#heard.get(key);
    this.#heard.delete(key);
    this.#heard.set(key, now);
    for (const oldest of this.#heard.keys()) {
      if (this.#heard.size <= MAX_HEARD) break;
      this.#heard.delete(oldest);
    }
    if ((before !== undefined && now - before < FORGOTTEN_MS) || this.#answers.has(id)) return;
    const rest = (this.#announcedAt.get(id) ?? -Infinity) + ANSWER_PERIOD_MS - now;
    const wait = Math.max(ANSWER_DELAY_MS * this.#random(), rest);
    this.#answers.set(
      id,
      this.#clock.after(wait, () => {
        this.#answers.delete(id);
        this.#enqueue([id]);
      }),
    );
  }
}
