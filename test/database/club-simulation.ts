/** Members of a club in one process: real databases and replication, sessions whose every message waits to be delivered. */

import { createHash } from 'node:crypto';
import { fromUtf8 } from '../../agent/base/bytes.ts';
import { type Clock, countable } from '../../agent/base/clock.ts';
import { isJsonObject, parseJson, stringifyJson } from '../../agent/base/json.ts';
import { Logger, silentLogger } from '../../agent/base/log.ts';
import type { AccessLevel, AttachedExtension, Session } from '../../agent/club/session.ts';
import type { ClubSigner } from '../../agent/club/signer.ts';
import {
  type ConflictPolicy,
  openClubDatabase,
  type ReplicatedDatabase,
} from '../../agent/database/database.ts';
import { openReplication, type Replication } from '../../agent/database/replication.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { encodeBody } from '../../agent/wire/frame.ts';
import type { IncomingMessage, OutgoingMessage } from '../../agent/wire/message-stream.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';

export const CLUB = 'club';

/** Values are objects with a unique `v`, as files have a SHA-256. */
export function mark(value: unknown): string | undefined {
  const found = (value as { v?: unknown } | null)?.v;
  return typeof found === 'string' ? found : undefined;
}

export const policy: ConflictPolicy = {
  isConflictWorthy: (loser, winner) =>
    mark(loser.value) !== undefined && (winner.deleted || mark(winner.value) !== mark(loser.value)),
  conflictKey: (key, characters) => `${key}.CONFLICT.${characters}`,
};

/** As cheap as a signature can be; only members of the simulation know the secret. */
export function cheapSigner(canSign: boolean): ClubSigner {
  const sign = (body: Uint8Array) => createHash('sha256').update('secret').update(body).digest('base64');
  return {
    canSign,
    sign: (body) =>
      canSign ? Promise.resolve(sign(body)) : Promise.reject(new Error('a read-only member signed')),
    verify: (body, signature) => Promise.resolve(sign(body) === signature),
  };
}

export interface MemberOptions {
  readonly id: string;
  readonly writable: boolean;
  /** Nanoseconds by which this member's clock is wrong. */
  readonly skew?: bigint;
  /** Where the records are; default: in memory. */
  readonly path?: string;
  readonly signer?: ClubSigner;
}

/** A device: its records outlive its processes. */
export class Member {
  readonly id: string;
  readonly writable: boolean;
  readonly sqlite: Sqlite;
  readonly restored: bigint[] = [];
  /** Whether it could take a new peer ID when it was told that it needs one. */
  mints = true;
  readonly warnings: string[] = [];
  readonly #clock: Clock;
  readonly #signer: ClubSigner;
  database: ReplicatedDatabase;
  replication: Replication;

  constructor(clock: Clock, { id, writable, skew = 0n, path = ':memory:', signer }: MemberOptions) {
    this.id = id;
    this.writable = writable;
    this.sqlite = openSqlite(path);
    this.#clock = { ...clock, now: () => countable(clock.now() + skew) };
    this.#signer = signer ?? cheapSigner(writable);
    [this.database, this.replication] = this.#open(id);
  }

  #open(self: string): [ReplicatedDatabase, Replication] {
    const shared = { clock: this.#clock, log: silentLogger };
    const database = openClubDatabase({
      ...shared,
      sqlite: this.sqlite,
      club: CLUB,
      self,
      writable: this.writable,
      conflicts: policy,
    });
    const replication = openReplication({
      ...shared,
      database,
      signer: this.#signer,
      onRestored: async ({ revision }) => {
        this.restored.push(revision);
        return this.mints;
      },
    });
    return [database, replication];
  }

  /** All that was only in memory is gone. */
  restart(self = this.id): void {
    this.stop();
    [this.database, this.replication] = this.#open(self);
  }

  stop(): void {
    this.replication.close();
    this.database.close();
  }
}

interface End {
  readonly owner: Member;
  readonly peer: Member;
  readonly attached: AttachedExtension;
  readonly controller: AbortController;
  readonly log: Logger;
}

interface Envelope {
  readonly message: OutgoingMessage;
  readonly resolve: () => void;
}

/** A connection: in each direction, messages that were sent and not yet delivered. */
export class Link {
  readonly members: readonly [Member, Member];
  readonly level: AccessLevel;
  readonly #queues: readonly [Envelope[], Envelope[]] = [[], []];
  readonly #ends: readonly [End, End];
  /** All that each side has sent. */
  readonly sent: readonly [OutgoingMessage[], OutgoingMessage[]] = [[], []];
  /** Why a side closed it, if one did. */
  closedBy: Error | undefined;
  isOpen = true;

  /** @param window messages that may be under way before the sender has to wait. */
  constructor(a: Member, b: Member, window: number, level?: AccessLevel) {
    this.members = [a, b];
    this.level = level ?? (a.writable && b.writable ? 'read_write' : 'read_only');
    this.#ends = [this.#end(0, window), this.#end(1, window)];
  }

  #end(side: 0 | 1, window: number): End {
    const owner = this.members[side];
    const peer = this.members[1 - side] as Member;
    const queue = this.#queues[side];
    const controller = new AbortController();
    const log = new Logger((entry) => {
      if (entry.level === 'warn' || entry.level === 'error') owner.warnings.push(entry.message);
    });
    const session: Session = {
      club: CLUB,
      self: owner.database.self,
      peer: {
        id: peer.database.self,
        name: undefined,
        software: 'test',
        instance: undefined,
        address: 'memory',
      },
      level: this.level,
      extensions: new Set(['database']),
      log,
      signal: controller.signal,
      send: (message) =>
        new Promise((resolve, reject) => {
          if (controller.signal.aborted) {
            reject(new Error('the session has ended'));
            return;
          }
          this.sent[side].push(message);
          const isRoom = queue.length < window;
          queue.push({ message, resolve: isRoom ? () => {} : resolve });
          if (isRoom) resolve();
        }),
      close: (reason) => {
        this.closedBy ??= reason;
        this.close();
      },
    };
    return { owner, peer, attached: owner.replication.attach(session), controller, log };
  }

  /** Messages from `side` that are under way. */
  pending(side: 0 | 1): number {
    return this.#queues[side].length;
  }

  /** The next message from `side` arrives. */
  async deliver(side: 0 | 1): Promise<void> {
    const envelope = this.#queues[side].shift();
    if (envelope === undefined || !this.isOpen) return;
    envelope.resolve();
    const receiver = this.#ends[1 - side] as End;
    try {
      await receiver.attached.receive(incoming(envelope.message));
    } catch (thrown) {
      this.closedBy ??= thrown as Error;
      this.close();
    }
  }

  /** Gives a message to the extension of `side` directly. */
  receive(side: 0 | 1, message: IncomingMessage): Promise<void> {
    return this.#ends[side].attached.receive(message);
  }

  /** Something that a hostile member sends of its own accord. */
  inject(side: 0 | 1, message: OutgoingMessage): void {
    this.#queues[side].push({ message, resolve: () => {} });
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    for (const queue of this.#queues) for (const { resolve } of queue.splice(0)) resolve();
    for (const { attached, controller } of this.#ends) {
      controller.abort();
      attached.detach();
    }
  }
}

export function incoming(message: OutgoingMessage): IncomingMessage {
  const body = 'json' in message ? encodeBody(stringifyJson(message.json)) : message.body;
  const signature = 'json' in message ? undefined : message.signature;
  const json = parseJson(fromUtf8(body));
  if (!isJsonObject(json)) throw new Error('a body that is no object');
  return { type: String(json.type), json, body, signature, payload: undefined };
}

/** A club with a clock that everybody shares, and connections between its members. */
export class Simulation {
  readonly clock: VirtualClock;
  readonly members: Member[] = [];
  readonly links: Link[] = [];
  #passed = 0n;

  constructor(start?: bigint) {
    this.clock = virtualClock(start);
  }

  add(options: MemberOptions): Member {
    const member = new Member({ ...this.clock, now: () => this.clock.now() + this.#passed }, options);
    this.members.push(member);
    return member;
  }

  /** The time of day goes on, and nothing happens. */
  setClocksForward(ms: number): void {
    this.#passed += BigInt(ms) * 1_000_000n;
  }

  connect(a: Member, b: Member, window = 64, level?: AccessLevel): Link {
    const link = new Link(a, b, window, level);
    this.links.push(link);
    return link;
  }

  openLinks(): Link[] {
    return this.links.filter(({ isOpen }) => isOpen);
  }

  linkOf(a: Member, b: Member): Link | undefined {
    return this.openLinks().find(({ members }) => members.includes(a) && members.includes(b));
  }

  disconnect(member: Member): void {
    for (const link of this.openLinks()) if (link.members.includes(member)) link.close();
  }

  restart(member: Member, self?: string): void {
    this.disconnect(member);
    member.restart(self);
  }

  /** Delivers everything that is sent, until nobody sends anything more. @returns whether there was anything. */
  async deliverAll(): Promise<boolean> {
    let delivered = 0;
    for (let before = -1; before !== delivered; ) {
      before = delivered;
      await this.clock.pass(0);
      for (const link of this.openLinks()) {
        for (const side of [0, 1] as const) {
          for (let left = link.pending(side); left > 0; left--, delivered++) await link.deliver(side);
        }
      }
    }
    return delivered > 0;
  }

  /** As `deliverAll`, and until all that waits for quiet is done too. */
  async settle(): Promise<void> {
    do {
      await this.deliverAll();
      await this.clock.pass(2_000);
    } while (await this.deliverAll());
  }

  close(): void {
    for (const link of this.openLinks()) link.close();
    for (const member of this.members) {
      member.stop();
      member.sqlite.close();
    }
  }
}

/** Everything that an application can see of the records, and by whom they are. */
export function recordsOf(member: Member): string[] {
  return [...member.database.iterate({ includeDeleted: true })]
    .map(({ uuid, key, value, deleted, lastUpdatedBy, lastUpdatedRev, updateTime }) =>
      stringifyJson([uuid, key, value, deleted, lastUpdatedBy, lastUpdatedRev, updateTime]),
    )
    .sort();
}
