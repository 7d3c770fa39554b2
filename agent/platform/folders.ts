/** Where things lie on this machine: systemd's variables first, then the XDG Base Directory rules. */

import { readFileSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises';
import { homedir, hostname, tmpdir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { asError, EXIT, environmentError, errorCode, SkylarkError, userError } from '../base/errors.ts';
import type { Environment } from './process.ts';

/**
 * The folder with keys, records and the control socket: `--state`, else `$STATE_DIRECTORY` (systemd's
 * `StateDirectory=`), else `clearskies` under `$XDG_DATA_HOME`, which is `~/.local/share` by default. Absolute.
 */
export function stateFolder(environment: Environment, chosen?: string): string {
  if (chosen !== undefined) return resolve(chosen);
  // Several folders are separated by colons; the first is ours.
  const given = environment.STATE_DIRECTORY?.split(':')[0];
  if (given !== undefined && given !== '') return resolve(given);
  return join(xdgFolder(environment, 'XDG_DATA_HOME', '.local/share'), 'clearskies');
}

/** The files that are read when there is no `--config`, the later ones overruling the earlier. */
export function configurationFiles(environment: Environment): readonly string[] {
  return [
    '/etc/skylark/skylark.toml',
    join(xdgFolder(environment, 'XDG_CONFIG_HOME', '.config'), 'skylark/skylark.toml'),
  ];
}

/** Relative paths in these variables are to be ignored (XDG Base Directory Specification, "Basics"). */
function xdgFolder(environment: Environment, variable: string, underHome: string): string {
  const given = environment[variable];
  return given !== undefined && isAbsolute(given) ? given : join(homedir(), underHome);
}

/**
 * A file that somebody wrote by hand, whole; undefined when there is none.
 * @throws SkylarkError (environment) `file.unreadable`.
 */
export function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw environmentError('file.unreadable', `${path} can't be read (${code ?? 'unknown reason'})`, {
      cause,
    });
  }
}

/**
 * Makes a folder, with those above it, unless it is there.
 * @param mode of the folders that are made, before the umask; one that is there keeps its own
 * @returns its path without symbolic links.
 * @throws SkylarkError (user) `folder.relative`, `folder.not_a_folder`; (environment, exit code 73) `folder.not_made`.
 */
export async function makeFolder(path: string, mode = 0o777): Promise<string> {
  return (await makeFolderAnew(path, mode)).path;
}

export interface MadeFolder {
  /** Without symbolic links. */
  readonly path: string;
  /** The folders that were not there before, the innermost first. */
  readonly made: readonly string[];
}

/** As `makeFolder`, and tells what it made. What it made before it failed is gone again. */
export async function makeFolderAnew(path: string, mode = 0o777): Promise<MadeFolder> {
  if (!isAbsolute(path)) throw userError('folder.relative', 'the path of a folder must begin with a slash');
  const made: string[] = [];
  try {
    await makeFolders(path, mode, made);
    if (!(await stat(path)).isDirectory()) throw userError('folder.not_a_folder', `${path} is not a folder`);
    return { path: await realpath(path), made };
  } catch (cause) {
    await removeEmptyFolders(made);
    const code = errorCode(cause);
    if (code === 'folder.not_a_folder') throw cause;
    if (code === 'EEXIST' || code === 'ENOTDIR')
      throw userError('folder.not_a_folder', `${path} is not a folder`);
    throw environmentError('folder.not_made', `the folder ${path} can't be made: ${asError(cause).message}`, {
      remedy: 'choose another place, or see to the permissions',
      exitCode: EXIT.cannotCreate,
      cause,
    });
  }
}

/**
 * One folder after the other: Node's own way never ends where the parent is there and says that it is not (`/proc/x/y`).
 * @param made gets those that were made, the innermost first, also when it fails
 * @returns those, the outermost first. What was there already may be something else than a folder.
 */
export async function makeFolders(
  path: string,
  mode: number,
  made: string[] = [],
): Promise<readonly string[]> {
  try {
    await mkdir(path, { mode });
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'EEXIST') return [];
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path) throw cause;
    await makeFolders(parent, mode, made);
    await mkdir(path, { mode });
  }
  made.unshift(path);
  return made.toReversed();
}

/**
 * Takes back what `makeFolderAnew` made. Never removes anything but empty folders and `own`; whatever is in the way stays,
 * and so does what it lies in. Never rejects.
 * @param own names in the innermost folder that are ours: removed only if nothing else is there
 */
export async function unmakeFolder({ made }: MadeFolder, own: OwnFolder): Promise<void> {
  const [innermost] = made;
  if (innermost === undefined) return;
  try {
    const inside = await readdir(innermost);
    if (inside.length === 1 && inside[0] === own.name) {
      const ours = join(innermost, own.name);
      // A link is not what we made.
      if ((await lstat(ours)).isDirectory()) {
        if ((await readdir(ours)).every((name) => own.files.includes(name)))
          for (const name of own.files) await unlink(join(ours, name)).catch(() => {});
        await rmdir(ours);
      }
    }
  } catch {
    // It stays, and the folders around it, too.
  }
  await removeEmptyFolders(made);
}

/** A folder that is ours in a folder of the user's, and the files of ours that may be in it. */
export interface OwnFolder {
  readonly name: string;
  readonly files: readonly string[];
}

/** The innermost first, as far as they are empty. */
async function removeEmptyFolders(folders: readonly string[]): Promise<void> {
  try {
    for (const folder of folders) await rmdir(folder);
  } catch {
    // Not empty, or gone.
  }
}

/** Who may write into a folder may replace what is in it, whosever the files are. */
const OTHERS_WRITE = 0o022;
const OTHERS = 0o077;

/** What a state folder has in it from its first start on, and hardly any other. */
const STATE_FILES = ['state.json', 'lock'];

/**
 * Makes the folder with the keys, or makes sure that it is nobody else's: what others may read is closed to them, but
 * where others may have put something nothing can be trusted, and its owner has to look. A folder that is open for good
 * reason, since it is there for something else (a home, `/etc`), stays as it is.
 * @returns its path without symbolic links.
 * @throws SkylarkError as `makeFolder`; (user, exit code 77) `state.folder_foreign`, `state.folder_not_ours`,
 *   `state.folder_writable`; (environment, 77) `state.folder_open`.
 */
export async function makeStateFolder(path: string): Promise<string> {
  const folder = await makeFolder(path, 0o700);
  const { uid, mode } = await stat(folder);
  const self = process.geteuid?.() ?? uid;
  if (uid !== self) {
    throw userError('state.folder_foreign', `the state folder ${folder} belongs to another user (${uid})`, {
      remedy: `run as that user, choose another folder with --state, or look into it and run: chown ${self} ${folder}`,
      exitCode: EXIT.notPermitted,
    });
  }
  if ((mode & OTHERS) === 0) return folder;
  const closing = `chmod 700 ${folder}`;
  try {
    if (await isForSomethingElse(folder)) {
      throw userError('state.folder_not_ours', `${folder} is no state folder: there are other things in it`, {
        remedy: `choose another one with --state, or, if nobody else needs what is in it, run: ${closing}`,
        exitCode: EXIT.notPermitted,
      });
    }
    if ((mode & OTHERS_WRITE) !== 0) {
      throw userError('state.folder_writable', `other users may write into the state folder ${folder}`, {
        remedy: `check that nobody put anything there, then run: ${closing}`,
        exitCode: EXIT.notPermitted,
      });
    }
    await chmod(folder, 0o700);
  } catch (cause) {
    if (cause instanceof SkylarkError) throw cause;
    throw environmentError('state.folder_open', `the state folder ${folder} can't be closed to other users`, {
      remedy: `run: ${closing}`,
      exitCode: EXIT.notPermitted,
      cause,
    });
  }
  return folder;
}

async function isForSomethingElse(folder: string): Promise<boolean> {
  for (const name of STATE_FILES) {
    // `/var/lock` is a link.
    const facts = await lstat(join(folder, name)).catch(() => undefined);
    if (facts?.isFile()) return false;
  }
  return (await readdir(folder)).length > 0;
}

/** What this machine is called. */
export function hostName(): string {
  return hostname();
}

/** A new folder among the temporary ones, only for us. Nobody removes it. */
export function makeTemporaryFolder(prefix: string): Promise<string> {
  return mkdtemp(join(tmpdir(), prefix));
}

/** A whole small file; undefined when there is none. */
export async function readBytes(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw environmentError('file.unreadable', `${path} can't be read`, { cause });
  }
}
