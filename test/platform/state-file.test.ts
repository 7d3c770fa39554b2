import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Json } from '../../agent/base/json.ts';
import { type LogEntry, Logger } from '../../agent/base/log.ts';
import { field, integer, list, object, text, u63 } from '../../agent/base/schema.ts';
import { openStateFile, type StateFileOptions } from '../../agent/platform/state-file.ts';
import { FragileDisk } from '../support/fragile-disk.ts';
import { mutated } from '../support/properties.ts';

const schema = object({
  count: field('count', integer({ min: 0, max: 1_000_000 })),
  names: field('names', list(text({ max: 1_000 }), { max: 100 })),
});
type Content = ReturnType<typeof schema.decode>;

const INITIAL: Content = { count: 0, names: [] };

async function folder(context: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'skylark-state-'));
  context.after(() => rm(path, { recursive: true }));
  return path;
}

function optionsFor(path: string, entries: LogEntry[] = []): StateFileOptions<Content> {
  return {
    path,
    schema,
    version: 1,
    initial: () => INITIAL,
    checksum: (bytes) => createHash('sha256').update(bytes).digest('hex'),
    log: new Logger((entry) => entries.push(entry)),
  };
}

const setCount = (count: number) => (value: Content) => ({ ...value, count });

test('what was updated is there after opening again, in files and a folder for the owner only', async (context) => {
  const path = join(await folder(context), 'a', 'b', 'state.json');
  const file = await openStateFile(optionsFor(path));
  assert.deepEqual(file.value, INITIAL);
  await file.update(() => ({ count: 7, names: ['é\n"', '🎹'] }));
  await file.close();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(`${path}.previous`)).mode & 0o777, 0o600);
  assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o700);
  const again = await openStateFile(optionsFor(path));
  assert.deepEqual(again.value, { count: 7, names: ['é\n"', '🎹'] });
});

test('64-bit integers stay exact', async (context) => {
  const path = join(await folder(context), 'state.json');
  const exact = { ...optionsFor(path), schema: object({ n: field('n', u63) }), initial: () => ({ n: 0n }) };
  const file = await openStateFile(exact);
  await file.update(() => ({ n: 9_223_372_036_854_775_807n }));
  assert.equal((await openStateFile(exact)).value.n, 9_223_372_036_854_775_807n);
});

test('updates that come together are all made, in order, and a failing one harms no other', async (context) => {
  const path = join(await folder(context), 'state.json');
  const file = await openStateFile(optionsFor(path));
  const results = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) =>
      file.update((value) => {
        if (i === 20) throw new Error('refused');
        // 30: more than the schema takes.
        return { count: i === 30 ? 5_000_000 : value.count + 1, names: [...value.names, String(i)] };
      }),
    ),
  );
  const failed = results.flatMap((result, i) => (result.status === 'rejected' ? [[i, result.reason]] : []));
  assert.deepEqual(
    failed.map(([i, reason]) => [i, reason.code ?? reason.message]),
    [
      [20, 'refused'],
      [30, 'state.invalid'],
    ],
  );
  assert.equal(file.value.count, 48);
  const expected = Array.from({ length: 50 }, (_, i) => String(i)).filter((i) => i !== '20' && i !== '30');
  assert.deepEqual(file.value.names, expected);
  assert.deepEqual((await openStateFile(optionsFor(path))).value, file.value);
});

test('an update in every turn of the event loop around the end of another one is made', async (context) => {
  const file = await openStateFile(optionsFor(join(await folder(context), 'state.json')));
  for (let turns = 0; turns < 12; turns++) {
    await file.update((value) => ({ ...value, count: value.count + 1 }));
    for (let i = 0; i < turns; i++) await Promise.resolve();
    await file.update((value) => ({ ...value, count: value.count + 1 }));
  }
  assert.equal(file.value.count, 24);
});

test('a section changes its part only', async (context) => {
  const path = join(await folder(context), 'state.json');
  const file = await openStateFile(optionsFor(path));
  const names = file.section('names');
  await Promise.all([names.update((value) => [...value, 'a']), file.update(setCount(3))]);
  assert.deepEqual(names.value, ['a']);
  assert.deepEqual(file.value, { count: 3, names: ['a'] });
});

test('a closed state file has everything written and refuses more', async (context) => {
  const path = join(await folder(context), 'state.json');
  const file = await openStateFile(optionsFor(path));
  const update = file.update(setCount(1));
  await file.close();
  await update;
  assert.equal((await openStateFile(optionsFor(path))).value.count, 1);
  await assert.rejects(file.update(setCount(2)), { code: 'state.closed' });
});

const DAMAGE: Readonly<Record<string, (good: Uint8Array) => Uint8Array>> = {
  truncated: (good) => good.subarray(0, good.length - 10),
  empty: () => new Uint8Array(0),
  garbage: () => new Uint8Array(500).fill(0xaa),
  zeros: (good) => new Uint8Array(good.length),
  'another document': () => new TextEncoder().encode('{"clubs":[]}'),
  'one flipped digit': (good) =>
    new TextEncoder().encode(new TextDecoder().decode(good).replace('"count":2', '"count":3')),
};

for (const [what, damage] of Object.entries(DAMAGE)) {
  test(`a damaged state file (${what}) gives way to its previous generation, loudly, and is set aside`, async (context) => {
    const at = await folder(context);
    const path = join(at, 'state.json');
    const file = await openStateFile(optionsFor(path));
    await file.update(setCount(1));
    await file.update(setCount(2));
    const bad = damage(await readFile(path));
    await writeFile(path, bad);
    const entries: LogEntry[] = [];
    const again = await openStateFile(optionsFor(path, entries));
    assert.equal(again.value.count, 1);
    assert.deepEqual(
      entries.map(({ level }) => level),
      ['warn'],
    );
    assert.deepEqual(new Uint8Array(await readFile(`${path}.damaged`)), new Uint8Array(bad));
    await again.update(setCount(9));
    assert.equal((await openStateFile(optionsFor(path))).value.count, 9);
    assert.deepEqual((await readdir(at)).sort(), ['state.json', 'state.json.damaged', 'state.json.previous']);
  });

  test(`two damaged generations (${what}) are refused and left alone`, async (context) => {
    const path = join(await folder(context), 'state.json');
    const file = await openStateFile(optionsFor(path));
    await file.update(setCount(1));
    await file.update(setCount(2));
    for (const name of [path, `${path}.previous`]) {
      const text = new TextDecoder().decode(await readFile(name)).replace('"count":1', '"count":2');
      await writeFile(name, damage(new TextEncoder().encode(text)));
    }
    const before = await readFile(path);
    await assert.rejects(openStateFile(optionsFor(path)), { code: 'state.damaged', fault: 'environment' });
    assert.deepEqual(await readFile(path), before);
  });
}

test('a previous generation alone is used', async (context) => {
  const path = join(await folder(context), 'state.json');
  const file = await openStateFile(optionsFor(path));
  await file.update(setCount(1));
  await file.update(setCount(2));
  await rm(path);
  const entries: LogEntry[] = [];
  assert.equal((await openStateFile(optionsFor(path, entries))).value.count, 1);
  assert.equal(entries[0]?.level, 'warn');
});

test('a damaged file without a previous generation never becomes an empty state', async (context) => {
  const path = join(await folder(context), 'state.json');
  await writeFile(path, '');
  await assert.rejects(openStateFile(optionsFor(path)), { code: 'state.damaged', exitCode: 78 });
  assert.equal((await readFile(path)).length, 0);
});

test('any damage to the bytes gives the same content or the previous one', async (context) => {
  const path = join(await folder(context), 'state.json');
  const file = await openStateFile(optionsFor(path));
  await file.update(setCount(1));
  await file.update(setCount(2));
  const [good, previous] = [new Uint8Array(await readFile(path)), await readFile(`${path}.previous`)];
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(good)), async (bytes) => {
      await writeFile(path, bytes);
      await writeFile(`${path}.previous`, previous);
      const { count } = (await openStateFile(optionsFor(path))).value;
      assert.ok(count === 1 || count === 2);
    }),
    { numRuns: 60 },
  );
});

test('an unreadable file and a symbolic link are refused, not replaced', async (context) => {
  const at = await folder(context);
  await mkdir(join(at, 'folder'));
  await assert.rejects(openStateFile(optionsFor(join(at, 'folder'))), {
    code: 'state.unreadable',
    exitCode: 77,
  });
  await symlink('/nowhere', join(at, 'link'));
  await assert.rejects(openStateFile(optionsFor(join(at, 'link'))), { code: 'state.unreadable' });
});

test('permissions that were opened to others are taken back', async (context) => {
  const path = join(await folder(context), 'state.json');
  await openStateFile(optionsFor(path));
  await chmod(path, 0o644);
  await openStateFile(optionsFor(path));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('an older version is migrated step by step, and kept; a newer one is refused', async (context) => {
  const path = join(await folder(context), 'state.json');
  const old = await openStateFile(optionsFor(path));
  await old.update(setCount(5));
  const before = await readFile(path);
  const newer: StateFileOptions<{ readonly total: number }> = {
    ...optionsFor(path),
    schema: object({ total: field('total', integer({ min: 0, max: 1_000_000 })) }),
    version: 3,
    initial: () => ({ total: 0 }),
    migrations: new Map<number, (content: Json) => Json>([
      [1, (content) => ({ sum: (content as { count: number }).count })],
      [2, (content) => ({ total: (content as { sum: number }).sum * 2 })],
    ]),
  };
  const migrated = await openStateFile(newer);
  assert.equal(migrated.value.total, 10);
  assert.deepEqual(await readFile(`${path}.v1`), before);
  assert.equal((await openStateFile(newer)).value.total, 10);
  await assert.rejects(openStateFile(optionsFor(path)), {
    code: 'state.too_new',
    fault: 'environment',
    exitCode: 78,
  });
});

test('a state folder where no folder can be is told at once', { timeout: 10_000 }, async () => {
  await assert.rejects(openStateFile(optionsFor('/proc/nowhere/state/state.json')), {
    code: 'state.write_failed',
  });
});

test('folders are made level by level and flushed', async (context) => {
  const path = join(await folder(context), 'a', 'b', 'state.json');
  await openStateFile(optionsFor(path));
  assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
});

test('a power cut at any step of any write leaves the acknowledged document or a later one', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          cutAfter: fc.integer({ min: 1, max: 30 }),
          fate: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        }),
        { minLength: 1, maxLength: 6 },
      ),
      async (lives) => {
        const disk = new FragileDisk();
        const options = { ...optionsFor('/state.json'), disk };
        let acknowledged = 0;
        let attempted = 0;
        for (const { cutAfter, fate } of lives) {
          disk.cutAt = cutAfter;
          try {
            const file = await openStateFile(options);
            assert.ok(file.value.count >= acknowledged && file.value.count <= attempted);
            for (;;) {
              attempted = Math.max(attempted, file.value.count) + 1;
              await file.update(setCount(attempted));
              acknowledged = attempted;
            }
          } catch (thrown) {
            const { code, message } = thrown as { code?: string; message: string };
            assert.ok(
              code === 'state.write_failed' || code === 'state.unreadable' || message === 'power cut',
              message,
            );
          }
          disk.restart((index) => fate[index % fate.length] ?? false);
        }
        const file = await openStateFile(options);
        assert.ok(file.value.count >= acknowledged && file.value.count <= attempted);
      },
    ),
    { numRuns: 300 },
  );
});

test('a write that fails once changes nothing, and the next one works', async () => {
  for (let step = 1; step <= 6; step++) {
    const disk = new FragileDisk();
    const options = { ...optionsFor('/state.json'), disk };
    const file = await openStateFile(options);
    await file.update(setCount(1));
    disk.steps = 0;
    disk.cutAt = step;
    disk.failure = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    await assert.rejects(file.update(setCount(2)), { code: 'state.write_failed', remedy: 'free some space' });
    assert.equal(file.value.count, 1);
    await file.update((value) => ({ ...value, count: value.count + 10 }));
    assert.equal(file.value.count, 11);
    assert.equal((await openStateFile(options)).value.count, 11);
  }
});

test('kill -9 in the middle of writing loses nothing that was acknowledged', {
  timeout: 60_000,
}, async (context) => {
  const path = join(await folder(context), 'state.json');
  let acknowledged = 0;
  for (let life = 0; life < 6; life++) {
    const writer = spawn(process.execPath, [join(import.meta.dirname, 'state-file-writer.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    context.after(() => writer.kill('SIGKILL'));
    const exit = once(writer, 'exit');
    const stopAt = acknowledged + 5 + 9 * life;
    for await (const line of createInterface({ input: writer.stdout })) {
      acknowledged = Number(line);
      if (acknowledged >= stopAt) writer.kill('SIGKILL');
    }
    await exit;
    assert.ok(acknowledged >= stopAt);
  }
  const file = await openStateFile({
    ...optionsFor(path),
    schema: object({ count: field('count', integer({ min: 0, max: Number.MAX_SAFE_INTEGER })) }),
    initial: () => ({ count: 0 }),
  });
  assert.ok(file.value.count === acknowledged || file.value.count === acknowledged + 1);
});
