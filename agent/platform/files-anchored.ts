/**
 * Synchronous access to the files of a share for worker threads, which may block: the same walk, one component at a time
 * without following links, below a root that the main thread has opened (descriptors belong to the whole process).
 */

import fs from 'node:fs';
import { environmentError } from '../base/errors.ts';
import {
  type FileFacts,
  factsOf,
  fileError,
  fsyncIfPossible,
  mayBeUnwritten,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
} from './files-calls.ts';
import { checkName, nameOf, parentOf } from './files-directories.ts';

/** An open directory; valid until the next call of `directory` or `close`. */
export interface AnchoredDirectory {
  readonly fd: number;
  /** `/proc/self/fd/N/`: a name behind it is resolved in exactly this directory. */
  readonly prefix: string;
}

export interface AnchoredFile {
  readonly fd: number;
  /** As they were when it was opened. */
  readonly facts: FileFacts;
  /** Fills `target` from `position` as far as the file goes; the number of bytes read. @throws `files.*`. */
  read(target: Uint8Array, position: number): number;
  /** As they are now. */
  look(): FileFacts;
  /** Resolves when what was written before the call survives a power cut. @throws `files.*`. */
  flush(): Promise<void>;
  close(): void;
}

export interface AnchoredDirectories {
  /** @throws `files.*`. */
  directory(path: string): AnchoredDirectory;
  /** A regular file, for reading; the caller closes it. @throws `files.symlink`, `files.not_a_file`, other `files.*`. */
  openFile(path: string): AnchoredFile;
  close(): void;
}

interface Step extends AnchoredDirectory {
  readonly path: string;
  /** Where the kernel saw it when it was opened. */
  readonly place: string;
}

/**
 * Keeps the directories on the way to the last file open, since the next file is mostly beside it.
 * @param root descriptor of the share's root directory; stays the caller's.
 */
export function openAnchoredDirectories(root: number): AnchoredDirectories {
  const top: AnchoredDirectory = { fd: root, prefix: `/proc/self/fd/${root}/` };
  /** From the root downward, each the parent of the next. */
  const way: Step[] = [];

  const leave = (depth: number): void => {
    for (const step of way.splice(depth).reverse()) fs.closeSync(step.fd);
  };

  const directory = (path: string): AnchoredDirectory => {
    let depth = 0;
    while (depth < way.length && (path === way[depth]!.path || path.startsWith(`${way[depth]!.path}/`)))
      depth++;
    leave(depth);
    // What was moved since it was opened, or is below such a folder, is no longer the way to the path.
    const moved = way.findIndex((step) => fs.readlinkSync(`/proc/self/fd/${step.fd}`) !== step.place);
    if (moved !== -1) leave(moved);
    const known = way.at(-1)?.path ?? '';
    const rest = path === '/' ? [] : path.slice(known.length + 1).split('/');
    if (path === known) rest.length = 0;
    let at = known;
    for (const name of rest) {
      checkName(name);
      const parent: AnchoredDirectory = way.at(-1) ?? top;
      at = `${at}/${name}`;
      try {
        const fd = fs.openSync(parent.prefix + name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        way.push({
          fd,
          prefix: `/proc/self/fd/${fd}/`,
          path: at,
          place: fs.readlinkSync(`/proc/self/fd/${fd}`),
        });
      } catch (thrown) {
        throw fileError('open the folder', at, thrown);
      }
    }
    return way.at(-1) ?? top;
  };

  return {
    directory,
    openFile(path) {
      const name = nameOf(path);
      checkName(name);
      const { prefix } = directory(parentOf(path));
      try {
        return openRegular(prefix + name, path);
      } catch (thrown) {
        throw fileError('open', path, thrown);
      }
    },
    close: () => leave(0),
  };
}

function openRegular(target: string, path: string): AnchoredFile {
  // First a handle that only names the inode: opening a FIFO or a device for reading would already disturb it.
  const named = fs.openSync(target, O_PATH | O_NOFOLLOW);
  try {
    const { kind } = factsOf(fs.fstatSync(named, { bigint: true }));
    if (kind !== 'file')
      throw environmentError(
        kind === 'symlink' ? 'files.symlink' : 'files.not_a_file',
        `${JSON.stringify(path)} is no regular file`,
      );
    const fd = fs.openSync(`/proc/self/fd/${named}`, O_RDONLY | O_NONBLOCK);
    return new ReadableFile(path, fd, factsOf(fs.fstatSync(fd, { bigint: true })));
  } finally {
    fs.closeSync(named);
  }
}

class ReadableFile implements AnchoredFile {
  readonly fd: number;
  readonly facts: FileFacts;
  readonly #path: string;

  constructor(path: string, fd: number, facts: FileFacts) {
    this.#path = path;
    this.fd = fd;
    this.facts = facts;
  }

  read(target: Uint8Array, position: number): number {
    try {
      let filled = 0;
      while (filled < target.length) {
        const count = fs.readSync(this.fd, target, filled, target.length - filled, position + filled);
        if (count === 0) break;
        filled += count;
      }
      return filled;
    } catch (thrown) {
      throw fileError('read', this.#path, thrown);
    }
  }

  look(): FileFacts {
    return factsOf(fs.fstatSync(this.fd, { bigint: true }));
  }

  async flush(): Promise<void> {
    if (!mayBeUnwritten(this.facts)) return;
    try {
      await fsyncIfPossible(this.fd);
    } catch (thrown) {
      throw fileError('flush', this.#path, thrown);
    }
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}
