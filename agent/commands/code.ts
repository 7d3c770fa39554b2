import { parseDuration } from '../base/duration.ts';
import { userError } from '../base/errors.ts';
import { stringifyJson } from '../base/json.ts';
import { printable } from '../base/printable.ts';
import { groupAccessCode } from '../club/access-code.ts';
import { type Answers, COMMANDS } from '../control/messages.ts';
import { type CommandContext, choice, command, flag, parseText, text, value } from './command.ts';
import { withDaemon } from './daemon-client.ts';
import { qrCode, readableSpan, table } from './presentation.ts';
import { optionalShareArgument, readPassword, usernameOption } from './share-arguments.ts';

/** A hundred years, seconds. */
const LONGEST_S = 3_155_760_000;
/** Longest code, URL or user name on the control socket. */
const LONGEST_CODE = 1_024;

/** Seconds; null: for ever. */
function lifetime(typed: string): number | null {
  if (typed === 'never') return null;
  const seconds = Math.ceil(durationOf(typed) / 1_000);
  if (seconds >= 1 && seconds <= LONGEST_S) return seconds;
  throw userError('usage.not_a_lifetime', 'it must be from 1s to 36525d, or never');
}

function durationOf(typed: string): number {
  try {
    return parseDuration(typed);
  } catch (cause) {
    throw userError(
      'usage.not_a_lifetime',
      'it must be a number with a unit, such as 15m, 24h or 7d, or never',
      {
        cause,
      },
    );
  }
}

export default command({
  name: 'code',
  summary: 'make an access code, which lets somebody join a share',
  description:
    'Prints the code, its URL and its QR code. A code is good for one device within 24 hours unless it is made otherwise. Give it only to whom it is meant for: whoever has it gets in.',
  arguments: {
    share: optionalShareArgument('may be left out if there is only one'),
  },
  options: {
    mode: choice(['read_write', 'read_only', 'untrusted'], {
      text: 'what the new member may do; by default what this device may',
    }),
    expires: value({ placeholder: '24h|never', text: 'how long the code is good', default: '24h' }, lifetime),
    'multi-use': flag('the code is good for any number of devices'),
    username: usernameOption('a user name instead of a code; its password is asked for'),
    revoke: text(
      { placeholder: 'CODE', text: 'make a code (or its URL, ID or user name) unusable' },
      parseText(LONGEST_CODE),
    ),
    list: flag('list the codes, of SHARE or of all shares'),
  },
  json: true,
  examples: [
    ['skylark code Music', 'a code for one device, for a day'],
    ['skylark code Music --mode read_only --expires never --multi-use', 'a code for many that may only read'],
    ['skylark code --revoke SYNC7-4...', 'make it unusable'],
  ],
  async run(context) {
    const { options, arguments: given, out, json } = context;
    if (options.revoke !== undefined && options.list)
      throw userError('usage.code', '--revoke and --list exclude each other');
    if (options.revoke !== undefined) {
      const code = options.revoke;
      await withDaemon(context, (client) => client.request(COMMANDS.revokeCode, { code }));
      return out.line(json ? '{}' : 'the code can not be used any more');
    }
    if (options.list) return listCodes(context, given.share);
    const password =
      options.username === undefined
        ? undefined
        : await readPassword(`password for ${printable(options.username)}: `, context.signal);
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
  // The same keys as on the control socket.
  if (json) return out.line(stringifyJson(COMMANDS.listCodes.answer.encode({ codes })));
  if (codes.length === 0) return err.line('there are no codes');
  const rows = codes.map(({ id, shareName, code, username, mode, state, expires }) => [
    ...(share === undefined ? [printable(shareName, 40)] : []),
    code === null ? printable(username ?? `${id.slice(0, 12)}...`) : groupAccessCode(code),
    state,
    mode,
    expires === null ? 'never expires' : `until ${expires}`,
  ]);
  return out.write(table(rows));
}
