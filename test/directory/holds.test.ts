import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PathHolds } from '../../agent/directory/holds.ts';
import { isWithin } from '../../agent/directory/paths.ts';

const paths = fc
  .array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 })
  .map((names) => `/${names.join('/')}`);

test('what is kept back is told of once, when nothing holds it or a folder around it any more', () => {
  const held = fc.array(fc.array(paths, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(held, fc.array(paths, { maxLength: 6 }), (groups, touched) => {
      const told: string[] = [];
      const holds = new PathHolds((path) => told.push(path));
      const left = new Map(groups.map((group) => [holds.hold(group), group]));
      const isCovered = (path: string) => [...left.values()].flat().some((other) => isWithin(path, other));
      const waiting = new Set<string>();
      for (const path of touched) {
        assert.equal(holds.isHeld(path), isCovered(path));
        assert.equal(holds.keepBack(path), isCovered(path));
        if (isCovered(path)) waiting.add(path);
      }
      for (const release of [...left.keys()]) {
        left.delete(release);
        release();
        release();
        const free = [...waiting].filter((path) => !isCovered(path));
        for (const path of free) waiting.delete(path);
        assert.deepEqual(told.splice(0).sort(), free.sort());
        assert.equal(holds.isKeepingBack, waiting.size > 0);
      }
      assert.equal(waiting.size, 0);
    }),
  );
});
