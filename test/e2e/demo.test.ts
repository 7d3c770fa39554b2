/** The main job, as `npm start` shows it. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SKYLARK =
  process.env.SKYLARK_BINARY ?? fileURLToPath(new URL('../../scripts/skylark', import.meta.url));

test('the demo ends with 0 once three recordings lie in the owner folder, valid Standard MIDI Files', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'skylark-demo-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const { code, stdout, stderr } = await new Promise<{ code: unknown; stdout: string; stderr: string }>(
    (resolve) => {
      execFile(SKYLARK, ['demo', '--dir', dir, '--recordings', '3', '--exit'], (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
      );
    },
  );
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /SYNC7/);
  const recordings = (await readdir(join(dir, 'owner'))).filter((name) => name.endsWith('.mid'));
  assert.ok(recordings.length >= 3);
  for (const name of recordings) {
    assert.equal((await readFile(join(dir, 'owner', name))).toString('latin1', 0, 4), 'MThd');
  }
});

test('Ctrl-C ends the demo cleanly', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'skylark-demo-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const demo = spawn(SKYLARK, ['demo', '--dir', dir], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => demo.kill('SIGKILL'));
  let stdout = '';
  for await (const piece of demo.stdout.setEncoding('utf8')) {
    stdout += piece;
    if (/SYNC7/.test(stdout)) break;
  }
  const ended = once(demo, 'exit');
  demo.kill('SIGINT');
  const [code, signal] = (await ended) as [number | null, string | null];
  assert.equal(signal, null);
  assert.equal(code, 0);
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} to npm alone ends the demo that "npm start" runs`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'skylark-demo-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    // A group of its own, so that nothing is left of it if this fails.
    const npm = spawn('npm', ['start', '--silent', '--', '--dir', dir], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => endGroup(npm.pid));
    // The demo holds the pipe, too: it closes when both have ended.
    const ended = once(npm.stdout, 'close');
    let stdout = '';
    await new Promise<void>((resolve) => {
      npm.stdout.setEncoding('utf8').on('data', (piece: string) => {
        stdout += piece;
        if (/What arrives/.test(stdout)) resolve();
      });
    });
    npm.kill(signal);
    await ended;
  });
}

function endGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
