/** The process itself: signals, mistakes that nobody caught, leaving, and what the service manager is told. */

import { execFile } from 'node:child_process';
import { flushCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { type Clock, systemClock, type Timer } from '../base/clock.ts';
import { asError, SkylarkError } from '../base/errors.ts';

/** Variables of the environment, as the process was given them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Somebody asked the program to end. */
export class Interruption extends SkylarkError {
  /** 128 plus the signal's number, as shells have it. */
  constructor(signal: EndSignal) {
    super('user', 'process.interrupted', `it was ended by ${signal}`, {
      exitCode: 128 + END_SIGNALS[signal],
    });
  }
}

const END_SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type EndSignal = keyof typeof END_SIGNALS;

export interface EndSignals {
  /** Aborted, with an `Interruption`, by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** Gives the signals back to the system. */
  close(): void;
}

/** From here on the first request to end only aborts the signal; a second one ends the process at once. */
export function openEndSignals(): EndSignals {
  const controller = new AbortController();
  const listen = (signal: EndSignal) => {
    const interruption = new Interruption(signal);
    if (controller.signal.aborted) process.exit(interruption.exitCode);
    controller.abort(interruption);
  };
  const signals = Object.keys(END_SIGNALS) as EndSignal[];
  for (const signal of signals) process.on(signal, listen);
  return {
    signal: controller.signal,
    close: () => {
      for (const signal of signals) process.off(signal, listen);
    },
  };
}

/** Calls back with what nobody caught: an exception, or a rejected promise that nobody waited for. */
export function onUncaught(callback: (error: Error) => void): void {
  process.on('uncaughtException', (thrown) => callback(asError(thrown)));
}

export function processEnvironment(): Environment {
  return process.env;
}

/** What follows the program's name on the command line. */
export function processArguments(): readonly string[] {
  return process.argv.slice(2);
}

/**
 * Keeps the space for new objects as small as it is at the start. What flows through the agent lies in buffers outside of
 * the heap, which are let go only when that space is collected: a growing one keeps tens of megabytes of them. And lets
 * the space for old objects grow by less at a time, since what it has once had it hardly gives back. Before much has
 * happened.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  // After a first scan of 10,000 files: 147 MB resident instead of 184.
  setFlagsFromString('--heap-growing-percent=30');
}

/** Calls into the file system that are under way at a time. */
const FILE_THREADS = '16';

/**
 * Lets more files be flushed at a time than Node does by itself, which is four: flushes that meet share one write of the file
 * system's journal. Of 4 KiB files on ext4, half as much is written beside the contents. To be called before any file is
 * opened asynchronously, and without effect where the environment says how many.
 */
export function flushManyAtOnce(): void {
  process.env.UV_THREADPOOL_SIZE ??= FILE_THREADS;
}

/**
 * In a checkout: keeps what Node has made of the TypeScript files, so that the next start need not translate them, which
 * costs 20 MB. Node does so by itself only at an orderly end.
 */
export function keepTranslatedModules(): void {
  flushCompileCache();
}

/** Ends the process. Resources that must be closed are closed before. */
export function exitProcess(exitCode: number): never {
  process.exit(exitCode);
}

/** What systemd's sd_notify protocol can say (sd_notify(3)); without a service manager it says nothing. */
export interface ServiceNotifier {
  /** The program is up: units that wait for it may start. The watchdog is fed from now on. */
  ready(status: string): Promise<void>;
  /** The program is on its way down. */
  stopping(): Promise<void>;
  close(): void;
}

/**
 * Node has no Unix datagram sockets, so `systemd-notify` speaks for it (the unit needs `NotifyAccess=all`), which costs a
 * process each time: the watchdog is fed twice in its period and that should be minutes long. A stalled event loop feeds
 * nothing, which is what the watchdog is for.
 */
export function openServiceNotifier(
  environment: Environment,
  clock: Clock = systemClock,
  run: (message: readonly string[]) => Promise<void> = runSystemdNotify,
): ServiceNotifier {
  if (!environment.NOTIFY_SOCKET) return { ready: async () => {}, stopping: async () => {}, close: () => {} };
  const period = Number(environment.WATCHDOG_USEC ?? 0) / 2_000;
  let timer: Timer | undefined;
  const feed = () => {
    timer = clock.after(period, () => {
      feed();
      void run(['WATCHDOG=1']);
    });
  };
  return {
    ready: async (status) => {
      await run(['--ready', `--status=${status}`]);
      if (period > 0 && timer === undefined) feed();
    },
    stopping: () => run(['STOPPING=1']),
    close: () => timer?.cancel(),
  };
}

/** Never fails: a service manager that can't be told must not keep the program from working. */
function runSystemdNotify(message: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    execFile('systemd-notify', [`--pid=${process.pid}`, ...message], { timeout: 5_000 }, () => resolve());
  });
}
