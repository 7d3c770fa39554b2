/** Members whose clocks jump, as those of devices without a real-time clock or with an empty battery do. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { it } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { eventually } from '../support/eventually.ts';
import { connect, type Member, withClub } from './members.ts';

const text = (member: Member, path: string) => readFileSync(member.at(path), 'utf8');

for (const wrong of ['1970-01-01T00:00:07Z', '9999-12-31T23:59:59Z']) {
  it(`a clock that jumps to ${wrong} and back keeps nobody from syncing, and the archive from nothing`, (t) =>
    withClub(async (club) => {
      const [a, b] = [await club.member('a'), await club.member('b')];
      for (const name of ['song', 'gone', 'last']) writeFileSync(a.at(name), name);
      await a.share.rescan();
      connect(a, b);
      await eventually('they arrive', () => ['song', 'gone', 'last'].every((name) => existsSync(b.at(name))));
      writeFileSync(a.at('song'), 'before');
      await a.share.rescan();
      await eventually('it changes', () => text(b, 'song') === 'before');

      const { now } = Date;
      const apart = Date.parse(wrong) - now();
      t.mock.method(Date, 'now', () => now() + apart);
      unlinkSync(a.at('gone'));
      writeFileSync(a.at('song'), 'meanwhile');
      await a.share.rescan();
      await eventually('it goes on', () => text(b, 'song') === 'meanwhile' && !existsSync(b.at('gone')));
      await b.close();
      await b.open();
      await b.share.settled();
      t.mock.restoreAll();
      connect(a, b);
      unlinkSync(b.at('last'));
      writeFileSync(b.at('song'), 'after');
      await b.share.rescan();
      await eventually('it goes back', () => text(a, 'song') === 'after' && !existsSync(a.at('last')));
      await b.close();
      await b.open();
      const kept = (path: string) => [...b.share.history(path)].map(({ reason }) => reason);
      assert.deepEqual([kept('/song'), kept('/gone')], [['replaced', 'replaced'], ['deleted']]);
    }));
}

it('no clock shows a time that the database can not hold', (t) => {
  for (const ms of [8.64e15, -8.64e15]) {
    t.mock.method(Date, 'now', () => ms);
    assert.equal(systemClock.now(), BigInt.asIntN(64, systemClock.now()));
  }
});
