import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import fc from 'fast-check';
import { importsOf, tokensOf } from '../../scripts/source-tokens.ts';

const top = join(import.meta.dirname, '../..');

test("in all of the program's files it finds the imports that a real parser finds", async () => {
  const entryPoints = globSync('{agent,firmware-bridge,scripts,build}/**/*.ts', { cwd: top });
  const { metafile } = await build({
    absWorkingDir: top,
    entryPoints,
    // Only to have its imports told; nothing is written.
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'dist',
    platform: 'node',
    format: 'esm',
    logLevel: 'silent',
    plugins: [
      {
        name: 'one-by-one',
        setup: ({ onResolve }) =>
          onResolve({ filter: /./ }, ({ kind, path }) =>
            kind === 'entry-point' ? undefined : { path, external: true },
          ),
      },
    ],
  });
  let compared = 0;
  for (const path of entryPoints) {
    const parsed = metafile.inputs[path]?.imports.map((one) => one.path) ?? [];
    const found = importsOf(tokensOf(readFileSync(join(top, path), 'utf8')));
    const runtime = found.filter((one) => !one.isTypeOnly).map((one) => one.from);
    assert.deepEqual(runtime.sort(), parsed.sort(), path);
    compared += parsed.length;
  }
  assert.ok(compared > 50);
});

test('any text is taken apart without an end or an error', () => {
  const piece = fc.constantFrom(
    '`',
    '${',
    '}',
    '{',
    '/',
    '*',
    '//',
    '"',
    "'",
    '\\',
    '\n',
    'import ',
    'from ',
    '(',
    'a',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      importsOf(tokensOf(pieces.join('')));
    }),
    { numRuns: 500 },
  );
});
