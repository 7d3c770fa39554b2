/** All commands, in the order in which help lists them. */

import type { CommandTable } from './command.ts';

export const COMMANDS: CommandTable = {
  run: async () => (await import('./run.ts')).default,
  demo: async () => (await import('./demo.ts')).default,
  share: async () => (await import('./share.ts')).default,
  code: async () => (await import('./code.ts')).default,
  join: async () => (await import('./join.ts')).default,
  set: async () => (await import('./set.ts')).default,
  leave: async () => (await import('./leave.ts')).default,
  status: async () => (await import('./status.ts')).default,
  ls: async () => (await import('./ls.ts')).default,
  get: async () => (await import('./get.ts')).default,
  history: async () => (await import('./history.ts')).default,
  restore: async () => (await import('./restore.ts')).default,
  verify: async () => (await import('./verify.ts')).default,
  bridge: async () => (await import('./bridge.ts')).default,
  pause: async () => (await import('./pause.ts')).pause,
  resume: async () => (await import('./pause.ts')).resume,
  stop: async () => (await import('./stop.ts')).default,
  version: async () => (await import('./version.ts')).default,
  help: async () => (await import('./help.ts')).default,
};
