/** `skylark bridge`, as an owner and as a maker of devices types it. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openPiano } from '../../firmware-bridge/simulator/piano.ts';
import { agentsFor } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';

async function pianoFor(t: TestContext, options: Parameters<typeof openPiano>[0] = {}) {
  const piano = await openPiano({ seed: 5, ...options });
  t.after(() => piano.close());
  return piano;
}

test('the devices on the bridge are shown, with the quality of the line', async (t) => {
  const piano = await pianoFor(t);
  await piano.record();
  const stick = await mkdtemp(join(tmpdir(), 'skylark-stick-'));
  t.after(() => rm(stick, { recursive: true }));
  await writeFile(join(stick, 'on the stick.mid'), 'x'.repeat(2_000));
  const config = join(stick, '.skylark.toml');
  const device = (source: string, folder: string) =>
    `[[bridge.device]]\nsource = "${source}"\nshare = "Music"\nfolder = "${folder}"\n`;
  await writeFile(
    config,
    [device(piano.source, 'piano'), device(`dir:${stick}`, 'stick'), device('usb:ffff:fffe', 'nothing')].join(
      '\n',
    ),
  );
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  assert.match(await agent.run('bridge'), /no device is configured/);
  await agent.end();
  agent.arguments = ['--config', config];
  await agent.start();
  const music = agent.folder('Music');
  await mkdir(music);
  await agent.run('share', music, '--name', 'Music');
  await eventually('both have arrived', async () => {
    const names = await readdir(music, { recursive: true });
    return names.includes('stick/on the stick.mid') && names.some((name) => /^piano\/.*\.mid$/.test(name));
  });
  const text = await agent.run('bridge');
  assert.match(
    text,
    /^tcp:\/\/127.*\(skylink\): Skylark Piano Simulator .*\n {2}connected.*; 1 file \(.*\) in Music\/piano\n/m,
  );
  assert.match(text, /^ {2}line: .* in, .* out.*; 0 damaged pieces, \d+ asked again$/m);
  assert.match(text, /^dir:.*\(folder\).*\n {2}connected.*; 1 file \(2\.0 kB\) in Music\/stick$/m);
  assert.match(text, /^usb:ffff:fffe \(skylink\)\n {2}(?:not there|being opened); 0 files/m);
  const { devices } = JSON.parse(await agent.run('bridge', '--json')) as { devices: { driver: string }[] };
  assert.deepEqual(
    devices.map(({ driver }) => driver),
    ['skylink', 'folder', 'skylink'],
  );
});

test('a maker tests a device, without daemon or share', async (t) => {
  const piano = await pianoFor(t);
  await piano.record();
  await piano.record({ atLeastBytes: 30_000 });
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const result = await agent.command('bridge', 'test', piano.source, '--write');
  assert.equal(result.exitCode, 0, result.stderr);
  const lines = result.stdout.trimEnd().split('\n');
  assert.equal(lines.length, 10);
  for (const line of lines) assert.match(line, /^ok {4}/);
  assert.match(result.stdout, /2 files\n/);
  assert.equal(piano.recordings().length, 2, 'what was written is deleted again');

  const wrong = await agent.command('bridge', 'tset', 'x');
  assert.equal(wrong.exitCode, 64);
  assert.match(wrong.stderr, /did you mean test/);
  const absent = await agent.command('bridge', 'test', 'serial:/dev/nonexistent');
  assert.equal(absent.exitCode, 1, absent.stderr);
  assert.match(absent.stderr, /there is no \/dev\/nonexistent/);
});

test('what a device does wrong is found', async (t) => {
  const piano = await pianoFor(t);
  await piano.record({ atLeastBytes: 60_000 });
  piano.corrupt(0.0005);
  const [agent] = await agentsFor(t, { name: 'a' });
  assert.ok(agent);
  const { exitCode, stdout, stderr } = await agent.command('bridge', 'test', piano.source, '--json');
  assert.equal(exitCode, 1, stdout);
  assert.match(stderr, /1 check failed/);
  const { results } = JSON.parse(stdout) as { results: { what: string; outcome: string; detail: string }[] };
  const failed = results.filter(({ outcome }) => outcome === 'failed');
  assert.deepEqual(
    failed.map(({ what }) => what),
    ['has a clean line'],
  );
  assert.match(failed[0]?.detail ?? '', /damaged pieces .* look at cable/);
  assert.ok(results.some(({ outcome, detail }) => outcome === 'skipped' && /--write/.test(detail)));
});
