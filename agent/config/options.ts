/**
 * Every option, declared once: from here come the type of `Configuration`, the errors, the reference in `docs/` and the
 * example file (`npm run docs`). Adding an option is adding an entry. Only what has an effect is declared.
 */

import {
  choice,
  dailyHours,
  duration,
  endpoint,
  flag,
  integer,
  list,
  type Option,
  required,
  size,
  tables,
  text,
  textWithin,
  Unfit,
} from './option.ts';

const MINUTE = 60_000;
/** Of contents, bytes a second. With less, ten members that share it would take each other for stalled. */
const LEAST_RATE = 10_000n;
const MOST_RATE = 100_000_000_000n;

/** Versions of the secure channel that this program speaks. */
const CHANNEL_VERSIONS: readonly unknown[] = [1];

export const OPTIONS = {
  name: text(
    { max: 64 },
    {
      text: 'What this device is called where people see it: in the peer lists of other members, and on its pages.',
      default: undefined,
      otherwise: "the machine's host name",
      example: '"Music room piano"',
    },
  ),

  listen: endpoint({
    text: 'Address and port for connections from other members of a club. Port 0: the one of the last run or, if that is taken, a free one.',
    default: undefined,
    otherwise: 'all addresses, and the port of the last run or, if that is taken, a free one',
    example: '"0.0.0.0:49221"',
  }),

  'discovery.lan': flag({
    text: 'Find members in the local network by broadcast, and be found. Without it only remembered and given addresses are tried.',
    default: true,
    example: 'false',
  }),

  'discovery.lan_port': integer(
    { min: 1, max: 65_535 },
    {
      text: 'UDP port of the broadcasts. All members of a club need the same.',
      default: 60_106,
      example: '60106',
    },
  ),

  'directory.rescan_period': duration(
    { min: 10_000, max: 7 * 24 * 60 * MINUTE },
    {
      text: 'How often a share is read through for changes that watching it has missed.',
      default: 60 * MINUTE,
      example: '"6h"',
    },
  ),

  'directory.reserve': size(
    { max: 1_000_000_000_000_000n },
    {
      text: 'How much of the file system of a share stays free: contents that would take more wait until there is room.',
      default: undefined,
      otherwise: '1 % of the file system, at least 64 MiB, but not more than a tenth of it',
      example: '"500MB"',
    },
  ),

  'directory.cache': size(
    { max: 1_000_000_000_000_000n },
    {
      text: 'How much of each share is kept of what was asked for with "skylark get" and is not kept in the folder (shallow and partial copies).',
      default: undefined,
      otherwise: '256 MiB',
      example: '"1GB"',
    },
  ),

  'manners.priority': choice(['low', 'normal'], {
    text: 'Whether the daemon gives way to other programs on this machine: `low` lowers its priority for the processor (nice 10) and, where the program `ionice` is, for the disk (best effort 7), once, at the start. `normal` leaves it as it was started.',
    default: 'low',
    example: '"normal"',
  }),

  'manners.upload_rate': size(
    { min: LEAST_RATE, max: MOST_RATE },
    {
      text: 'How many bytes of contents are sent in a second, over all shares and members. What is small (records, questions) is not held up.',
      default: undefined,
      otherwise: 'no limit',
      example: '"500kB"',
    },
  ),

  'manners.download_rate': size(
    { min: LEAST_RATE, max: MOST_RATE },
    {
      text: 'How many bytes of contents are received in a second, over all shares and members.',
      default: undefined,
      otherwise: 'no limit',
      example: '"2MB"',
    },
  ),

  'manners.monthly_upload': size(
    { max: 1_000_000_000_000_000n },
    {
      text: 'How many bytes of contents are sent in a calendar month. When they are used up, contents wait for the next month; records still spread.',
      default: undefined,
      otherwise: 'no limit',
      example: '"20GB"',
    },
  ),

  'manners.monthly_download': size(
    { max: 1_000_000_000_000_000n },
    {
      text: 'How many bytes of contents are received in a calendar month.',
      default: undefined,
      otherwise: 'no limit',
      example: '"20GB"',
    },
  ),

  'manners.quiet_hours': dailyHours({
    text: 'When no contents are sent or received, by the local time; several ranges with commas between. What is changed meanwhile is noted, and records spread.',
    default: undefined,
    otherwise: 'none',
    example: '"22:00-07:00"',
  }),

  'manners.on_battery': choice(['sync', 'pause'], {
    text: 'What becomes of contents while this device runs on its battery, where the system tells: `sync` goes on, `pause` lets them wait.',
    default: 'sync',
    example: '"pause"',
  }),

  'manners.on_metered': choice(['sync', 'pause'], {
    text: 'What becomes of contents while NetworkManager says that the network is paid for by the byte: `pause` lets them wait, `sync` goes on.',
    default: 'pause',
    example: '"sync"',
  }),

  'manners.alert_after': duration(
    { min: 60 * MINUTE, max: 3_650 * 24 * 60 * MINUTE },
    {
      text: 'A share that was not in step with any other member for so long is a problem in `status`.',
      default: 7 * 24 * 60 * MINUTE,
      example: '"14d"',
    },
  ),

  'security.channel_versions': list(
    {
      text: 'Versions of the secure channel that are offered and accepted, the preferred one first. 1 is TLS-SRP.',
      default: [1],
      example: '[1]',
    },
    'list of versions',
    (version) => {
      if (CHANNEL_VERSIONS.includes(version)) return Number(version);
      throw new Unfit(
        `this version of Skylark speaks channel version ${CHANNEL_VERSIONS.join(', ')} and no other`,
      );
    },
  ),

  'security.guesses_per_hour': integer(
    { min: 1, max: 1_000 },
    {
      text: 'Wrong access codes that are answered in an hour, for each code. Then there is silence for an hour.',
      default: 20,
      example: '5',
    },
  ),

  'bridge.device': tables(
    {
      text: 'A device whose recordings become files of a share, over a serial port, USB or TCP, or as a medium. One such table for each device.',
      example: `source = "serial:/dev/serial/by-id/usb-Piano_1-if00?baud=1000000"
driver = "skylink"
share = "Music"
folder = "piano"`,
    },
    {
      source: text(
        { max: 1_024 },
        {
          text: 'Where the device is: `serial:/dev/...?baud=N`, preferably a path under `/dev/serial/by-id`; `usb:VENDOR:PRODUCT[:SERIAL]?baud=N`, wherever it is plugged in; `tcp://HOST:PORT`; or `dir:/media/NAME`, a medium or folder (`?mount=required`, `any` or `/media/NAME`: what must be mounted; by default the path itself below `/media`, `/mnt` and `/run/media`).',
          ...required,
          example: '"tcp://127.0.0.1:5000"',
        },
      ),
      driver: choice(['skylink', 'ymodem', 'midi-file-dump', 'folder'], {
        text: "The device's protocol: `skylink`, our own; `ymodem`, for devices that send files on a button; `midi-file-dump`, for instruments that do so by MIDI; `folder`, for `dir:`.",
        default: undefined,
        otherwise: '`folder` for `dir:`, `skylink` for everything else',
        example: '"skylink"',
      }),
      share: text(
        { max: 255 },
        { text: 'Name or ID of the share that the files go to.', ...required, example: '"Music"' },
      ),
      folder: text(
        { max: 1_024 },
        {
          text: 'Folder inside the share. It is made when needed.',
          default: '',
          otherwise: "the share's own folder",
          example: '"piano"',
        },
      ),
      send: list(
        {
          text: 'Files in the folder that are sent to the device, by patterns as in an ignore file (`lessons/`, `*.sf2`). The device must be able to take files. What you delete there is deleted on the device, if it is still what was sent.',
          default: [],
          otherwise: 'none',
          example: '["lessons/"]',
        },
        'list of patterns',
        textWithin({ max: 1_024 }),
      ),
      send_largest: size(
        { max: 4_000_000_000n },
        {
          text: 'Largest file that is sent to the device.',
          default: undefined,
          otherwise: '16 MB',
          example: '"1MB"',
        },
      ),
      mode: choice(['archive', 'mirror'], {
        text: 'What becomes of a file in the share when the device deletes its own: `archive` keeps it, `mirror` deletes it too.',
        default: 'archive',
        example: '"mirror"',
      }),
    },
  ),

  'log.level': choice(['debug', 'info', 'warn', 'error'], {
    text: 'Least severe messages that are logged.',
    default: 'info',
    example: '"debug"',
  }),

  'log.format': choice(['text', 'json'], {
    text: 'Lines for people, or a JSON object in each line.',
    default: 'text',
    example: '"json"',
  }),
} satisfies Readonly<Record<string, Option<unknown>>>;

/** The values by the options' names: `configuration['discovery.lan']`. */
export type Configuration = {
  readonly [Name in keyof typeof OPTIONS]: (typeof OPTIONS)[Name] extends Option<infer T> ? T : never;
};

export type OptionName = keyof typeof OPTIONS;

/** Environment variables that begin with SKYLARK_ and are no options: the tests' own. */
export const OTHER_VARIABLES: readonly string[] = [
  'SKYLARK_BINARY',
  'SKYLARK_LONG',
  'SKYLARK_REQUIRE_PEERS',
  'SKYLARK_SCHEDULES',
  'SKYLARK_SEED',
  'SKYLARK_SEEDS',
];
