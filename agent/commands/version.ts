import { programVersion } from '../platform/program.ts';
import { command } from './command.ts';

export default command({
  name: 'version',
  summary: 'print the version',
  arguments: {},
  options: {},
  json: true,
  examples: [['skylark version', 'print the version']],
  async run({ out, json }) {
    const version = programVersion();
    await out.line(json ? JSON.stringify({ version }) : `skylark ${version}`);
  },
});
