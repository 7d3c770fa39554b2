/** Wrong arguments are told in the words of the command line, before the daemon is asked. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SkylarkError } from '../../agent/base/errors.ts';
import { parseCommandLine } from '../../agent/commands/command-line.ts';
import { COMMANDS } from '../../agent/commands/table.ts';

async function parse(name: string, ...typed: string[]) {
  const load = COMMANDS[name];
  assert.ok(load);
  return parseCommandLine(await load(), typed);
}

/** What is wrong with it, without the value that was typed. */
async function refusal(name: string, ...typed: string[]): Promise<string> {
  try {
    await parse(name, ...typed);
  } catch (thrown) {
    assert.ok(thrown instanceof SkylarkError && thrown.exitCode === 64, String(thrown));
    return thrown.message.replace(/ is ".*", but/s, ':');
  }
  return assert.fail('it was not refused');
}

test('names of shares are one line, not blank, and no folders', async () => {
  for (const [typed, why] of [
    ['', 'it must not be empty'],
    ['  ', 'it must not be blank'],
    ['two\nlines', 'it must be one line of text'],
    ['/Music', 'a name must not look like a folder'],
    ['./Music', 'a name must not look like a folder'],
    ['..', 'a name must not look like a folder'],
    ['x'.repeat(1_025), 'it must not be longer than 1024 characters'],
  ] as const) {
    assert.equal(await refusal('share', 'dir', `--name=${typed}`), `--name: ${why}`);
    assert.equal(await refusal('join', 'SYNC', 'dir', `--name=${typed}`), `--name: ${why}`);
  }
  assert.equal((await parse('share', 'dir', '--name=.music 🎹')).options.name, '.music 🎹');
});

test('folders are meant from here, also as names of shares', async () => {
  const here = process.cwd();
  assert.equal((await parse('share', 'dir')).arguments.dir, `${here}/dir`);
  assert.equal((await parse('leave', './dir')).arguments.share, `${here}/dir`);
  assert.equal((await parse('leave', '.')).arguments.share, here);
  assert.equal((await parse('leave', 'dir')).arguments.share, 'dir');
  assert.equal((await parse('leave', '...')).arguments.share, '...');
  for (const name of ['leave', 'ls', 'code', 'pause', 'resume'])
    assert.equal(await refusal(name, ''), 'SHARE: it must not be empty');
  assert.equal(await refusal('share', ''), 'DIR: it must not be empty');
});

test('lifetimes, addresses and user names say what is right', async () => {
  for (const typed of ['0s', '36526d', '999999999d'])
    assert.equal(
      await refusal('code', '--expires', typed),
      '--expires: it must be from 1s to 36525d, or never',
    );
  assert.match(
    await refusal('code', '--expires', 'tomorrow'),
    /^--expires: .*such as 15m, 24h or 7d, or never$/,
  );
  assert.equal((await parse('code', '--expires', 'never')).options.expires, null);
  for (const typed of ['here', 'host:0', ':1', 'fd00::7:1', ''])
    assert.match(
      await refusal('join', 'SYNC', 'd', '--peer', typed),
      /^--peer: it must be HOST:PORT, as in /,
    );
  assert.equal(await refusal('join', '-', 'd', '--username='), '--username: it must not be empty');
  assert.equal(await refusal('code', '--username='), '--username: it must not be empty');
  assert.equal(await refusal('code', '--revoke='), '--revoke: it must not be empty');
});
