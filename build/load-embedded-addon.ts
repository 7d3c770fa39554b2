/** Part of the binary, not of the build: loads a native addon whose bytes are inside the program. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const loaded = new Map<Uint8Array, unknown>();

/**
 * The dynamic loader wants a file: it gets one in a new folder that nobody else can write, for as long as the loading
 * takes. Folders that forbid running programs (`noexec`) are passed over.
 * @throws the last folder's error when none will do.
 */
export function loadEmbeddedAddon(bytes: Uint8Array): unknown {
  if (loaded.has(bytes)) return loaded.get(bytes);
  let failure: unknown;
  for (const folder of [process.env.STATE_DIRECTORY, process.env.XDG_RUNTIME_DIR, tmpdir(), '/dev/shm']) {
    if (folder === undefined || folder === '') continue;
    try {
      const exports = loadFrom(folder, bytes);
      loaded.set(bytes, exports);
      return exports;
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}

function loadFrom(folder: string, bytes: Uint8Array): unknown {
  const own = mkdtempSync(join(folder, 'skylark-addon-'));
  try {
    const file = join(own, 'addon.node');
    writeFileSync(file, bytes, { mode: 0o500 });
    const module = { exports: {} };
    process.dlopen(module, file);
    return module.exports;
  } finally {
    // What is mapped stays mapped.
    rmSync(own, { recursive: true });
  }
}
