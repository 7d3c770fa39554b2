/** The document of `skylark status --json` (docs: "Commands"), which `.io.skylark.status` answers with. */

import {
  anyJson,
  choice,
  field,
  flag,
  type Infer,
  integer,
  list,
  nullable,
  object,
  optionalField,
  text,
  timestamp,
} from '../base/schema.ts';
import { selectionRules } from '../directory/selection.ts';
import { count } from './command.ts';

const name = text({ max: 1_024 });
const path = text({ max: 16_384 });
const address = text({ max: 512 });
const code = text({ max: 128 });
const message = text({ max: 16_384 });
const MANY = 100_000;

/** Something that somebody should know of, and can often do something about. */
export const problem = object({
  /** Stable: `share.root_missing`. */
  code: field('code', code),
  message: field('message', message),
  remedy: optionalField('remedy', message),
  /** ID of the share that it is about. */
  share: optionalField('share', name),
  /** Source of the device that it is about. */
  device: optionalField('device', name),
  /** How many files it is about. */
  count: optionalField('count', count),
  /** Some of them. */
  paths: optionalField('paths', list(path, { max: 100 })),
});

export const accessMode = choice('read_write', 'read_only', 'untrusted');

const safePlace = object({
  id: field('id', name),
  /** As it calls itself. */
  name: field('name', nullable(name)),
  connected: field('connected', flag),
  /** Since when it is known to have it all. */
  since: field('since', timestamp),
});

export const shareStatus = object({
  /** Our own name for it, never sent to peers. */
  id: field('id', name),
  name: field('name', name),
  /** Absolute path of its folder. */
  path: field('path', path),
  mode: field('mode', accessMode),
  paused: field('paused', flag),
  /** Live files, here or elsewhere. */
  files: field('files', count),
  bytes: field('bytes', count),
  /** Known and not yet here. */
  pendingFiles: field('pending_files', count),
  pendingBytes: field('pending_bytes', count),
  /** About how many seconds these will take; null: that can't be told. */
  etaS: field('eta_s', nullable(count)),
  /** Which part is kept here, and in which directions changes go. */
  selection: field('selection', selectionRules),
  /** Known and not kept here, or not in the newest version, since it is not wanted. */
  unwantedFiles: field('unwanted_files', count),
  unwantedBytes: field('unwanted_bytes', count),
  /** Of these, what was asked for and is kept in the cache. */
  cachedBytes: field('cached_bytes', count),
  /** Nothing is pending, and what is in the folder is recorded. */
  synced: field('synced', flag),
  /** Where the share may only be read: files in the folder that are not in the share, since they may not be added here. */
  besideFiles: field('beside_files', count),
  /** And edited files that made room for what the share has: the archive keeps them for a while. */
  putRightFiles: field('put_right_files', count),
  /** Members that have said that they have everything that is here, also those that are not connected now. */
  safeOn: field('safe_on', list(safePlace, { max: MANY })),
  /** When it was last in step with a member; null: never. */
  lastSync: field('last_sync', nullable(timestamp)),
});

export const peerStatus = object({
  id: field('id', name),
  /** As it calls itself. */
  name: field('name', nullable(name)),
  /** ID of the share in which it is a member: somebody with whom two are shared is listed twice. */
  share: field('share', name),
  address: field('address', nullable(address)),
  /** How the connection is secured: `1` and the cipher suite. */
  channel: field('channel', nullable(text({ max: 128 }))),
  /** Of this connection. */
  mode: field('mode', nullable(accessMode)),
  connected: field('connected', flag),
  /** When the connection was opened; for others, when it was last seen. */
  since: field('since', nullable(timestamp)),
  /** Bytes a second. */
  rateUp: field('rate_up', count),
  rateDown: field('rate_down', count),
});

/** A device on the bridge. */
export const deviceStatus = object({
  /** As configured. */
  source: field('source', name),
  driver: field('driver', name),
  share: field('share', name),
  folder: field('folder', path),
  mode: field('mode', name),
  state: field('state', choice('opening', 'waiting', 'idle', 'mirroring', 'closed')),
  /** What the device says of itself; null while it is not there. */
  device: field(
    'device',
    nullable(
      object({ id: field('id', name), model: field('model', name), firmware: field('firmware', name) }),
    ),
  ),
  files: field('files', count),
  bytes: field('bytes', count),
  /** The file that is being read. */
  arriving: field(
    'arriving',
    nullable(
      object({ name: field('name', path), offset: field('offset', count), size: field('size', count) }),
    ),
  ),
  line: field(
    'line',
    object({
      bytesIn: field('bytes_in', count),
      bytesOut: field('bytes_out', count),
      crcErrors: field('crc_errors', count),
      retries: field('retries', count),
      /** Bytes a second, as estimated. */
      rate: field('rate', count),
    }),
  ),
  /** Percent. */
  battery: field('battery', nullable(integer({ min: 0, max: 100 }))),
  problems: field('problems', list(problem, { max: 1_000 })),
});

/** A place where a member was looked for. */
export const attempt = object({
  share: optionalField('share', name),
  address: field('address', address),
  /** Where it is known from: `lan`, `remembered`, `manual`. */
  source: field('source', name),
  peer: field('peer', nullable(name)),
  state: field('state', choice('connected', 'dialling', 'waiting')),
  lastOutcome: field('last_outcome', nullable(choice('connected', 'failed', 'refused', 'self'))),
  retryInS: field('retry_in_s', nullable(count)),
});

/** Why contents are not sent or received at the moment. */
export const hold = object({
  /** Stable: `manners.quiet_hours`. */
  code: field('code', code),
  message: field('message', message),
  remedy: field('remedy', message),
  /** Which of both it holds back. */
  upload: field('upload', flag),
  download: field('download', flag),
});

export const agentStatus = {
  name: field('name', name),
  deviceId: field('device_id', name),
  version: field('version', name),
  uptimeS: field('uptime_s', count),
  paused: field('paused', flag),
  /** `HOST:PORT` of each address that accepts members. */
  listen: field('listen', list(address, { max: 64 })),
  /** `HOST:PORT` of the page; null: there is none. */
  http: field('http', nullable(address)),
  shares: field('shares', list(shareStatus, { max: 10_000 })),
  peers: field('peers', list(peerStatus, { max: MANY })),
  attempts: field('attempts', list(attempt, { max: MANY })),
  bridge: field('bridge', list(deviceStatus, { max: 1_000 })),
  /** Of the key backup; null: none is configured. */
  backup: field('backup', anyJson),
  holds: field('holds', list(hold, { max: 64 })),
  /** Bytes of contents that were sent and received in this calendar month. */
  month: field('month', object({ up: field('up', count), down: field('down', count) })),
  problems: field('problems', list(problem, { max: 10_000 })),
} as const;

export type Problem = Infer<typeof problem>;
export type AccessMode = Infer<typeof accessMode>;
export type ShareStatus = Infer<typeof shareStatus>;
export type PeerStatus = Infer<typeof peerStatus>;
export type DeviceStatus = Infer<typeof deviceStatus>;
export type AttemptStatus = Infer<typeof attempt>;
