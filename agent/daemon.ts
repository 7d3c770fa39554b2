/** The composition root: everything that runs, in start order; closed in reverse. */

import type { Bridge, BridgeEvent } from '../firmware-bridge/index.ts';
import { toHex } from './base/bytes.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { type Endpoint, formatEndpoint } from './base/endpoint.ts';
import { asError, describeError, EXIT, environmentError } from './base/errors.ts';
import type { Logger } from './base/log.ts';
import { Scope } from './base/scope.ts';
import { SteadyTime } from './base/steady-time.ts';
import { deviceState, newDeviceState, STATE_VERSION } from './club/device-state.ts';
import { openRegistry } from './club/registry.ts';
import type { ConfigurationFile } from './config/load.ts';
import type { Configuration } from './config/options.ts';
import { EventFeed } from './control/event-feed.ts';
import { type ControlledAgent, openControlServer } from './control/server.ts';
import { sha256 } from './crypto/hash.ts';
import { rsa } from './crypto/rsa.ts';
import { openAgent } from './daemon/agent.ts';
import { DatabaseTrouble } from './daemon/database-trouble.ts';
import { openDeviceBridge } from './daemon/device-bridge.ts';
import { recordEvents, shareEvents } from './daemon/events.ts';
import { LastSync } from './daemon/last-sync.ts';
import { mannersSettings, openManners } from './daemon/manners.ts';
import { openNetwork } from './daemon/network.ts';
import { Shares } from './daemon/shares.ts';
import { storedOptionsFile } from './daemon/stored-options.ts';
import { SyncAlert } from './daemon/sync-alert.ts';
import { openHashing } from './directory/hashing.ts';
import { hostName, makeStateFolder } from './platform/folders.ts';
import { openLock } from './platform/lock.ts';
import { programVersion } from './platform/program.ts';
import { openSqlite } from './platform/sqlite.ts';
import { openStateFile } from './platform/state-file.ts';

export interface DaemonOptions {
  /** Absolute; made if it is missing. */
  readonly stateFolder: string;
  /**
   * Reads the configuration, with what was set at run time as its last file.
   * @throws SkylarkError (user, exit code 78) `config.*`.
   */
  readonly configure: (stored: ConfigurationFile) => Configuration;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface Daemon {
  /** The same commands as on the control socket. */
  readonly agent: ControlledAgent;
  readonly events: EventFeed;
  /** Where members connect to. */
  readonly listen: Endpoint;
  /** Resolves when somebody asks it to stop; whoever opened it then closes it. */
  readonly stopRequested: Promise<void>;
  /** Ends everything in order, within some seconds. */
  close(): Promise<void>;
}

/** @throws SkylarkError: `lock.*` (another daemon), `state.*`, `sqlite.*`, `config.*`, `net.*`, `control.*`. */
export async function openDaemon(options: DaemonOptions): Promise<Daemon> {
  const scope = new Scope();
  try {
    return await open(options, scope);
  } catch (thrown) {
    await scope.close(asError(thrown)).catch((failure: unknown) => {
      options.log.error('closing failed', { error: asError(failure) });
    });
    throw thrown;
  }
}

async function open(options: DaemonOptions, scope: Scope): Promise<Daemon> {
  const { log, configure, clock = systemClock } = options;
  const started = clock.monotonic();
  const version = programVersion();
  // Nobody else's: the control socket and the lock are in it.
  const folder = await makeStateFolder(options.stateFolder);

  scope.own(openLock(`${folder}/lock`));
  const state = scope.own(
    await openStateFile({
      path: `${folder}/state.json`,
      schema: deviceState,
      version: STATE_VERSION,
      initial: newDeviceState,
      checksum: (bytes) => toHex(sha256(bytes)),
      log: log.child('state'),
    }),
  );
  const current = () => configure(storedOptionsFile(state.value.device.options));
  const configuration = current();
  /** With what was set since the start. */
  let latest = configuration;
  const name = () => current().name ?? hostName();

  const trouble = scope.own(new DatabaseTrouble(clock, log));
  const sqlite = scope.own(openSqlite(`${folder}/records.db`, { onTrouble: (error) => trouble.met(error) }));
  trouble.watch(() => sqlite.tryToWrite());
  const hashing = scope.own(openHashing());
  const registry = scope.own(await openRegistry({ state, rsa, sha256, clock, log: log.child('club') }));
  const events = new EventFeed(clock);
  const time = new SteadyTime(clock);
  const manners = scope.own(
    openManners({
      configuration,
      sqlite,
      time,
      clock,
      log: log.child('manners'),
      onHold: ({ code, message, isProblem }) =>
        events.publish({ event: isProblem ? 'problem' : 'held', code, message }),
    }),
  );
  let bridge: Bridge | undefined;
  const shares = scope.own(
    new Shares({
      registry,
      sqlite,
      hashing,
      rescanPeriod: configuration['directory.rescan_period'],
      reserve: configuration['directory.reserve'],
      cache: configuration['directory.cache'],
      flows: manners,
      clock,
      log,
      onShareEvent: (club, event) => {
        publishAll(events, shareEvents(club, event));
        if (event.kind === 'placed') bridge?.look([club.id, club.name]);
        if (event.kind !== 'put_right') return;
        log.warn(
          'a change made here does not spread: the share is read-only here; it is kept in the archive',
          {
            share: club.name,
            path: event.path,
          },
        );
      },
      onRecords: (club, changes) => {
        publishAll(events, recordEvents(club, changes));
        bridge?.look([club.id, club.name]);
      },
    }),
  );
  await shares.openAll();
  const lastSync = scope.own(new LastSync({ registry, shares, clock, log }));
  const alerts = scope.own(
    new SyncAlert({
      registry,
      lastSync,
      after: () => latest['manners.alert_after'],
      time,
      clock,
      log,
      onAlert: ({ id }, { code, message }) => events.publish({ event: 'problem', share: id, code, message }),
    }),
  );

  const { device } = state.value;
  const software = `skylark ${version}`;
  const network = await openNetwork(scope, {
    registry,
    shares,
    configuration,
    software,
    name,
    lastPort: device.port,
    clock,
    log,
  });
  const { pool, listen } = network;
  if ((configuration.listen?.port ?? 0) === 0 && device.port !== listen.port) {
    await state.update((value) => ({ ...value, device: { ...value.device, port: listen.port } }));
  }
  // Each session that could not store what came has ended, and the next was longer in coming.
  trouble.onOver(() => network.discovery.retry());
  pool.onChange((change) => {
    if (change.kind === 'cloned') {
      const message = `two devices go by one peer ID: ${change.whose === 'ours' ? 'ours' : "another member's"}`;
      events.publish({ event: 'problem', share: change.club.id, code: 'club.cloned', message });
    }
    if (change.kind !== 'connected' && change.kind !== 'disconnected') return;
    const { club, peer } = change;
    events.publish({ event: `peer_${change.kind}`, share: club.id, peer: peer.id, peerName: peer.name });
  });

  const stop = Promise.withResolvers<void>();
  const agent = openAgent({
    stateFolder: folder,
    registry,
    shares,
    network,
    state,
    configure,
    onConfigured: () => {
      latest = current();
      manners.configure(mannersSettings(latest));
    },
    events,
    stop: stop.resolve,
    bridge: () => bridge,
    signal: scope.signal,
    clock,
    log,
    status: {
      registry,
      shares,
      pool,
      discovery: network.discovery,
      trouble,
      bridge: () => bridge,
      lastSync,
      alerts,
      manners,
      listen,
      version,
      name,
      uptime: () => clock.monotonic() - started,
    },
  });
  scope.own(
    await openControlServer({
      path: `${folder}/control`,
      agent,
      events,
      software: `Skylark ${version}`,
      log: log.child('control'),
    }),
  );
  const devices = configuration['bridge.device'];
  if (devices.length > 0) {
    const onEvent = (event: BridgeEvent) => {
      if (event.kind === 'connected' || event.kind === 'disconnected') {
        events.publish({ event: `device_${event.kind}`, device: event.source });
      } else if (event.kind === 'button') events.publish({ event: 'button', device: event.source });
    };
    bridge = scope.own(openDeviceBridge({ devices, registry, shares, sqlite, clock, log, onEvent }));
  }
  log.info('ready', { listen: formatEndpoint(listen), shares: registry.list().length });
  return {
    agent,
    events,
    listen,
    stopRequested: stop.promise,
    close: () => closeWithin(scope, log),
  };
}

function publishAll(events: EventFeed, happened: readonly Parameters<EventFeed['publish']>[0][]): void {
  for (const event of happened) events.publish(event);
}

/** Everything that could take longer is bounded by itself; this is for what should not happen. */
const CLOSING_MS = 4_500;

async function closeWithin(scope: Scope, log: Logger): Promise<void> {
  const late = Promise.withResolvers<'late'>();
  const timer = systemClock.after(CLOSING_MS, () => late.resolve('late'));
  const closed = scope.close(
    environmentError('daemon.stopping', 'the agent is being stopped', { exitCode: EXIT.ok }),
  );
  const outcome = await Promise.race([closed.then(() => 'closed' as const), late.promise]).catch(
    (thrown: unknown) => {
      log.error('closing failed', { why: describeError(thrown), error: asError(thrown) });
      return 'failed' as const;
    },
  );
  timer.cancel();
  if (outcome === 'late') log.warn('something took too long to close, and is left to the operating system');
}
