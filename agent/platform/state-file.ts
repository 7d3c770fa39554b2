/**
 * A small document that must survive anything: keys, identity, settings. Kept in memory, and as two generations on disk:
 *
 *     NAME            the current generation
 *     NAME.previous   the one before it
 *     NAME.new        half written; worthless after a crash
 *     NAME.damaged    set aside when it could not be read, never overwritten by a good one's rotation
 *     NAME.v1         as it was before a migration from version 1
 *
 * Every write goes to a new file that is flushed, then takes the current one's name, then the folder is flushed: after a
 * power cut the disk has the old or the new document, whole. A damaged document is never replaced by an empty one.
 */

import { basename, dirname } from 'node:path';
import { type Adapter, Low } from 'lowdb';
import { fromUtf8, utf8 } from '../base/bytes.ts';
import {
  asError,
  EXIT,
  environmentError,
  errorCode,
  internalError,
  peerError,
  SkylarkError,
} from '../base/errors.ts';
import {
  canonicalJson,
  isJsonObject,
  type Json,
  jsonObject,
  parseJson,
  stringifyJson,
} from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import type { Schema } from '../base/schema.ts';
import { type StateDisk, systemDisk } from './state-disk.ts';

export interface StateFileOptions<T> {
  readonly path: string;
  /** The content. What does not fit it is damage on reading and a bug on writing. */
  readonly schema: Schema<T>;
  /** Version of the content, from 1. A newer file is refused. */
  readonly version: number;
  /** For each older version n: content of version n to content of version n+1. */
  readonly migrations?: ReadonlyMap<number, (content: Json) => Json>;
  /** The content of a device that never had any. */
  readonly initial: () => T;
  /** Finds bit rot inside texts and numbers, which no schema can see: SHA-256 or alike, as text. */
  readonly checksum: (bytes: Uint8Array) => string;
  readonly log: Logger;
  /** The file system; given by tests only. */
  readonly disk?: StateDisk;
}

/** A part of the document, as its owner sees it. */
export interface Section<T> {
  /** What is durable. Not to be changed in place. */
  readonly value: T;
  /**
   * Replaces the value by what `change` makes of it; resolves once that is on disk. Calls that come while a write is
   * under way are written together, in order. Nothing is written if `change` returns what it was given.
   * @throws what `change` threw; SkylarkError (environment) `state.write_failed`, and then nothing has changed.
   */
  update(change: (value: T) => T): Promise<void>;
}

export interface StateFile<T> extends Section<T> {
  section<K extends keyof T>(key: K): Section<T[K]>;
  /** Resolves when all that was asked for is written; later updates are refused. */
  close(): Promise<void>;
}

const FORMAT = 'skylark state';

/**
 * @throws SkylarkError (environment) `state.damaged` (both generations; exit code 78), `state.too_new` (78), `state.unreadable`
 *   (77), `state.write_failed`.
 */
export async function openStateFile<T>(options: StateFileOptions<T>): Promise<StateFile<T>> {
  const generations = new Generations(options);
  const low = new Low<T>(generations, options.initial());
  await low.read();
  // A new identity or a migrated document is used only once it is durable.
  if (generations.mustWrite) await low.write();
  return new OpenStateFile(low, options.schema);
}

interface Job<T> {
  readonly change: (value: T) => T;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

class OpenStateFile<T> implements StateFile<T> {
  readonly #low: Low<T>;
  readonly #schema: Schema<T>;
  #value: T;
  #jobs: Job<T>[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(low: Low<T>, schema: Schema<T>) {
    this.#low = low;
    this.#schema = schema;
    this.#value = low.data;
  }

  get value(): T {
    return this.#value;
  }

  update(change: (value: T) => T): Promise<void> {
    if (this.#closed) {
      return Promise.reject(internalError('state.closed', 'the state file was changed after it was closed'));
    }
    return new Promise((resolve, reject) => {
      this.#jobs.push({ change, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  section<K extends keyof T>(key: K): Section<T[K]> {
    const whole = this;
    return {
      get value() {
        return whole.value[key];
      },
      update: (change) =>
        this.update((value) => {
          const part = change(value[key]);
          return part === value[key] ? value : { ...value, [key]: part };
        }),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    // One turn of the loop later, so that what is asked for together is written together.
    await Promise.resolve();
    while (this.#jobs.length > 0) await this.#write(this.#jobs.splice(0));
    // In the same turn as the last look: a job that comes now must find nobody at work.
    this.#writing = undefined;
  }

  async #write(jobs: readonly Job<T>[]): Promise<void> {
    let next = this.#value;
    const applied: Job<T>[] = [];
    for (const job of jobs) {
      try {
        const changed = job.change(next);
        this.#check(changed);
        next = changed;
        applied.push(job);
      } catch (thrown) {
        job.reject(thrown);
      }
    }
    try {
      if (next !== this.#value) {
        this.#low.data = next;
        await this.#low.write();
        this.#value = next;
      }
      for (const job of applied) job.resolve();
    } catch (thrown) {
      this.#low.data = this.#value;
      for (const job of applied) job.reject(thrown);
    }
  }

  /** What can't be read back must never reach the disk. */
  #check(value: T): void {
    try {
      this.#schema.decode(parseJson(stringifyJson(this.#schema.encode(value))));
    } catch (cause) {
      throw internalError('state.invalid', 'a change would make the state unreadable', { cause });
    }
  }
}

type Found<T> =
  | { readonly kind: 'good'; readonly value: T; readonly version: number; readonly bytes: Uint8Array }
  | { readonly kind: 'missing' }
  | { readonly kind: 'damaged'; readonly why: Error };

class Generations<T> implements Adapter<T> {
  readonly #options: StateFileOptions<T>;
  readonly #disk: StateDisk;
  readonly #folder: string;
  readonly #previous: string;
  readonly #new: string;
  /** What lies under the current name: only a good generation may become the previous one. */
  #current: Found<T>['kind'] = 'missing';
  mustWrite = false;

  constructor(options: StateFileOptions<T>) {
    this.#options = options;
    this.#disk = options.disk ?? systemDisk;
    this.#folder = dirname(options.path);
    this.#previous = `${options.path}.previous`;
    this.#new = `${options.path}.new`;
  }

  async read(): Promise<T | null> {
    const { path, log, version } = this.#options;
    const current = await this.#find(path);
    this.#current = current.kind;
    const found = current.kind === 'good' ? current : await this.#find(this.#previous);
    if (found.kind === 'good') {
      if (found !== current) {
        log.warn('the state file is unusable, its previous generation is used', {
          file: path,
          reason: current.kind === 'damaged' ? current.why : 'it is missing',
        });
      }
      this.mustWrite = found !== current || found.version !== version;
      if (found.version !== version) await this.#keepOld(found);
      return found.value;
    }
    if (current.kind === 'missing' && found.kind === 'missing') {
      this.mustWrite = true;
      return null;
    }
    throw environmentError('state.damaged', `the state file ${path} is damaged and so is its last copy`, {
      remedy: `put a copy back, or move ${basename(path)}* away to begin as a new device`,
      exitCode: EXIT.configuration,
      cause: current.kind === 'damaged' ? current.why : found.kind === 'damaged' ? found.why : undefined,
    });
  }

  async write(value: T): Promise<void> {
    const { path } = this.#options;
    const bytes = this.#serialize(this.#options.schema.encode(value), this.#options.version);
    try {
      await this.#disk.makeFolder(this.#folder);
      await this.#disk.remove(this.#new);
      await this.#disk.create(this.#new, bytes);
      if (this.#current === 'good') await this.#disk.rename(path, this.#previous);
      else if (this.#current === 'damaged') await this.#disk.rename(path, `${path}.damaged`);
      // Until the next step the previous generation is the only one: reading takes it then.
      this.#current = 'missing';
      await this.#disk.rename(this.#new, path);
      this.#current = 'good';
      await this.#disk.flushFolder(this.#folder);
    } catch (cause) {
      throw environmentError('state.write_failed', `the state file ${path} could not be written`, {
        cause,
        remedy: errorCode(cause) === 'ENOSPC' ? 'free some space' : 'check the disk and its permissions',
      });
    }
  }

  async #find(path: string): Promise<Found<T>> {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await this.#disk.read(path);
    } catch (thrown) {
      // A worn card gives EIO for one file and not for its neighbour.
      if (errorCode(thrown) === 'EIO' || isDamage(thrown)) return { kind: 'damaged', why: asError(thrown) };
      throw environmentError('state.unreadable', `the state file ${path} can't be read`, {
        cause: thrown,
        remedy: 'check its permissions',
        exitCode: EXIT.notPermitted,
      });
    }
    if (bytes === undefined) return { kind: 'missing' };
    try {
      const { content, version } = this.#parse(bytes, path);
      const value = this.#options.schema.decode(this.#migrated(content, version));
      return { kind: 'good', value, version, bytes };
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
      return { kind: 'damaged', why: asError(thrown) };
    }
  }

  #parse(bytes: Uint8Array, path: string): { content: Json; version: number } {
    const document = parseJson(fromUtf8(bytes));
    if (!isJsonObject(document) || document.format !== FORMAT) throw damaged('it is not a state file');
    const { version, content, checksum } = document;
    if (typeof version !== 'number' || !Number.isInteger(version) || version < 1 || content === undefined) {
      throw damaged('it has no version or no content');
    }
    if (checksum !== this.#checksum(version, content)) throw damaged('its checksum is wrong');
    if (version > this.#options.version) {
      throw environmentError(
        'state.too_new',
        `the state file ${path} was written by a newer version of this program`,
        { remedy: 'install that version again', exitCode: EXIT.configuration },
      );
    }
    return { content, version };
  }

  #migrated(content: Json, from: number): Json {
    let migrated = content;
    for (let version = from; version < this.#options.version; version++) {
      const step = this.#options.migrations?.get(version);
      if (step === undefined)
        throw internalError('state.no_migration', `no way from version ${version} of the state`);
      migrated = step(migrated);
    }
    return migrated;
  }

  async #keepOld(found: { readonly bytes: Uint8Array; readonly version: number }): Promise<void> {
    const { path, log, version } = this.#options;
    const copy = `${path}.v${found.version}`;
    await this.#disk.remove(copy);
    await this.#disk.create(copy, found.bytes);
    await this.#disk.flushFolder(this.#folder);
    log.info('the state file is brought to a newer version', { from: found.version, to: version, copy });
  }

  #serialize(content: Json, version: number): Uint8Array {
    return utf8(
      `${stringifyJson(
        jsonObject([
          ['format', FORMAT],
          ['version', version],
          ['checksum', this.#checksum(version, content)],
          ['content', content],
        ]),
      )}\n`,
    );
  }

  #checksum(version: number, content: Json): string {
    return this.#options.checksum(utf8(`${version}\n${canonicalJson(content)}`));
  }
}

function damaged(why: string): SkylarkError {
  return peerError('state.malformed', why);
}

/** The decoders call every malformed input the peer's fault; here the peer is the medium. */
function isDamage(thrown: unknown): boolean {
  return thrown instanceof SkylarkError && thrown.fault === 'peer';
}
