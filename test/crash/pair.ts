/** Two real agents with one share, and what must be true of them after a crash. */

import { existsSync, readFileSync } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { inspect } from 'node:util';
import { connectControl } from '../../agent/control/client.ts';
import { type Answers, COMMANDS } from '../../agent/control/messages.ts';
import { joined, TestAgent } from '../support/agents.ts';
import { type Ledger, sha256 } from './ledger.ts';
import type { Scene } from './scene.ts';

export type AgentStatus = Answers['fullStatus'];

const STATE_FOLDER = '.clearskies';
const TEMPORARY = '.!clearsky';
/** Milliseconds. For a broken program, not a measurement. */
const PATIENCE = 45_000;

/** What a run met, in numbers, and what it found wrong. */
export class Tally {
  readonly counts = new Map<string, number>();
  readonly violations: string[] = [];

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  of(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  violate(what: string): void {
    this.violations.push(what);
  }
}

export interface PairPlaces {
  /** Folders for A: its state and its share. B is always beside, on the ordinary disk. */
  readonly state: string;
  readonly share: string;
}

export class Pair {
  readonly a: TestAgent;
  readonly b: TestAgent;
  readonly left: string;
  readonly right: string;
  readonly tally: Tally;
  /** (author, revision) and what it means, as any database ever said. */
  readonly #revisions = new Map<string, string>();

  constructor(a: TestAgent, b: TestAgent, folders: readonly [string, string], tally: Tally) {
    this.a = a;
    this.b = b;
    [this.left, this.right] = folders;
    this.tally = tally;
  }

  /** Both are in step, with equal folders. @throws after a long time, with what is different. */
  async inStep(): Promise<Map<string, string>> {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const now = await this.look();
      if (typeof now !== 'string') return now;
      if (Date.now() > deadline)
        throw new Error(`not in step within ${PATIENCE / 1000} s: ${now}\n${this.explain()}`);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** What they wait for, and what they said last. */
  explain(): string {
    return [this.a, this.b].map(explain).join('\n');
  }

  /** The files of both, or why they are not in step. */
  async look(): Promise<Map<string, string> | string> {
    try {
      const [a, b] = [await statusOf(this.a), await statusOf(this.b)];
      if (!isQuiet(a) || !isQuiet(b)) return `${shown('a', a)}; ${shown('b', b)}`;
      const [left, right] = [await filesOf(this.left), await filesOf(this.right)];
      const why = difference(left, right);
      if (why !== '') return why;
      const isStill = [await statusOf(this.a), await statusOf(this.b)].every(isQuiet);
      return isStill ? left : 'no longer quiet';
    } catch (thrown) {
      return String(thrown);
    }
  }

  /** Contents of everything that is kept: shown, or in an archive. */
  async kept(): Promise<Set<string>> {
    const all = await Promise.all(
      [this.left, this.right].flatMap((folder) => [
        filesOf(folder),
        filesOf(join(folder, STATE_FOLDER, 'archive')),
      ]),
    );
    return new Set(all.flatMap((files) => [...files.values()]));
  }

  /** No file under a final name is anything but what somebody wrote. */
  async noPartialFile(ledger: Ledger, isExcused: (folder: string, path: string) => boolean): Promise<void> {
    for (const folder of [this.left, this.right])
      for (const [path, sum] of await filesOf(folder)) {
        this.tally.count('files checked');
        if (ledger.isWritten(sum)) continue;
        if (isExcused(folder, path)) ledger.admit(sum);
        else this.tally.violate(`partial or foreign contents at ${folder}${path}: ${excerpt(folder + path)}`);
      }
  }

  /** All that must be there is, where it must be. */
  async nothingLost(
    ledger: Ledger,
    settled: ReadonlyMap<string, string>,
    now: ReadonlyMap<string, string>,
  ): Promise<void> {
    const kept = await this.kept();
    for (const sum of ledger.owed) {
      this.tally.count('contents checked');
      if (kept.has(sum)) continue;
      this.tally.violate(`contents ${sum} are nowhere`);
      ledger.giveUp(sum);
    }
    for (const [path, expected] of ledger.expectations(settled)) {
      const there = now.get(path) ?? 'absent';
      if (there !== expected) this.tally.violate(`${path} holds ${there}, not ${expected}`);
    }
  }

  /** No revision came to mean something else, and nobody knows a revision of another that it has not given out. */
  checkRevisions(): void {
    // The agents work on meanwhile: what one has read of the other is looked at before what the other is at.
    const [aBefore, bBefore] = [this.a, this.b].map(revisionsOf);
    const [a, b] = [this.a, this.b].map(revisionsOf);
    if (a === undefined || b === undefined) return;
    for (const { versions } of [a, b])
      for (const [revision, meaning] of versions) {
        this.tally.count('revisions checked');
        const known = this.#revisions.get(revision);
        if (known !== undefined && known !== meaning)
          this.tally.violate(`revision ${revision} was used twice: ${known}, ${meaning}`);
        this.#revisions.set(revision, meaning);
      }
    for (const [one, other, name] of [
      [a, bBefore, 'a'],
      [b, aBefore, 'b'],
    ] as const) {
      const read = other?.since.get(one.self);
      if (read !== undefined && read > one.revision)
        this.tally.violate(`${name} is at revision ${one.revision}, the other has read up to ${read}`);
    }
  }
}

/** A's state and share where they are wished, and B on the ordinary disk; joined, and ended with the scene. */
export async function openPair(scene: Scene, name: string, tally: Tally, places: PairPlaces): Promise<Pair> {
  const base = join(scene.root, name);
  const a = new TestAgent(places.share, { name: 'a', state: places.state });
  const b = new TestAgent(join(base, 'b'), { name: 'b' });
  for (const agent of [a, b]) scene.defer(() => agent.end('SIGKILL'));
  await a.start();
  await b.start();
  // A knows where B is, and B does not move: whoever comes back from a crash finds the other at once.
  const [right, left] = await joined(b, a);
  return new Pair(a, b, [left, right], tally);
}

export async function statusOf(agent: TestAgent): Promise<AgentStatus> {
  const client = await connectControl(join(agent.state, 'control'));
  try {
    return await client.request(COMMANDS.fullStatus, {});
  } finally {
    await client.close();
  }
}

const PENDING = ['directory_pending', 'directory_refusal', 'directory_intent', 'directory_partial'].map(
  (table) => `SELECT * FROM ${table}`,
);
const RECORDS = `
  SELECT key, hex(uuid) AS uuid, hex(peer) AS author, revision, deleted, value, hex(clock) AS clock
  FROM database_record JOIN database_peer ON database_peer.id = author`;
const NUMBERS = `
  SELECT (SELECT max(revision) FROM database_club) AS own, hex(peer) AS author, revision AS since
  FROM database_since JOIN database_peer ON database_peer.id = author`;
const INDEX = `
  SELECT parent, name, hex(sha256) AS shown, hex(uuid) AS uuid, clock, mark, found, CAST(mtime AS TEXT) AS mtime, CAST(ctime AS TEXT) AS ctime, CAST(ino AS TEXT) AS ino, size
  FROM directory_file WHERE directory = 0`;

/** What the agent waits for, by its database. */
function explain(agent: TestAgent): string {
  const path = join(agent.state, 'records.db');
  if (!existsSync(path)) return `${agent.name}: no database`;
  const database = new DatabaseSync(path, { readOnly: true, readBigInts: true, timeout: 5_000 });
  try {
    return [...PENDING, NUMBERS, RECORDS, INDEX]
      .map((query) => {
        const rows = database.prepare(query).all();
        return [
          `${agent.name}: ${query.trim()}`,
          ...rows.map((row) => inspect(row, { breakLength: Infinity })),
        ].join('\n');
      })
      .concat(agent.log.split('\n').slice(-12))
      .join('\n');
  } catch (thrown) {
    return `${agent.name}: ${String(thrown)}`;
  } finally {
    database.close();
  }
}

function isQuiet(status: AgentStatus): boolean {
  return (
    status.shares.length > 0 &&
    status.shares.every(({ synced }) => synced) &&
    status.peers.some(({ connected }) => connected) &&
    status.problems.length === 0
  );
}

function shown(name: string, { shares, peers, problems }: AgentStatus): string {
  const share = shares[0];
  const isConnected = peers.some(({ connected }) => connected);
  return `${name}: synced ${share?.synced}, pending ${share?.pendingFiles}, connected ${isConnected}, problems ${JSON.stringify(problems)}`;
}

/** Path to SHA-256 of every file that is shown. */
export async function filesOf(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const visit = async (path: string): Promise<void> => {
    for (const name of await readdir(folder + path)) {
      if (name === STATE_FOLDER || name.endsWith(TEMPORARY)) continue;
      const child = `${path}/${name}`;
      if ((await lstat(folder + child)).isDirectory()) await visit(child);
      else files.set(child, sha256(await readFile(folder + child)));
    }
  };
  if (existsSync(folder)) await visit('');
  return files;
}

function difference(left: ReadonlyMap<string, string>, right: ReadonlyMap<string, string>): string {
  const paths = [...new Set([...left.keys(), ...right.keys()])];
  const different = paths.filter((path) => left.get(path) !== right.get(path));
  return different.map((path) => `${path}: ${left.get(path)} here, ${right.get(path)} there`).join('; ');
}

function excerpt(path: string): string {
  const bytes = readFileSync(path);
  return `${bytes.length} bytes, ${JSON.stringify(bytes.subarray(0, 40).toString('latin1'))}`;
}

interface Revisions {
  readonly self: string;
  readonly revision: bigint;
  readonly versions: ReadonlyMap<string, string>;
  /** Of each author, the last revision that this device was told. */
  readonly since: ReadonlyMap<string, bigint>;
}

/** By which this device goes in the club. */
function ownPeer(agent: TestAgent): string {
  const state = JSON.parse(readFileSync(join(agent.state, 'state.json'), 'utf8')) as {
    content: { clubs: readonly { peer: string }[] };
  };
  return (state.content.clubs[0]?.peer ?? '').toUpperCase();
}

/** As this agent's database has them; undefined while it has none. */
function revisionsOf(agent: TestAgent): Revisions | undefined {
  const path = join(agent.state, 'records.db');
  if (!existsSync(path)) return undefined;
  const database = new DatabaseSync(path, { readOnly: true, readBigInts: true, timeout: 5_000 });
  try {
    const club = database.prepare('SELECT revision FROM database_club').get();
    const versions = database
      .prepare(
        `SELECT hex(peer) || '/' || CAST(revision AS TEXT) AS version,
           hex(uuid) || ' ' || deleted || ' ' || key || ' ' || value AS meaning
         FROM database_record JOIN database_peer ON database_peer.id = author`,
      )
      .all();
    const since = database
      .prepare(
        `SELECT hex(peer) AS author, max(revision) AS revision FROM database_since
         JOIN database_peer ON database_peer.id = author GROUP BY author`,
      )
      .all();
    return {
      self: ownPeer(agent),
      revision: BigInt(String(club?.revision ?? 0)),
      versions: new Map(versions.map(({ version, meaning }) => [String(version), String(meaning)])),
      since: new Map(since.map(({ author, revision }) => [String(author), BigInt(String(revision))])),
    };
  } finally {
    database.close();
  }
}
