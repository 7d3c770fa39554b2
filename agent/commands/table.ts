/**
 * All commands, in the order in which help lists them. A command is a file here whose default export is `command({...})`,
 * and a line below. What only its run needs (the daemon, the bridge) it imports inside `run`: help loads every command.
 */

import type { CommandTable } from './command.ts';

export const COMMANDS: CommandTable = {
  version: async () => (await import('./version.ts')).default,
  help: async () => (await import('./help.ts')).default,
};
