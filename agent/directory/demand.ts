/**
 * Contents that somebody asks for now, beside what the fetcher brings by itself: to look at a file that is not here, or to
 * replace one that the disk has damaged. One member after the other is asked for the whole, some pieces ahead; what came
 * is good only if its SHA-256 is right.
 */

import type { Clock, Timer } from '../base/clock.ts';
import { asError, peerError, SkylarkError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { encode, type MessageOf } from '../wire/message.ts';
import type { OutgoingMessage, Payload } from '../wire/message-stream.ts';
import { type Allowance, freeFlows, type Inflow } from './manners/flow.ts';
import * as messages from './messages.ts';

/** A session, as far as it matters here. */
export interface DemandPeer {
  /** Peer ID. */
  readonly id: string;
  readonly log: Logger;
  send(message: OutgoingMessage): Promise<void>;
}

/** The answers of one session that may be ours: the fetcher asks over the same one. */
export interface DemandSession {
  /** False: nothing of this was asked here. Resolves when the next message may be received. */
  data(message: MessageOf<typeof messages.data>, payload: Payload | undefined): Promise<boolean>;
  /** The peer has not, or can't give, these contents. False: they were not asked for here. */
  refused(sha256: string): boolean;
  /** The peer wants to be asked for at most so many bytes at a time; undefined: it does not mind. */
  limitRange(bytes: number | undefined): void;
  detach(): void;
}

/** Where contents are collected. */
export interface Collector {
  /** SHA-256 of what was written. */
  readonly sha256: string;
  readonly size: bigint;
  /** What is asked for; by default all of it. */
  readonly ranges?: readonly (readonly [bigint, bigint])[];
  /** Told when another member is asked. */
  begin?(): void;
  /** @throws SkylarkError (environment) `files.*`: nothing more is asked then. */
  write(bytes: Uint8Array, position: bigint): Promise<void>;
  /** Whether what was written is what was asked for. */
  verify(): Promise<boolean>;
  /** Told of each piece. */
  heard?(bytes: number): void;
}

/** `nobody`: no member is connected. `absent`: none of those that are has it. `held`: no contents may come now. */
export type Collected = 'collected' | 'nobody' | 'absent' | 'held';

/** Bytes that are asked for at a time, at most and at least. */
const RANGE = 1_048_576;
const LEAST_RANGE = 16_384;
/** Ranges that one peer is asked for ahead. */
const AHEAD = 4;
/** A peer that sends nothing of it for so long is given up, milliseconds. */
const SILENCE_MS = 20_000;

type Answer = 'whole' | 'no';

/** One range that one peer was asked for. */
interface Asked {
  readonly sha256: string;
  readonly offset: bigint;
  readonly length: bigint;
  /** Undefined once nobody waits for the answer any more, which still comes. */
  answer: ((payload: Payload | undefined) => Promise<void>) | undefined;
}

class PeerState {
  readonly peer: DemandPeer;
  /** In the order in which they were asked. */
  readonly asked = new Set<Asked>();
  /** Bytes that it gives at a time. */
  most = RANGE;
  readonly ended = new AbortController();
  /** How often it was given up without an answer, one time after the other. */
  silences = 0;

  constructor(peer: DemandPeer) {
    this.peer = peer;
  }
}

export class Demand {
  readonly #clock: Clock;
  readonly #received: (bytes: number) => void;
  readonly #download: Inflow;
  readonly #allowance: Allowance;
  readonly #peers = new Set<PeerState>();
  readonly #waiting = new Set<() => void>();

  /**
   * @param received told of bytes of contents that came
   * @param download how much may be asked for
   */
  constructor(clock: Clock, received: (bytes: number) => void, download: Inflow = freeFlows(clock).download) {
    this.#clock = clock;
    this.#received = received;
    this.#download = download;
    const wake = () => {
      for (const go of this.#waiting) go();
    };
    this.#allowance = download.open({
      underWay: () => this.#underWay,
      onRoom: wake,
      onRegulated: wake,
    });
  }

  /** Why nothing can be collected now, for people. */
  get holdReason(): string | undefined {
    return this.#download.holdReason;
  }

  attach(peer: DemandPeer): DemandSession {
    const state = new PeerState(peer);
    this.#peers.add(state);
    return {
      data: async ({ sha256, range }, payload) => {
        const asked = find(state, sha256, range);
        if (asked === undefined) return false;
        state.asked.delete(asked);
        await asked.answer?.(payload);
        return true;
      },
      refused: (sha256) => {
        const asked = find(state, sha256, undefined);
        if (asked === undefined) return false;
        state.asked.delete(asked);
        void asked.answer?.(undefined);
        return true;
      },
      limitRange: (bytes = RANGE) => {
        state.most = Math.max(LEAST_RANGE, Math.min(RANGE, bytes));
      },
      detach: () => {
        this.#peers.delete(state);
        state.ended.abort();
      },
    };
  }

  /**
   * Asks the members that are connected now, one after the other, until one has given the right contents.
   * @throws SkylarkError (environment) what the collector throws; the signal's reason.
   */
  async collect(collector: Collector, signal: AbortSignal): Promise<Collected> {
    const peers = [...this.#peers].sort((a, b) => a.silences - b.silences);
    if (peers.length === 0) return 'nobody';
    for (const state of peers) {
      if (this.#download.isHeld) break;
      collector.begin?.();
      if (!(await this.#from(state, collector, signal))) continue;
      if (await collector.verify()) return 'collected';
      state.peer.log.warn('a peer delivered wrong contents', { sha256: collector.sha256 });
    }
    return this.#download.isHeld ? 'held' : 'absent';
  }

  /** No session will come any more. */
  close(): void {
    this.#allowance.close();
  }

  get #underWay(): number {
    let sum = 0;
    for (const { asked } of this.#peers) for (const { length } of asked) sum += Number(length);
    return sum;
  }

  /** Waits until one more range may be asked for; false if that is not to be waited for. */
  async #turn(over: AbortSignal): Promise<boolean> {
    while (!over.aborted && !this.#download.isHeld) {
      if (this.#allowance.mayAsk()) return true;
      const { promise, resolve } = Promise.withResolvers<void>();
      const go = () => resolve();
      this.#waiting.add(go);
      over.addEventListener('abort', go, { once: true });
      await promise;
      over.removeEventListener('abort', go);
      this.#waiting.delete(go);
    }
    return false;
  }

  /** Everything from one peer; false if it does not give all of it. */
  async #from(state: PeerState, collector: Collector, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const enough = new AbortController();
    const over = AbortSignal.any([signal, state.ended.signal, enough.signal]);
    let silence: Timer | undefined;
    let failure: unknown;
    const listen = () => {
      silence?.cancel();
      silence = this.#clock.after(SILENCE_MS, () => {
        state.silences += 1;
        enough.abort();
      });
    };
    const heard = (bytes: number) => {
      state.silences = 0;
      listen();
      this.#received(bytes);
      collector.heard?.(bytes);
    };
    const most = () => BigInt(Math.min(state.most, Math.max(LEAST_RANGE, this.#allowance.piece)));
    const ranges = (collector.ranges ?? rangesIn(collector.size, most))[Symbol.iterator]();
    let next = ranges.next();
    let underWay = 0;
    let isWhole = true;
    const work = async (): Promise<void> => {
      while (!next.done && isWhole && !over.aborted) {
        if (!(await this.#turn(over))) isWhole = false;
        if (!isWhole || next.done) break;
        const [offset, length] = next.value;
        next = ranges.next();
        // While we wait for leave to ask, the peer is not to blame for its silence.
        if (underWay === 0) listen();
        underWay += 1;
        const answer = await this.#range(state, collector, offset, length, over, heard).catch(
          (thrown: unknown) => {
            failure ??= thrown;
            enough.abort();
            return 'no' as const;
          },
        );
        if (answer === 'no') isWhole = false;
        underWay -= 1;
        if (underWay === 0) silence?.cancel();
      }
    };
    try {
      await Promise.all(Array.from({ length: AHEAD }, work));
    } finally {
      silence?.cancel();
    }
    signal.throwIfAborted();
    // Its session ends by that; another member may do better.
    if (isPeerFault(failure)) return false;
    if (failure !== undefined) throw asError(failure);
    return isWhole && !over.aborted;
  }

  /** @throws what the collector throws. */
  #range(
    { peer, asked: all }: PeerState,
    collector: Collector,
    offset: bigint,
    length: bigint,
    over: AbortSignal,
    heard: (bytes: number) => void,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const onOver = () => {
        asked.answer = undefined;
        resolve('no');
      };
      const asked: Asked = {
        sha256: collector.sha256,
        offset,
        length,
        answer: async (payload) => {
          over.removeEventListener('abort', onOver);
          if (payload === undefined) return resolve('no');
          try {
            const whole = await take(payload, collector, offset, length, heard);
            resolve(whole ? 'whole' : 'no');
          } catch (thrown) {
            reject(asError(thrown));
            // A peer that breaks the rules loses its session; a disk that is full is not its fault.
            if (isPeerFault(thrown)) throw thrown;
          }
        },
      };
      if (over.aborted) return resolve('no');
      over.addEventListener('abort', onOver, { once: true });
      all.add(asked);
      const json = encode(messages.get, { sha256: asked.sha256, range: [offset, length] });
      peer.send({ json }).catch((reason: unknown) => {
        // The session ends by itself then.
        peer.log.debug('a request could not be sent', { reason: asError(reason) });
        onOver();
      });
    });
  }
}

function* rangesIn(size: bigint, most: () => bigint): Generator<readonly [bigint, bigint]> {
  for (let offset = 0n; offset < size; ) {
    const [left, limit] = [size - offset, most()];
    const length = left < limit ? left : limit;
    yield [offset, length];
    offset += length;
  }
}

function isPeerFault(thrown: unknown): boolean {
  return thrown instanceof SkylarkError && thrown.fault === 'peer';
}

/** The oldest that fits; without a range, of these contents at all. */
function find(
  state: PeerState,
  sha256: string,
  range: readonly [bigint, bigint] | undefined,
): Asked | undefined {
  for (const asked of state.asked) {
    if (asked.sha256 !== sha256) continue;
    if (range === undefined || (asked.offset === range[0] && asked.length === range[1])) return asked;
  }
  return undefined;
}

/** False if the payload is shorter than it should be. */
async function take(
  payload: Payload,
  collector: Collector,
  offset: bigint,
  length: bigint,
  heard: (bytes: number) => void,
): Promise<boolean> {
  let taken = 0n;
  for (let piece = await payload.read(); piece !== null; piece = await payload.read()) {
    if (BigInt(piece.length) > length - taken)
      throw peerError('directory.too_much_data', 'a peer sent more of a file than it was asked for');
    await collector.write(piece, offset + taken);
    taken += BigInt(piece.length);
    heard(piece.length);
  }
  return taken === length;
}
