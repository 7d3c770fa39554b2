/** Makes one CommonJS file out of everything that a program imports, with nothing left to look for beside it. */

import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build, type Message } from 'esbuild';
import type { Embedded } from '../agent/platform/program.ts';
import { embeddedAddons } from './native-addons.ts';

export interface BundleRequest {
  /** The checkout's folder. */
  readonly top: string;
  /** Processor that the result is for, in Node's words: `x64`, `arm64`. */
  readonly architecture: string;
}

export interface ProgramParts {
  /** Absolute paths of the module that is run and of those that run in threads of their own. */
  readonly main: string;
  readonly workers: readonly string[];
}

/** The text of the whole program, its workers' programs inside. */
export async function bundleProgram(request: BundleRequest, parts: ProgramParts): Promise<string> {
  const version = manifestVersion(request.top);
  const workers: Record<string, string> = {};
  for (const module of parts.workers)
    workers[workerEntry(request.top, module)] = await bundle(request, module, { version, workers: {} });
  return bundle(request, parts.main, { version, workers });
}

/** The name by which `openWorkerPool` knows a worker's module: its path below `agent/`, without `.ts`. */
function workerEntry(top: string, module: string): string {
  return relative(join(top, 'agent'), module).replace(/\.ts$/, '');
}

function manifestVersion(top: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest)
    return String(manifest.version);
  throw new Error('package.json names no version');
}

async function bundle(request: BundleRequest, entry: string, embedded: Embedded): Promise<string> {
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: request.top,
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    // Names stay, so that a stack trace in a bug report can be read.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'eof',
    // Inside the binary `import()` finds nothing, not even what is bundled: it becomes `require` of the bundled module.
    supported: { 'dynamic-import': false },
    define: { SKYLARK_EMBEDDED: JSON.stringify(embedded) },
    plugins: [embeddedAddons(request.architecture)],
    logLevel: 'silent',
  });
  const objections = result.warnings.filter((warning) => !isExpected(warning));
  if (objections.length > 0) throw new Error(objections.map(describeMessage).join('\n'));
  const [output] = result.outputFiles;
  if (output === undefined) throw new Error(`${entry} made no output`);
  return output.text;
}

/** `import.meta.url` is empty in the bundle; only this module uses it, and only when run from source. */
function isExpected(warning: Message): boolean {
  return warning.id === 'empty-import-meta' && warning.location?.file === 'agent/platform/program.ts';
}

function describeMessage(message: Message): string {
  const { location, text } = message;
  return location === null ? text : `${location.file}:${location.line}: ${text}`;
}
