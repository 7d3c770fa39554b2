/** Members of a club in one process: real folders, databases and sessions, joined by streams in memory. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../agent/base/clock.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { type ClubKeys, generateClubKeys, keysFor, readClubKeys } from '../../agent/club/keys.ts';
import { MeteredStream } from '../../agent/club/meter.ts';
import { openSession, payloadLimits, type RunningSession } from '../../agent/club/open-session.ts';
import type { AccessLevel, Extension } from '../../agent/club/session.ts';
import { clubSigner } from '../../agent/club/signer.ts';
import { rsa } from '../../agent/crypto/rsa.ts';
import type { ReplicatedDatabase } from '../../agent/database/club-database.ts';
import { openClubDatabase } from '../../agent/database/database.ts';
import { type InStep, openInStep } from '../../agent/database/in-step.ts';
import { openReplication, type Replication } from '../../agent/database/replication.ts';
import { conflictKey, isConflictWorthy } from '../../agent/directory/conflict.ts';
import { openHashing } from '../../agent/directory/hashing.ts';
import { openShare, type Share, type ShareEvent, type ShareOptions } from '../../agent/directory/share.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { openMessageStream } from '../../agent/wire/message-stream.ts';
import { type MemoryStreamOptions, memoryStreamPair } from '../support/memory-stream.ts';

export interface MemberOptions {
  readonly level?: AccessLevel;
  readonly isJoining?: boolean;
  readonly share?: Partial<ShareOptions>;
}

/** One device and its folder; may be closed and opened again. */
export class Member {
  readonly name: string;
  readonly self: string;
  readonly level: AccessLevel;
  readonly folder: string;
  readonly log: LogEntry[] = [];
  readonly events: ShareEvent[] = [];
  readonly #state: string;
  readonly #keys: ClubKeys;
  readonly #options: MemberOptions;
  readonly #hashing = openHashing();
  readonly #sessions = new Set<RunningSession>();
  sqlite!: Sqlite;
  database!: ReplicatedDatabase;
  replication!: Replication;
  inStep!: InStep;
  share!: Share;

  constructor(name: string, top: string, keys: ClubKeys, options: MemberOptions) {
    this.name = name;
    this.self = Buffer.from(name.padEnd(16, '.')).toString('hex').slice(0, 32);
    this.level = options.level ?? 'read_write';
    this.#keys = keys;
    this.#options = options;
    this.folder = join(top, name);
    this.#state = join(top, `${name}.db`);
    mkdirSync(this.folder, { recursive: true });
  }

  at(path: string): string {
    return join(this.folder, path);
  }

  get extensions(): Extension[] {
    return [this.replication, this.inStep, this.share.extension];
  }

  async open(): Promise<void> {
    const log = new Logger((entry) => this.log.push(entry)).child(this.name);
    const clock = systemClock;
    const club = 'club';
    this.sqlite = openSqlite(this.#state);
    this.database = openClubDatabase({
      sqlite: this.sqlite,
      club,
      self: this.self,
      writable: this.level === 'read_write',
      conflicts: { conflictKey, isConflictWorthy },
      clock,
      log,
    });
    this.replication = openReplication({
      database: this.database,
      signer: clubSigner(this.#keys),
      clock,
      log,
    });
    this.share = await openShare({
      club,
      path: this.folder,
      database: this.database,
      sqlite: this.sqlite,
      hashing: this.#hashing,
      clock,
      log,
      ...(this.#options.isJoining === undefined ? {} : { isJoining: this.#options.isJoining }),
      ...this.#options.share,
    });
    const { database, replication, share } = this;
    this.inStep = openInStep({ database, replication, holding: () => share.holding, clock, log });
    this.share.on((event) => {
      this.events.push(event);
      this.inStep.disturb();
    });
  }

  entered(session: RunningSession): void {
    this.#sessions.add(session);
    void session.ended.then(() => this.#sessions.delete(session));
  }

  /** @param last done to the database while nothing else is open */
  async close(last: (member: Member) => Promise<void> = async () => {}): Promise<void> {
    for (const { session } of this.#sessions) session.close(undefined);
    await Promise.all([...this.#sessions].map(({ ended }) => ended));
    this.inStep.close();
    await this.share.close();
    this.replication.close();
    this.database.close();
    await last(this);
    this.sqlite.close();
  }

  async end(): Promise<void> {
    await this.close();
    await this.#hashing.close();
  }
}

export interface Connection {
  readonly a: RunningSession;
  readonly b: RunningSession;
  /** Breaks it, as a cable that is pulled. */
  cut(): Promise<void>;
}

export interface Club {
  readonly top: string;
  member(name: string, options?: MemberOptions): Promise<Member>;
}

/** At most one at a time: two RSA key pairs take a while. */
let keys: Promise<ClubKeys> | undefined;

export async function withClub(body: (club: Club) => Promise<void>): Promise<void> {
  keys ??= generateClubKeys(rsa);
  const readWrite = await keys;
  const forReaders = keysFor(readWrite, 'read_only');
  if (forReaders === undefined) throw new Error('no keys for readers');
  const readOnly = await readClubKeys(forReaders, rsa);
  const top = mkdtempSync(join(tmpdir(), 'skylark-club-'));
  const members: Member[] = [];
  try {
    await body({
      top,
      async member(name, options = {}) {
        const member = new Member(name, top, options.level === 'read_only' ? readOnly : readWrite, options);
        members.push(member);
        await member.open();
        return member;
      },
    });
  } finally {
    for (const member of members) await member.end();
    rmSync(top, { recursive: true, force: true });
  }
}

/** A session between two members, as after a handshake. Its level is that of the weaker one. */
export function connect(a: Member, b: Member, options: MemoryStreamOptions = {}): Connection {
  const [left, right] = memoryStreamPair(options);
  const level = a.level === 'read_only' || b.level === 'read_only' ? 'read_only' : 'read_write';
  const one = enter(a, left, b.self, level);
  const other = enter(b, right, a.self, level);
  return {
    a: one,
    b: other,
    async cut() {
      left.abort(new Error('the cable was pulled'));
      await Promise.all([one.ended, other.ended]);
    },
  };
}

/** Our side of a session with whatever is at the other end of the stream. */
export function enter(member: Member, stream: ByteStream, peer: string, level: AccessLevel): RunningSession {
  const { extensions } = member;
  const meter = new MeteredStream(stream, systemClock);
  const session = openSession({
    messages: openMessageStream(meter, { payloadLimit: payloadLimits(() => extensions) }),
    meter,
    introduction: {
      peer: { id: peer, name: undefined, software: 'test', instance: undefined, address: stream.label },
      level,
      extensions: new Set(extensions.map(({ name }) => name)),
    },
    club: 'club',
    self: member.self,
    extensions,
    clock: systemClock,
    log: new Logger((entry) => member.log.push(entry)).child(`${member.name}.session`),
  });
  member.entered(session);
  return session;
}
