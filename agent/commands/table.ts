/** All commands, in the order in which help lists them. */

import type { CommandTable } from './command.ts';

export const COMMANDS: CommandTable = {
  version: async () => (await import('./version.ts')).default,
  help: async () => (await import('./help.ts')).default,
};
