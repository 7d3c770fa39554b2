/** The rules of the house as data and pure functions: what may import what, and what a file may be. */

import { posix } from 'node:path';
import { type Import, importsOf, type Token, tokensOf } from './source-tokens.ts';

/** From the bottom up. A folder (or file) may import what is below it; never a neighbour on its own line. */
const LAYERS: readonly (readonly string[])[] = [
  ['agent/base'],
  ['agent/platform', 'agent/crypto', 'agent/wire'],
  ['agent/config'],
  ['agent/secure-channel', 'agent/discovery', 'agent/tracker', 'agent/backup'],
  ['agent/club'],
  ['agent/database'],
  ['agent/directory'],
  ['agent/extensions'],
  ['agent/control', 'agent/companion', 'firmware-bridge'],
  ['agent/daemon'],
  ['agent/demo'],
  ['agent/commands'],
  ['agent/main'],
];

/** Tools and tests may import anything of the program; nothing of the program may import them. */
const OUTSIDE = ['scripts', 'build', 'test'];

const LONGEST_FILE = 400;
/** A test file is a flat list of cases about one subject: nobody has to hold it in the head as a whole. */
const LONGEST_TEST = 650;
/** Files that may be longer, each with the reason. */
const LONGER: Readonly<Record<string, string>> = {};

/** Node's modules that do no input, output or cryptography. All others belong to one layer. */
const HARMLESS = new Set([
  'node:util',
  'node:path',
  'node:events',
  'node:stream',
  'node:buffer',
  'node:url',
  'node:zlib',
]);

/** What runs in a browser too, with everything that it imports: no `node:`, no packages for Node, no Buffer. */
const PORTABLE = [
  'agent/base/',
  'agent/wire/',
  'agent/crypto/cpace',
  'agent/club/access-code',
  'agent/club/base32',
  'agent/club/messages',
  'agent/club/session',
];

/** Names that say where something is put because nobody knows what it is. */
const NAMELESS = /(?:^|-)(?:utils?|helpers?|managers?|types?|common|misc)$/;
const ALLOWED_INDEX = 'firmware-bridge/index.ts';

export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly tokens: readonly Token[];
  readonly imports: readonly Import[];
}

export interface Tree {
  /** Text of each source file by its path from the project's top, with forward slashes. */
  readonly files: ReadonlyMap<string, string>;
  /** Packages that are installed with the program, not only for its development. */
  readonly dependencies: ReadonlySet<string>;
}

export function checkTree(tree: Tree): Problem[] {
  const files = [...tree.files].map(([path, text]): SourceFile => {
    const tokens = tokensOf(text);
    return { path, text, tokens, imports: importsOf(tokens) };
  });
  const problems = files.flatMap((file) => [
    ...checkName(file),
    ...checkLength(file),
    ...file.imports.flatMap((one) => checkImport(file, one, tree)),
    ...checkGlobals(file),
  ]);
  return [...problems, ...checkCycles(files), ...checkPortability(files)];
}

/** The layer's folder and its height; undefined for tools and tests. */
function layerOf(path: string): { readonly folder: string; readonly height: number } | undefined {
  for (const [height, folders] of LAYERS.entries())
    for (const folder of folders)
      if (path.startsWith(`${folder}/`) || path === `${folder}.ts`) return { folder, height };
  return undefined;
}

function isOutside(path: string): boolean {
  return OUTSIDE.some((folder) => path.startsWith(`${folder}/`));
}

function checkName({ path }: SourceFile): Problem[] {
  const name = posix.basename(path, '.ts');
  if (NAMELESS.test(name)) return [{ file: path, line: 1, what: `"${name}" is no name: say what is in it` }];
  if (name === 'index' && path !== ALLOWED_INDEX) return [{ file: path, line: 1, what: 'no index files' }];
  if (layerOf(path) === undefined && !isOutside(path))
    return [{ file: path, line: 1, what: 'it belongs to no layer (scripts/layers.ts lists them)' }];
  return [];
}

function checkLength({ path, text }: SourceFile): Problem[] {
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  const longest = path.startsWith('test/') ? LONGEST_TEST : LONGEST_FILE;
  if (lines <= longest || Object.hasOwn(LONGER, path)) return [];
  return [
    {
      file: path,
      line: longest + 1,
      what: `${lines} lines, ${longest} are allowed: split its subjects`,
    },
  ];
}

function checkImport(file: SourceFile, one: Import, tree: Tree): Problem[] {
  const problem = (what: string): Problem[] => [{ file: file.path, line: one.line, what }];
  if (one.isWholesale) return problem(`'export * from' hides what is exported`);
  if (one.from.startsWith('.')) return checkRelativeImport(file, one, tree, problem);
  if (isOutside(file.path)) return [];
  if (one.from.startsWith('node:')) return checkNodeImport(file.path, one.from, problem);
  return checkPackageImport(file.path, one.from, tree, problem);
}

function checkRelativeImport(
  file: SourceFile,
  one: Import,
  tree: Tree,
  problem: (what: string) => Problem[],
): Problem[] {
  const target = resolveImport(file.path, one.from);
  if (!tree.files.has(target)) return one.from.endsWith('.json') ? [] : problem(`there is no ${target}`);
  const from = layerOf(file.path);
  const to = layerOf(target);
  if (from === undefined) return [];
  if (to === undefined) return problem(`the program must not import ${target}`);
  if (from.folder === to.folder || to.height < from.height) return [];
  return problem(
    to.height === from.height
      ? `${from.folder} and ${to.folder} are neighbours: let what is above join them`
      : `${to.folder} is above ${from.folder}: imports point downward`,
  );
}

function checkNodeImport(path: string, module: string, problem: (what: string) => Problem[]): Problem[] {
  const { folder } = layerOf(path) ?? { folder: '' };
  if (folder === 'agent/platform' && module !== 'node:crypto') return [];
  if (folder === 'agent/crypto' && (module === 'node:crypto' || HARMLESS.has(module))) return [];
  if (module === 'node:crypto') return problem('only agent/crypto imports node:crypto');
  return HARMLESS.has(module) ? [] : problem(`only agent/platform imports ${module}`);
}

function checkPackageImport(
  path: string,
  specifier: string,
  tree: Tree,
  problem: (what: string) => Problem[],
): Problem[] {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  if (!tree.dependencies.has(name)) return problem(`${name} is not among the dependencies in package.json`);
  if (name.startsWith('@noble/') && !path.startsWith('agent/crypto/'))
    return problem('only agent/crypto imports @noble packages');
  if (/serialport/.test(name) && !path.startsWith('firmware-bridge/transports/'))
    return problem('only firmware-bridge/transports imports serialport');
  return [];
}

/** `process` is the operating system, too, though nobody imports it. */
function checkGlobals({ path, tokens }: SourceFile): Problem[] {
  if (isOutside(path) || path.startsWith('agent/platform/')) return [];
  const used = tokens.find(
    ({ kind, value }, index) =>
      kind === 'name' &&
      value === 'process' &&
      tokens[index - 1]?.value !== '.' &&
      tokens[index + 1]?.value === '.',
  );
  return used === undefined
    ? []
    : [{ file: path, line: used.line, what: 'only agent/platform uses process' }];
}

function resolveImport(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier);
}

function checkCycles(files: readonly SourceFile[]): Problem[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, 'open' | 'done'>();
  const problems: Problem[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      const cycle = [...trail.slice(trail.indexOf(path)), path];
      problems.push({ file: path, line: 1, what: `imports itself: ${cycle.join(' -> ')}` });
      return;
    }
    state.set(path, 'open');
    for (const one of byPath.get(path)?.imports ?? [])
      if (one.from.startsWith('.')) visit(resolveImport(path, one.from), [...trail, path]);
    state.set(path, 'done');
  };
  for (const { path } of files) visit(path, []);
  return problems;
}

/** Follows the imports that are left when the program runs. */
function checkPortability(files: readonly SourceFile[]): Problem[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Map<string, string>();
  const visit = (path: string, root: string) => {
    if (reached.has(path)) return;
    reached.set(path, root);
    for (const one of byPath.get(path)?.imports ?? [])
      if (one.from.startsWith('.') && !one.isTypeOnly) visit(resolveImport(path, one.from), root);
  };
  for (const { path } of files) if (PORTABLE.some((prefix) => path.startsWith(prefix))) visit(path, path);
  return [...reached].flatMap(([path, root]) => {
    const file = byPath.get(path);
    if (file === undefined) return [];
    const why = path === root ? 'it runs in a browser' : `${root}, which runs in a browser, imports it`;
    return nodeOnly(file).map(({ line, what }) => ({ file: path, line, what: `${what}, but ${why}` }));
  });
}

function nodeOnly({ imports, tokens }: SourceFile): { line: number; what: string }[] {
  const found = imports
    .filter((one) => one.from.startsWith('node:') && !one.isTypeOnly)
    .map((one) => ({ line: one.line, what: `it imports ${one.from}` }));
  const buffer = tokens.find(
    ({ kind, value }, index) => kind === 'name' && value === 'Buffer' && tokens[index - 1]?.value !== '.',
  );
  return buffer === undefined ? found : [...found, { line: buffer.line, what: 'it uses Buffer' }];
}
