/** The control socket of a running agent, spoken to by nothing but socat and lines of JSON. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentsFor } from '../support/agents.ts';
import { eventually } from '../support/eventually.ts';
import { peerTest } from '../support/peers.ts';

/** Sends all lines at once and returns the answers. */
function socat(socket: string, lines: readonly unknown[]): Promise<Record<string, unknown>[]> {
  return new Promise((resolve, reject) => {
    const child = execFile('socat', ['-t10', '-', `UNIX-CONNECT:${socket}`], (error, stdout) => {
      if (error) reject(error);
      else
        resolve(
          stdout
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as Record<string, unknown>),
        );
    });
    child.stdin!.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  });
}

peerTest(
  'every command of control.md is answered, pipelined, in order',
  { programs: ['socat'] },
  async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    const socket = join(a.state, 'control');
    assert.equal((await stat(socket)).mode & 0o777, 0o600);
    const from = a.folder('Documents');
    await mkdir(from);
    await writeFile(join(from, 'letter.txt'), 'Dear');

    const answers = await socat(socket, [
      { type: 'create_share', path: from },
      { type: 'list_shares' },
      { type: 'create_access_code', mode: 'read_write', path: from },
      { type: 'status' },
      { type: 'pause' },
      { type: 'status', unknown_key: [1, { a: 2 }] },
      { type: 'resume' },
      { type: 'no_such_command' },
      { type: 'get_config' },
      { type: 'get_config_value', key: 'discovery.lan' },
      { type: 'create_share', path: '/proc/no/such/place' },
      { type: 'add_share', code: 'SYNC123ABC', path: a.folder('x') },
    ]);
    assert.equal(answers.length, 13);
    const [
      greeting,
      created,
      shares,
      code,
      status,
      paused,
      whilePaused,
      resumed,
      unknown,
      config,
      value,
      bad,
      typo,
    ] = answers as [Record<string, unknown>, ...Record<string, unknown>[]] & Record<string, unknown>[];
    assert.equal(greeting!.service, 'ClearSkies Control');
    assert.equal(greeting!.protocol, 1);
    assert.equal(created!.error, undefined);
    assert.ok(Object.hasOwn(shares!.shares as object, from));
    assert.match(String(code!.access_code), /^SYNC74[A-Z2-7]{27}$/);
    assert.equal(status!.paused, false);
    assert.equal(typeof status!.upload_rate, 'number');
    assert.deepEqual(paused, {});
    assert.equal(whilePaused!.paused, true);
    assert.deepEqual(resumed, {});
    assert.equal(unknown!.error, 'not_understood');
    assert.equal(typeof config!.config, 'object');
    assert.equal(value!.value, false);
    assert.equal(typeof bad!.error, 'string');
    assert.match(String(typo!.message), /code/);

    // The other agent joins by `add_share`; it has no address to try but the one it is given.
    const to = b.folder('Documents');
    const [, added] = await socat(join(b.state, 'control'), [
      { type: 'add_share', code: code!.access_code, path: to, '.io.skylark.peers': [a.listen] },
    ]);
    assert.equal(added!.error, undefined, JSON.stringify(added));
    await eventually(
      'the letter arrives',
      async () => (await readFile(join(to, 'letter.txt'), 'utf8').catch(() => '')) === 'Dear',
    );
    const [, removed, after] = await socat(join(b.state, 'control'), [
      { type: 'remove_share', path: to },
      { type: 'list_shares' },
    ]);
    assert.deepEqual(removed, {});
    assert.deepEqual(after!.shares, {});
    const [, set, got, wrong, overruled] = await socat(socket, [
      { type: 'set_config_value', key: 'security.guesses_per_hour', value: 5 },
      { type: 'get_config_value', key: 'security.guesses_per_hour' },
      { type: 'set_config', config: { 'security.guesses_per_hour': 'many' } },
      { type: 'set_config_value', key: 'name', value: 'given on the command line in this test' },
    ]);
    assert.deepEqual(set, {});
    assert.equal(got!.value, 5);
    assert.equal(wrong!.error, 'config.wrong_value');
    assert.equal(overruled!.error, 'config.overruled');
    const [, stopped] = await socat(socket, [{ type: 'stop' }]);
    assert.deepEqual(stopped, {});
  },
);

peerTest(
  "every command of Skylark's own is answered, pipelined, in order",
  { programs: ['socat'] },
  async (t) => {
    const [a, b] = await agentsFor(t, { name: 'a' }, { name: 'b' });
    assert.ok(a && b);
    const socket = join(a.state, 'control');
    const folder = a.folder('Music');
    const [, created, made, listed, revoked, missing, files, bridge, status] = await socat(socket, [
      { type: 'create_share', path: folder, name: 'Music' },
      { type: '.io.skylark.create_code', mode: 'read_only', expires: null, multi_use: true },
      { type: '.io.skylark.list_codes' },
      { type: '.io.skylark.revoke_code', code: 'nobody' },
      { type: '.io.skylark.list_files', share: 'Music', path: '/none' },
      { type: '.io.skylark.list_files', share: folder, recursive: true },
      { type: '.io.skylark.bridge' },
      { type: '.io.skylark.status' },
    ]);
    assert.equal(created!.name, 'Music');
    assert.match(String(made!.url), /^clearskies:\/\/directory\/SYNC74/);
    assert.deepEqual([made!.mode, made!.expires], ['read_only', null]);
    const codes = listed!.codes as Record<string, unknown>[];
    assert.deepEqual(
      codes.map(({ share_name, code, multi_use }) => [share_name, code, multi_use]),
      [['Music', made!.code, true]],
    );
    assert.equal(revoked!.error, 'code.unknown');
    assert.equal(missing!.error, 'file.unknown');
    assert.deepEqual(files, { files: [], next: null });
    assert.deepEqual(bridge, { devices: [] });
    assert.equal((status!.shares as unknown[]).length, 1);

    const to = b.folder('Music');
    const [, joined, again] = await socat(join(b.state, 'control'), [
      { type: '.io.skylark.join', code: made!.code, path: to, peers: [a.listen], timeout_s: 30 },
      { type: '.io.skylark.join', code: made!.code, path: to, timeout_s: 0 },
    ]);
    assert.deepEqual([joined!.name, joined!.path, joined!.mode], ['Music', to, 'read_only']);
    assert.deepEqual([again!.error, again!.exit_code], ['control.malformed', 64]);
    const [, gone] = await socat(socket, [{ type: '.io.skylark.revoke_code', code: made!.url }]);
    assert.deepEqual(gone, {});
  },
);

peerTest(
  'garbage on the control socket is answered or cut off, and others go on',
  { programs: ['socat'] },
  async (t) => {
    const [a] = await agentsFor(t, { name: 'a' });
    assert.ok(a);
    const socket = join(a.state, 'control');
    const garbage = await new Promise<string>((resolve) => {
      const child = execFile('socat', ['-t5', '-', `UNIX-CONNECT:${socket}`], (_error, stdout) =>
        resolve(stdout),
      );
      child.stdin!.on('error', () => {});
      child.stdin!.end(`not json\n[1]\n"x"\n{"type":5}\n${'y'.repeat(3_000_000)}\n`);
    });
    assert.match(garbage, /not_understood/);
    const [, status] = await socat(socket, [{ type: 'status' }]);
    assert.equal(status!.paused, false);
  },
);
