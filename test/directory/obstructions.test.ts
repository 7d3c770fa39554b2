import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../agent/base/log.ts';
import { Obstructions } from '../../agent/directory/obstructions.ts';
import type { FileRecord } from '../../agent/directory/projection.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const file: FileRecord = {
  uuid: 'ab'.repeat(16),
  key: '/x',
  value: { size: 1, sha256: '0'.repeat(64), mtime: '2026-01-01T00:00:00Z' },
  deleted: false,
  vectorClock: new Map(),
};
const inside: FileRecord = { ...file, uuid: 'cd'.repeat(16), key: '/x/y' };

function setup({ writable = true } = {}) {
  const clock = virtualClock();
  const renamed: string[] = [];
  const obstructions = new Obstructions({
    clock,
    log: silentLogger,
    records: {
      writable,
      get: (key) => (key === '/x' && renamed.length === 0 ? file : undefined),
      iterate: () => [inside],
      rename: (_, key) => void renamed.push(key),
    },
  });
  return { clock, obstructions, renamed };
}

describe('a file that has the name of a folder', () => {
  it('gets another name, the same everywhere, once nothing has changed for a moment', async () => {
    const [one, other] = [setup(), setup()];
    for (const { clock, obstructions, renamed } of [one, other]) {
      obstructions.note('/x');
      await clock.pass(1_000);
      obstructions.disturb();
      await clock.pass(1_000);
      assert.deepEqual(renamed, []);
      await clock.pass(1_000);
      obstructions.close();
    }
    assert.equal(one.renamed.length, 1);
    assert.match(one.renamed[0] ?? '', /^\/x\.CONFLICT\.[a-z2-7]{8}$/);
    assert.deepEqual(one.renamed, other.renamed);
  });

  it('gets it within a minute or so in a share that is never quiet', async () => {
    const { clock, obstructions, renamed } = setup();
    obstructions.note('/x');
    for (let second = 0; second < 65; second++) {
      obstructions.disturb();
      await clock.pass(1_000);
    }
    assert.equal(renamed.length, 1);
    obstructions.close();
  });

  it('keeps it where records may not be changed', async () => {
    const { clock, obstructions, renamed } = setup({ writable: false });
    obstructions.note('/x');
    await clock.pass(600_000);
    assert.deepEqual(renamed, []);
    obstructions.close();
  });
});
