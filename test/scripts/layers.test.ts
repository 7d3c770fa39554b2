import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTree } from '../../scripts/layers.ts';

const DEPENDENCIES = new Set(['serialport', '@noble/curves', 'smol-toml']);

/** What the check says about these files, as `file:line: what`. */
function problemsIn(files: Record<string, string>): string[] {
  const tree = { files: new Map(Object.entries(files)), dependencies: DEPENDENCIES };
  return checkTree(tree).map(({ file, line, what }) => `${file}:${line}: ${what}`);
}

const nothing = 'export {};\n';

test('a tree in which imports point downward is fine', () => {
  assert.deepEqual(
    problemsIn({
      'agent/base/bytes.ts': nothing,
      'agent/wire/frame.ts': "import '../base/bytes.ts';\n",
      'agent/platform/files.ts': "import 'node:fs';\nimport '../base/bytes.ts';\n",
      'agent/club/pool.ts':
        "import '../wire/frame.ts';\nimport './codes.ts';\nimport { join } from 'node:path';\n",
      'agent/club/codes.ts': nothing,
      'agent/daemon.ts': "import './club/pool.ts';\nimport '../firmware-bridge/index.ts';\n",
      'agent/main.ts': "const run = () => import('./daemon.ts');\n",
      'firmware-bridge/index.ts': "import './transports/serial.ts';\n",
      'firmware-bridge/transports/serial.ts': "import { SerialPort } from 'serialport';\n",
      'agent/crypto/hash.ts': "import 'node:crypto';\nimport '@noble/curves/ed25519.js';\n",
      'test/main.test.ts': "import '../agent/main.ts';\nimport 'node:net';\nimport 'fast-check';\n",
    }),
    [],
  );
});

test('imports that point upward, to a neighbour or out of the program are found, whatever their form', () => {
  assert.deepEqual(
    problemsIn({
      'agent/base/a.ts': "import type { B } from '../wire/b.ts';\n",
      'agent/wire/b.ts': "\nexport { c } from '../platform/c.ts';\n",
      'agent/platform/c.ts': "\n\nconst d = import('../club/d.ts');\n",
      'agent/club/d.ts': "import {\n  a,\n  b,\n} from '../../test/e.ts';\nimport './gone.ts';\n",
      'test/e.ts': nothing,
    }),
    [
      'agent/base/a.ts:1: agent/wire is above agent/base: imports point downward',
      'agent/wire/b.ts:2: agent/wire and agent/platform are neighbours: let what is above join them',
      'agent/platform/c.ts:3: agent/club is above agent/platform: imports point downward',
      'agent/club/d.ts:1: the program must not import test/e.ts',
      'agent/club/d.ts:5: there is no agent/club/gone.ts',
    ],
  );
});

test('what looks like an import in a comment, a text, a template or a regular expression is none', () => {
  const source = `
    // import '../main.ts';
    /* import '../main.ts'; */
    const a = "import '../main.ts'";
    const b = \`import '../main.ts' \${\`\${a} import('../main.ts')\`} import '../main.ts'\`;
    const c = /import '..\\/main.ts'/;
    const d = 4 / 2; const e = "/ import '../main.ts'";
    import.meta.dirname; const f = { import: '../main.ts', from: '../main.ts' }; f.import; f.from;
    export const from = '../main.ts'; export { a };
  `;
  assert.deepEqual(problemsIn({ 'agent/base/a.ts': source, 'agent/main.ts': nothing }), []);
});

test('cycles are found, through types and lazy imports, too', () => {
  assert.deepEqual(
    problemsIn({
      'agent/club/a.ts': "import './b.ts';\n",
      'agent/club/b.ts': "import type { C } from './c.ts';\n",
      'agent/club/c.ts': "const a = () => import('./a.ts');\n",
    }),
    [
      'agent/club/a.ts:1: imports itself: agent/club/a.ts -> agent/club/b.ts -> agent/club/c.ts -> agent/club/a.ts',
    ],
  );
});

test('the operating system, cryptography and serial ports have one door each', () => {
  assert.deepEqual(
    problemsIn({
      'agent/club/a.ts': "import { readFile } from 'node:fs/promises';\n",
      'agent/club/b.ts': "import 'node:crypto';\nimport '@noble/curves/p256.js';\n",
      'agent/platform/c.ts': "import 'node:crypto';\n",
      'agent/crypto/d.ts': "import 'node:fs';\n",
      'firmware-bridge/e.ts': "import 'serialport';\nimport 'node:net';\n",
      'agent/club/f.ts': 'export const pid = process.pid;\n',
      'agent/club/g.ts': "import 'fast-check';\nimport 'fs';\n",
    }),
    [
      'agent/club/a.ts:1: only agent/platform imports node:fs/promises',
      'agent/club/b.ts:1: only agent/crypto imports node:crypto',
      'agent/club/b.ts:2: only agent/crypto imports @noble packages',
      'agent/platform/c.ts:1: only agent/crypto imports node:crypto',
      'agent/crypto/d.ts:1: only agent/platform imports node:fs',
      'firmware-bridge/e.ts:1: only firmware-bridge/transports imports serialport',
      'firmware-bridge/e.ts:2: only agent/platform imports node:net',
      'agent/club/f.ts:1: only agent/platform uses process',
      'agent/club/g.ts:1: fast-check is not among the dependencies in package.json',
      'agent/club/g.ts:2: fs is not among the dependencies in package.json',
    ],
  );
});

test('what runs in a browser may reach nothing of Node, directly or through others; types may', () => {
  assert.deepEqual(
    problemsIn({
      'agent/base/a.ts': "import { inspect } from 'node:util';\n",
      'agent/wire/b.ts': '// no Buffer\nexport const b = Buffer.alloc(1);\n',
      'agent/club/session.ts': "import './keys.ts';\nimport type { D } from './pool.ts';\n",
      'agent/club/keys.ts': "\nimport 'node:zlib';\n",
      'agent/club/pool.ts': "import 'node:zlib';\n",
    }),
    [
      'agent/base/a.ts:1: it imports node:util, but it runs in a browser',
      'agent/wire/b.ts:2: it uses Buffer, but it runs in a browser',
      'agent/club/keys.ts:2: it imports node:zlib, but agent/club/session.ts, which runs in a browser, imports it',
    ],
  );
});

test('files have one subject, a name that says it, and a place', () => {
  assert.deepEqual(
    problemsIn({
      'agent/club/long.ts': `${'//\n'.repeat(401)}`,
      'agent/club/just-right.ts': `${'//\n'.repeat(400)}`,
      'agent/club/file-utils.ts': nothing,
      'agent/club/types.ts': nothing,
      'agent/club/index.ts': nothing,
      'agent/club/all.ts': "export * from './just-right.ts';\n",
      'agent/attic/old.ts': nothing,
      'test/long.test.ts': `${'//\n'.repeat(651)}`,
      'test/just-right.test.ts': `${'//\n'.repeat(650)}`,
    }),
    [
      'agent/club/long.ts:401: 401 lines, 400 are allowed: split its subjects',
      'agent/club/file-utils.ts:1: "file-utils" is no name: say what is in it',
      'agent/club/types.ts:1: "types" is no name: say what is in it',
      'agent/club/index.ts:1: no index files',
      "agent/club/all.ts:1: 'export * from' hides what is exported",
      'agent/attic/old.ts:1: it belongs to no layer (scripts/layers.ts lists them)',
      'test/long.test.ts:651: 651 lines, 650 are allowed: split its subjects',
    ],
  );
});
