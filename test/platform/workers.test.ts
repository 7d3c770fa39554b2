import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SkylarkError, userError } from '../../agent/base/errors.ts';
import { openWorkerPool, type WorkerPool, type WorkerPoolOptions } from '../../agent/platform/workers.ts';
import type { SampleRequest } from './sample-worker.ts';

const ENTRY = '../test/platform/sample-worker';

async function withPool(
  options: Partial<WorkerPoolOptions>,
  body: (pool: WorkerPool<SampleRequest, unknown>) => Promise<void>,
): Promise<void> {
  const pool = openWorkerPool<SampleRequest, unknown>({ entry: ENTRY, size: 1, ...options });
  try {
    await body(pool);
  } finally {
    await pool.close();
  }
}

const withCode = (code: string) => (thrown: unknown) =>
  thrown instanceof SkylarkError && thrown.code === code;

test('a worker hashes a file through a descriptor that the main thread opened', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-workers-'));
  const content = Buffer.alloc(200_000, 'piano');
  writeFileSync(join(folder, 'take'), content);
  const fd = openSync(join(folder, 'take'), 'r');
  try {
    await withPool({}, async (pool) => {
      const expected = createHash('sha256').update(content).digest('hex');
      assert.equal(await pool.run({ do: 'hash', fd }), expected);
    });
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});

test('transferred bytes leave the sender and come back without a copy', async () => {
  await withPool({}, async (pool) => {
    const bytes = new Uint8Array(1_000_000).fill(7);
    const answer = pool.run({ do: 'send back', bytes }, { transfer: [bytes.buffer] });
    assert.equal(bytes.length, 0);
    const back = await answer;
    assert.ok(back instanceof Uint8Array);
    assert.equal(back.length, 1_000_000);
    assert.equal(back[999_999], 7);
  });
});

test('errors arrive as what they were', async () => {
  await withPool({}, async (pool) => {
    await assert.rejects(pool.run({ do: 'refuse' }), (thrown) => {
      assert.ok(thrown instanceof SkylarkError);
      assert.deepEqual(
        [thrown.fault, thrown.code, thrown.message, thrown.remedy],
        ['user', 'sample.refused', 'not today', 'come back tomorrow'],
      );
      return true;
    });
    await assert.rejects(pool.run({ do: 'system error' }), { code: 'EBADF' });
    await assert.rejects(pool.run({ do: 'return a function' }), /could not be cloned/);
    assert.deepEqual(await pool.run({ do: 'environment' }), {});
  });
});

test('a thread that dies fails its request; the next request gets a new thread', async () => {
  await withPool({}, async (pool) => {
    const died = pool.run({ do: 'exit' });
    const next = pool.run({ do: 'environment' });
    await assert.rejects(died, withCode('worker.crashed'));
    assert.deepEqual(await next, {});
  });
});

test('an entry that does not exist fails the request', async () => {
  await withPool({ entry: 'platform/no-such-worker' }, async (pool) => {
    await assert.rejects(pool.run({ do: 'environment' }), withCode('worker.crashed'));
  });
});

test('a request that was given up rejects at once, running or waiting, and the rest goes on', async () => {
  await withPool({}, async (pool) => {
    const giveUp = new AbortController();
    const running = pool.run({ do: 'wait for cancellation' }, { signal: giveUp.signal });
    const waiting = pool.run({ do: 'wait for cancellation' }, { signal: giveUp.signal });
    const after = pool.run({ do: 'environment' });
    const reason = userError('sample.gave_up', 'gave up');
    giveUp.abort(reason);
    await assert.rejects(running, reason);
    await assert.rejects(waiting, reason);
    assert.deepEqual(await after, {});
    await assert.rejects(pool.run({ do: 'environment' }, { signal: giveUp.signal }), reason);
  });
});

test('closing rejects what runs, what waits and what comes later', async () => {
  const pool = openWorkerPool<SampleRequest, unknown>({ entry: ENTRY, size: 1 });
  const running = assert.rejects(pool.run({ do: 'wait for cancellation' }), withCode('worker.closed'));
  const waiting = assert.rejects(pool.run({ do: 'environment' }), withCode('worker.closed'));
  await pool.close();
  await running;
  await waiting;
  await assert.rejects(pool.run({ do: 'environment' }), withCode('worker.closed'));
});

test('workers yield the processor to the rest of the machine', async () => {
  const own = getPriority();
  await withPool({ niceness: own + 7 }, async (pool) => {
    assert.equal(await pool.run({ do: 'priority' }), own + 7);
    assert.equal(getPriority(), own);
  });
});

test('an idle thread ends, and the pool works again afterwards', async () => {
  const timers: (() => void)[] = [];
  const clock = {
    now: () => 0n,
    monotonic: () => 0,
    after: (_ms: number, callback: () => void) => {
      timers.push(callback);
      return { cancel: () => timers.splice(timers.indexOf(callback), 1) };
    },
  };
  await withPool({ clock }, async (pool) => {
    await pool.run({ do: 'environment' });
    assert.equal(timers.length, 1);
    timers[0]?.();
    assert.deepEqual(await pool.run({ do: 'environment' }), {});
  });
});

test('an idle pool does not keep the program running', () => {
  const workers = new URL('../../agent/platform/workers.ts', import.meta.url).href;
  const program = `
    import { openWorkerPool } from ${JSON.stringify(workers)};
    const pool = openWorkerPool({ entry: ${JSON.stringify(ENTRY)} });
    console.log(JSON.stringify(await pool.run({ do: 'environment' })));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '{}\n', stderr: '' });
});
