/**
 * Changing which part of a share is kept. What leaves it stays on the disk and loses nothing but our claim to it: from
 * then on it counts as something that was found there, so that neither its removal nor a change of it says anything about
 * the record, and so that it is used again, or goes to the archive for a newer version, when it is wanted once more. What
 * enters it is pending. All of this must be done before anything looks at the folder with the new rules.
 */

import { fromUtf8 } from '../base/bytes.ts';
import { asError, errorCode, SkylarkError, userError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ShareRoot } from '../platform/files.ts';
import { decodeEntry } from './entry.ts';
import { IGNORE_LIMITS, parseIgnoreLines, parseIgnoreText } from './ignore.ts';
import type { IndexRow, LocalIndex, VectorClock } from './local-index.ts';
import { KINDS, type PendingStore } from './pending.ts';
import type { Problem } from './problems.ts';
import type { FileRecord } from './projection.ts';
import { encodeRules, IGNORE_FILE, type Selection, type SelectionRules } from './selection.ts';

export interface SelectingOptions {
  readonly selection: Selection;
  readonly index: LocalIndex;
  readonly pending: PendingStore;
  readonly root: ShareRoot;
  /** The live record of a key. */
  readonly recordAt: (key: string) => FileRecord | undefined;
  /** Compares record and index anew. Inside a transaction. */
  readonly settle: (uuid: string) => void;
  /** No record may need these contents any more. */
  readonly onObsolete: (sha256: string) => void;
  /** Nothing is looked at or placed any more when it resolves, until `proceed`. */
  readonly halt: () => Promise<void>;
  readonly proceed: () => void;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** What the folder was last brought in line with: rules and ignore file. */
const APPLIED = 'selection';
const IGNORED = 'ignore_file';
/** UTF-8 has at most three bytes for a UTF-16 code unit. */
const MAX_BYTES = IGNORE_LIMITS.total * 3;
/** Rows in a transaction. */
const PORTION = 256;
const NO_CLOCK: VectorClock = new Map();

export class Selecting {
  readonly #options: SelectingOptions;
  #problem: Problem | undefined;
  /** SHA-256 of the ignore file that was known last. */
  #seen: string | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: SelectingOptions) {
    this.#options = options;
  }

  /** Why the share's ignore file counts for nothing, or still counts as it was. */
  get problems(): readonly Problem[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /**
   * For the opening of the share: sets the rules, without touching what is known of the folder.
   * @returns whether `apply` is due: the folder was last brought in line with other rules.
   * @throws SkylarkError (user) `ignore.*` if these rules are at fault.
   */
  async begin(rules: SelectionRules): Promise<boolean> {
    const ignoreFile = await this.#ignoreFile(rules);
    this.#options.selection.set(rules, ignoreFile);
    return this.#isDue(rules, ignoreFile);
  }

  /**
   * Keeps another part of the share from now on. One change at a time; resolves when everything is known anew.
   * @throws SkylarkError (user) `ignore.*` for patterns that are too many or too long; nothing has changed then.
   */
  select(rules: SelectionRules): Promise<void> {
    return this.#queued(() => rules);
  }

  /** The ignore file may have changed. Never rejects. */
  async reread(): Promise<void> {
    await this.#queued(() => this.#options.selection.rules).catch((thrown: unknown) => {
      if (this.#options.signal.aborted) return;
      this.#options.log.warn('what is kept of the share could not be changed', { error: asError(thrown) });
    });
  }

  /** Something was placed or taken away: the ignore file may be another one. */
  check(): void {
    const sha256 = this.#options.index.byPath(IGNORE_FILE)?.sha256;
    if (sha256 === this.#seen) return;
    this.#seen = sha256;
    void this.reread();
  }

  /** Never rejects. */
  async idle(): Promise<void> {
    await this.#work;
  }

  /**
   * Brings what is known of the folder in line with the selection. Nothing may be looked at or placed meanwhile. If it is
   * interrupted, the next `begin` says that it is due.
   * @throws the signal's reason.
   */
  async apply(): Promise<void> {
    const { index, selection } = this.#options;
    const { ignoreFile, rules } = selection;
    index.setSetting(APPLIED, undefined);
    await this.#leaveRows();
    await this.#settlePending();
    index.transaction(() => {
      index.setSetting(IGNORED, ignoreFile);
      index.setSetting(APPLIED, describe(rules, ignoreFile));
    });
  }

  #queued(rules: () => SelectionRules): Promise<void> {
    const done = this.#work.then(() => this.#change(rules()));
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #change(rules: SelectionRules): Promise<void> {
    const { selection, signal, halt, proceed } = this.#options;
    signal.throwIfAborted();
    const ignoreFile = await this.#ignoreFile(rules);
    if (!this.#isDue(rules, ignoreFile)) return;
    const before = { rules: selection.rules, ignoreFile: selection.ignoreFile };
    await halt();
    try {
      signal.throwIfAborted();
      selection.set(rules, ignoreFile);
      await this.apply();
    } catch (thrown) {
      if (!signal.aborted) await this.#takeBack(before);
      throw thrown;
    } finally {
      proceed();
    }
  }

  /** With the new rules, what is known in the old way would look as if its owner had taken it away. */
  async #takeBack({ rules, ignoreFile }: Pick<Selection, 'rules' | 'ignoreFile'>): Promise<void> {
    this.#options.selection.set(rules, ignoreFile);
    try {
      await this.apply();
    } catch (thrown) {
      // It is due then, whatever is chosen next.
      this.#options.log.warn('what is kept of the share could not be noted', { error: asError(thrown) });
    }
  }

  #isDue(rules: SelectionRules, ignoreFile: string): boolean {
    return this.#options.index.setting(APPLIED) !== describe(rules, ignoreFile);
  }

  /** What the ignore file says; what it said before, if that can't be used. @throws `ignore.*` if the rules are at fault. */
  async #ignoreFile(rules: SelectionRules): Promise<string> {
    parseIgnoreLines(rules.ignore);
    try {
      const text = await this.#read();
      parseIgnoreText(text);
      this.#problem = undefined;
      return text;
    } catch (thrown) {
      this.#options.signal.throwIfAborted();
      this.#note(thrown);
      return this.#options.index.setting(IGNORED) ?? '';
    }
  }

  /**
   * A file that was found in the folder is what the record at its path asks for: it becomes the record's. Without that, a
   * shallow copy would not notice what it has.
   * @returns whether it is so.
   */
  adopt(row: IndexRow): boolean {
    const { index, selection, recordAt, settle } = this.#options;
    if (!selection.rules.isShallow || row.uuid !== undefined || row.sha256 === undefined) return false;
    const record = recordAt(row.path);
    if (record === undefined || sha256In(record) !== row.sha256) return false;
    if (index.byUuid(record.uuid) !== undefined || !selection.isWanted(row.path, row.kind)) return false;
    index.transaction(() => {
      index.put({ ...row, uuid: record.uuid, clock: NO_CLOCK, found: false });
      settle(record.uuid);
    });
    return true;
  }

  /** Empty without a file. @throws SkylarkError if it can't be used. */
  async #read(): Promise<string> {
    const { root } = this.#options;
    const facts = await root.look(IGNORE_FILE);
    if (facts === undefined) return '';
    if (facts.kind !== 'file') throw unusable('is no file');
    const file = await root.openFile(IGNORE_FILE);
    try {
      if (file.facts.size > BigInt(MAX_BYTES)) throw unusable('is too large');
      const bytes = new Uint8Array(Number(file.facts.size));
      const length = await file.read(bytes, 0n);
      return fromUtf8(bytes.subarray(0, length));
    } finally {
      await file.close();
    }
  }

  #note(thrown: unknown): void {
    const code = errorCode(thrown);
    // That the folder is not there is told elsewhere.
    if (code?.startsWith('share.') === true) return;
    const { message } = asError(thrown);
    const remedy = thrown instanceof SkylarkError ? thrown.remedy : undefined;
    this.#options.log.warn('the ignore file of the share is not used', { code, why: message });
    this.#problem = {
      code: 'share.ignore_file',
      message: `${IGNORE_FILE.slice(1)} is not used as it is: ${message}; the patterns before it stay in force`,
      remedy: remedy ?? 'mend or remove the file',
      stops: 'files',
      count: 1,
      paths: [IGNORE_FILE],
    };
  }

  async #leaveRows(): Promise<void> {
    const { index, selection } = this.#options;
    await this.#inPortions(index.below('/'), (row) => {
      if (selection.isWanted(row.path, row.kind)) {
        this.adopt(row);
        return;
      }
      if (row.uuid === undefined && !row.found) {
        index.remove(row.path);
        return;
      }
      if (row.uuid === undefined) return;
      index.put({ ...row, uuid: undefined, clock: undefined, found: true });
      this.#options.settle(row.uuid);
    });
  }

  /** Everything that the folder does not show is in the list, for whatever reason. */
  async #settlePending(): Promise<void> {
    const { pending, settle, onObsolete } = this.#options;
    for (const kind of KINDS) {
      await this.#inPortions(pending.every(kind), ({ uuid, sha256 }) => {
        settle(uuid);
        if (kind === 'content' && sha256 !== undefined) onObsolete(sha256);
      });
    }
  }

  async #inPortions<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
    let portion: T[] = [];
    const flush = async () => {
      const rows = portion;
      portion = [];
      this.#options.index.transaction(() => {
        for (const row of rows) work(row);
      });
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#options.signal.throwIfAborted();
    };
    for (const item of items) if (portion.push(item) >= PORTION) await flush();
    if (portion.length > 0) await flush();
  }
}

function describe(rules: SelectionRules, ignoreFile: string): string {
  return JSON.stringify([encodeRules(rules), ignoreFile]);
}

function sha256In({ deleted, value }: FileRecord): string | undefined {
  if (deleted) return undefined;
  try {
    const entry = decodeEntry(value);
    return entry.kind === 'file' ? entry.sha256 : undefined;
  } catch {
    // Of another kind, or a broken peer's: it describes no file.
    return undefined;
  }
}

function unusable(why: string) {
  return userError('ignore.unusable', `it ${why}`);
}
