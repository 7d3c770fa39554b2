/** What the benchmarks measure with. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Milliseconds that the work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Asks every `pause` milliseconds. @throws after `minutes`. */
export async function until(
  check: () => boolean | Promise<boolean>,
  pause: number,
  minutes = 15,
): Promise<void> {
  for (const end = performance.now() + minutes * 60_000; !(await check()); ) {
    if (performance.now() > end) throw new Error(`it takes more than ${minutes} minutes`);
    await wait(pause);
  }
}

/** Milliseconds of processor time since the process was started; the kernel counts hundredths of a second. */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Files below the folder; what a program keeps for itself has a hidden name. */
export function countFiles(folder: string): number {
  const entries = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !name.startsWith('.'));
  const inside = (name: string) => countFiles(join(folder, name));
  return entries.reduce((sum, entry) => sum + (entry.isDirectory() ? inside(entry.name) : 1), 0);
}

/** Milliseconds of processor time of the process's threads that are still there, to the microsecond. */
export function exactCpuOf(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const ran = (thread: string) => Number(readFileSync(`${tasks}/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return readdirSync(tasks).reduce((sum, thread) => sum + ran(thread), 0) / 1e6;
}

export interface ProcessMemory {
  /** Most that was resident at a time since the start, MB. */
  readonly peak: number;
  /** Resident, MB; and with what several processes share divided by their number. */
  readonly resident: number;
  readonly proportional: number;
}

export function memoryOf(pid: number): ProcessMemory {
  const text = ['status', 'smaps_rollup']
    .map((name) => readFileSync(`/proc/${pid}/${name}`, 'utf8'))
    .join('\n');
  const megabytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN) * 1_024) / 1e6;
  return { peak: megabytes('VmHWM'), resident: megabytes('VmRSS'), proportional: megabytes('Pss') };
}

/**
 * Bytes of pages that the process has made to be written, since its start (proc(5), `write_bytes`): whole pages, each time
 * that a clean one is changed, on file systems that have a disk.
 */
export function writtenBy(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? Number.NaN);
}
