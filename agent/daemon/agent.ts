/** What the control socket controls: the commands, over what the daemon has opened. */

import type { Bridge } from '../../firmware-bridge/index.ts';
import { type Clock, sleep } from '../base/clock.ts';
import { parseEndpoint } from '../base/endpoint.ts';
import { EXIT, environmentError, userError } from '../base/errors.ts';
import { canonicalJson, type Json } from '../base/json.ts';
import { type Logger, Secret } from '../base/log.ts';
import { formatTimestamp } from '../base/timestamp.ts';
import {
  type Access,
  accessCodeUrl,
  accessOfCode,
  accessOfCredentials,
  parseAccessCode,
} from '../club/access-code.ts';
import type { Club } from '../club/club.ts';
import type { CodeInfo } from '../club/code-book.ts';
import type { DeviceState } from '../club/device-state.ts';
import type { Registry } from '../club/registry.ts';
import type { AccessLevel } from '../club/session.ts';
import { type ConfigurationFile, loadConfiguration } from '../config/load.ts';
import type { Configuration } from '../config/options.ts';
import type { EventFeed } from '../control/event-feed.ts';
import { findShare, onlyShare } from '../control/find-share.ts';
import type { ListedCode, Requests } from '../control/messages.ts';
import type { ControlledAgent } from '../control/server.ts';
import type { AccessMode } from '../control/status.ts';
import { sha256 } from '../crypto/hash.ts';
import type { SelectionChange } from '../directory/selection.ts';
import type { Section } from '../platform/state-file.ts';
import { fileRequests } from './file-requests.ts';
import { listFiles } from './listing.ts';
import { GIVEN_ADDRESSES, type Network } from './network.ts';
import { ShareFolders } from './share-folders.ts';
import { changeSelection, checkMaySend, selectionOf, selectionSettings } from './share-selection.ts';
import type { OpenShare, Shares } from './shares.ts';
import { deviceStatus, type StatusSources, shareStatus, statusDocument } from './status-document.ts';
import { configurationJson, storedOptionsFile } from './stored-options.ts';

export interface AgentOptions {
  /** Real and absolute: it holds keys, and must never be in a share. */
  readonly stateFolder: string;
  readonly registry: Registry;
  readonly shares: Shares;
  readonly network: Network;
  readonly state: Section<DeviceState>;
  readonly status: Omit<StatusSources, 'isPaused'>;
  readonly bridge: () => Bridge | undefined;
  readonly configure: (stored: ConfigurationFile) => Configuration;
  /** Options were set; those that can be changed while the daemon runs take effect. */
  readonly onConfigured: () => void;
  readonly events: EventFeed;
  /** Ends the daemon; returns at once. */
  readonly stop: () => void;
  /** Aborted when the daemon ends. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A join is given up after this long unless it was said otherwise, seconds. */
const JOIN_S = 60;
/** A joined folder that takes longer to list is listed in the background, milliseconds. */
const LISTING_MS = 30_000;

export function openAgent(options: AgentOptions): ControlledAgent {
  const { registry, shares, network, state, configure, events } = options;
  const folders = new ShareFolders({ stateFolder: options.stateFolder, shares: () => registry.list() });
  let pausedWithoutShares = false;

  const isPaused = () => {
    const clubs = registry.list();
    return clubs.length === 0 ? pausedWithoutShares : clubs.every(({ paused }) => paused);
  };
  const status: StatusSources = { ...options.status, isPaused };
  const named = () =>
    registry.list().map((club) => ({ id: club.id, name: club.name, path: club.folder, club }));
  const clubOf = (share: string) => findShare(named(), share).club;
  const openShareOf = (share: string): OpenShare => {
    const club = clubOf(share);
    const open = shares.get(club.id);
    if (open !== undefined) return open;
    throw shares.failure(club.id) ?? environmentError('share.not_open', `the share ${club.name} is not open`);
  };

  function nameFor(wanted: string | undefined, folder: string): string {
    const base = wanted ?? (folder.slice(folder.lastIndexOf('/') + 1) || 'root');
    const taken = new Set(registry.list().map(({ name }) => name));
    if (!taken.has(base)) return base;
    if (wanted !== undefined) {
      throw userError('share.name_taken', `there is a share named ${wanted} already`, {
        remedy: 'choose another name with --name',
      });
    }
    for (let n = 2; ; n++) if (!taken.has(`${base} ${n}`)) return `${base} ${n}`;
  }

  async function pause(share: string | undefined, paused: boolean): Promise<void> {
    const clubs = share === undefined ? registry.list() : [clubOf(share)];
    if (share === undefined) pausedWithoutShares = paused;
    for (const club of clubs) await registry.configure(club.id, { paused });
    if (clubs.length > 0)
      events.publish({
        event: paused ? 'paused' : 'resumed',
        ...(share === undefined ? {} : { share: clubs[0]?.id }),
      });
  }

  function createShare({ path, name, selection }: Requests['createShare']) {
    const settings = selectionSettings(selection);
    return folders.use(path, async (folder) => {
      const club = await registry.create({ name: nameFor(name, folder), folder, settings });
      await openOrLeave(club);
      events.publish({ event: 'share_added', share: club.id });
      return { id: club.id, name: club.name };
    });
  }

  /** A share that never worked is not worth keeping keys for. */
  async function openOrLeave(club: Club, selection?: SelectionChange): Promise<void> {
    try {
      checkMaySend(club.level, selection);
      await shares.open(club);
    } catch (thrown) {
      await registry.leave(club.id);
      throw thrown;
    }
  }

  async function join(request: Requests['join']): Promise<Club> {
    const access = accessOf(request);
    for (const peer of request.peers ?? []) parseEndpoint(peer);
    selectionSettings(request.selection);
    return folders.use(request.path, async (folder) => {
      const club = await joinInto(folder, nameFor(request.name, folder), access, request);
      events.publish({ event: 'joined', share: club.id });
      return club;
    });
  }

  async function joinInto(
    folder: string,
    name: string,
    access: Access,
    { peers = [], timeoutS = JOIN_S, selection }: Requests['join'],
  ): Promise<Club> {
    const club = await network.pool.join({
      access,
      addresses: peers,
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(timeoutS * 1_000)]),
      adopt: async (keys, peer) => {
        const settings = new Map<string, Json>([...selectionSettings(selection), [GIVEN_ADDRESSES, peers]]);
        const adopted = await registry.adopt(keys, peer, { name, folder, settings });
        await openOrLeave(adopted, selection);
        return adopted;
      },
      onFailure: (address, why) =>
        options.log.info('joining: a peer was tried in vain', { address, error: why }),
    });
    // What is put into the folder after the answer is a change; before, it was found there.
    const enough = new AbortController();
    const waiting = AbortSignal.any([options.signal, enough.signal]);
    // However it ends, the keys are stored.
    const longest = sleep(options.clock, LISTING_MS, waiting).catch(() => {});
    await Promise.race([shares.get(club.id)?.share.listed(), longest]);
    enough.abort();
    return club;
  }

  async function createCode(request: Requests['createCode']): Promise<CodeInfo> {
    const club = request.share === undefined ? onlyShare(named()).club : clubOf(request.share);
    const { username, password } = request;
    if ((username === undefined) !== (password === undefined)) {
      throw userError('code.credentials', 'a username and a password go together');
    }
    return club.codes.create({
      level: levelFor(club, request.mode),
      ...(request.multiUse === undefined ? {} : { multiUse: request.multiUse }),
      ...(request.expires === undefined ? {} : { lifetime: request.expires }),
      ...(username === undefined || password === undefined
        ? {}
        : { credentials: { username, password: new Secret(password) } }),
    });
  }

  async function setOptions(changes: ReadonlyMap<string, Json>): Promise<void> {
    const stored = new Map([...state.value.device.options, ...changes]);
    // Refuses what is unknown or wrong, and says so, before anything is kept.
    const file = storedOptionsFile(stored);
    const alone = configurationJson(loadConfiguration({ files: [file] }));
    const effective = configurationJson(configure(file));
    for (const key of changes.keys()) {
      if (canonicalJson(effective.get(key) ?? null) === canonicalJson(alone.get(key) ?? null)) continue;
      throw userError(
        'config.overruled',
        `${key} is set on the command line or in the environment of the daemon`,
        {
          remedy: 'change it there',
          exitCode: EXIT.configuration,
        },
      );
    }
    await state.update((value) => ({ ...value, device: { ...value.device, options: stored } }));
    options.onConfigured();
  }
  const currentOptions = () => configurationJson(configure(storedOptionsFile(state.value.device.options)));

  return {
    stop: async () => {
      options.stop();
      return {};
    },
    pause: async ({ share }) => {
      await pause(share, true);
      return {};
    },
    resume: async ({ share }) => {
      await pause(share, false);
      // Who names the share has looked at what is held back, and says that it is meant so.
      const open = share === undefined ? undefined : shares.get(clubOf(share).id);
      const isHeld = open?.share.problems().some(({ stops }) => stops !== 'files') ?? false;
      if (isHeld) await open?.share.accept();
      return {};
    },
    status: async () => {
      const connections = network.pool.connections();
      const sum = (rate: 'rateUp' | 'rateDown') =>
        Math.round(connections.reduce((total, connection) => total + connection[rate], 0));
      return {
        paused: isPaused(),
        tracking: false,
        natPunctured: false,
        uploadRate: sum('rateUp'),
        downloadRate: sum('rateDown'),
      };
    },
    createShare,
    listShares: async () => ({
      shares: new Map(registry.list().map((club) => [club.folder, shareStatus(status, club)])),
    }),
    addShare: async (request) => {
      await join(request);
      return {};
    },
    removeShare: async ({ share }) => {
      const club = clubOf(share);
      await registry.leave(club.id);
      events.publish({ event: 'share_removed', share: club.id });
      return {};
    },
    createAccessCode: async ({ mode, share }) => {
      const { code } = await createCode({ share, mode });
      return { accessCode: code?.reveal() ?? '' };
    },
    getConfig: async () => ({ config: currentOptions() }),
    setConfig: async ({ config }) => {
      await setOptions(config);
      return {};
    },
    getConfigValue: async ({ key }) => {
      const value = currentOptions().get(key);
      if (value === undefined) throw userError('config.unknown_option', `there is no option ${key}`);
      return { value };
    },
    setConfigValue: async ({ key, value }) => {
      await setOptions(new Map([[key, value]]));
      return {};
    },
    fullStatus: async () => statusDocument(status),
    listCodes: async ({ share }) => ({
      codes: (share === undefined ? registry.list() : [clubOf(share)]).flatMap((club) =>
        club.codes.list().map((info) => listedCode(club, info)),
      ),
    }),
    revokeCode: async ({ code }) => {
      await revoke(registry, code);
      return {};
    },
    createCode: async (request) => {
      const { code, id, level, expires } = await createCode(request);
      const text = code?.reveal() ?? null;
      return {
        code: text,
        url: text === null ? null : accessCodeUrl(text),
        id,
        mode: level,
        expires: expires === undefined ? null : formatTimestamp(expires),
      };
    },
    join: async (request) => {
      const { id, name, folder, level } = await join(request);
      return { id, name, path: folder, mode: level };
    },
    setShare: async ({ share, selection = {} }) => {
      const club = clubOf(share);
      const isChange = Object.values(selection).some((part) => part !== undefined);
      return {
        selection: isChange
          ? await changeSelection(club, selection, { registry, share: shares.get(club.id)?.share })
          : selectionOf(club),
      };
    },
    ...fileRequests(openShareOf, options.clock),
    listFiles: async (request) => listFiles(openShareOf(request.share), request),
    bridge: async () => ({ devices: (options.bridge()?.status() ?? []).map(deviceStatus) }),
  };
}

function accessOf({ code, username, password }: Requests['join']) {
  if (code !== undefined) return accessOfCode(parseAccessCode(code), sha256);
  if (username !== undefined && password !== undefined) {
    return accessOfCredentials(username, new Secret(password), sha256);
  }
  throw userError('join.nothing', 'an access code, or a username and a password, is needed');
}

function levelFor(club: Club, mode: AccessMode | undefined): AccessLevel {
  if (mode === 'untrusted') {
    throw userError('code.mode_unsupported', 'codes for untrusted members are not supported yet', {
      remedy: 'choose read_write or read_only',
    });
  }
  const level = mode ?? club.level;
  if (level === 'read_write' && club.level === 'read_only') {
    throw userError(
      'code.level_too_high',
      `the share ${club.name} is read-only here: it can give read-only access only`,
      {
        remedy: 'make the code with --mode read_only, or on a device that may write',
        exitCode: EXIT.notPermitted,
      },
    );
  }
  return level;
}

function listedCode(club: Club, info: CodeInfo): ListedCode {
  const code = info.code?.reveal() ?? null;
  return {
    id: info.id,
    share: club.id,
    shareName: club.name,
    code,
    url: code === null ? null : accessCodeUrl(code),
    username: info.username ?? null,
    mode: info.level,
    state: info.state,
    multiUse: info.multiUse,
    uses: info.uses,
    created: formatTimestamp(info.created),
    expires: info.expires === undefined ? null : formatTimestamp(info.expires),
  };
}

/** By access ID, username, or the code as it was typed. */
async function revoke(registry: Registry, named: string): Promise<void> {
  const wanted = (info: CodeInfo) => info.id === named || info.username === named;
  for (const club of registry.list()) {
    const found = club.codes.list().find(wanted);
    if (found !== undefined) return club.codes.revoke(found.id);
  }
  const unknown = (what: string) =>
    userError('code.unknown', `there is no such ${what} on this device`, {
      remedy: "'skylark code --list' shows what there is",
    });
  // Codes begin so; anything else was meant as a user name, unless it is a URL.
  if (!/^SYNC|:/i.test(named.trim())) throw unknown('access code or user name');
  const { id } = accessOfCode(parseAccessCode(named), sha256);
  const club = registry.list().find(({ codes }) => codes.list().some((info) => info.id === id));
  if (club === undefined) throw unknown('access code');
  return club.codes.revoke(id);
}
