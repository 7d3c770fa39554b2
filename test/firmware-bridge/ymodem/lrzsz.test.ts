/** The YMODEM driver against Debian's lrzsz over pseudo-terminals, both ways. */

import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import type { Device, DeviceEvent } from '../../../firmware-bridge/drivers/driver.ts';
import { ymodemDriver } from '../../../firmware-bridge/drivers/ymodem.ts';
import { openSerialPort } from '../../../firmware-bridge/transports/serial.ts';
import { type Program, peerTest, startProgram } from '../../support/peers.ts';
import { content, offered, pieces, readAll } from '../conformance.ts';

// rb asks every ten seconds only, and a question that came before the file was there is not answered.
const NEEDS = { programs: ['socat', 'sb', 'rb'], timeout: 180_000 };

interface Stage {
  readonly device: Device;
  readonly events: DeviceEvent[];
  readonly folder: string;
  /** Runs a program of lrzsz with the other end of the line as its terminal. */
  run(program: string, ...args: string[]): Program;
}

async function stage(t: TestContext): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-lrzsz-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [a, b] = [join(folder, 'line-a'), join(folder, 'line-b')];
  const raw = (path: string) => `PTY,link=${path},raw,echo=0`;
  const socat = startProgram(t, 'socat', ['-d', '-d', raw(a), raw(b)]);
  await socat.waitFor(/starting data transfer loop/);
  const files = join(folder, 'files');
  mkdirSync(files);
  const events: DeviceEvent[] = [];
  const stream = await openSerialPort({ path: a, baud: 1_000_000, hardwareFlow: false });
  const device = await ymodemDriver.open(
    { kind: 'stream', stream },
    { clock: systemClock, log: silentLogger, onEvent: (event) => events.push(event) },
  );
  t.after(() => device.close());
  // The agent's clock keeps no process alive.
  const awake = setInterval(() => {}, 1_000);
  t.after(() => clearInterval(awake));
  return {
    device,
    events,
    folder: files,
    run: (program, ...args) =>
      startProgram(t, 'sh', ['-c', `exec ${program} "$@" <"$0" >"$0"`, b, ...args], { cwd: files }),
  };
}

/** Reads an offered file and says that it is stored. */
async function take({ device, events }: Stage, name: string) {
  const file = await offered(events, name);
  const bytes = await readAll(device, file);
  await device.release?.(file, true);
  return { file, bytes };
}

peerTest('sb sends a batch of files, with names, lengths and times', NEEDS, async (t) => {
  const here = await stage(t);
  const contents = new Map([
    ['one.mid', content(1, 1)],
    ['empty.mid', new Uint8Array()],
    ['long ♭.mid', content(2, 150_000)],
    ['even.bin', content(3, 2_048)],
  ]);
  for (const [name, bytes] of contents) {
    writeFileSync(join(here.folder, name), bytes);
    utimesSync(join(here.folder, name), 1_700_000_000, 1_700_000_000);
  }
  const sb = here.run('sb', ...contents.keys());
  for (const [name, bytes] of contents) {
    const taken = await take(here, name);
    assert.equal(taken.file.mtime, 1_700_000_000_000_000_000n);
    assert.ok(Buffer.compare(taken.bytes, bytes) === 0, name);
  }
  assert.equal((await sb.exited).code, 0, sb.output);
});

peerTest('sz --ymodem with 1 KiB blocks, and the next file after it', NEEDS, async (t) => {
  const here = await stage(t);
  for (const [name, size] of [
    ['a.mid', 5_000],
    ['b.mid', 1_024],
  ] as const) {
    writeFileSync(join(here.folder, name), content(size, size));
    const sz = here.run('sz', '--ymodem', '--1k', name);
    const { bytes } = await take(here, name);
    assert.ok(Buffer.compare(bytes, content(size, size)) === 0);
    assert.equal((await sz.exited).code, 0, sz.output);
  }
});

peerTest('sb learns that its file could not be stored', NEEDS, async (t) => {
  const here = await stage(t);
  writeFileSync(join(here.folder, 'a.mid'), content(1, 3_000));
  const sb = here.run('sb', 'a.mid');
  const file = await offered(here.events, 'a.mid');
  await readAll(here.device, file);
  await here.device.release?.(file, false);
  assert.notEqual((await sb.exited).code, 0, sb.output);
});

peerTest(
  'a sender that is killed in the middle leaves an error, and the next one is heard',
  NEEDS,
  async (t) => {
    const here = await stage(t);
    writeFileSync(join(here.folder, 'a.mid'), content(1, 200_000));
    const killed = here.run('sb', 'a.mid');
    const half = await offered(here.events, 'a.mid');
    await assert.rejects(
      async () => {
        for await (const _ of here.device.read(half, 0)) await killed.end('SIGINT');
      },
      { code: 'device.transfer' },
    );
    assert.equal(await here.device.stat(half.key), undefined);
    writeFileSync(join(here.folder, 'b.mid'), content(2, 4_000));
    const sb = here.run('sb', 'b.mid');
    const { bytes } = await take(here, 'b.mid');
    assert.ok(Buffer.compare(bytes, content(2, 4_000)) === 0);
    assert.equal((await sb.exited).code, 0, sb.output);
  },
);

peerTest('rb receives what is written', NEEDS, async (t) => {
  const here = await stage(t);
  for (const size of [0, 1, 128, 129, 1_024, 150_000]) {
    const name = `written-${size}.bin`;
    const rb = here.run('rb', '--overwrite');
    const bytes = content(size, size);
    const mtime = 1_700_000_000_000_000_000n;
    await here.device.write({ name, size, mtime, replace: true, content: pieces(bytes) });
    assert.equal((await rb.exited).code, 0, rb.output);
    assert.ok(Buffer.compare(readFileSync(join(here.folder, name)), bytes) === 0, name);
    assert.equal(statSync(join(here.folder, name)).mtimeMs, 1_700_000_000_000);
  }
});

peerTest('rb keeps nothing of content that is not as long as announced', NEEDS, async (t) => {
  const here = await stage(t);
  for (const size of [2_500, 3_500]) {
    const rb = here.run('rb');
    const file = {
      name: 'wrong.bin',
      size,
      mtime: undefined,
      replace: true,
      content: pieces(content(1, 3_000)),
    };
    await assert.rejects(here.device.write(file), { code: 'bridge.content_size' });
    assert.notEqual((await rb.exited).code, 0, rb.output);
    assert.deepEqual(readdirSync(here.folder), []);
  }
});
