import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SkylarkError } from '../../agent/base/errors.ts';
import { openLock } from '../../agent/platform/lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'skylark-lock-'));
after(() => rmSync(folder, { recursive: true }));

const MODULE = new URL('../../agent/platform/lock.ts', import.meta.url).href;

/** Another process that holds the lock; resolves when it does. */
async function startHolder(file: string) {
  const program = `
    import { openLock } from ${JSON.stringify(MODULE)};
    openLock(process.argv[1]);
    console.log('held');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  await once(child.stdout, 'data');
  return child;
}

function refusal(file: string): SkylarkError {
  try {
    openLock(file).close();
  } catch (thrown) {
    if (thrown instanceof SkylarkError) return thrown;
    throw thrown;
  }
  return assert.fail('it was not refused');
}

test('a second process is refused, told who has the lock, and gets it when the first was killed', async () => {
  const file = join(folder, 'killed.lock');
  const holder = await startHolder(file);
  const error = refusal(file);
  assert.deepEqual([error.code, error.fault, error.exitCode], ['lock.taken', 'user', 75]);
  assert.match(error.message, new RegExp(`another process \\(${holder.pid}\\)`));
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  openLock(file).close();
});

test('a lock that the system does not give is told as not permitted', () => {
  const error = refusal(join(folder, 'nowhere', 'lock'));
  assert.deepEqual([error.code, error.fault, error.exitCode], ['lock.failed', 'environment', 77]);
});

test('within a process, too, it is held once, and can be had again after closing', () => {
  const file = join(folder, 'twice.lock');
  const lock = openLock(file);
  assert.equal(refusal(file).code, 'lock.taken');
  lock.close();
  lock.close();
  openLock(file).close();
});

test('nothing is left that a crash could damage: the file stays empty and alone', async () => {
  const file = join(folder, 'empty.lock');
  const holder = await startHolder(file);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('empty')),
    ['empty.lock'],
  );
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  openLock(file).close();
});

test('a folder that is not there, or a file that is no lock, is an error of the environment', () => {
  assert.equal(refusal(join(folder, 'missing', 'a.lock')).code, 'lock.failed');
  writeFileSync(join(folder, 'other'), 'this is something else, and it is kept as it is'.repeat(100));
  assert.equal(refusal(join(folder, 'other')).code, 'lock.failed');
});
