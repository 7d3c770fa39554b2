import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { test } from 'node:test';
import { errorCode } from '../../agent/base/errors.ts';
import { type HashAnswer, type HashRequest, openHashing } from '../../agent/directory/hashing.ts';
import { openWorkerPool } from '../../agent/platform/workers.ts';
import { withFolder } from './folder.ts';

const signal = new AbortController().signal;
const hashOf = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');

test('files of every size get their SHA-256, alone, in batches, here and in the worker', async () => {
  await withFolder(async ({ root, hashing, at }) => {
    const sizes = [0, 1, 63, 4_096, 65_535, 65_536, 65_537, 1_048_576, 3_000_001];
    const contents = sizes.map((size) => Buffer.alloc(size, `content of ${size}`));
    fs.mkdirSync(at('/d/e'), { recursive: true });
    contents.forEach((content, i) => {
      fs.writeFileSync(at(`/d/e/${sizes[i]}`), content);
    });
    const hash = (size: number) => hashing.hash(root, `/d/e/${size}`, BigInt(size), signal);
    for (const [i, size] of sizes.entries()) {
      const outcome = await hash(size);
      assert.ok(outcome.state === 'hashed');
      assert.equal(outcome.sha256, hashOf(contents[i]!));
      assert.deepEqual(outcome.facts, await root.look(`/d/e/${size}`));
    }
    const many = await Promise.all(Array.from({ length: 300 }, (_, i) => hash(sizes[i % 6]!)));
    many.forEach((outcome, i) => {
      assert.equal(outcome.state === 'hashed' && outcome.sha256, hashOf(contents[i % 6]!));
    });
  });
});

test('what is no regular file is not opened, and one of them does not spoil the batch', async () => {
  await withFolder(async ({ root, hashing, at }) => {
    fs.writeFileSync(at('/good'), 'good');
    fs.symlinkSync('/etc/hostname', at('/link'));
    fs.mkdirSync(at('/folder'));
    execFileSync('mkfifo', [at('/pipe')]);
    const paths = ['/good', '/link', '/folder', '/pipe', '/missing', '/link/x', '/good'];
    for (const size of [1n, 1_000_000n]) {
      const outcomes = await Promise.all(paths.map((path) => hashing.hash(root, path, size, signal)));
      assert.deepEqual(
        outcomes.map((outcome) => (outcome.state === 'failed' ? outcome.code : outcome.state)),
        [
          'hashed',
          'files.symlink',
          'files.not_a_file',
          'files.not_a_file',
          'files.absent',
          'files.absent',
          'hashed',
        ],
      );
    }
  });
});

test('a file that grows while it is read is found out', async () => {
  await withFolder(async ({ root, hashing, at }) => {
    fs.writeFileSync(at('/growing'), Buffer.alloc(40_000_000));
    const running = hashing.hash(root, '/growing', 40_000_000n, signal);
    let isOver = false;
    void running.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      fs.appendFileSync(at('/growing'), 'more');
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await running).state, 'changed');
  });
});

test('a sparse file of 1 GiB is hashed in the memory of one buffer, and can be given up', async () => {
  await withFolder(async ({ root, at }) => {
    const size = 1_073_741_824;
    fs.writeFileSync(at('/sparse'), '');
    fs.truncateSync(at('/sparse'), size);
    // More would end the thread.
    const pool = openWorkerPool<HashRequest, HashAnswer>({
      entry: 'directory/hash-worker',
      heapLimitMiB: 32,
      size: 1,
    });
    const hashing = openHashing(pool);
    try {
      const giveUp = new AbortController();
      const given = hashing.hash(root, '/sparse', BigInt(size), giveUp.signal);
      setTimeout(() => giveUp.abort(new Error('enough')), 20);
      await assert.rejects(given, /enough/);
      const before = process.memoryUsage.rss();
      const outcome = await hashing.hash(root, '/sparse', BigInt(size), signal);
      const grown = process.memoryUsage.rss() - before;
      // sha256sum of 1 GiB of zeros.
      assert.equal(
        outcome.state === 'hashed' && outcome.sha256,
        '49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14',
      );
      assert.ok(grown < 64_000_000, `grew by ${grown}`);
    } finally {
      await hashing.close();
    }
  });
});

test('without its root nothing is hashed, and a closed pool says so', async () => {
  await withFolder(async ({ root, hashing, at, path }) => {
    fs.writeFileSync(at('/f'), 'f');
    fs.renameSync(path, `${path}-away`);
    for (const size of [1n, 1_000_000n])
      await assert.rejects(
        hashing.hash(root, '/f', size, signal),
        (thrown) => errorCode(thrown) === 'share.root_missing',
      );
    fs.renameSync(`${path}-away`, path);
    await hashing.close();
    await assert.rejects(
      hashing.hash(root, '/f', 1_000_000n, signal),
      (thrown) => errorCode(thrown) === 'worker.closed',
    );
  });
});
