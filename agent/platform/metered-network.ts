/** Whether the network is one that is paid for by the byte, by what NetworkManager knows or guesses of it. */

import { execFile } from 'node:child_process';

/** The arguments for systemd's busctl(1), which speaks D-Bus for us. */
const ARGUMENTS = [
  '--system',
  '--timeout=2',
  'get-property',
  'org.freedesktop.NetworkManager',
  '/org/freedesktop/NetworkManager',
  'org.freedesktop.NetworkManager',
  'Metered',
];
const RUN_MS = 5_000;

/** NMMetered: 0 unknown, 1 yes, 2 no, 3 yes by its guess (a phone's hotspot says so), 4 no by its guess. */
const METERED: ReadonlyMap<string, boolean> = new Map([
  ['u 1', true],
  ['u 2', false],
  ['u 3', true],
  ['u 4', false],
]);

/**
 * Takes a process each time.
 * @param busctl the program
 * @returns undefined if the system can't tell: another program has the network, or there is no D-Bus. Never rejects.
 */
export function isMetered(busctl = 'busctl'): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    execFile(busctl, ARGUMENTS, { timeout: RUN_MS }, (error, stdout) =>
      resolve(error === null ? METERED.get(stdout.trim()) : undefined),
    );
  });
}
