/**
 * The embedded database: one file, durable at every commit, never started empty over a damaged one. SQLite in WAL mode
 * with `synchronous=FULL`: when a transaction has returned, a power cut can't take it away.
 *
 * Everything is synchronous, so nothing can come between the statements of a transaction. Integers are read as `bigint`,
 * always: a revision of 2^63-1 is as exact as a 1.
 */

import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { EXIT, environmentError, internalError, SkylarkError } from '../base/errors.ts';
import { damaged, guarded, translate } from './sqlite-errors.ts';

/** What may be bound to a parameter. */
export type SqlInput = null | number | bigint | string | Uint8Array;
/** What a column may hold. Integers are `bigint`; `number` is only a REAL. */
export type SqlOutput = null | number | bigint | string | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlOutput>>;

export interface Statement<Row> {
  get(...parameters: readonly SqlInput[]): Row | undefined;
  all(...parameters: readonly SqlInput[]): Row[];
  /**
   * Row by row. May run several times at once, and beside other uses of the statement; rows that are changed meanwhile
   * may or may not be seen. Must be finished or left by `break` before the next `await`.
   */
  iterate(...parameters: readonly SqlInput[]): IterableIterator<Row>;
  /** @returns how many rows were changed. */
  run(...parameters: readonly SqlInput[]): bigint;
}

/** One step of a component's schema: SQL, or what SQL alone can't do. */
export type Migration = string | ((sqlite: Sqlite) => void);

export interface Sqlite {
  exec(sql: string): void;
  /**
   * Prepared once for each text, and kept: the text must be a constant of the program. The type of the rows is what the
   * caller says that the SQL yields.
   */
  prepare<Row = SqlRow>(sql: string): Statement<Row>;
  /**
   * Runs `work` inside one durable transaction. Inside another call it is a savepoint: if it throws, its own changes are
   * undone, and only those. `work` must not be asynchronous.
   * @throws what `work` throws; SkylarkError (environment) if the disk refuses.
   */
  transaction<T>(work: () => T): T;
  readonly inTransaction: boolean;
  /** Writes something that has no meaning. @throws as `transaction`. */
  tryToWrite(): void;
  /**
   * Calls back once the outermost transaction is durable; not at all if it, or the inner one that this was said in, is
   * undone. Outside a transaction: at once; inside such a callback: after all others of the same commit. Callbacks may
   * begin new transactions.
   */
  afterCommit(callback: () => void): void;
  /**
   * Brings the tables of a component to the newest version: the first step makes version 1. Steps once released are
   * never changed, only added to.
   * @throws SkylarkError (environment) `sqlite.newer_schema` if a newer program wrote the file.
   */
  migrate(component: string, steps: readonly Migration[]): void;
  /** Idempotent. Moves everything into the one file. */
  close(): void;
}

export interface SqliteOptions {
  /** A missing file is an error, since what should be in it is known to exist. Default false: it is made. */
  readonly mustExist?: boolean;
  /** Told of every refusal of the disk, whoever else hears of it. Must not use the database. */
  readonly onTrouble?: (error: SkylarkError) => void;
}

/** 'Skyl': says whose file it is. */
const APPLICATION_ID = 0x536b796cn;
/** For another program (a backup, a curious owner) that reads the file at the same time. */
const BUSY_MS = 2_000;

const SETTINGS = `
  PRAGMA synchronous = FULL;
  PRAGMA trusted_schema = OFF;
  PRAGMA cell_size_check = ON;
  PRAGMA temp_store = MEMORY;
  -- 8 MiB of pages. No memory mapping: a card that fails to deliver a page would end the process, not the statement.
  PRAGMA cache_size = -8192;
  PRAGMA mmap_size = 0;
  PRAGMA journal_size_limit = 8388608;
`;

/**
 * Opens the file, makes it if it is missing (mode 0600), and checks all of it if it was not closed properly.
 * @param path `:memory:` for a database that ends with its closing.
 * @throws SkylarkError (environment) `sqlite.damaged`, `sqlite.missing`, `sqlite.foreign`, `sqlite.no_access`, `sqlite.disk_full`, `sqlite.busy`, `sqlite.io`.
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Sqlite {
  const inMemory = path === ':memory:';
  const wasUnclean = inMemory ? false : prepareFile(path, options);
  const database = guarded(path, () => openFile(path));
  const sqlite = new Connection(database, path, options.onTrouble);
  try {
    if (inMemory) sqlite.exec(CREATE);
    else checkFile(sqlite, path, wasUnclean);
  } catch (thrown) {
    sqlite.close();
    throw thrown;
  }
  return sqlite;
}

function openFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path, {
    timeout: BUSY_MS,
    readBigInts: true,
    defensive: true,
    enableForeignKeyConstraints: true,
    enableDoubleQuotedStringLiterals: false,
  });
  try {
    database.exec(SETTINGS);
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

const CREATE = `
  PRAGMA application_id = ${APPLICATION_ID};
  CREATE TABLE skylark_schema(component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

/** @returns whether the file was left behind by a program that did not end properly. */
function prepareFile(path: string, options: SqliteOptions): boolean {
  const log = `${path}-wal`;
  try {
    if (!existsSync(path)) {
      if (options.mustExist || existsSync(log)) {
        throw environmentError('sqlite.missing', `the database ${path} is missing`, {
          remedy: 'put it back from a backup',
          exitCode: EXIT.configuration,
        });
      }
      create(path);
      return false;
    }
    const { size, mode } = statSync(path);
    // It is made under another name and renamed when it is whole, so an empty one was emptied by something else.
    if (size === 0) throw damaged(path, 'it is empty');
    if ((mode & 0o077) !== 0) chmodSync(path, mode & 0o700);
    return existsSync(log) && statSync(log).size > 0;
  } catch (thrown) {
    throw translate(thrown, path);
  }
}

/** Whole or not at all: it gets its name once everything is on the disk. */
function create(path: string): void {
  const fresh = `${path}.new`;
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(fresh + suffix, { force: true });
  closeSync(openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600));
  const database = openFile(fresh);
  try {
    database.exec('PRAGMA journal_mode = WAL');
    database.exec(CREATE);
  } finally {
    database.close();
  }
  flush(fresh, constants.O_RDWR);
  renameSync(fresh, path);
  flush(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
}

function flush(path: string, flags: number): void {
  const descriptor = openSync(path, flags);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function checkFile(sqlite: Sqlite, path: string, wasUnclean: boolean): void {
  const { id } = sqlite
    .prepare<{ id: bigint }>('SELECT application_id AS id FROM pragma_application_id')
    .get()!;
  if (id !== APPLICATION_ID) {
    throw environmentError('sqlite.foreign', `${path} is a database of another program`, {
      remedy: 'move it away or choose another state folder',
      exitCode: EXIT.configuration,
    });
  }
  if (!wasUnclean) return;
  const result = sqlite.prepare<{ quick_check: string }>('PRAGMA quick_check(1)').get()?.quick_check;
  if (result !== 'ok') throw damaged(path, String(result));
}

class Connection implements Sqlite {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, CachedStatement>();
  #depth = 0;
  #afterCommit: (() => void)[] = [];
  /** Being called back, when a transaction has just been committed. */
  #calling: (() => void)[] | undefined;
  /** Why SQLite itself gave the whole transaction up while `work` still runs. */
  #lost: unknown;
  readonly #onTrouble: SqliteOptions['onTrouble'];

  constructor(database: DatabaseSync, path: string, onTrouble: SqliteOptions['onTrouble']) {
    this.#database = database;
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  /** Runs one call into SQLite. */
  readonly call = <T>(operation: () => T): T => {
    // Without this, what follows a lost transaction would be written, each statement by itself.
    if (this.#lost !== undefined) throw this.#lost;
    try {
      return operation();
    } catch (thrown) {
      const error = translate(thrown, this.#path);
      if (this.#depth > 0 && this.#database.isOpen && !this.#database.isTransaction) this.#lost = error;
      if (error instanceof SkylarkError && error.fault === 'environment') this.#onTrouble?.(error);
      throw error;
    }
  };

  exec(sql: string): void {
    this.call(() => this.#database.exec(sql));
  }

  prepare<Row>(sql: string): Statement<Row> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = new CachedStatement(() => this.call(() => this.#database.prepare(sql)), this.call);
      this.#statements.set(sql, statement);
    }
    return statement as Statement<unknown> as Statement<Row>;
  }

  get inTransaction(): boolean {
    return this.#depth > 0;
  }

  transaction<T>(work: () => T): T {
    const depth = this.#depth;
    const callbacks = this.#afterCommit.length;
    // Prepared, like everything that is done once for each record.
    this.prepare(depth === 0 ? 'BEGIN IMMEDIATE' : `SAVEPOINT level${depth}`).run();
    this.#depth += 1;
    try {
      const result = work();
      if (result instanceof Promise) {
        throw internalError('sqlite.asynchronous_work', 'the work of a transaction was asynchronous');
      }
      this.prepare(depth === 0 ? 'COMMIT' : `RELEASE level${depth}`).run();
      this.#depth = depth;
      if (depth === 0) this.#committed();
      return result;
    } catch (thrown) {
      if (this.#depth === depth) throw thrown;
      this.#depth = depth;
      this.#afterCommit.length = callbacks;
      this.#undo(depth);
      throw thrown;
    }
  }

  #undo(depth: number): void {
    if (this.#database.isOpen && this.#database.isTransaction) {
      this.#database.exec(depth === 0 ? 'ROLLBACK' : `ROLLBACK TO level${depth}; RELEASE level${depth}`);
    }
    if (depth === 0) this.#lost = undefined;
  }

  #committed(): void {
    const outer = this.#calling;
    const callbacks = this.#afterCommit;
    this.#afterCommit = [];
    this.#calling = callbacks;
    try {
      // Callbacks may add to the list while it is walked.
      for (const callback of callbacks) callback();
    } finally {
      this.#calling = outer;
    }
  }

  tryToWrite(): void {
    this.transaction(() => this.exec('UPDATE skylark_schema SET version = version'));
  }

  afterCommit(callback: () => void): void {
    if (this.#depth > 0) this.#afterCommit.push(callback);
    else if (this.#calling !== undefined) this.#calling.push(callback);
    else callback();
  }

  migrate(component: string, steps: readonly Migration[]): void {
    this.transaction(() => {
      const row = this.prepare<{ version: bigint }>(
        'SELECT version FROM skylark_schema WHERE component = ?',
      ).get(component);
      const from = Number(row?.version ?? 0n);
      if (from > steps.length) {
        throw environmentError('sqlite.newer_schema', `${this.#path} was written by a newer Skylark`, {
          remedy: 'install that version again or a newer one',
          exitCode: EXIT.configuration,
        });
      }
      if (from === steps.length) return;
      for (const step of steps.slice(from)) {
        if (typeof step === 'string') this.exec(step);
        else step(this);
      }
      this.prepare('INSERT OR REPLACE INTO skylark_schema(component, version) VALUES(?, ?)').run(
        component,
        steps.length,
      );
    });
  }

  close(): void {
    if (!this.#database.isOpen) return;
    this.#statements.clear();
    this.#database.close();
  }
}

type Call = <T>(operation: () => T) => T;

class CachedStatement implements Statement<unknown> {
  readonly #prepare: () => StatementSync;
  readonly #call: Call;
  readonly #whole: StatementSync;
  /** An iteration needs a statement of its own: any other use would start it again. */
  readonly #spare: StatementSync[] = [];

  constructor(prepare: () => StatementSync, call: Call) {
    this.#prepare = prepare;
    this.#call = call;
    this.#whole = prepare();
  }

  get(...parameters: readonly SqlInput[]): unknown {
    return this.#call(() => this.#whole.get(...parameters));
  }

  all(...parameters: readonly SqlInput[]): unknown[] {
    return this.#call(() => this.#whole.all(...parameters));
  }

  run(...parameters: readonly SqlInput[]): bigint {
    return BigInt(this.#call(() => this.#whole.run(...parameters)).changes);
  }

  *iterate(...parameters: readonly SqlInput[]): IterableIterator<unknown> {
    const statement = this.#spare.pop() ?? this.#prepare();
    const rows = this.#call(() => statement.iterate(...parameters));
    try {
      for (;;) {
        const next = this.#call(() => rows.next());
        if (next.done) return;
        yield next.value;
      }
    } finally {
      rows.return?.();
      this.#spare.push(statement);
    }
  }
}
