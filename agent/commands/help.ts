import { command, optionalArgument } from './command.ts';
import { commandHelp, overview } from './help-text.ts';
import { loadCommand } from './run-command.ts';

export default command({
  name: 'help',
  summary: 'list the commands, or explain one',
  arguments: { command: optionalArgument('COMMAND', 'the command to explain; without it all are listed') },
  options: {},
  examples: [['skylark help share', 'explain the command share']],
  async run({ arguments: { command: name }, commands, out }) {
    if (name !== undefined) return out.write(commandHelp(await loadCommand(commands, name), out.columns()));
    const all = await Promise.all(Object.values(commands).map((load) => load()));
    await out.write(overview(all, out.columns()));
  },
});
