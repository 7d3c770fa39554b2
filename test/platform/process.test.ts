import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { openServiceNotifier } from '../../agent/platform/process.ts';
import { virtualClock } from '../support/virtual-clock.ts';

const MODULE = new URL('../../agent/platform/process.ts', import.meta.url).href;

/** A program that says when its signal is aborted, and then waits for the next. */
const PROGRAM = `
  import { openEndSignals } from ${JSON.stringify(MODULE)};
  const { signal, close } = openEndSignals();
  signal.addEventListener('abort', () => {
    if (process.argv.includes('close')) close();
    console.log(signal.reason.message, signal.reason.exitCode);
  });
  setInterval(() => {}, 1000);
  console.log('ready');`;

function startProgram(...args: string[]): { child: ChildProcess; nextLine: () => Promise<string> } {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, nextLine: async () => String((await lines.next()).value) };
}

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`the first ${signal} is told to the program, the second ends it at once`, async () => {
    const { child, nextLine } = startProgram();
    assert.equal(await nextLine(), 'ready');
    child.kill(signal);
    assert.equal(await nextLine(), `it was ended by ${signal} ${exitCode}`);
    child.kill(signal);
    assert.deepEqual(await once(child, 'exit'), [exitCode, null]);
  });
}

test('signals that were given back do what they do to any program', async () => {
  const { child, nextLine } = startProgram('close');
  assert.equal(await nextLine(), 'ready');
  child.kill('SIGTERM');
  assert.match(await nextLine(), /SIGTERM/);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
});

/** Says how many threads it has more once many files are looked at at a time. */
const FILES_PROGRAM = `
  import { readdirSync } from 'node:fs';
  import { stat } from 'node:fs/promises';
  import { flushManyAtOnce } from ${JSON.stringify(MODULE)};
  if (process.argv.includes('many')) flushManyAtOnce();
  const threads = () => readdirSync('/proc/self/task').length;
  const before = threads();
  await Promise.all(Array.from({ length: 64 }, () => stat('/')));
  console.log(threads() - before);`;

function fileThreads(setting: string | undefined, ...args: string[]): number {
  const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
  const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', FILES_PROGRAM, ...args], {
    env: setting === undefined ? env : { ...env, UV_THREADPOOL_SIZE: setting },
    encoding: 'utf8',
  });
  return Number(printed);
}

test('sixteen files are flushed at a time, unless the environment says how many', () => {
  assert.equal(fileThreads(undefined, 'many'), 16);
  assert.equal(fileThreads('3', 'many'), 3);
});

test('without a service manager nothing is run', async () => {
  const notifier = openServiceNotifier({}, undefined, async () => assert.fail('something was run'));
  await notifier.ready('up');
  await notifier.stopping();
  notifier.close();
});

test('the service manager is told of the start and the end, and its watchdog is fed twice in a period', async () => {
  const messages: string[] = [];
  const clock = virtualClock();
  const environment = { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '120000000' };
  const notifier = openServiceNotifier(environment, clock, async (message) => {
    messages.push(message.join(' '));
  });
  await notifier.ready('2 shares');
  await clock.pass(60_001);
  await clock.pass(120_000);
  await notifier.stopping();
  notifier.close();
  await clock.pass(600_000);
  assert.deepEqual(messages, [
    '--ready --status=2 shares',
    'WATCHDOG=1',
    'WATCHDOG=1',
    'WATCHDOG=1',
    'STOPPING=1',
  ]);
});
