/** `npm run layers`: holds every source file against the rules in `layers.ts`. */

import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkTree } from './layers.ts';

const top = dirname(import.meta.dirname);
const paths = globSync('{agent,firmware-bridge,scripts,build,test}/**/*.ts', { cwd: top })
  .filter((path) => !path.includes('node_modules'))
  .sort();
const files = new Map(paths.map((path) => [path, readFileSync(join(top, path), 'utf8')]));
const manifest: { dependencies?: Record<string, string> } = JSON.parse(
  readFileSync(join(top, 'package.json'), 'utf8'),
);

const problems = checkTree({ files, dependencies: new Set(Object.keys(manifest.dependencies ?? {})) });
for (const { file, line, what } of problems) console.error(`${file}:${line}: ${what}`);
if (problems.length > 0) process.exitCode = 1;
else console.log(`layers: ${files.size} files are where they belong`);
