/** kill -9 at any time, on either side, then restart: nothing lost, nothing half-visible, no revision used twice. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { agentsFor, joined, type TestAgent } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { sameTree } from '../support/folder-tree.ts';

/** A file whose name tells its content, so that a partial or mixed-up one gives itself away. */
async function writeNamed(folder: string, bytes: Buffer): Promise<void> {
  const name = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(folder, `${name}.bin`), bytes);
}

async function assertWhole(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.bin')) continue;
    const bytes = await readFile(join(folder, name));
    assert.equal(
      `${createHash('sha256').update(bytes).digest('hex')}.bin`,
      name,
      'a partial file has its final name',
    );
  }
}

/** (author, revision) -> contents, as this agent's database has them. */
function revisions(agent: TestAgent): Map<string, string> {
  const database = new DatabaseSync(join(agent.state, 'records.db'), { readOnly: true });
  try {
    const rows = database
      .prepare(
        `SELECT hex(peer) AS author, CAST(revision AS TEXT) AS rev, hex(uuid) AS uuid
         FROM database_record JOIN database_peer ON database_peer.id = author`,
      )
      .all();
    return new Map(rows.map(({ author, rev, uuid }) => [`${author}/${rev}`, String(uuid)]));
  } finally {
    database.close();
  }
}

/** Adds what the agents' databases say now, and fails if a revision came to mean something else. */
function noteRevisions(known: Map<string, string>, agents: readonly TestAgent[]): void {
  for (const agent of agents) {
    for (const [revision, uuid] of revisions(agent)) {
      assert.equal(known.get(revision) ?? uuid, uuid, `revision ${revision} was used twice`);
      known.set(revision, uuid);
    }
  }
}

test('twelve rounds of kill -9 on alternating sides while files flow both ways', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const [left, right] = await joined(a, b);
  const known: Map<string, string> = new Map();
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 8; i++) {
      const bytes = Buffer.alloc(1 + ((round * 37_511 + i * 91_397) % 700_000), `${round}/${i}`);
      await writeNamed(i % 2 === 0 ? left : right, bytes);
    }
    // A different moment of the work in each round.
    await new Promise((resolve) => setTimeout(resolve, 40 * round));
    const victim = round % 2 === 0 ? a : b;
    await victim.end('SIGKILL');
    await assertWhole(left);
    await assertWhole(right);
    noteRevisions(known, [a, b]);
    await victim.start();
  }
  await eventually(
    'both hold everything',
    async () => (await sameTree(left, right)) && (await binCount(left)) === 12 * 8,
  );
  await assertWhole(right);
  const leftovers = (await readdir(right)).filter((name) => name.endsWith('.!clearsky'));
  assert.deepEqual(leftovers, []);
});

async function binCount(folder: string): Promise<number> {
  return (await readdir(folder)).filter((name) => name.endsWith('.bin')).length;
}

test('kill -9 while joining: keys are either stored and usable, or the code can be used again', async (t) => {
  const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
  assert.ok(a && b);
  const from = a.folder('Music');
  await writeFileIn(from, 'song', 'x');
  await a.run('share', from, '--name', 'Music');
  for (let round = 0; round < 6; round++) {
    const to = b.folder(`copy ${round}`);
    const code = await a.code('Music');
    const joining = b.command('join', code, to, '--name', `copy ${round}`, '--peer', a.listen);
    await new Promise((resolve) => setTimeout(resolve, 30 + 45 * round));
    await b.end('SIGKILL');
    const { exitCode } = await joining;
    await b.start();
    const share = (await b.status()).shares.find(({ name }) => name === `copy ${round}`);
    if (exitCode === 0) assert.ok(share !== undefined, 'join said that the keys are stored');
    if (share === undefined) continue;
    await eventually('a share that is there after the crash syncs', () => sameTree(from, to));
    await b.run('leave', `copy ${round}`);
    await rm(to, { recursive: true, force: true });
  }
});

async function writeFileIn(folder: string, name: string, content: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), content);
}
