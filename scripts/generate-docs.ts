/**
 * Writes what the documentation takes from declarations: `npm run docs`. With `--check` it writes nothing and fails when a
 * file is not what it would write.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OPTIONS } from '../agent/config/options.ts';
import { configurationReference, exampleConfiguration } from '../agent/config/reference.ts';

const top = dirname(import.meta.dirname);
const documents = new Map([
  ['docs/configuration.md', configurationReference(OPTIONS)],
  ['docs/skylark.example.toml', exampleConfiguration(OPTIONS)],
]);

const stale = [...documents].filter(([path, text]) => {
  const file = join(top, path);
  return !existsSync(file) || readFileSync(file, 'utf8') !== text;
});

if (process.argv.includes('--check')) {
  for (const [path] of stale) console.error(`${path} is stale: run 'npm run docs'`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [path, text] of stale) {
    writeFileSync(join(top, path), text);
    console.log(`wrote ${path}`);
  }
}
