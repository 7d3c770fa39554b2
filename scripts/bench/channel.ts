/**
 * How fast a channel is, on loopback, beside raw TCP and Node's own TLS in the same run. Each end has a process of its
 * own. Ratios travel to other machines; absolute figures don't.
 *
 *     node scripts/bench/channel.ts [MEBIBYTES] [ROUNDS]
 */

import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Secret } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { connectTcp, listenTcp } from '../../agent/platform/net.ts';
import { openSocketStream } from '../../agent/platform/socket-stream.ts';
import { acceptChannel, connectChannel, type TlsPolicy } from '../../agent/secure-channel/channel.ts';
import { median } from './measuring.ts';

const MEBIBYTE = 1_048_576;
const HOST = '127.0.0.1';
const ID = 'ab'.repeat(32);
const SECRET = new Secret('0123456789abcdef');
const HANDSHAKES = 40;
/** The same cipher and MAC in OpenSSL's own, partly fused, code (and MAC-then-encrypt). */
const REFERENCE = 'Node 1.2 AES-256-CBC';

/** A way of getting a byte stream from one process to another. */
interface Way {
  readonly name: string;
  listen(serve: (stream: ByteStream) => void, certificate: Certificate | undefined): Promise<number>;
  dial(port: number): Promise<ByteStream>;
}

interface Certificate {
  readonly key: string;
  readonly cert: string;
}

const rawTcp: Way = {
  name: 'raw TCP',
  listen: async (serve) => (await listenTcp({ host: HOST, port: 0 }, serve)).port,
  dial: (port) => connectTcp(HOST, port),
};

const ways: readonly Way[] = [
  rawTcp,
  channel('v1 AES-256 2048', { groups: [2048] }),
  channel('v1 AES-256 3072', {}),
  channel('v1 AES-128 3072', { suites: ['TLS_SRP_SHA_WITH_AES_128_CBC_SHA'] }),
  nodeTls(REFERENCE, 'TLSv1.2', 'ECDHE-RSA-AES256-SHA'),
  nodeTls('Node 1.2 AES-256-GCM', 'TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'),
  nodeTls('Node 1.3 AES-256-GCM', 'TLSv1.3', 'TLS_AES_256_GCM_SHA384'),
];

function channel(name: string, tls: TlsPolicy): Way {
  const signal = () => AbortSignal.timeout(20_000);
  return {
    name,
    listen: async (serve) => {
      const fakeVerifierKey = new Secret(new Uint8Array(32));
      const listener = await listenTcp({ host: HOST, port: 0 }, (stream) => {
        const options = { authenticate: () => SECRET, fakeVerifierKey, signal: signal(), tls };
        acceptChannel(stream, options).then(serve, (error: unknown) => console.error(error));
      });
      return listener.port;
    },
    dial: async (port) =>
      connectChannel(await connectTcp(HOST, port), { id: ID, secret: SECRET, signal: signal(), tls }),
  };
}

function nodeTls(name: string, version: 'TLSv1.2' | 'TLSv1.3', ciphers: string): Way {
  const versions = { minVersion: version, maxVersion: version, ciphers } as const;
  const streamOf = (socket: TLSSocket) => openSocketStream(socket, { label: name, canReset: false });
  return {
    name,
    listen: async (serve, certificate) => {
      const server = createTlsServer({ ...certificate, ...versions, allowHalfOpen: true }, (socket) =>
        serve(streamOf(socket)),
      );
      server.listen(0, HOST);
      await once(server, 'listening');
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : 0;
    },
    dial: async (port) => {
      const options = { host: HOST, port, allowHalfOpen: true, rejectUnauthorized: false, ...versions };
      const socket = tlsConnect(options);
      socket.setNoDelay(true);
      await once(socket, 'secureConnect');
      return streamOf(socket);
    },
  };
}

const REQUEST_BYTES = 3;

/** One request a connection: `d` or `u`, and the number of MiB in one byte pair. Answered by data, or by one byte. */
async function serve(stream: ByteStream): Promise<void> {
  const request = await stream.read();
  if (request === null) return;
  const total = ((request[1] ?? 0) * 256 + (request[2] ?? 0)) * MEBIBYTE;
  if (request[0] === 'd'.charCodeAt(0)) await send(stream, total);
  else {
    // The first data may have come together with the request.
    await receive(stream, total - (request.length - REQUEST_BYTES));
    await stream.write(new Uint8Array(1));
  }
  await stream.close();
}

async function send(stream: ByteStream, total: number): Promise<void> {
  for (let sent = 0; sent < total; sent += MEBIBYTE) await stream.write(block);
}

async function receive(stream: ByteStream, total: number): Promise<void> {
  for (let received = 0; received < total; ) {
    const piece = await stream.read();
    if (piece === null) throw new Error('the other side stopped');
    received += piece.length;
  }
}

const block = new Uint8Array(MEBIBYTE).fill(0x55);

interface Rate {
  /** MB per second of time. */
  readonly rate: number;
  /** MB per second of this process's CPU: what one core could do, also on a machine that has other work. */
  readonly perCpu: number;
}

async function transfer(way: Way, port: number, direction: 'd' | 'u', mebibytes: number): Promise<Rate> {
  const stream = await way.dial(port);
  const start = performance.now();
  const cpuBefore = process.cpuUsage();
  await stream.write(Uint8Array.of(direction.charCodeAt(0), mebibytes >> 8, mebibytes & 255));
  if (direction === 'd') await receive(stream, mebibytes * MEBIBYTE);
  else {
    await send(stream, mebibytes * MEBIBYTE);
    await stream.read();
  }
  const seconds = (performance.now() - start) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  await stream.close();
  const megabytes = (mebibytes * MEBIBYTE) / 1e6;
  return { rate: megabytes / seconds, perCpu: (megabytes * 1e6) / (cpu.user + cpu.system) };
}

/** Connections per second, one after the other, each with a byte both ways. */
async function handshakes(way: Way, port: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < HANDSHAKES; i++) {
    const stream = await way.dial(port);
    await stream.write(Uint8Array.of('u'.charCodeAt(0), 0, 0));
    await stream.read();
    await stream.close();
  }
  return (HANDSHAKES * 1000) / (performance.now() - start);
}

async function main(): Promise<void> {
  const mebibytes = Number(process.argv[2] ?? 128);
  const rounds = Number(process.argv[3] ?? 5);
  const child = fork(fileURLToPath(import.meta.url), ['--serve']);
  try {
    const [ports] = (await once(child, 'message')) as [Record<string, number>];
    const results = new Map(ways.map((way) => [way.name, noFigures()]));
    // Interleaved, so that whatever else the machine does meets all of them; the first round only warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const way of ways) {
        const port = ports[way.name];
        if (port === undefined) continue;
        const shakes = await handshakes(way, port);
        const up = await transfer(way, port, 'u', mebibytes);
        const down = await transfer(way, port, 'd', mebibytes);
        const figures = results.get(way.name);
        if (round === 0 || figures === undefined) continue;
        figures.shakes.push(shakes);
        figures.up.push(up.rate);
        figures.down.push(down.rate);
        figures.sendCpu.push(up.perCpu);
        figures.receiveCpu.push(down.perCpu);
      }
    }
    print(results, mebibytes, rounds);
  } finally {
    child.kill();
  }
}

interface Figures {
  readonly shakes: number[];
  readonly up: number[];
  readonly down: number[];
  readonly sendCpu: number[];
  readonly receiveCpu: number[];
}

const COLUMNS: readonly (readonly [keyof Figures, string])[] = [
  ['shakes', 'handshakes/s'],
  ['up', 'up MB/s'],
  ['down', 'down MB/s'],
  ['sendCpu', 'sent MB/CPU-s'],
  ['receiveCpu', 'received MB/CPU-s'],
];

const noFigures = (): Figures => ({ shakes: [], up: [], down: [], sendCpu: [], receiveCpu: [] });

function print(results: ReadonlyMap<string, Figures>, mebibytes: number, rounds: number): void {
  console.log(`${mebibytes} MiB each, medians of ${rounds} rounds; in brackets the ratio to ${REFERENCE}`);
  console.log(' '.repeat(22) + COLUMNS.map(([, title]) => title.padStart(19)).join(''));
  const reference = results.get(REFERENCE);
  for (const [name, figures] of results) {
    if (figures.up.length === 0) {
      console.log(`${name.padEnd(22)} not measured: no openssl program to make a certificate`);
      continue;
    }
    const cells = COLUMNS.map(([column]) => {
      const value = median(figures[column]);
      const other = reference === undefined ? Number.NaN : median(reference[column]);
      const ratio = Number.isNaN(other) ? '' : ` (${(value / other).toFixed(2)})`;
      return `${value.toFixed(0)}${ratio}`.padStart(19);
    });
    console.log(name.padEnd(22) + cells.join(''));
  }
}

/** For Node's TLS only. Undefined where there is no openssl program. */
function makeCertificate(): Certificate | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'skylark-bench-'));
  try {
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
    const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=bench', '-days', '2'];
    execFileSync('openssl', [...args, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[2] === '--serve') {
  const certificate = makeCertificate();
  const ports: Record<string, number> = {};
  for (const way of ways) {
    if (way.name.startsWith('Node') && certificate === undefined) continue;
    ports[way.name] = await way.listen((stream) => {
      serve(stream).catch((error: unknown) => console.error(way.name, error));
    }, certificate);
  }
  process.once('disconnect', () => process.exit());
  process.send?.(ports);
} else await main();
