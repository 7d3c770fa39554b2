/** The document of `skylark status`, put together from what runs. */

import type { Bridge, DeviceStatus as BridgeDevice } from '../../firmware-bridge/index.ts';
import { type Endpoint, formatEndpoint } from '../base/endpoint.ts';
import { describeError, errorCode, SkylarkError } from '../base/errors.ts';
import { formatTimestamp } from '../base/timestamp.ts';
import type { Club } from '../club/club.ts';
import type { Pool } from '../club/pool.ts';
import type { Registry } from '../club/registry.ts';
import type { Answers } from '../control/messages.ts';
import type { AttemptStatus, DeviceStatus, PeerStatus, Problem, ShareStatus } from '../control/status.ts';
import type { Manners } from '../directory/manners/manners.ts';
import type { Problem as ShareProblem } from '../directory/problems.ts';
import { EVERYTHING } from '../directory/selection.ts';
import type { Discovery } from '../discovery/discovery.ts';
import type { DatabaseTrouble } from './database-trouble.ts';
import type { LastSync } from './last-sync.ts';
import type { Shares } from './shares.ts';
import type { SyncAlert } from './sync-alert.ts';

export interface StatusSources {
  readonly registry: Registry;
  readonly shares: Shares;
  readonly pool: Pool;
  readonly discovery: Discovery;
  readonly trouble: DatabaseTrouble;
  readonly bridge: () => Bridge | undefined;
  readonly lastSync: LastSync;
  readonly alerts: SyncAlert;
  readonly manners: Manners;
  readonly listen: Endpoint;
  readonly version: string;
  readonly name: () => string;
  readonly isPaused: () => boolean;
  /** Milliseconds since the start. */
  readonly uptime: () => number;
}

export function statusDocument(sources: StatusSources): Answers['fullStatus'] {
  const { registry, pool, listen, manners } = sources;
  const clubs = registry.list();
  const bridge = sources.bridge()?.status() ?? [];
  return {
    name: sources.name(),
    deviceId: registry.deviceId,
    version: sources.version,
    uptimeS: Math.floor(sources.uptime() / 1_000),
    paused: sources.isPaused(),
    listen: [formatEndpoint(listen)],
    http: null,
    shares: clubs.map((club) => shareStatus(sources, club)),
    peers: clubs.flatMap((club) => peersOf(club, pool)),
    attempts: sources.discovery.attempts().map(
      ({ club, address, source, peer, state, lastOutcome, retryIn }): AttemptStatus => ({
        share: registry.get(club) === undefined ? undefined : club,
        address,
        source,
        peer: peer ?? null,
        state,
        lastOutcome: lastOutcome ?? null,
        retryInS: retryIn === undefined ? null : Math.max(0, Math.round(retryIn / 1_000)),
      }),
    ),
    bridge: bridge.map(deviceStatus),
    backup: null,
    holds: manners.holds.map(({ code, message, remedy, directions }) => ({
      code,
      message,
      remedy,
      upload: directions.includes('upload'),
      download: directions.includes('download'),
    })),
    month: { up: Number(manners.passed('upload')), down: Number(manners.passed('download')) },
    problems: problemsOf(sources, clubs, bridge),
  };
}

export function shareStatus(
  sources: Pick<StatusSources, 'shares' | 'lastSync' | 'pool'>,
  club: Club,
): ShareStatus {
  const open = sources.shares.get(club.id)?.share;
  const status = open?.status();
  const lastSync = sources.lastSync.of(club);
  return {
    id: club.id,
    name: club.name,
    path: club.folder,
    mode: club.level,
    paused: club.paused,
    files: status?.files ?? 0,
    bytes: Number(status?.bytes ?? 0n),
    pendingFiles: status?.pendingFiles ?? 0,
    pendingBytes: Number(status?.pendingBytes ?? 0n),
    etaS: status?.secondsLeft ?? null,
    selection: open?.selection.rules ?? EVERYTHING,
    unwantedFiles: status?.unwantedFiles ?? 0,
    unwantedBytes: Number(status?.unwantedBytes ?? 0n),
    cachedBytes: Number(status?.cachedBytes ?? 0n),
    synced: status?.isSynced ?? false,
    besideFiles: status?.besideFiles ?? 0,
    putRightFiles: status?.putRightFiles ?? 0,
    safeOn: open === undefined || !status?.isRecorded ? [] : safePlaces(sources, club),
    lastSync: lastSync === undefined ? null : formatTimestamp(lastSync),
  };
}

/** Of whom it is known that all that is recorded here is there. */
function safePlaces({ shares, pool }: Pick<StatusSources, 'shares' | 'pool'>, club: Club) {
  const connected = new Map(
    pool
      .connections()
      .filter((connection) => connection.club === club.id)
      .map(({ peer }) => [peer.id, peer]),
  );
  const known = new Map(club.peers.map((peer) => [peer.id, peer]));
  const holders = shares.get(club.id)?.inStep.holders() ?? [];
  return holders.flatMap(({ id, since }) => {
    const peer = connected.get(id) ?? known.get(id);
    // A member that was not seen for so long that it was forgotten is no safe place.
    if (peer === undefined) return [];
    return [{ id, name: peer.name ?? null, connected: connected.has(id), since: formatTimestamp(since) }];
  });
}

function peersOf(club: Club, pool: Pool): PeerStatus[] {
  const connected = pool.connections().filter((connection) => connection.club === club.id);
  const ids = new Set(connected.map(({ peer }) => peer.id));
  const here = connected.map(
    ({ peer, channel, level, since, rateUp, rateDown }): PeerStatus => ({
      id: peer.id,
      name: peer.name ?? null,
      share: club.id,
      address: peer.address,
      channel: `${channel.version} ${channel.cipher}`,
      mode: level,
      connected: true,
      since: formatTimestamp(since),
      rateUp: Math.round(rateUp),
      rateDown: Math.round(rateDown),
    }),
  );
  const away = club.peers
    .filter(({ id }) => !ids.has(id))
    .map(
      ({ id, name, addresses, lastSeen }): PeerStatus => ({
        id,
        name: name ?? null,
        share: club.id,
        address: addresses[0] ?? null,
        channel: null,
        mode: null,
        connected: false,
        since: formatTimestamp(lastSeen),
        rateUp: 0,
        rateDown: 0,
      }),
    );
  return [...here, ...away];
}

function problemsOf(
  { shares, discovery, trouble, manners, alerts }: StatusSources,
  clubs: readonly Club[],
  bridge: readonly BridgeDevice[],
): Problem[] {
  const found: Problem[] = trouble.current === undefined ? [] : [problemOf(trouble.current)];
  for (const club of clubs) {
    const failure = shares.failure(club.id);
    if (failure !== undefined) found.push({ ...problemOf(failure), share: club.id });
    for (const problem of shares.get(club.id)?.share.problems() ?? []) {
      found.push({ ...shareProblem(problem), share: club.id });
    }
    const alert = alerts.of(club);
    if (alert !== undefined) found.push({ ...alert, share: club.id });
  }
  for (const { code, message, remedy, isProblem } of manners.holds)
    if (isProblem) found.push({ code, message, remedy });
  if (discovery.problem !== undefined) found.push(problemOf(discovery.problem));
  for (const device of bridge) {
    for (const { name, error } of device.problems) {
      found.push({ ...problemOf(error), device: device.source, ...(name === '' ? {} : { paths: [name] }) });
    }
    if (device.state.kind === 'waiting')
      found.push({ ...problemOf(device.state.error), device: device.source });
  }
  return found;
}

function problemOf(error: Error): Problem {
  const remedy = error instanceof SkylarkError ? error.remedy : undefined;
  return { code: errorCode(error) ?? 'unexpected', message: error.message, remedy };
}

function shareProblem({ code, message, remedy, count, paths }: ShareProblem): Problem {
  return { code, message, remedy, count, paths };
}

export function deviceStatus(device: BridgeDevice): DeviceStatus {
  const { source, driver, share, folder, mode, state, files, bytes, arriving, line, battery } = device;
  return {
    source,
    driver,
    share,
    folder,
    mode,
    state: state.kind,
    device: device.device ?? null,
    files,
    bytes,
    arriving: arriving ?? null,
    line: { ...line, rate: Math.round(line.rate) },
    battery: battery ?? null,
    problems: device.problems.map(({ name, error }) => ({
      code: errorCode(error) ?? 'unexpected',
      message: describeError(error),
      ...(name === '' ? {} : { paths: [name] }),
    })),
  };
}
