/** Our two ends, wired together or alone, with credentials that fit and a group that is quick. */

import { Secret } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import {
  type AcceptOptions,
  acceptChannel,
  type ConnectOptions,
  connectChannel,
  type SecureChannel,
} from '../../agent/secure-channel/channel.ts';
import { type MemoryStreamOptions, memoryStreamPair } from '../support/memory-stream.ts';

export const ID = '5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9';
export const UNKNOWN_ID = '0'.repeat(64);
export const USERNAME = `clearskies:1:${ID}`;
export const PASSWORD = '0011223344556677';
export const FAKE_VERIFIER_KEY = new Secret(new Uint8Array(32).fill(9));

/** Ends hung handshakes of a test that went wrong. */
const never = () => AbortSignal.timeout(30_000);

export function accept(stream: ByteStream, options: Partial<AcceptOptions> = {}): Promise<SecureChannel> {
  return acceptChannel(stream, {
    authenticate: (id) => (id === ID ? new Secret(PASSWORD) : undefined),
    fakeVerifierKey: FAKE_VERIFIER_KEY,
    signal: never(),
    ...options,
    tls: { groups: [2048], ...options.tls },
  });
}

export function connect(stream: ByteStream, options: Partial<ConnectOptions> = {}): Promise<SecureChannel> {
  return connectChannel(stream, { id: ID, secret: new Secret(PASSWORD), signal: never(), ...options });
}

export interface Ends {
  readonly server: SecureChannel;
  readonly client: SecureChannel;
  /** What is below each. */
  readonly serverStream: ByteStream;
  readonly clientStream: ByteStream;
}

export async function establish(
  options: {
    readonly server?: Partial<AcceptOptions>;
    readonly client?: Partial<ConnectOptions>;
    readonly stream?: MemoryStreamOptions;
  } = {},
): Promise<Ends> {
  const [serverStream, clientStream] = memoryStreamPair(options.stream);
  const [server, client] = await Promise.all([
    accept(serverStream, options.server),
    connect(clientStream, options.client),
  ]);
  return { server, client, serverStream, clientStream };
}

/** How both of a handshake's ends end, when at least one is expected to fail. */
export function outcomes(
  ...ends: readonly Promise<SecureChannel>[]
): Promise<readonly (SecureChannel | Error)[]> {
  return Promise.all(ends.map((end) => end.catch((error: Error) => error)));
}

/** All bytes until the other side's orderly end. */
export async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = await stream.read();
    if (piece === null) return new Uint8Array(Buffer.concat(pieces));
    pieces.push(piece);
  }
}

export async function readExactly(stream: ByteStream, length: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let got = 0; got < length; ) {
    const piece = await stream.read();
    if (piece === null) throw new Error(`the stream ended after ${got} of ${length} bytes`);
    pieces.push(piece);
    got += piece.length;
  }
  return new Uint8Array(Buffer.concat(pieces));
}
