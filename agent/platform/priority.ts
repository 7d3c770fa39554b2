/** Giving way to everything else on the machine: for the processor by nice(2), for the disk by ionice(1). */

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** As most background programs have it. Lower still would leave an agent on a busy machine without any time. */
const NICE = 10;
/** ioprio_set(2): the last of the ordinary class. In the idle class, one busy program would stop our writing for ever. */
const IO_CLASS = ['-c', '2', '-n', '7'];
const RUN_MS = 5_000;

/** The disk's priority was lowered, too, or follows from the processor's alone (which it does by default). */
export type Lowered = 'both' | 'processor' | 'unchanged';

/**
 * Lowers the priority of this process: of all its threads, and so of those which they will start. For the processor that is
 * done when it returns. Never raises it, and never fails: where the system does not let it, everything stays as it is.
 * @param ionice the program
 */
export function lowerPriority(ionice = 'ionice'): Promise<Lowered> {
  // Linux has a priority for each thread, not for the process.
  const lowered = threads().filter(lowerThread);
  if (lowered.length === 0) return Promise.resolve('unchanged');
  const args = [...IO_CLASS, '-p', ...lowered.map(String)];
  return new Promise<Lowered>((resolve) => {
    execFile(ionice, args, { timeout: RUN_MS }, (error) => resolve(error === null ? 'both' : 'processor'));
    // Without resources for one more process, it throws at once.
  }).catch(() => 'processor');
}

function threads(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    return [process.pid];
  }
}

/** @returns whether it is at most as important as it should be, now. */
function lowerThread(thread: number): boolean {
  try {
    if (getPriority(thread) < NICE) setPriority(thread, NICE);
    return true;
  } catch {
    // It has ended, or nothing may be changed here.
    return false;
  }
}
