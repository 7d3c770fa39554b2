import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { silentLogger } from '../../agent/base/log.ts';
import { Archive, type ArchiveReason } from '../../agent/directory/archive.ts';
import { Partials } from '../../agent/directory/partials.ts';
import { PendingStore } from '../../agent/directory/pending.ts';
import { RefusalStore } from '../../agent/directory/refusals.ts';
import { openShareRoot, type ShareRoot } from '../../agent/platform/files.ts';
import { openSqlite, type Sqlite } from '../../agent/platform/sqlite.ts';

const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);
const HOUR = 3_600_000_000_000n;

let sqlite: Sqlite;
let folder: string;
let root: ShareRoot;
let now: bigint;
let ran: number;

beforeEach(async () => {
  sqlite = openSqlite(':memory:');
  folder = await mkdtemp(join(tmpdir(), 'skylark-stores-'));
  root = await openShareRoot(folder);
  now = 1_790_000_000_000_000_000n;
  ran = 0;
});
afterEach(async () => {
  root.close();
  sqlite.close();
  await rm(folder, { recursive: true });
});

const clock = { ...systemClock, now: () => now, monotonic: () => ran };

describe('pending records', () => {
  const uuid = (n: number) => n.toString(16).padStart(32, '0');

  it('keep their place while they say the same, and go to the end when they change', () => {
    const pending = new PendingStore(sqlite, 'club');
    pending.put({ uuid: uuid(1), kind: 'content', sha256: A, size: 5n });
    pending.put({ uuid: uuid(2), kind: 'content', sha256: B, size: 7n });
    pending.put({ uuid: uuid(1), kind: 'content', sha256: A, size: 5n });
    assert.deepEqual(
      pending.contentsAfter(0n, 10).map((row) => [row.id, row.uuid]),
      [
        [1n, uuid(1)],
        [2n, uuid(2)],
      ],
    );
    pending.put({ uuid: uuid(1), kind: 'content', sha256: B, size: 7n });
    assert.deepEqual(
      pending.contentsAfter(0n, 10).map((row) => [row.id, row.uuid]),
      [
        [2n, uuid(2)],
        [3n, uuid(1)],
      ],
    );
    assert.equal(pending.isWanted(A), false);
    assert.equal(pending.waitingFor(B).length, 2);
  });

  it('never use an id twice, so that whoever read to the end sees what comes', () => {
    const pending = new PendingStore(sqlite, 'club');
    pending.put({ uuid: uuid(1), kind: 'content', sha256: A, size: 5n });
    pending.remove(uuid(1));
    pending.put({ uuid: uuid(2), kind: 'content', sha256: A, size: 5n });
    assert.equal(pending.newestContent(), 2n);
  });

  it('are counted by what they need, and belong to one club', () => {
    const pending = new PendingStore(sqlite, 'club');
    const other = new PendingStore(sqlite, 'other');
    other.put({ uuid: uuid(1), kind: 'content', sha256: A, size: 100n });
    pending.put({ uuid: uuid(1), kind: 'folder', rank: 2 });
    pending.put({ uuid: uuid(2), kind: 'folder', rank: 1 });
    pending.put({ uuid: uuid(3), kind: 'content', sha256: A, size: 9_007_199_254_740_993n });
    pending.put({ uuid: uuid(4), kind: 'removal' });
    pending.put({ uuid: uuid(5), kind: 'refused', reason: 'path.component_dots' });
    pending.put({ uuid: uuid(6), kind: 'unwanted', sha256: B, size: 7n });
    pending.put({ uuid: uuid(7), kind: 'unwanted_folder' });
    assert.deepEqual(pending.totals(), {
      files: 2,
      bytes: 9_007_199_254_740_993n,
      folders: 2,
      refused: 1,
      unwanted: 1,
      unwantedBytes: 7n,
    });
    assert.deepEqual([pending.isWanted(A), pending.isWanted(B)], [true, false]);
    assert.deepEqual([pending.isKnown(A), pending.isKnown(B)], [true, true]);
    assert.equal(pending.waitingFor(B).length, 0);
    const first = pending.first('folder', 10, { rank: -100, id: 0n });
    assert.deepEqual(
      first.map((row) => row.uuid),
      [uuid(2), uuid(1)],
    );
    assert.equal(pending.get(uuid(5))?.reason, 'path.component_dots');
    pending.removeAll();
    assert.deepEqual(pending.totals(), {
      files: 0,
      bytes: 0n,
      folders: 0,
      refused: 0,
      unwanted: 0,
      unwantedBytes: 0n,
    });
    assert.equal(other.totals().files, 1);
  });
});

describe('refusals', () => {
  it('are respected for six hours, also after a restart, and forgotten when the peer has it after all', () => {
    const refusals = new RefusalStore(sqlite, 'club', clock);
    refusals.add('peer', A, 10);
    assert.equal(refusals.has('peer', A, 10), true);
    assert.equal(refusals.has('peer', B, 10), false);
    assert.equal(refusals.has('other', A, 10), false);
    now += 5n * HOUR;
    assert.equal(new RefusalStore(sqlite, 'club', clock).has('peer', A, 10), true);
    now += HOUR;
    assert.equal(refusals.has('peer', A, 10), false);
    refusals.add('peer', B, 10);
    refusals.remove('peer', B);
    assert.equal(refusals.has('peer', B, 10), false);
  });

  it('are about contents of one size, so that a wrong one in a record does not keep the right ones away', () => {
    const refusals = new RefusalStore(sqlite, 'club', clock);
    refusals.add('peer', A, 11);
    assert.equal(refusals.has('peer', A, 11), true);
    assert.equal(refusals.has('peer', A, 10), false);
    refusals.add('peer', A, 12);
    refusals.remove('peer', A);
    assert.equal(refusals.has('peer', A, 11) || refusals.has('peer', A, 12), false);
  });

  it('are kept in the year 9999 too', () => {
    now = 253_000_000_000_000_000_000n;
    const refusals = new RefusalStore(sqlite, 'club', clock);
    refusals.add('peer', A, 5);
    assert.equal(refusals.has('peer', A, 5), true);
    now = 1_790_000_000_000_000_000n;
    assert.equal(refusals.has('peer', A, 5), false);
  });

  it('from a future that the clock was set back from mean nothing', () => {
    const refusals = new RefusalStore(sqlite, 'club', clock);
    refusals.add('peer', A, 10);
    now = 1_000n;
    assert.equal(refusals.has('peer', A, 10), false);
  });
});

describe('contents in the making', () => {
  it('are found again with what of them was written', async () => {
    const partials = new Partials(sqlite, 'club', root);
    assert.equal(partials.has(A), false);
    const partial = await partials.open(A, 1_000);
    await partial.write(new Uint8Array(100).fill(1), 0);
    await partial.write(new Uint8Array(100).fill(2), 500);
    assert.equal((await partials.open(A, 1_000)).have, partial.have);
    await partials.closeAll();
    const again = new Partials(sqlite, 'club', root);
    assert.equal(again.has(A), true);
    const { have, temporary } = await again.open(A, 1_000);
    assert.deepEqual(have, [
      { start: 0, end: 100 },
      { start: 500, end: 600 },
    ]);
    const byte = new Uint8Array(1);
    await temporary.read(byte, 550n);
    assert.equal(byte[0], 2);
    await again.discard(A);
    assert.equal(again.has(A), false);
    assert.deepEqual(await root.listTemporaries(), []);
  });

  it('are never given for another size: the file of the size before is let go of, and kept', async () => {
    const partials = new Partials(sqlite, 'club', root);
    const small = await partials.open(A, 1_000);
    await small.write(new Uint8Array(300), 0);
    const larger = await partials.open(A, 2_000);
    assert.equal(larger.size, 2_000);
    assert.deepEqual(larger.have, []);
    await assert.rejects(small.write(new Uint8Array(1), 300), { code: 'files.temporary_ended' });
    assert.deepEqual((await partials.open(A, 1_000)).have, [{ start: 0, end: 300 }]);
    await partials.closeAll();
  });

  it('count only as far as the file goes, and are kept apart by size', async () => {
    const partials = new Partials(sqlite, 'club', root);
    const partial = await partials.open(A, 1_000);
    await partial.write(new Uint8Array(800), 0);
    await partials.close(A);
    fs.truncateSync(join(folder, `.clearskies/tmp/get-${A}-1000.!clearsky`), 300);
    assert.deepEqual((await partials.open(A, 1_000)).have, [{ start: 0, end: 300 }]);
    await partials.close(A);
    const larger = await partials.open(A, 2_000);
    assert.deepEqual(larger.have, []);
    await larger.write(new Uint8Array(100), 0);
    await partials.discard(A, 2_000);
    assert.deepEqual((await partials.open(A, 1_000)).have, [{ start: 0, end: 300 }]);
    await partials.close(A);
    await (await partials.open(A, 2_000)).write(new Uint8Array(100), 0);
    await partials.close(A);
    await partials.discard(A);
    assert.deepEqual(await root.listTemporaries(), []);
  });

  it('are hashed on their way if they come in order, and have to be read if not', async () => {
    const partials = new Partials(sqlite, 'club', root);
    const bytes = Uint8Array.from({ length: 30 }, (_, i) => i);
    const write = async (...offsets: number[]) => {
      const partial = await partials.open(A, 30);
      for (const at of offsets) await partial.write(bytes.subarray(at, at + 10), at);
      return partial;
    };
    const inOrder = await write(0, 10);
    assert.equal(inOrder.hashed(), undefined, 'not complete');
    await partials.discard(A);
    const complete = await write(0, 10, 20);
    assert.equal(complete.hashed(), createHash('sha256').update(bytes).digest('hex'));
    assert.equal(complete.hashed(), undefined, 'only once');
    await partials.discard(A);
    for (const offsets of [
      [10, 0, 20],
      [0, 20, 10],
      [0, 0, 10, 20],
    ]) {
      assert.equal((await write(...offsets)).hashed(), undefined, `${offsets}`);
      await partials.discard(A);
    }
    await write(0);
    await partials.closeAll();
    assert.equal((await write(10, 20)).hashed(), undefined, 'the beginning is from an earlier run');
    await partials.discard(A);
  });

  it('are removed when nobody wants them any more, as are all other temporaries', async () => {
    const partials = new Partials(sqlite, 'club', root);
    for (const sha256 of [A, B]) await (await partials.open(sha256, 10)).write(new Uint8Array(5), 0);
    await partials.closeAll();
    await (await root.openTemporary('copy-1', {})).close();
    await partials.clean((sha256) => sha256 === B, systemClock.now());
    assert.deepEqual(await root.listTemporaries(), [`get-${B}-10`]);
    assert.equal(partials.has(A), false);
    assert.deepEqual((await partials.open(B, 10)).have, [{ start: 0, end: 5 }]);
    await partials.closeAll();
  });
});

describe('what the firmware bridge has half read', () => {
  it('is kept for it over a restart, and removed when it has not come back for two weeks', async () => {
    const partials = new Partials(sqlite, 'club', root);
    const temporary = await root.openTemporary('bridge-0badcafe', {});
    await temporary.write(new Uint8Array(5), 0n);
    await temporary.close();
    await partials.clean(() => false, systemClock.now());
    assert.deepEqual(await root.listTemporaries(), ['bridge-0badcafe']);
    const longAgo = Date.now() / 1_000 - 15 * 86_400;
    fs.utimesSync(join(folder, '.clearskies/tmp/bridge-0badcafe.!clearsky'), longAgo, longAgo);
    await partials.clean(() => false, systemClock.now());
    assert.deepEqual(await root.listTemporaries(), []);
  });
});

describe('the archive', () => {
  const open = (limits = { age: 100n * HOUR, bytes: 1_000n }) =>
    new Archive({ sqlite, club: 'club', root, clock, log: silentLogger, limits });

  async function put(archive: Archive, name: string, text: string, reason: ArchiveReason = 'deleted') {
    fs.writeFileSync(join(folder, name), text);
    const known = await root.look(`/${name}`);
    assert.ok(known);
    const file = archive.reserve({
      key: `/${name}`,
      sha256: A,
      size: BigInt(text.length),
      mtime: 5n,
      mode: 0o600,
      reason,
    });
    await archive.move(`/${name}`, file, known);
    return file;
  }

  it('keeps files under names that people recognise, newest first in their history', async () => {
    const archive = open();
    await put(archive, 'song.mid', 'first');
    now += HOUR;
    const second = await put(archive, 'song.mid', 'second');
    assert.match(second.path, /^\/\.clearskies\/archive\/0000\/00000002-[0-9a-f]{8}-song\.mid$/);
    assert.equal(fs.readFileSync(join(folder, second.path), 'utf8'), 'second');
    assert.deepEqual(
      [...archive.history('/song.mid')].map(({ id }) => id),
      [2n, 1n],
    );
    assert.equal(archive.bytes, 11n);
    assert.equal(archive.bySha256(A).length, 2);
    assert.equal(open().bytes, 11n);
  });

  it('keeps the contents of a file that stays where it is', async () => {
    const archive = open();
    fs.writeFileSync(join(folder, 'file'), 'kept');
    const known = await root.look('/file');
    assert.ok(known);
    const reserved = {
      key: '/file',
      sha256: A,
      size: 4n,
      mtime: 5n,
      mode: 0o600,
      reason: 'replaced',
    } as const;
    const file = archive.reserve(reserved);
    const after = await archive.keep('/file', file, known);
    assert.equal(after.ctimeNs, (await root.look('/file'))?.ctimeNs);
    fs.rmSync(join(folder, 'file'));
    assert.equal(fs.readFileSync(join(folder, file.path), 'utf8'), 'kept');
  });

  it('is a source only of what was part of the share', async () => {
    const archive = open();
    for (const reason of ['replaced', 'found_at_joining', 'deleted', 'not_permitted'] as const)
      await put(archive, reason, reason, reason);
    assert.deepEqual(
      archive.bySha256(A).map(({ reason }) => reason),
      ['deleted', 'replaced'],
    );
  });

  it('finds a place beside what an earlier membership left in the folder, and leaves that alone', async () => {
    const left = await put(open(), 'song.mid', 'of the earlier one');
    // Leaving removes the rows, never the files; so does the loss of the database.
    sqlite.prepare('DELETE FROM directory_archive').run();
    const archive = open();
    const file = await put(archive, 'song.mid', 'of this one');
    assert.equal(fs.readFileSync(join(folder, file.path), 'utf8'), 'of this one');
    assert.equal(fs.readFileSync(join(folder, left.path), 'utf8'), 'of the earlier one');
    assert.equal(archive.get(file.id)?.path, file.path);
  });

  it('still finds what an earlier version kept under shorter names', async () => {
    const archive = open();
    const { id } = await put(archive, 'song.mid', 'contents');
    sqlite.prepare('UPDATE directory_archive SET tag = NULL WHERE id = ?').run(id);
    assert.equal(archive.get(id)?.path, '/.clearskies/archive/0000/00000001-song.mid');
  });

  it('says so when something stands in its own way, which is no change of the file that it should keep', async () => {
    fs.mkdirSync(join(folder, '.clearskies'), { recursive: true });
    for (const block of [
      () => fs.writeFileSync(join(folder, '.clearskies/archive'), ''),
      () => fs.symlinkSync(tmpdir(), join(folder, '.clearskies/archive')),
    ]) {
      block();
      await assert.rejects(put(open(), 'song.mid', 'contents'), {
        code: 'files.archive_blocked',
        fault: 'environment',
      });
      assert.equal(fs.readFileSync(join(folder, 'song.mid'), 'utf8'), 'contents');
      fs.rmSync(join(folder, '.clearskies/archive'));
    }
    const file = await put(open(), 'song.mid', 'contents');
    const facts = await root.look(file.path);
    assert.ok(facts);
    await assert.rejects(open().move('/song.mid', file, facts), { code: 'files.absent' });
  });

  it('forgets by age and by size, oldest first, and never the newest', async () => {
    const archive = open();
    for (const name of ['a', 'b', 'c']) {
      await put(archive, name, name.repeat(400));
      now += HOUR;
    }
    await archive.prune();
    assert.equal(archive.bytes, 800n);
    assert.equal([...archive.history('/a')].length, 0);
    now += 99n * HOUR;
    await archive.prune();
    assert.equal(archive.bytes, 800n, 'who knows whether the clock is right yet');
    ran += 3_600_000;
    await archive.prune();
    assert.equal(archive.bytes, 400n);
    now += 1_000n * HOUR;
    await archive.prune();
    assert.equal(archive.bytes, 400n);
    assert.equal(fs.readdirSync(join(folder, '.clearskies/archive/0000')).length, 1);
  });

  it('gives up nothing by its age after the clock was set back', async () => {
    const archive = open();
    for (const name of ['a', 'b']) await put(archive, name, name);
    now = 5n;
    await archive.prune();
    assert.equal([...archive.history('/a')].length, 1);
  });

  it('gives up nothing by its age because of a clock that was never set, or set to a time that can not be', async () => {
    const archive = open();
    ran += 3_600_000;
    const today = now;
    now = 300n * 1_000_000_000n;
    for (const name of ['a', 'b']) await put(archive, name, name.repeat(400));
    now = today;
    await archive.prune();
    assert.equal(archive.bytes, 800n, 'what was archived in 1970 is not 56 years old');
    now = 253_000_000_000_000_000_000n;
    await put(archive, 'c', 'c');
    await archive.prune();
    assert.equal(archive.bytes, 801n);
    now = today;
    for (const name of ['d', 'e']) await put(archive, name, name);
    now += 101n * HOUR;
    await archive.prune();
    assert.equal(archive.bytes, 1n, 'what came before something old is old');
  });

  it('works on when its owner has emptied it by hand', async () => {
    const archive = open();
    for (const name of ['a', 'b']) await put(archive, name, name.repeat(600));
    fs.rmSync(join(folder, '.clearskies/archive'), { recursive: true });
    await archive.prune();
    assert.equal(archive.bytes, 600n);
    const file = await put(archive, 'd', 'd');
    assert.equal(fs.readFileSync(join(folder, file.path), 'utf8'), 'd');
  });
});
