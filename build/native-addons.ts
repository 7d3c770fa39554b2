/**
 * Puts prebuilt native addons inside the bundle. Packages find theirs with `node-gyp-build`, which looks into a folder;
 * here that look-up is done while building, and the addon's bytes become part of the program.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';

const NAMESPACE = 'native-addon';

/** @param architecture of the binary, in Node's words: `x64`, `arm64`. Always Linux with glibc. */
export function embeddedAddons(architecture: string): Plugin {
  return {
    name: 'embedded-addons',
    setup(build) {
      build.onResolve({ filter: /^node-gyp-build$/ }, (args) => ({
        path: packageFolder(args.importer),
        namespace: NAMESPACE,
      }));
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, (args) => {
        const addon = JSON.stringify(prebuiltAddon(args.path, architecture));
        const loader = JSON.stringify(join(import.meta.dirname, 'load-embedded-addon.ts'));
        return {
          contents: `const addon = require(${addon});
            const { loadEmbeddedAddon } = require(${loader});
            module.exports = () => loadEmbeddedAddon(addon.default ?? addon);`,
          resolveDir: args.path,
        };
      });
      build.onLoad({ filter: /\.node$/ }, (args) => ({
        contents: readFileSync(args.path),
        loader: 'binary',
      }));
    },
  };
}

function packageFolder(file: string): string {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error(`${file} belongs to no package`);
  }
}

function prebuiltAddon(folder: string, architecture: string): string {
  const prebuilds = join(folder, 'prebuilds', `linux-${architecture}`);
  const addons = existsSync(prebuilds)
    ? readdirSync(prebuilds).filter((name) => name.endsWith('.node') && !name.includes('musl'))
    : [];
  const [addon] = addons;
  if (addon === undefined || addons.length > 1)
    throw new Error(`${prebuilds} holds ${addons.length} addons for glibc instead of one`);
  return join(prebuilds, addon);
}
