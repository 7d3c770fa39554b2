/** A peer that follows TLS as far as a test wants it to, and breaks it where the test says. */

import { utf8 } from '../../agent/base/bytes.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { randomBytes } from '../../agent/crypto/random.ts';
import { HandshakeTransport } from '../../agent/secure-channel/tls-srp/handshake-transport.ts';
import {
  type ClientHello,
  decodeClientHello,
  decodeServerHello,
  decodeServerKeyExchange,
  EXTENSION,
  encodeClientHello,
  encodeServerHello,
  encodeServerKeyExchange,
  encodeSrpExtension,
  HANDSHAKE,
  NO_CONTENT,
  NO_RENEGOTIATED_CONNECTION,
  type ServerHello,
  type ServerKeyExchange,
  TLS_1_2,
} from '../../agent/secure-channel/tls-srp/messages.ts';
import { RecordLayer } from '../../agent/secure-channel/tls-srp/record-layer.ts';
import { USERNAME } from './both-ends.ts';

export const AES_256 = 0xc020;
export const AES_128 = 0xc01d;

export interface ScriptedPeer {
  readonly records: RecordLayer;
  readonly transport: HandshakeTransport;
  readonly stream: ByteStream;
}

export function scriptedPeer(stream: ByteStream): ScriptedPeer {
  const records = new RecordLayer(stream, NO_CONTENT);
  return { records, transport: new HandshakeTransport(records), stream };
}

/** What our own client says, with changes. */
export function clientHello(changes: Partial<ClientHello> = {}): ClientHello {
  return {
    version: TLS_1_2,
    random: randomBytes(32),
    sessionId: NO_CONTENT,
    suites: [AES_256, AES_128],
    compressions: [0],
    extensions: extensionsOf(USERNAME),
    ...changes,
  };
}

export function extensionsOf(
  username: string,
  changes: ReadonlyMap<number, Uint8Array | undefined> = new Map(),
): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>([
    [EXTENSION.renegotiationInfo, NO_RENEGOTIATED_CONNECTION],
    [EXTENSION.srp, encodeSrpExtension(utf8(username))],
    [EXTENSION.extendedMasterSecret, NO_CONTENT],
    [EXTENSION.encryptThenMac, NO_CONTENT],
  ]);
  for (const [type, content] of changes) {
    if (content === undefined) extensions.delete(type);
    else extensions.set(type, content);
  }
  return extensions;
}

export async function sendClientHello(peer: ScriptedPeer, changes: Partial<ClientHello> = {}): Promise<void> {
  peer.transport.send(HANDSHAKE.clientHello, encodeClientHello(clientHello(changes)));
  await peer.transport.flush();
}

/** The server's whole flight. */
export async function receiveServerFlight(
  peer: ScriptedPeer,
): Promise<{ readonly hello: ServerHello; readonly params: ServerKeyExchange }> {
  const hello = decodeServerHello(await peer.transport.receive(HANDSHAKE.serverHello));
  const params = decodeServerKeyExchange(await peer.transport.receive(HANDSHAKE.serverKeyExchange));
  await peer.transport.receive(HANDSHAKE.serverHelloDone);
  return { hello, params };
}

/** Answers a client's hello with these parameters. */
export async function sendServerFlight(
  peer: ScriptedPeer,
  params: ServerKeyExchange,
  changes: Partial<ServerHello> = {},
): Promise<ClientHello> {
  const hello = decodeClientHello(await peer.transport.receive(HANDSHAKE.clientHello));
  const extensions = new Map([
    [EXTENSION.renegotiationInfo, NO_RENEGOTIATED_CONNECTION],
    [EXTENSION.extendedMasterSecret, NO_CONTENT],
    [EXTENSION.encryptThenMac, NO_CONTENT],
  ]);
  const answer = {
    version: TLS_1_2,
    random: randomBytes(32),
    sessionId: NO_CONTENT,
    suite: AES_256,
    extensions,
  };
  peer.transport.send(HANDSHAKE.serverHello, encodeServerHello({ ...answer, ...changes }));
  peer.transport.send(HANDSHAKE.serverKeyExchange, encodeServerKeyExchange(params));
  peer.transport.send(HANDSHAKE.serverHelloDone, NO_CONTENT);
  await peer.transport.flush();
  return hello;
}

/** Waits for the other side's next record, which ought to be a fatal alert; its number. */
export async function receiveAlert(peer: ScriptedPeer): Promise<number> {
  try {
    const record = await peer.records.next();
    throw new Error(`a record of type ${record.type} came instead of an alert`);
  } catch (thrown) {
    if (thrown instanceof Error && 'description' in thrown && typeof thrown.description === 'number')
      return thrown.description;
    throw thrown;
  }
}

/** One record, as it is. */
export function rawRecord(type: number, body: Uint8Array, version = TLS_1_2): Uint8Array {
  const { length } = body;
  return Uint8Array.of(type, version >> 8, version & 255, length >> 8, length & 255, ...body);
}
