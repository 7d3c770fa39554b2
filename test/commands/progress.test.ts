import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openProgress } from '../../agent/commands/progress.ts';
import type { Output } from '../../agent/platform/terminal.ts';

function recorder(isTerminal: boolean): Output & { readonly text: () => string } {
  let text = '';
  const write = async (piece: string) => {
    text += piece;
  };
  const line = (piece = '') => write(`${piece}\n`);
  const plain = {
    isTerminal,
    isJournal: false,
    colour: false,
    columns: () => 40,
    writeBytes: async () => {},
  };
  return { ...plain, write, line, text: () => text };
}

test('on a terminal a bar is drawn over itself, lines stay above it, and at the end it is gone', async () => {
  const out = recorder(true);
  const progress = openProgress(out, () => 0);
  await progress.show(0.5, '1 of 2 files');
  await progress.note('/a is damaged');
  await progress.show(1, '2 of 2 files, and much more to say than fits into the line');
  await progress.end();
  await progress.end();
  assert.equal(
    out.text(),
    '[##########          ] 1 of 2 files\r\x1b[K/a is damaged\n[####################] 2 of 2 files, an\r\x1b[K',
  );
});

test('elsewhere there is a line every ten seconds', async () => {
  const out = recorder(false);
  let now = 0;
  const progress = openProgress(out, () => now);
  await progress.show(0, 'at once');
  now = 9_999;
  await progress.show(0.1, 'too early');
  now = 10_000;
  await progress.show(0.2, 'the first');
  await progress.note('a note');
  now = 19_999;
  await progress.show(0.3, 'too early');
  await progress.end();
  assert.equal(out.text(), 'the first\na note\n');
});
