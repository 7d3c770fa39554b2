/**
 * The other direction: files of the owner's that may go to the device are written to it, as long as it can take them. Once
 * there they are files of the device like any other, which the mirror follows.
 */

import { utf8 } from '../agent/base/bytes.ts';
import type { Clock } from '../agent/base/clock.ts';
import { asError, environmentError, errorCode } from '../agent/base/errors.ts';
import { printable } from '../agent/base/printable.ts';
import { codePoints, type IgnorePattern, verdict } from '../agent/directory/ignore.ts';
import { deviceError } from './device-error.ts';
import { capability, type Device, type DeviceFile } from './drivers/driver.ts';
import type { Mirror, Problem } from './mirror.ts';
import type { MirroredFile, SentFile } from './mirror-memory.ts';
import { pathOfName } from './names.ts';
import type { PlacedFile, ShareFolder } from './share-folder.ts';
import { crc32c } from './skylink/crc32c.ts';

export interface SendRules {
  /** Which paths of the folder, as in gitignore(5); none: nothing is sent. */
  readonly patterns: readonly IgnorePattern[];
  /** Bytes of one file. */
  readonly largest: number;
}

export interface SenderOptions {
  readonly folder: ShareFolder;
  readonly mirror: Pick<Mirror, 'at' | 'sent' | 'note'>;
  readonly rules: SendRules;
  readonly clock: Clock;
  /** Must not throw. */
  readonly onEvent: (event: SenderEvent) => void;
}

export type SenderEvent =
  | { readonly kind: 'file-sent'; readonly path: string; readonly size: number }
  | { readonly kind: 'file-taken-back'; readonly path: string };

export interface SenderPass {
  readonly problems: readonly Problem[];
  /** Something was changed a moment ago, and is to be looked at again soon. */
  readonly isUnsettled: boolean;
}

/** A file that was changed so lately may still be written. Nanoseconds. */
const QUIET_NS = 2_000_000_000n;
/** As many deletions at once, if they are most of what was sent, look like a share that is not there. */
const MASS_DELETION = { part: 20, whole: 3 };
const ENDING: ReadonlySet<string | undefined> = new Set(['device.lost', 'device.silent']);

export class Sender {
  readonly #options: SenderOptions;
  #isHolding = false;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /**
   * Brings to the device what is new, and takes back what its owner has deleted. After a pass of the mirror.
   * @throws as `Mirror.pass`.
   */
  async pass(device: Device, signal: AbortSignal): Promise<SenderPass> {
    const { folder, mirror, rules, clock } = this.#options;
    const problems: Problem[] = [];
    let isUnsettled = false;
    if (rules.patterns.length === 0 || capability(device, 'write') === undefined)
      return { problems, isUnsettled };
    const present = new Set<string>();
    for await (const { path, file } of folder.list()) {
      signal.throwIfAborted();
      if (!this.#isChosen(path)) continue;
      present.add(path);
      // The mirror would give it another name: it stays where it is, under the name that it has.
      if (pathOfName(path.slice(1)) !== path) continue;
      const owned = mirror.at(path);
      if (owned !== undefined && owned.size === file.size && owned.placedMtimeNs === file.mtimeNs) continue;
      const sent = mirror.sent.get(path);
      // It was there; if it is not any more, somebody has deleted it on the device.
      if (sent !== undefined && sent.size === file.size && sent.mtimeNs === file.mtimeNs) continue;
      if (file.mtimeNs > clock.now() - QUIET_NS && file.mtimeNs <= clock.now()) isUnsettled = true;
      else await this.#attempt(problems, path, signal, () => this.#send(device, path, file, owned, signal));
    }
    await this.#takeBack(device, present, problems, signal);
    return { problems, isUnsettled };
  }

  /** By its own name, or by that of a folder on the way. */
  #isChosen(path: string): boolean {
    const { patterns } = this.#options.rules;
    const names = path.slice(1).split('/').map(codePoints);
    return names.some((_, i) => {
      const kind = i === names.length - 1 ? 'file' : 'directory';
      return verdict(patterns, names, i + 1, kind) === true;
    });
  }

  async #send(
    device: Device,
    path: string,
    seen: PlacedFile,
    owned: MirroredFile | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { folder, mirror, onEvent } = this.#options;
    const { size, mtimeNs } = seen;
    const name = owned?.name ?? path.slice(1);
    this.#checkFits(device, name, size);
    // The device may have something newer there, which the share has not got yet.
    const there = owned && (await device.stat(owned.key, signal));
    if (owned !== undefined && there !== undefined && there.version !== owned.version)
      throw deviceError('device.changed', `${printable(name, 80)} has changed on the device, too`);
    let digest = 0;
    const content = async function* () {
      digest = 0;
      for await (const piece of folder.read(path)) {
        digest = crc32c(piece, digest);
        yield piece;
      }
    };
    // A device that can't be asked what it has can't be asked to spare it either.
    const replace = owned !== undefined || capability(device, 'list') === undefined;
    const { key, version } = await device.write({ name, size, mtime: mtimeNs, replace, content }, signal);
    const file = { key, version, name, size, digest, path, placedMtimeNs: mtimeNs };
    const changed =
      owned !== undefined && owned.key !== key ? [{ kind: 'forget', key: owned.key } as const] : [];
    await mirror.note([...changed, { kind: 'put', file }, { kind: 'sent', file: { path, size, mtimeNs } }]);
    onEvent({ kind: 'file-sent', path, size });
  }

  #checkFits(device: Device, name: string, size: number): void {
    const able = capability(device, 'write');
    const largest = Math.min(this.#options.rules.largest, able?.largest ?? 0);
    if (size > largest)
      throw environmentError(
        'bridge.too_large',
        `${size} bytes are more than the ${largest} that may be sent to the device`,
        {
          remedy: 'raise send_largest, or leave the file out of send',
        },
      );
    if (utf8(name).length > (able?.nameBytes ?? 0))
      throw environmentError(
        'bridge.name_too_long',
        `the device takes names of at most ${able?.nameBytes} bytes`,
        {
          remedy: 'give the file a shorter name',
        },
      );
  }

  /** What the owner has deleted, if it is still what was sent. */
  async #takeBack(
    device: Device,
    present: ReadonlySet<string>,
    problems: Problem[],
    signal: AbortSignal,
  ): Promise<void> {
    const { mirror, folder, onEvent } = this.#options;
    const missing = [...mirror.sent.values()].filter(
      ({ path }) => !present.has(path) && this.#isChosen(path),
    );
    if (missing.length === 0) this.#isHolding = false;
    if (missing.length === 0 || !folder.isSettled) return;
    const gone = missing.filter(({ path }) => mirror.at(path) !== undefined);
    // Nothing of these is on the device any more.
    const over = missing.filter(({ path }) => mirror.at(path) === undefined);
    if (over.length > 0) await mirror.note(over.map(({ path }) => ({ kind: 'unsent', path }) as const));
    const all = [...mirror.sent.keys()].filter((path) => mirror.at(path) !== undefined).length;
    const { length } = gone;
    const most =
      (length >= MASS_DELETION.part && 2 * length > all) || (length >= MASS_DELETION.whole && length === all);
    // Held until none is missed any more: that others are sent meanwhile makes it no less of an accident.
    this.#isHolding = length > 0 && (this.#isHolding || most);
    if (this.#isHolding) {
      problems.push({
        name: '',
        error: deviceError(
          'device.mass_deletion',
          `${length} files that were sent to the device are gone at once`,
          {
            remedy: 'put them back, or delete them on the device',
          },
        ),
      });
      return;
    }
    for (const sent of gone) {
      signal.throwIfAborted();
      await this.#attempt(problems, sent.path, signal, async () => {
        if ((await folder.look(sent.path)) !== undefined) return;
        const owned = mirror.at(sent.path);
        if (owned !== undefined && isAsSent(owned, sent) && capability(device, 'delete') !== undefined) {
          await device.delete(deviceFileOf(owned), signal);
          await mirror.note([{ kind: 'forget', key: owned.key }]);
          onEvent({ kind: 'file-taken-back', path: sent.path });
        }
        await mirror.note([{ kind: 'unsent', path: sent.path }]);
      });
    }
  }

  /** One file's failure must not keep the others. */
  async #attempt(
    problems: Problem[],
    path: string,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const code = errorCode(thrown);
      if (signal.aborted || ENDING.has(code) || code?.startsWith('share.')) throw thrown;
      problems.push({ name: path.slice(1), error: asError(thrown) });
    }
  }
}

function isAsSent(owned: MirroredFile, sent: SentFile): boolean {
  return owned.size === sent.size && owned.placedMtimeNs === sent.mtimeNs;
}

function deviceFileOf({ key, version, name, size }: MirroredFile): DeviceFile {
  return { key, version, name, size, mtime: undefined, complete: true };
}
