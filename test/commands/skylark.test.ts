import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { COMMANDS } from '../../agent/commands/table.ts';

const top = join(import.meta.dirname, '../..');
const skylark = join(top, 'scripts/skylark');
const folder = mkdtempSync(join(tmpdir(), 'skylark-launcher-'));
after(() => rmSync(folder, { recursive: true }));

function run(program: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: '/',
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

test('it runs from any folder and through links, with nothing on stderr', () => {
  const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
  const expected = { status: 0, stdout: `skylark ${version}\n`, stderr: '' };
  assert.deepEqual(run(skylark, 'version'), expected);
  mkdirSync(join(folder, 'a folder'));
  symlinkSync(skylark, join(folder, 'first'));
  symlinkSync('../first', join(folder, 'a folder/second'));
  assert.deepEqual(run(join(folder, 'a folder/second'), 'version'), expected);
});

test('exit codes and errors come through', () => {
  assert.deepEqual(run(skylark, 'verison'), {
    status: 64,
    stdout: '',
    stderr: 'skylark verison: there is no command "verison"; did you mean \'skylark version\'?\n',
  });
});

test('without the packages it says what to do', () => {
  mkdirSync(join(folder, 'bare/scripts'), { recursive: true });
  copyFileSync(skylark, join(folder, 'bare/scripts/skylark'));
  const result = run(join(folder, 'bare/scripts/skylark'), 'version');
  assert.equal(result.status, 78);
  assert.match(result.stderr, /^skylark can't start: .*run 'npm ci' in .*bare\n$/);
});

test('a reader that goes away ends it without noise', async () => {
  const child = spawn(skylark, ['help'], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 });
  child.stdout.destroy();
  const complaints: Buffer[] = [];
  child.stderr.on('data', (piece: Buffer) => complaints.push(piece));
  const [status] = await once(child, 'close');
  assert.deepEqual([status, Buffer.concat(complaints).toString()], [0, '']);
});

test('every command in the table is the one it is listed as, and can be explained', async () => {
  for (const [name, load] of Object.entries(COMMANDS)) {
    const { summary, examples, ...loaded } = await load();
    assert.equal(loaded.name, name);
    assert.match(summary, /^[a-z].*[^.]$/);
    for (const [line] of examples) assert.ok(line.startsWith(`skylark ${name}`), line);
  }
});
