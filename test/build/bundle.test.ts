import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bundleProgram } from '../../build/bundle.ts';

const top = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'skylark-bundle-'));
after(() => rmSync(folder, { recursive: true }));

const request = { top, architecture: process.arch };

test('a bundled program finds its workers, its native addon and its version inside itself', async () => {
  const text = await bundleProgram(request, {
    main: join(top, 'test/build/sample-program.ts'),
    workers: [join(top, 'test/platform/sample-worker.ts')],
  });
  writeFileSync(join(folder, 'program.cjs'), text);
  mkdirSync(join(folder, 'tmp'));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['program.cjs'], {
    cwd: folder,
    env: { TMPDIR: join(folder, 'tmp') },
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
  assert.deepEqual(JSON.parse(stdout), {
    isSingleBinary: true,
    version,
    priority: 10,
    port: 'Error: No such file or directory, cannot open /nonexistent/tty',
    rows: 1,
  });
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [], 'the addon leaves no file behind');
});

test('the agent can be bundled, for both processors', async () => {
  for (const architecture of ['x64', 'arm64']) {
    const text = await bundleProgram(
      { top, architecture },
      { main: join(top, 'agent/main.ts'), workers: [join(top, 'agent/directory/hash-worker.ts')] },
    );
    assert.ok(text.includes('directory/hash-worker'));
  }
});

test('an addon that does not exist for a processor stops the build', async () => {
  const parts = { main: join(top, 'test/build/sample-program.ts'), workers: [] };
  await assert.rejects(bundleProgram({ top, architecture: 'vax' }, parts), /linux-vax holds 0 addons/);
});
