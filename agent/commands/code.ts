import { parseDuration } from '../base/duration.ts';
import { printable } from '../base/printable.ts';
import { groupAccessCode } from '../club/access-code.ts';
import { type Answers, COMMANDS } from '../control/messages.ts';
import { readSecret } from '../platform/secret-prompt.ts';
import { type CommandContext, choice, command, flag, optionalArgument, text, value } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { qrCode, readableSpan, table } from './presentation.ts';

/** Seconds; null: for ever. */
function lifetime(typed: string): number | null {
  return typed === 'never' ? null : Math.ceil(parseDuration(typed) / 1_000);
}

export default command({
  name: 'code',
  summary: 'make an access code, which lets somebody join a share',
  description:
    'Prints the code, its URL and its QR code. A code is good for one device within 24 hours unless it is made otherwise. Give it only to whom it is meant for: whoever has it gets in.',
  arguments: {
    share: optionalArgument('SHARE', 'name or folder of the share; may be left out if there is only one'),
  },
  options: {
    mode: choice(['read_write', 'read_only', 'untrusted'], {
      text: 'what the new member may do; by default what this device may',
    }),
    expires: value({ placeholder: '24h|never', text: 'how long the code is good', default: '24h' }, lifetime),
    'multi-use': flag('the code is good for any number of devices'),
    username: text({ placeholder: 'NAME', text: 'a user name instead of a code; its password is asked for' }),
    revoke: text({ placeholder: 'CODE', text: 'make a code (or user name) unusable' }),
    list: flag('list the codes'),
  },
  json: true,
  examples: [
    ['skylark code Music', 'a code for one device, for a day'],
    ['skylark code Music --mode read_only --expires never --multi-use', 'a code for many that may only read'],
    ['skylark code --revoke SYNC7-4...', 'make it unusable'],
  ],
  async run(context) {
    const { options, arguments: given, out, json } = context;
    if (options.revoke !== undefined) {
      const code = options.revoke;
      await withDaemon(context, (client) => client.request(COMMANDS.revokeCode, { code }));
      return out.line(json ? '{}' : 'the code can not be used any more');
    }
    if (options.list) return listCodes(context, given.share);
    const password =
      options.username === undefined ? undefined : await readSecret('password for it: ', context.signal);
    const made = await withDaemon(context, (client) =>
      client.request(COMMANDS.createCode, {
        share: given.share,
        mode: options.mode,
        expires: options.expires,
        multiUse: options['multi-use'],
        username: options.username,
        password,
      }),
    );
    if (json) return out.line(JSON.stringify(made));
    return printCode(context, made);
  },
});

async function printCode({ out }: Pick<CommandContext, 'out'>, made: Answers['createCode']): Promise<void> {
  const { code, url, mode, expires } = made;
  const life =
    expires === null ? 'for ever' : `for ${readableSpan((Date.parse(expires) - Date.now()) / 1_000 + 1)}`;
  if (code === null || url === null) return out.line(`the user name and the password are good ${life}`);
  await out.line(groupAccessCode(code));
  await out.line(url);
  await out.write(qrCode(url, out));
  await out.line(`gives ${mode === 'read_only' ? 'read-only' : 'full'} access; good ${life}`);
}

async function listCodes(
  context: Pick<CommandContext, 'stateFolder' | 'signal' | 'out' | 'err' | 'json'>,
  share: string | undefined,
) {
  const { out, err, json } = context;
  const { codes } = await withDaemon(context, (client) => client.request(COMMANDS.listCodes, { share }));
  if (json) return out.line(JSON.stringify({ codes }));
  if (codes.length === 0) return err.line('there are no codes');
  const rows = codes.map(({ id, code, username, mode, state, expires }) => [
    code === null ? printable(username ?? `${id.slice(0, 12)}...`) : groupAccessCode(code),
    state,
    mode,
    expires === null ? 'never expires' : `until ${expires}`,
  ]);
  return out.write(table(rows));
}
