/**
 * What is said on the control socket (control.md of ClearSkies; docs/control.md). One JSON object a line. The daemon greets, then answers
 * each command in order:
 *
 *     < {"service":"ClearSkies Control","software":"Skylark 0.1.0","protocol":1}
 *     > {"type":"create_share","path":"/home/fatcat/Documents"}
 *     < {}
 *     > {"type":"no_such_thing"}
 *     < {"error":"not_understood","message":"..."}
 *
 * Commands of our own are prefixed `.io.skylark.`, as control.md asks for. Wherever a share is named by its path, its name or its
 * ID will do.
 */

import {
  anyJson,
  choice,
  dictionary,
  field,
  flag,
  type Infer,
  integer,
  list,
  literal,
  nullable,
  object,
  optionalField,
  text,
  timestamp,
} from '../base/schema.ts';
import { selectionChange, selectionRules } from '../directory/selection.ts';
import { type AnswerOf, type CommandSpec, command, count, type ItemOf, type RequestOf } from './command.ts';
import { HISTORY, READ_FILE, RESTORE, VERIFY } from './file-messages.ts';
import { accessMode, agentStatus, deviceStatus } from './status.ts';

/** Version of the protocol on the socket. */
export const CONTROL_PROTOCOL = 1;
export const CONTROL_SERVICE = 'ClearSkies Control';

const path = text({ min: 1, max: 16_384 });
const name = text({ min: 1, max: 1_024 });
/** A path, a name or an ID. */
const share = text({ min: 1, max: 16_384 });
/** The 33 characters, in any form that people type, or the URL. */
const accessCode = text({ min: 1, max: 1_024 });
const configKey = text({ min: 1, max: 128 });
/** `HOST:PORT`. */
const address = text({ min: 1, max: 512 });
const addresses = list(address, { max: 64 });
const config = dictionary(configKey, anyJson, { max: 1_024 });

/** "On connection, the server will send a handshake message that will specify the protocol version it is speaking." */
export const greeting = object({
  service: field('service', literal(CONTROL_SERVICE)),
  software: field('software', text({ max: 256 })),
  protocol: field('protocol', integer({ min: 0, max: 1_000 })),
});

/**
 * "If an error occurs while attempting to execute a command, the response will have an 'error' key, and the associated value will
 * contain a machine-readable error condition. A human-readable message should also be included." The other keys are ours.
 */
export const failure = object({
  error: field('error', text({ max: 256 })),
  message: optionalField('message', text({ max: 65_536 })),
  remedy: optionalField('remedy', text({ max: 65_536 })),
  fault: optionalField('fault', choice('peer', 'user', 'environment', 'internal')),
  exitCode: optionalField('exit_code', integer({ min: 1, max: 255 })),
});

export const NOT_UNDERSTOOD = 'not_understood';

const listedShare = object({
  files: field('files', count),
  synced: field('synced', flag),
  id: optionalField('id', name),
  name: optionalField('name', name),
  mode: optionalField('mode', accessMode),
  paused: optionalField('paused', flag),
  bytes: optionalField('bytes', count),
  pendingFiles: optionalField('pending_files', count),
  pendingBytes: optionalField('pending_bytes', count),
});

const listedCode = object({
  /** Access ID. */
  id: field('id', text({ max: 64 })),
  /** ID of its share. */
  share: field('share', name),
  /** What the share is called here. */
  shareName: field('share_name', name),
  /** Null once it has ended, and for a username and password. */
  code: field('code', nullable(text({ max: 64 }))),
  url: field('url', nullable(text({ max: 256 }))),
  username: field('username', nullable(text({ max: 256 }))),
  mode: field('mode', accessMode),
  state: field('state', choice('open', 'bound', 'used', 'revoked', 'expired')),
  multiUse: field('multi_use', flag),
  uses: field('uses', count),
  created: field('created', timestamp),
  /** Null: never. */
  expires: field('expires', nullable(timestamp)),
});

const listedFile = object({
  /** In the share, with a leading slash. */
  path: field('path', path),
  kind: field('kind', choice('file', 'directory')),
  size: field('size', count),
  mtime: field('mtime', nullable(timestamp)),
  sha256: optionalField('sha256', text({ max: 64 })),
  /** This version lies in the folder. */
  here: field('here', flag),
  /** IDs of connected members that have it, as far as is known. */
  on: optionalField('on', list(name, { max: 1_000 })),
});

/** What happened, for who watches. Kinds that a reader does not know are to be passed over. */
export const agentEvent = object({
  /**
   * `file_added file_changed file_removed file_renamed edit_put_right conflict peer_connected peer_disconnected joined code_used share_added
   * share_removed problem problem_solved device_connected device_disconnected button paused resumed`; and from the socket
   * itself `alive` (nothing happened for a minute) and `lost` (`count` events, since the reader was too slow).
   */
  event: field('event', text({ min: 1, max: 64 })),
  time: field('time', timestamp),
  /** ID of the share. */
  share: optionalField('share', name),
  /** In the share, with a leading slash. */
  path: optionalField('path', path),
  /** Where it was before a renaming. */
  from: optionalField('from', path),
  size: optionalField('size', count),
  /** Peer ID. */
  peer: optionalField('peer', name),
  peerName: optionalField('peer_name', text({ max: 1_024 })),
  /** Source of the device on the bridge. */
  device: optionalField('device', name),
  /** Of a problem. */
  code: optionalField('code', text({ max: 128 })),
  message: optionalField('message', text({ max: 16_384 })),
  count: optionalField('count', count),
});

/** Each command, by the name that programs here know it by. */
export const COMMANDS = {
  /** "The daemon can be instructed to shutdown with the 'stop' command." Answered before it does. */
  stop: command('stop', {}, {}),
  /** "Syncing can be suspended with the 'pause' command." With a share: only that one. */
  pause: command('pause', { share: optionalField('path', share) }, {}),
  resume: command('resume', { share: optionalField('path', share) }, {}),
  /** "The 'status' command gives information about connections." Rates in bytes per second. */
  status: command(
    'status',
    {},
    {
      paused: field('paused', flag),
      tracking: field('tracking', flag),
      natPunctured: field('nat_punctured', flag),
      uploadRate: field('upload_rate', count),
      downloadRate: field('download_rate', count),
    },
  ),
  /** The folder is made if it is missing. */
  createShare: command(
    'create_share',
    {
      path: field('path', path),
      name: optionalField('name', name),
      selection: optionalField('.io.skylark.selection', selectionChange),
    },
    { id: optionalField('id', name), name: optionalField('name', name) },
  ),
  listShares: command(
    'list_shares',
    {},
    { shares: field('shares', dictionary(path, listedShare, { max: 10_000 })) },
  ),
  /**
   * "Adding a remote share is done with 'add_share', giving the sync code generated by the other peer and a directory to download
   * into." Answered when the keys are stored, or with the reason why they are not.
   */
  addShare: command(
    'add_share',
    {
      code: field('code', accessCode),
      path: field('path', path),
      name: optionalField('name', name),
      peers: optionalField('.io.skylark.peers', addresses),
      selection: optionalField('.io.skylark.selection', selectionChange),
    },
    {},
  ),
  /** The files stay. */
  removeShare: command('remove_share', { share: field('path', share) }, {}),
  createAccessCode: command(
    'create_access_code',
    { mode: field('mode', accessMode), share: field('path', share) },
    { accessCode: field('access_code', text({ max: 64 })) },
  ),
  getConfig: command('get_config', {}, { config: field('config', config) }),
  setConfig: command('set_config', { config: field('config', config) }, {}),
  getConfigValue: command(
    'get_config_value',
    { key: field('key', configKey) },
    { value: field('value', anyJson) },
  ),
  setConfigValue: command(
    'set_config_value',
    { key: field('key', configKey), value: field('value', anyJson) },
    {},
  ),

  /** Everything of `skylark status --json`. */
  fullStatus: command('.io.skylark.status', {}, agentStatus),
  listCodes: command(
    '.io.skylark.list_codes',
    { share: optionalField('share', share) },
    { codes: field('codes', list(listedCode, { max: 100_000 })) },
  ),
  /** By the code, its URL, its username or its access ID. */
  revokeCode: command('.io.skylark.revoke_code', { code: field('code', accessCode) }, {}),
  createCode: command(
    '.io.skylark.create_code',
    {
      /** Need not be given if there is only one. */
      share: optionalField('share', share),
      mode: optionalField('mode', accessMode),
      /** Seconds; null: never; missing: a day. */
      expires: optionalField('expires', nullable(integer({ min: 1, max: 3_155_760_000 }))),
      multiUse: optionalField('multi_use', flag),
      username: optionalField('username', text({ min: 1, max: 256 })),
      password: optionalField('password', text({ min: 1, max: 1_024 })),
    },
    {
      /** Null for a username and password. */
      code: field('code', nullable(text({ max: 64 }))),
      url: field('url', nullable(text({ max: 256 }))),
      id: field('id', text({ max: 64 })),
      mode: field('mode', accessMode),
      expires: field('expires', nullable(timestamp)),
    },
  ),
  /** Answered when the keys are stored, or with the reason why they are not. Takes as long as it takes, or `timeout_s`. */
  join: command(
    '.io.skylark.join',
    {
      /** Or username and password. */
      code: optionalField('code', accessCode),
      username: optionalField('username', text({ min: 1, max: 256 })),
      password: optionalField('password', text({ min: 1, max: 1_024 })),
      path: field('path', path),
      name: optionalField('name', name),
      peers: optionalField('peers', addresses),
      selection: optionalField('selection', selectionChange),
      timeoutS: optionalField('timeout_s', integer({ min: 1, max: 86_400 })),
    },
    {
      id: field('id', name),
      name: field('name', name),
      path: field('path', path),
      mode: field('mode', accessMode),
    },
  ),
  /** Changes which part of a share is kept here, and answers what is kept now. What is not named stays as it is. */
  setShare: command(
    '.io.skylark.set_share',
    { share: field('share', share), selection: optionalField('selection', selectionChange) },
    { selection: field('selection', selectionRules) },
  ),
  /** One page of what is in a folder of the share, in the order of the paths. */
  listFiles: command(
    '.io.skylark.list_files',
    {
      share: field('share', share),
      /** The folder (or one file); missing: the share's root. */
      path: optionalField('path', path),
      /** Everything below, not only what lies in the folder itself. */
      recursive: optionalField('recursive', flag),
      /** `next` of the page before. */
      after: optionalField('after', path),
      limit: optionalField('limit', integer({ min: 1, max: 1_000 })),
    },
    { files: field('files', list(listedFile, { max: 1_000 })), next: field('next', nullable(path)) },
  ),
  history: HISTORY,
  restore: RESTORE,
  bridge: command(
    '.io.skylark.bridge',
    {},
    { devices: field('devices', list(deviceStatus, { max: 1_000 })) },
  ),
} as const;

/**
 * Commands that tell something before their answer: lines with nothing but `more`. Whoever does not want to know the end closes
 * the connection, and the work is given up.
 */
export const STREAMS = { verify: VERIFY, readFile: READ_FILE } as const;

/**
 * Answered with `{}`; from then on the connection carries events (`agentEvent`), one a line, until the client closes it. What the
 * client sends after it is not looked at.
 */
export const SUBSCRIBE: CommandSpec<object, object> = command('.io.skylark.events', {}, {});

export type CommandName = keyof typeof COMMANDS;
export type Requests = { readonly [K in CommandName]: RequestOf<(typeof COMMANDS)[K]> };
export type Answers = { readonly [K in CommandName]: AnswerOf<(typeof COMMANDS)[K]> };
export type StreamName = keyof typeof STREAMS;
export type StreamRequests = { readonly [K in StreamName]: RequestOf<(typeof STREAMS)[K]> };
export type StreamItems = { readonly [K in StreamName]: ItemOf<(typeof STREAMS)[K]> };
export type StreamAnswers = { readonly [K in StreamName]: AnswerOf<(typeof STREAMS)[K]> };
export type AgentEvent = Infer<typeof agentEvent>;
export type ListedCode = Infer<typeof listedCode>;
export type ListedFile = Infer<typeof listedFile>;
export type Greeting = Infer<typeof greeting>;
