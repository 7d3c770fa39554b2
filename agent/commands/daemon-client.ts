/** How commands talk to the daemon of their state folder. */

import { type ControlClient, connectControl } from '../control/client.ts';
import type { CommandContext } from './command.ts';

/** Opens the control socket for one piece of work. @throws SkylarkError `control.not_running` (exit code 69). */
export async function withDaemon<T>(
  { stateFolder, signal }: Pick<CommandContext, 'stateFolder' | 'signal'>,
  work: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await connectControl(`${stateFolder}/control`, signal);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
