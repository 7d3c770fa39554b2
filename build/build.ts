/**
 * Makes the single binary: `npm run build [-- --output FILE]`. esbuild bundles the agent and its workers, pkg adds the
 * bundle to a copy of Node (its SEA mode).
 */

import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { prepareBaseBinary } from './base-binary.ts';
import { bundleProgram } from './bundle.ts';

const top = dirname(import.meta.dirname);
const { values } = parseArgs({ options: { output: { type: 'string', default: join(top, 'dist/skylark') } } });
const output = resolve(values.output);
const architecture = process.arch;
const work = join(top, '.cache/build');
const home = join(top, '.cache/pkg-home');
const started = performance.now();

rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
mkdirSync(dirname(output), { recursive: true });

const workerModules = globSync('agent/**/*-worker.ts', { cwd: top }).sort();
const bundle = await bundleProgram(
  { top, architecture },
  { main: join(top, 'agent/main.ts'), workers: workerModules.map((module) => join(top, module)) },
);
const bundleFile = join(work, 'skylark.cjs');
writeFileSync(bundleFile, bundle);
report('bundle', bundle.length, `${workerModules.length} workers`);

const base = prepareBaseBinary(top, home, architecture);
report('base', base.bytes, `Node ${base.version} for linux-${architecture}`);

const unfinished = `${output}.new`;
execFileSync(
  process.execPath,
  [
    join(top, 'node_modules/pkg/lib-es5/bin.js'),
    '--sea',
    bundleFile,
    ...['--targets', `node${base.version}-linux-${architecture}`],
    ...['--output', unfinished],
  ],
  { cwd: work, env: { ...process.env, HOME: home }, stdio: ['ignore', 'ignore', 'inherit'] },
);
renameSync(unfinished, output);
report('binary', statSync(output).size, output);
console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);

function report(what: string, bytes: number, detail: string): void {
  const size = bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(`${what.padEnd(7)} ${size.padStart(9)}  ${detail}`);
}
