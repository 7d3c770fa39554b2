import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { openBridgeMemory } from '../../agent/daemon/bridge-memory.ts';
import { openSqlite } from '../../agent/platform/sqlite.ts';
import type { MemoryChange, MirroredFile, SentFile } from '../../firmware-bridge/mirror-memory.ts';

const file: fc.Arbitrary<MirroredFile> = fc.record(
  {
    key: fc.constantFrom('a', 'b', 'c', 'd'),
    version: fc.string({ maxLength: 5 }),
    name: fc.string({ maxLength: 5 }),
    size: fc.maxSafeNat(),
    digest: fc.integer({ min: 0, max: 0xffff_ffff }),
    path: fc.string({ maxLength: 5 }),
    placedMtimeNs: fc.bigInt({ min: 0n, max: 2n ** 62n }),
  },
  { noNullPrototype: true },
);
const change: fc.Arbitrary<MemoryChange> = fc.oneof(
  file.map((each) => ({ kind: 'put', file: each }) as const),
  fc.constantFrom('a', 'b', 'c').map((key) => ({ kind: 'forget', key }) as const),
  fc
    .record(
      {
        path: fc.constantFrom('/a', '/b', '/c'),
        size: fc.maxSafeNat(),
        mtimeNs: fc.bigInt({ min: 0n, max: 2n ** 62n }),
      },
      { noNullPrototype: true },
    )
    .map((each) => ({ kind: 'sent', file: each }) as const),
  fc.constantFrom('/a', '/b').map((path) => ({ kind: 'unsent', path }) as const),
  fc.option(fc.string(), { nil: undefined }).map((mark) => ({ kind: 'mark', mark }) as const),
);

test('what was saved is there after the database was closed and opened again, as in a plain map', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'skylark-memory-'));
  t.after(() => rm(folder, { recursive: true }));
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 5 }), async (saves) => {
      const path = join(folder, `${count++}.db`);
      const files = new Map<string, MirroredFile>();
      const sent = new Map<string, SentFile>();
      let mark: string | undefined;
      for (const changes of saves) {
        const sqlite = openSqlite(path);
        await openBridgeMemory(sqlite).save('piano', changes);
        sqlite.close();
        for (const each of changes) {
          if (each.kind === 'put') files.set(each.file.key, each.file);
          else if (each.kind === 'forget') files.delete(each.key);
          else if (each.kind === 'sent') sent.set(each.file.path, each.file);
          else if (each.kind === 'unsent') sent.delete(each.path);
          else mark = each.mark;
        }
      }
      const sqlite = openSqlite(path);
      const memory = openBridgeMemory(sqlite);
      const loaded = await memory.load('piano');
      assert.equal(await memory.load('organ'), undefined);
      sqlite.close();
      if (saves.length === 0) return assert.equal(loaded, undefined);
      assert.equal(loaded?.mark, mark);
      assert.deepEqual(
        [...(loaded?.files ?? [])],
        [...files.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
      );
      assert.deepEqual(
        [...(loaded?.sent ?? [])],
        [...sent.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
      );
    }),
    { numRuns: 20 },
  );
});
