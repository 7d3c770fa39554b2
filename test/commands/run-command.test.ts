import assert from 'node:assert/strict';
import { test } from 'node:test';
import { environmentError, internalError, userError } from '../../agent/base/errors.ts';
import {
  type Command,
  type CommandContext,
  type CommandTable,
  command,
} from '../../agent/commands/command.ts';
import help from '../../agent/commands/help.ts';
import { runCommand } from '../../agent/commands/run-command.ts';
import type { Environment } from '../../agent/platform/process.ts';
import { type Output, ReaderGone } from '../../agent/platform/terminal.ts';

function recorder(): Output & { readonly text: () => string } {
  let text = '';
  return {
    isTerminal: false,
    isJournal: false,
    colour: false,
    columns: () => 80,
    writeBytes: async () => {},
    write: async (piece) => {
      text += piece;
    },
    line: async (piece = '') => {
      text += `${piece}\n`;
    },
    text: () => text,
  };
}

const sample = (run: (context: CommandContext) => Promise<void>): Command =>
  command({
    name: 'sample',
    summary: 'do what the test says',
    arguments: {},
    options: {},
    json: true,
    examples: [],
    run,
  });

async function execute(
  typed: readonly string[],
  run: (context: CommandContext) => Promise<void> = async () => {},
  environment: Environment = {},
) {
  const out = recorder();
  const err = recorder();
  const commands: CommandTable = { sample: async () => sample(run), help: async () => help };
  const exitCode = await runCommand(typed, {
    commands,
    environment,
    out,
    err,
    signal: new AbortController().signal,
  });
  return { exitCode, out: out.text(), err: err.text() };
}

test('a command that returns has succeeded and said only what it said', async () => {
  const result = await execute(['sample', '--json', '--state', '/s'], async ({ out, stateFolder, json }) => {
    await out.line(JSON.stringify({ stateFolder, json }));
  });
  assert.deepEqual(result, { exitCode: 0, out: '{"stateFolder":"/s","json":true}\n', err: '' });
});

test('a failure is one line: what failed, why, what to do; and the exit code of its fault', async () => {
  const cases = [
    [userError('a.b', 'there is no such share', { remedy: 'see skylark status' }), 64],
    [environmentError('a.b', 'the disk is full\nreally'), 1],
    [userError('a.b', 'the configuration is wrong', { exitCode: 78 }), 78],
  ] as const;
  for (const [error, exitCode] of cases) {
    const result = await execute(['sample'], () => Promise.reject(error));
    assert.equal(result.exitCode, exitCode);
    assert.match(result.err, /^skylark sample: [^\n]+\n$/);
  }
  const { err } = await execute(['sample'], () => Promise.reject(cases[0][0]));
  assert.equal(err, 'skylark sample: there is no such share; see skylark status\n');
});

test('our own mistakes say so and ask for a report; only --verbose shows a stack', async () => {
  const failures = [internalError('a.b', 'impossible'), new TypeError('x is not a function')];
  for (const failure of failures) {
    const result = await execute(['sample'], () => Promise.reject(failure));
    assert.equal(result.exitCode, 70);
    assert.match(result.err, /a mistake in Skylark: run it with --verbose/);
    assert.ok(!result.err.includes(' at '));
  }
  const cause = new Error('deeper');
  const result = await execute(['sample', '--verbose'], () =>
    Promise.reject(userError('a.b', 'shallow', { cause })),
  );
  assert.match(
    result.err,
    /^skylark sample: shallow\n {2}SkylarkError: shallow\n.* at .*\n {2}caused by\n {2}Error: deeper\n/s,
  );
});

test('a command that ends because nobody reads on has succeeded, without a word', async () => {
  const result = await execute(['sample'], () => Promise.reject(new ReaderGone()));
  assert.deepEqual(result, { exitCode: 0, out: '', err: '' });
});

test('a command that does not exist is refused, with what was probably meant', async () => {
  const result = await execute(['smaple']);
  assert.deepEqual(result, {
    exitCode: 64,
    out: '',
    err: 'skylark smaple: there is no command "smaple"; did you mean \'skylark sample\'?\n',
  });
  assert.equal((await execute(['toString'])).exitCode, 64);
  assert.match((await execute(['\u001b[2J'])).err, /^skylark \\u\{1b\}\[2J: there is no command/);
});

test('help lists the commands, explains one, and is what somebody gets who types nothing', async () => {
  const list = await execute(['help']);
  assert.equal(list.exitCode, 0);
  assert.match(list.out, /sample +do what the test says\n/);
  assert.deepEqual(await execute(['--help']), list);
  assert.deepEqual(await execute([]), { ...list, exitCode: 64 });
  const one = await execute(['help', 'sample']);
  assert.match(one.out, /Usage: skylark sample\n/);
  assert.deepEqual(await execute(['sample', '--help']), one);
  assert.equal((await execute(['help', 'smaple'])).exitCode, 64);
});

test('the log goes to stderr: warnings, or everything with --verbose; counts come before the error', async () => {
  const run = async ({ log }: CommandContext) => {
    log.info('a');
    log.warn('b');
    log.warn('b');
    throw userError('a.b', 'over');
  };
  const messages = (text: string) => text.split('\n').map((line) => line.replace(/^\S+Z /, ''));
  assert.deepEqual(messages((await execute(['sample'], run)).err), [
    'warn  b',
    'warn  b repeated=1',
    'skylark sample: over',
    '',
  ]);
  assert.equal(messages((await execute(['sample', '--verbose'], run)).err)[0], 'info  a');
});

test('state lies where the environment says unless --state says otherwise', async () => {
  const run = async ({ out, stateFolder }: CommandContext) => out.write(stateFolder);
  assert.equal(
    (await execute(['sample'], run, { STATE_DIRECTORY: '/var/lib/skylark' })).out,
    '/var/lib/skylark',
  );
  assert.equal((await execute(['sample'], run, { XDG_DATA_HOME: '/d' })).out, '/d/clearskies');
});
