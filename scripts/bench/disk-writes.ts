/**
 * What truly reaches the disk: the sectors that the block devices below an agent take, with the file system's journal.
 * State folder and share lie on an ext4 each, in loop-mounted files, so that both can be told apart.
 *
 *     node scripts/bench/disk-writes.ts [--mib N] [--files N] [--bytes N] [--only large|small|edits|idle]
 *         [--idle SECONDS] [--faketime LIBRARY [--times N]]
 *
 * For the receiving agent: one file of `--mib` MiB; `--files` files of `--bytes` bytes; files that change
 * one by one; and `--idle` seconds, connected, with nothing to do. With `--faketime` (the path of libfaketimeMT.so.1, Debian's libfaketime) those seconds pass `--times` times
 * as fast for both agents, so that a day takes half an hour. For the agent that has the files: noting them. Beside it, in the same run: the same files, each written, flushed and renamed, as many
 * at a time as an agent does, with nothing noted anywhere.
 *
 * Needs root. The images lie in the temporary folder; TMPDIR=/dev/shm spares the real disk.
 */

import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Ext4Disk, openExt4 } from '../../test/crash/ext4-disk.ts';
import { must, Scene } from '../../test/crash/scene.ts';
import { joined, TestAgent } from '../../test/support/agents.ts';
import { countFiles, until, writtenBy } from './measuring.ts';

const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '256' },
    files: { type: 'string', default: '10000' },
    bytes: { type: 'string', default: '4096' },
    idle: { type: 'string', default: '600' },
    faketime: { type: 'string' },
    times: { type: 'string', default: '60' },
    only: { type: 'string' },
  },
});
const MIB = 1_048_576;
const IN_FOLDER = 100;
const EDITS = 50;
/** What an agent places at the same time. */
const AT_ONCE = 32;
/** Of /sys/block/NAME/stat, whatever the device's own are. */
const SECTOR = 512;
const DAY_S = 86_400;

interface Load {
  readonly name: string;
  readonly files: number;
  readonly size: number;
}

const loads: readonly Load[] = [
  { name: 'large', files: 1, size: Number(values.mib) * MIB },
  { name: 'small', files: Number(values.files), size: Number(values.bytes) },
];

for (const load of loads)
  if (values.only === undefined || values.only === load.name) await inScene((scene) => syncing(scene, load));
if (values.only === undefined || values.only === 'edits') await inScene(edits);
if (values.only === undefined || values.only === 'idle') await inScene(idle);

async function syncing(scene: Scene, load: Load): Promise<void> {
  const { files, size } = load;
  const bytes = files * size;
  const room = Math.ceil((2 * files * Math.ceil(size / 4_096) * 4_096) / MIB) + 256;
  const disks = {
    share: openDisk(scene, 'share', room),
    state: openDisk(scene, 'state', 512),
    sender: openDisk(scene, 'sender', 512),
  };
  const a = new TestAgent(join(scene.root, 'a'), { name: 'a', state: join(disks.sender.path, 'state') });
  const b = new TestAgent(disks.share.path, { name: 'b', state: join(disks.state.path, 'state') });
  scene.defer(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
  await a.start();
  await b.start();
  const [left, right] = await joined(a, b);
  await b.end();

  const noting = watch(disks.sender);
  await fill(left, load, 1);
  await until(async () => {
    const [share] = (await a.status()).shares;
    return share?.files === files && share.synced;
  }, 500);
  const noted = noting();

  const [toShare, toState] = [watch(disks.share), watch(disks.state)];
  await b.start();
  await until(() => countFiles(right) === files, 50);
  await until(async () => (await b.status()).shares.every(({ synced }) => synced), 500);
  const pages = writtenBy(b.pid);
  // Brings the log of the database into its file, as sooner or later happens anyway.
  await b.end();
  const [share, state] = [toShare(), toState()];

  const floor = watch(disks.share);
  await fill(join(disks.share.path, 'floor'), load, AT_ONCE);
  const plain = floor();

  const budget = 1.1 * bytes + 300 * files;
  const shown = (written: number) => ({
    bytes: written,
    aFile: Math.round((written - bytes) / files),
    ofContents: ratio(written, bytes),
  });
  console.log(
    JSON.stringify({
      scenario: `${files} files of ${size} bytes`,
      contents: bytes,
      budget: Math.round(budget),
      receiver: { ...shown(share + state), ofBudget: ratio(share + state, budget) },
      receiverShare: shown(share),
      receiverState: { bytes: state, aFile: Math.round(state / files) },
      receiverPages: pages,
      plainFiles: { ...shown(plain), ofBudget: ratio(plain, budget) },
      receiverToPlain: ratio(share + state, plain),
      senderState: { bytes: noted, aFile: Math.round(noted / files) },
    }),
  );
}

/** Files that change one by one, with time between. */
async function edits(scene: Scene): Promise<void> {
  const { disks, left, right } = await quietPair(scene);
  const written = [disks.share, disks.state].map(watch);
  for (let i = 0; i < EDITS; i++) {
    const name = join('folder 0', `${i}`);
    const text = `edit ${i}`.padEnd(4_096);
    writeFileSync(join(left, name), text);
    await until(() => readFileSync(join(right, name), 'utf8') === text, 5);
    await wait(200);
  }
  const [share = 0, state = 0] = written.map((stop) => stop());
  const each = (bytes: number) => Math.round(bytes / EDITS);
  console.log(
    JSON.stringify({ scenario: 'edits of 4096 bytes', aFile: { share: each(share), state: each(state) } }),
  );
}

async function quietPair(scene: Scene) {
  const disks = { share: openDisk(scene, 'share', 128), state: openDisk(scene, 'state', 128) };
  const a = new TestAgent(join(scene.root, 'a'), { name: 'a' });
  const b = new TestAgent(disks.share.path, { name: 'b', state: join(disks.state.path, 'state') });
  scene.defer(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
  await a.start();
  await b.start();
  const [left, right] = await joined(a, b);
  await fill(left, { name: 'few', files: IN_FOLDER, size: 4_096 }, 1);
  await until(() => countFiles(right) === IN_FOLDER, 50);
  return { a, b, disks, left, right };
}

async function idle(scene: Scene): Promise<void> {
  const { a, b, disks } = await quietPair(scene);
  // It began when the keys were there, and ends when nothing has come for a while.
  await wait(15_000);
  const times = values.faketime === undefined ? 1 : Number(values.times);
  if (values.faketime !== undefined)
    for (const agent of [a, b]) {
      agent.environment = { LD_PRELOAD: values.faketime, FAKETIME: `+0 x${times}`, NO_FAKE_STAT: '1' };
      await agent.restart();
    }
  // What is noted in the first minutes after a start is not of the idle time.
  await wait(Math.max(180_000 / times, 20_000));
  const seconds = Number(values.idle);
  const written = [disks.share, disks.state].map(watch);
  await wait((seconds * 1_000) / times);
  const [share = 0, state = 0] = written.map((stop) => stop());
  const isConnected = (await b.status()).peers.some(({ connected }) => connected);
  const aDay = Math.round(((share + state) * DAY_S) / seconds);
  console.log(JSON.stringify({ scenario: `idle for ${seconds} s`, times, isConnected, share, state, aDay }));
}

/** One megabyte and more for its journal. */
function openDisk(scene: Scene, name: string, megabytes: number): Ext4Disk {
  // Without the option the kernel goes on for minutes to write empty inodes.
  return openExt4(scene, name, { megabytes, options: 'noinit_itable' });
}

/** @returns tells how many bytes the device below has taken since. */
function watch({ path }: Pick<Ext4Disk, 'path'>): () => number {
  const before = sectors(path);
  return () => (sectors(path) - before) * SECTOR;
}

function sectors(path: string): number {
  must('sync', '-f', path);
  const { dev } = statSync(path);
  const stat = readFileSync(`/sys/dev/block/${dev >> 8}:${dev & 0xff}/stat`, 'utf8')
    .trim()
    .split(/\s+/);
  return Number(stat[6]);
}

/** Each file under another name, flushed and renamed. */
async function fill(folder: string, { files, size }: Load, atOnce: number): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const numbers = Array.from({ length: files }, (_, i) => i).values();
  const work = async () => {
    for (const i of numbers) {
      const inside = files === 1 ? folder : join(folder, `folder ${Math.floor(i / IN_FOLDER)}`);
      mkdirSync(inside, { recursive: true });
      const hidden = join(inside, `.${i}`);
      const file = await open(hidden, 'w');
      const block = Buffer.alloc(Math.min(size, MIB));
      for (let at = 0; at < size; at += block.length) {
        // No two blocks are the same, or the agent would copy instead of fetching.
        block.writeUInt32LE(i, 0);
        block.writeDoubleLE(Math.random() + at, 4);
        await file.write(block, 0, Math.min(block.length, size - at));
      }
      await file.sync();
      await file.close();
      await rename(hidden, join(inside, `${i}`));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

async function inScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = new Scene();
  try {
    await body(scene);
  } finally {
    await scene.close();
  }
}

function ratio(written: number, bytes: number): number {
  return Number((written / bytes).toFixed(3));
}
