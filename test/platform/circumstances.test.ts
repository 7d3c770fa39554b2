/** What the system tells of its power and its network, as its files and programs do. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isMetered } from '../../agent/platform/metered-network.ts';
import { isOnBattery } from '../../agent/platform/power-supply.ts';

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skylark-power-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

type Supplies = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** As sysfs has them. */
async function powerSupplies(t: TestContext, supplies: Supplies): Promise<string> {
  const root = await folderFor(t);
  for (const [name, values] of Object.entries(supplies)) {
    await mkdir(join(root, name));
    for (const [file, value] of Object.entries(values)) await writeFile(join(root, name, file), `${value}\n`);
  }
  return root;
}

const mains = (online: string) => ({ type: 'Mains', online });
const battery = (status: string) => ({ type: 'Battery', scope: 'System', status });

const CASES: readonly (readonly [string, Supplies, boolean | undefined])[] = [
  ['unplugged', { AC: mains('0'), BAT0: battery('Discharging') }, true],
  ['plugged in', { AC: mains('1'), BAT0: battery('Charging') }, false],
  ['plugged in, and the battery helps out', { AC: mains('1'), BAT0: battery('Discharging') }, false],
  ['a full battery that is not used', { AC: mains('0'), BAT0: battery('Full') }, false],
  ['USB-C', { BAT0: battery('Discharging'), 'ucsi-source-psy-1': { type: 'USB', online: '0' } }, true],
  ['USB-C, plugged in', { BAT0: battery('Not charging'), port: { type: 'USB', online: '2' } }, false],
  ['two batteries', { AC: mains('0'), BAT0: battery('Unknown'), BAT1: battery('Discharging') }, true],
  ['a UPS without mains', { ups: { type: 'UPS', status: 'Discharging' } }, true],
  ['only a mouse', { hid: { type: 'Battery', scope: 'Device', status: 'Discharging' } }, undefined],
  [
    'a mouse, plugged in',
    { AC: mains('1'), hid: { type: 'Battery', scope: 'Device', status: 'Discharging' } },
    false,
  ],
  ['nothing', {}, undefined],
  ['something that says nothing', { odd: {}, BAT0: { type: 'Battery' } }, undefined],
];

for (const [name, supplies, expected] of CASES)
  test(`power: ${name}`, async (t) => {
    assert.equal(await isOnBattery(await powerSupplies(t, supplies)), expected);
  });

test('power: a system that lists no supplies can not tell', async () => {
  assert.equal(await isOnBattery('/nonexistent'), undefined);
  const here = await isOnBattery();
  assert.ok(here === undefined || typeof here === 'boolean', 'and the real one does not fail');
});

/** A program in the place of busctl. */
async function busctl(t: TestContext, script: string): Promise<string> {
  const path = join(await folderFor(t), 'busctl');
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

for (const [said, expected] of [
  ['u 0', undefined],
  ['u 1', true],
  ['u 2', false],
  ['u 3', true],
  ['u 4', false],
  ['u 99', undefined],
  ['', undefined],
] as const)
  test(`network: NetworkManager says ${JSON.stringify(said)}`, async (t) => {
    const script = `case "$*" in *"NetworkManager Metered") echo '${said}' ;; esac`;
    const program = await busctl(t, script);
    assert.equal(await isMetered(program), expected);
  });

test('network: without NetworkManager, D-Bus or busctl nobody can tell', async (t) => {
  assert.equal(await isMetered(await busctl(t, 'echo "u 1"; exit 1')), undefined);
  assert.equal(await isMetered('/nonexistent/busctl'), undefined);
  const here = await isMetered();
  assert.ok(here === undefined || typeof here === 'boolean', 'and the real one does not fail');
});
