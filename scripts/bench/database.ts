/**
 * How fast records go in and out, what they take on the disk and in memory, and whether one change costs more when there
 * are more of them. Two databases in files, real decoding and encoding, no network.
 *
 *   node scripts/bench/database.ts [--json] [COUNT...]      default: 1000 10000 100000
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromUtf8, toHex, utf8 } from '../../agent/base/bytes.ts';
import { systemClock } from '../../agent/base/clock.ts';
import { isJsonObject, type Json, parseJson, stringifyJson } from '../../agent/base/json.ts';
import { silentLogger } from '../../agent/base/log.ts';
import type { Session } from '../../agent/club/session.ts';
import { sha256 } from '../../agent/crypto/hash.ts';
import { openClubDatabase, type ReplicatedDatabase } from '../../agent/database/database.ts';
import { openReplication, type Replication } from '../../agent/database/replication.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';
import { encodeBody } from '../../agent/wire/frame.ts';
import type { IncomingMessage, OutgoingMessage } from '../../agent/wire/message-stream.ts';

interface Rate {
  readonly perSecond: number;
  /** CPU time for one record, which other programs on the machine disturb less. */
  readonly cpuMicroseconds: number;
}

interface Result {
  readonly records: number;
  /** Local changes in transactions of 500. */
  readonly local: Rate;
  /** Read from the database and encoded. */
  readonly out: Rate;
  /** Decoded and committed. */
  readonly in: Rate;
  /** Everything again, nothing of it new. */
  readonly known: Rate;
  /** Of the file, when everything is in it. */
  readonly bytesPerRecord: number;
  /** Written to the disk to take a record in, log and file. */
  readonly writtenPerRecord: number;
  /** One change, from the call to its durable commit on the other side, median and 95th percentile. */
  readonly changeMs: number;
  readonly change95Ms: number;
  /** CPU time of both sides for one change. */
  readonly changeCpuMs: number;
  /** Opening the database again and asking for what is new. */
  readonly openMs: number;
  /** Heap and buffers in use with both databases open. */
  readonly heldMb: number;
  readonly peakRssMb: number;
}

const CHANGES = 200;

class Peer {
  readonly path: string;
  readonly id: string;
  readonly sqlite: Sqlite;
  readonly database: ReplicatedDatabase;
  readonly replication: Replication;

  constructor(folder: string, id: string) {
    this.path = join(folder, `${id.slice(0, 4)}.db`);
    this.id = id;
    this.sqlite = openSqlite(this.path);
    this.database = openClubDatabase({
      sqlite: this.sqlite,
      club: 'club',
      self: id,
      writable: true,
      conflicts: { isConflictWorthy: () => true, conflictKey: (key, mark) => `${key}.${mark}` },
      clock: systemClock,
      log: silentLogger,
    });
    this.replication = openReplication({
      database: this.database,
      signer: {
        canSign: true,
        sign: () => Promise.reject(new Error('nothing is signed here')),
        verify: () => Promise.resolve(true),
      },
      clock: systemClock,
      log: silentLogger,
    });
  }

  close(): void {
    this.replication.close();
    this.database.close();
    this.sqlite.close();
  }
}

function session(self: Peer, peer: string, send: (message: OutgoingMessage) => Promise<void>): Session {
  return {
    club: 'club',
    self: self.id,
    peer: { id: peer, name: undefined, software: 'bench', instance: undefined, address: 'memory' },
    level: 'read_write',
    extensions: new Set(['database']),
    log: silentLogger,
    signal: new AbortController().signal,
    send,
    close: (reason) => {
      throw reason ?? new Error('closed');
    },
  };
}

function incoming(message: OutgoingMessage): IncomingMessage {
  const body = 'json' in message ? encodeBody(stringifyJson(message.json)) : message.body;
  const json = parseJson(fromUtf8(body));
  if (!isJsonObject(json)) throw new Error('not an object');
  return { type: String(json.type), json, body, signature: undefined, payload: undefined };
}

function contentsOf(i: number): Json {
  const hash = toHex(sha256(utf8(`contents ${i}`)));
  const minute = String(i % 60).padStart(2, '0');
  return {
    size: 40_000 + i,
    sha256: hash,
    mtime: `2026-03-04T12:${minute}:07.113243778Z`,
    unix_mode: '0644',
  };
}

/** In the order in which a folder is read: one directory after the other. */
function keyOf(i: number): string {
  const month = String((Math.floor(i / 200) % 12) + 1).padStart(2, '0');
  return `/Recordings/${1990 + Math.floor(i / 2_400)}/${month}/Nocturne ${String(i).padStart(6, '0')}.mid`;
}

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);
const everything = encodeRequest();

function encodeRequest(): IncomingMessage {
  return incoming({ body: utf8('{"type":"database.get_updates","since":{}}') });
}

async function measure(records: number): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-bench-'));
  try {
    const a = new Peer(folder, A);
    const b = new Peer(folder, B);
    const local = await rate(records, () => {
      for (let i = 0; i < records; i += 500) {
        a.database.transaction(() => {
          for (let j = i; j < Math.min(records, i + 500); j++) a.database.put(keyOf(j), contentsOf(j));
        });
      }
    });

    const bodies: OutgoingMessage[] = [];
    const out = await rate(records, async () => {
      const done = Promise.withResolvers<void>();
      const attached = a.replication.attach(
        session(a, B, (message) => {
          if ('body' in message) bodies.push(message);
          if (bodies.length === records) done.resolve();
          return Promise.resolve();
        }),
      );
      await attached.receive(everything);
      await done.promise;
      attached.detach();
    });

    const writtenBefore = bytesWritten();
    const taken = await rate(records, () => feed(b, bodies));
    b.sqlite.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const writtenPerRecord = (bytesWritten() - writtenBefore) / records;
    const known = await rate(records, () => feed(b, bodies));
    bodies.length = 0;
    const bytesPerRecord = statSync(b.path).size / records;

    const { times, cpuMs } = await changes(a, b, records);
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    a.close();
    b.close();
    const started = performance.now();
    const again = new Peer(folder, A);
    await new Promise<void>((resolve) => {
      again.replication.attach(
        session(again, B, () => {
          resolve();
          return Promise.resolve();
        }),
      );
    });
    const openMs = performance.now() - started;
    again.close();
    return {
      records,
      local,
      out,
      in: taken,
      known,
      bytesPerRecord,
      writtenPerRecord,
      changeMs: times[times.length >> 1]!,
      change95Ms: times[Math.floor(times.length * 0.95)]!,
      changeCpuMs: cpuMs / CHANGES,
      openMs,
      heldMb: (heapUsed + external) / 2 ** 20,
      peakRssMb: process.resourceUsage().maxRSS / 1024,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** By this process, to disks; 0 where the system does not say. */
function bytesWritten(): number {
  try {
    const [, bytes] = /^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8')) ?? [];
    return Number(bytes ?? 0);
  } catch {
    return 0;
  }
}

async function feed(peer: Peer, bodies: readonly OutgoingMessage[]): Promise<void> {
  const attached = peer.replication.attach(session(peer, A, () => Promise.resolve()));
  const target = peer.replication.counters.received + bodies.length;
  for (const body of bodies) await attached.receive(incoming(body));
  while (peer.replication.counters.received < target) await new Promise((resolve) => setTimeout(resolve, 0));
  attached.detach();
}

/** Both sides connected, one change at a time, each waited for. */
async function changes(a: Peer, b: Peer, records: number): Promise<{ times: number[]; cpuMs: number }> {
  const toA = session(b, A, async (message) => {
    await Promise.resolve();
    await atA.receive(incoming(message));
  });
  const toB = session(a, B, async (message) => {
    await Promise.resolve();
    await atB.receive(incoming(message));
  });
  // Only what follows counts: neither side is asked for what was before.
  const atB = b.replication.attach(toA);
  const atA = a.replication.attach(toB);
  let stored = () => {};
  const stop = b.database.onCommit(() => stored());
  const times: number[] = [];
  await new Promise((resolve) => setTimeout(resolve, 200));
  const cpu = process.cpuUsage();
  for (let i = 0; i < CHANGES; i++) {
    const arrived = new Promise<void>((resolve) => {
      stored = resolve;
    });
    const started = performance.now();
    a.database.put(keyOf((i * 7919) % records), { ...(contentsOf(i) as object), changed: i });
    await arrived;
    times.push(performance.now() - started);
  }
  const { user, system } = process.cpuUsage(cpu);
  stop();
  return { times: times.sort((x, y) => x - y), cpuMs: (user + system) / 1000 };
}

async function rate(count: number, work: () => Promise<void> | void): Promise<Rate> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: count / seconds, cpuMicroseconds: (user + system) / count };
}

/** Each size in a process of its own, so that its memory can be told. */
function inChild(records: number): Result {
  const program = fileURLToPath(import.meta.url);
  const output = execFileSync(process.execPath, ['--expose-gc', program, '--measure', String(records)], {
    encoding: 'utf8',
  });
  return JSON.parse(output) as Result;
}

function show({ perSecond, cpuMicroseconds }: Rate): string {
  return `${perSecond.toFixed(0)}/s, ${cpuMicroseconds.toFixed(0)} us CPU`;
}

function print(results: readonly Result[]): void {
  const rows: [string, (result: Result) => string][] = [
    ['records', ({ records }) => String(records)],
    ['local changes', ({ local }) => show(local)],
    ['out', ({ out }) => show(out)],
    ['in', (result) => show(result.in)],
    ['in, known already', ({ known }) => show(known)],
    ['bytes a record', ({ bytesPerRecord }) => bytesPerRecord.toFixed(0)],
    ['written for a record', ({ writtenPerRecord }) => writtenPerRecord.toFixed(0)],
    [
      'one change, ms',
      ({ changeMs, change95Ms }) => `${changeMs.toFixed(2)} (95 %: ${change95Ms.toFixed(2)})`,
    ],
    ['one change, CPU ms', ({ changeCpuMs }) => changeCpuMs.toFixed(2)],
    ['open, ms', ({ openMs }) => openMs.toFixed(1)],
    ['memory in use, MB', ({ heldMb }) => heldMb.toFixed(1)],
    ['peak memory, MB', ({ peakRssMb }) => peakRssMb.toFixed(0)],
  ];
  for (const [name, text] of rows) {
    console.log(name.padEnd(22) + results.map((result) => text(result).padStart(26)).join(''));
  }
}

const args = process.argv.slice(2);
if (args[0] === '--measure') {
  // The program's own timers don't keep a process alive.
  const alive = setInterval(() => {}, 1_000);
  console.log(JSON.stringify(await measure(Number(args[1]))));
  clearInterval(alive);
} else {
  const counts = args.filter((arg) => /^\d+$/.test(arg)).map(Number);
  const results = (counts.length === 0 ? [1_000, 10_000, 100_000] : counts).map(inChild);
  if (args.includes('--json')) console.log(JSON.stringify(results, null, 2));
  else print(results);
}
