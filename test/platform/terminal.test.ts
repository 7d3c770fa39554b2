import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { openOutput } from '../../agent/platform/terminal.ts';

type Stream = Parameters<typeof openOutput>[0];

/** A stream that keeps what it is given, or fails as a closed pipe does. */
function fakeStream(
  facts: { readonly isTTY?: boolean; readonly columns?: number; readonly fd?: number } = {},
) {
  const written: string[] = [];
  let broken = false;
  const stream = new Writable({
    write(piece, _encoding, done) {
      if (broken) return done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      written.push(String(piece));
      done();
    },
    autoDestroy: false,
  });
  const breakPipe = () => {
    broken = true;
  };
  return { stream: Object.assign(stream, { fd: -1 }, facts) as unknown as Stream, written, breakPipe };
}

test('lines arrive in order', async () => {
  const { stream, written } = fakeStream();
  const out = openOutput(stream, {}, () => assert.fail('the reader is there'));
  await out.write('a');
  await out.line('b');
  await out.line();
  assert.equal(written.join(''), 'ab\n\n');
});

test('when the reader has gone it is told once, and writing does nothing', async () => {
  const { stream, written, breakPipe } = fakeStream();
  let gone = 0;
  const out = openOutput(stream, {}, () => {
    gone += 1;
  });
  await out.line('a');
  breakPipe();
  await out.line('b');
  await out.line('c');
  assert.deepEqual([gone, written.join('')], [1, 'a\n']);
});

test('colours are for terminals that want them', () => {
  const colour = (isTTY: boolean, environment: Record<string, string>) =>
    openOutput(fakeStream({ isTTY }).stream, environment, () => {}).colour;
  assert.equal(colour(true, { TERM: 'xterm' }), true);
  assert.equal(colour(true, { TERM: 'xterm', NO_COLOR: '' }), true);
  assert.equal(colour(true, { TERM: 'xterm', NO_COLOR: '1' }), false);
  assert.equal(colour(true, { TERM: 'dumb' }), false);
  assert.equal(colour(false, { TERM: 'xterm' }), false);
});

test('without a terminal a row has 80 characters', () => {
  assert.equal(openOutput(fakeStream().stream, {}, () => {}).columns(), 80);
  assert.equal(openOutput(fakeStream({ columns: 132 }).stream, {}, () => {}).columns(), 132);
});

test('the journal is recognised by the file that stderr is, not by the variable alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-terminal-'));
  try {
    const fd = openSync(join(folder, 'journal'), 'w');
    const { dev, ino } = statSync(join(folder, 'journal'));
    const isJournal = (journal: string | undefined) =>
      openOutput(fakeStream({ fd }).stream, { JOURNAL_STREAM: journal }, () => {}).isJournal;
    assert.equal(isJournal(`${dev}:${ino}`), true);
    assert.equal(isJournal(`${dev}:1`), false);
    assert.equal(isJournal(undefined), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
