/** Connections: the listener, the pool, and what finds other members for it. */

import type { Clock } from '../base/clock.ts';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../base/endpoint.ts';
import { describeError, errorCode } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import type { Logger } from '../base/log.ts';
import type { Scope } from '../base/scope.ts';
import type { Club } from '../club/club.ts';
import { AlreadyConnected } from '../club/connection-table.ts';
import { openGuessLimiter } from '../club/guessing.ts';
import { openPool, type Pool } from '../club/pool.ts';
import { randomId } from '../club/random.ts';
import type { Registry } from '../club/registry.ts';
import type { Configuration } from '../config/options.ts';
import { DATABASE, IN_STEP } from '../database/messages.ts';
import { DIRECTORY } from '../directory/messages.ts';
import type { DialTarget } from '../discovery/dialler.ts';
import { type Discovery, openDiscovery } from '../discovery/discovery.ts';
import type { ManualAddress } from '../discovery/manual.ts';
import type { DialOutcome } from '../discovery/place-table.ts';
import type { SoughtId } from '../discovery/source.ts';
import { connectTcp, type Listener, listenTcp } from '../platform/net.ts';
import { acceptChannel, connectChannel } from '../secure-channel/channel.ts';
import type { Shares } from './shares.ts';

export interface NetworkOptions {
  readonly registry: Registry;
  readonly shares: Shares;
  readonly configuration: Configuration;
  readonly software: string;
  readonly name: () => string;
  /** The port of the last run, which others remember. */
  readonly lastPort: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Network {
  readonly pool: Pool;
  readonly discovery: Discovery;
  readonly listen: Endpoint;
}

/** Connections that are accepted at all; the pool has stricter limits for those that have proved nothing. */
const MAX_CONNECTIONS = 1_024;
/** A code is used on the connection that it was made for; keys last. */
const PREFERENCE = { read_write: 2, read_only: 1, code: 0 } as const;

/** Opens everything in the scope. @throws SkylarkError (environment) `net.*`: a port that is taken or not allowed. */
export async function openNetwork(scope: Scope, options: NetworkOptions): Promise<Network> {
  const { registry, shares, configuration, software, name, clock, log } = options;
  const pool = openPool({
    registry,
    extensionNames: [DATABASE, IN_STEP, DIRECTORY],
    extensions: (club) => shares.extensions(club),
    instance: randomId(),
    software,
    name,
    clock,
    log: log.child('club'),
    channels: { accept: acceptChannel, connect: connectChannel },
    connect: (address, signal) => {
      const { host, port } = parseEndpoint(address);
      return connectTcp(host, port, { signal });
    },
    guesses: openGuessLimiter(clock, { forId: configuration['security.guesses_per_hour'] }),
  });
  scope.own(pool);
  const listener = scope.own(await listen(options, (stream) => pool.accept(stream)));

  const lan = configuration['discovery.lan'] ? { port: configuration['discovery.lan_port'] } : undefined;
  const discovery = scope.own(
    openDiscovery({
      dial: (target, signal) => dial(pool, target, signal),
      recall: () =>
        registry
          .list()
          .flatMap(({ id, peers }) => peers.map((peer) => ({ ...peer, club: id, peer: peer.id }))),
      lan,
      clock,
      log: log.child('discovery'),
    }),
  );
  const announce = () => {
    discovery.setAddresses(registry.list().flatMap(givenAddresses));
    const versions = configuration['security.channel_versions'];
    discovery.announce({
      listen: listener,
      ids: pool.ids().map((announced) => sought(registry, announced, versions)),
    });
  };
  pool.onChange((change) => {
    if (change.kind === 'ids') announce();
    else if (change.kind === 'connected') discovery.sessionOpened(change.club.id, change.peer.id);
    else if (change.kind === 'disconnected') discovery.sessionEnded(change.club.id, change.peer.id);
  });
  announce();
  return { pool, discovery, listen: { host: listener.host, port: listener.port } };
}

/** On the port of the last run if none is configured and it is free: that is where others look for us. */
async function listen(
  { configuration, lastPort, log }: NetworkOptions,
  onConnection: Parameters<typeof listenTcp>[1],
): Promise<Listener> {
  const { host, port } = configuration.listen ?? { host: '::', port: 0 };
  const open = (chosen: number) =>
    listenTcp(
      {
        host,
        port: chosen,
        maxConnections: MAX_CONNECTIONS,
        onError: (error) => log.warn('a connection could not be accepted', { why: describeError(error) }),
      },
      onConnection,
    );
  if (port !== 0 || lastPort === undefined) return open(port);
  try {
    return await open(lastPort);
  } catch (thrown) {
    log.debug('the last port is not to be had', { port: lastPort, why: describeError(thrown) });
    return open(0);
  }
}

function sought(
  registry: Registry,
  announced: { readonly id: string; readonly peer: string },
  establish: readonly number[],
): SoughtId {
  const { id, peer } = announced;
  const resolved = registry.resolve(id);
  // A joiner has no club yet; the ID stands for what it wants to join.
  const club = resolved?.club.id ?? id;
  const preference = resolved?.kind === 'member' ? PREFERENCE[resolved.level] : PREFERENCE.code;
  return { id, peer, establish, club, preference };
}

/** Where members can be reached by the word of whoever joined here: kept with the club. */
export const GIVEN_ADDRESSES = 'addresses';

function givenAddresses({ id, settings }: Club): ManualAddress[] {
  const given = settings.get(GIVEN_ADDRESSES);
  if (!Array.isArray(given)) return [];
  return given.flatMap((address: Json) =>
    typeof address === 'string' ? [{ club: id, address: parseEndpoint(address) }] : [],
  );
}

/** Codes that mean that somebody is there who is not the one we look for. */
const REFUSALS = new Set([
  'channel.authentication_failed',
  'channel.version_unsupported',
  'channel.not_clearskies',
]);
const SELF = 'session.loopback';

async function dial(pool: Pool, target: DialTarget, signal: AbortSignal): Promise<DialOutcome> {
  try {
    const { peer } = await pool.dial(target.id, formatEndpoint(target.address), { signal });
    return { kind: 'connected', peer: peer.id };
  } catch (thrown) {
    if (thrown instanceof AlreadyConnected) return { kind: 'connected', peer: thrown.peer };
    const code = errorCode(thrown) ?? '';
    if (code === SELF) return { kind: 'self' };
    return REFUSALS.has(code) ? { kind: 'refused' } : { kind: 'failed' };
  }
}
