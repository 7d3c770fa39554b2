/**
 * What this program is made of when it runs: from TypeScript source, or as one file out of `build/build.ts`, which puts
 * what the program would otherwise read from its own folder into the constant `SKYLARK_EMBEDDED`.
 */

import { readFileSync } from 'node:fs';
import { internalError } from '../base/errors.ts';

/** Filled in by the build. Everything in it is text, so that it needs no file system inside the binary. */
export interface Embedded {
  readonly version: string;
  /** Source text of each worker thread's program (CommonJS, everything bundled), by entry name. */
  readonly workers: Readonly<Record<string, string>>;
}

declare const SKYLARK_EMBEDDED: Embedded | undefined;

const embedded: Embedded | undefined = typeof SKYLARK_EMBEDDED === 'undefined' ? undefined : SKYLARK_EMBEDDED;

/** Whether this is the single binary (true) or the checkout (false). */
export const isSingleBinary = embedded !== undefined;

let sourceVersion: string | undefined;

/** Skylark's version as in package.json: `0.1.0`. */
export function programVersion(): string {
  if (embedded !== undefined) return embedded.version;
  if (sourceVersion === undefined) {
    const manifest: unknown = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    if (typeof manifest !== 'object' || manifest === null || !('version' in manifest))
      throw internalError('program.no_version', 'package.json names no version');
    sourceVersion = String(manifest.version);
  }
  return sourceVersion;
}

/** What `new Worker` takes: a module's address, or in the binary the program's text. */
export type WorkerProgram = { readonly url: URL } | { readonly text: string };

/** @param entry path of the worker's module below `agent/`, without `.ts`: `directory/hash-worker`. */
export function workerProgram(entry: string): WorkerProgram {
  if (embedded === undefined) return { url: new URL(`../${entry}.ts`, import.meta.url) };
  const text = embedded.workers[entry];
  if (text === undefined)
    throw internalError('program.no_worker', `the worker ${entry} was not built into this binary`);
  return { text };
}
