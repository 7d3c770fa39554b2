import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findShare, onlyShare } from '../../agent/control/find-share.ts';

const shares = [
  { id: '01', name: 'Music', path: '/home/cat/Music' },
  { id: '02', name: 'Music', path: '/srv/music' },
  { id: '03', name: 'Scores', path: '/home/cat/Scores' },
  { id: '04', name: '01', path: '/home/cat/odd' },
];

test('a share is found by its folder, its name, or its ID', () => {
  assert.equal(findShare(shares, '/srv/music').id, '02');
  assert.equal(findShare(shares, '/srv//music/').id, '02');
  assert.equal(findShare(shares, '/home/cat/odd/../Scores').id, '03');
  assert.equal(findShare(shares, 'Scores').id, '03');
  assert.equal(findShare(shares, '02').id, '02');
  // A name is what people gave; it goes before an ID.
  assert.equal(findShare(shares, '01').id, '04');
});

test('an unknown or ambiguous name says what would be understood', () => {
  assert.throws(() => findShare(shares, 'Scorse'), { code: 'share.unknown', remedy: 'did you mean Scores?' });
  assert.throws(() => findShare(shares, '/nowhere/at/all'), { code: 'share.unknown', fault: 'user' });
  assert.throws(() => findShare(shares, ''), { code: 'share.unknown' });
  assert.throws(() => findShare(shares, 'Music'), {
    code: 'share.ambiguous',
    remedy: 'name it by its folder: /home/cat/Music or /srv/music',
  });
});

test('a share need not be named if there is only one', () => {
  assert.equal(onlyShare(shares.slice(2, 3)).id, '03');
  assert.throws(() => onlyShare([]), { code: 'share.none' });
  assert.throws(() => onlyShare(shares), { code: 'share.ambiguous' });
});
