/**
 * Every handshake message of TLS 1.2 with SRP, each declared once. Read this first; who sends what when is in client.ts
 * and server.ts:
 *
 *     client                                server
 *     ClientHello (I)            -------->
 *                                           ServerHello
 *                                           ServerKeyExchange (N, g, s, B)
 *                                <--------  ServerHelloDone
 *     ClientKeyExchange (A)
 *     [ChangeCipherSpec]
 *     Finished                   -------->
 *                                           [ChangeCipherSpec]
 *                                <--------  Finished
 */

import { concatBytes } from '../../base/bytes.ts';
import { ALERT, TlsError } from './alert.ts';
import { malformed, Reader, u8, u16, vector8, vector16 } from './presentation.ts';

/** RFC 5246, 7.4. */
export const HANDSHAKE = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  serverKeyExchange: 12,
  serverHelloDone: 14,
  clientKeyExchange: 16,
  finished: 20,
} as const;

export type HandshakeType = (typeof HANDSHAKE)[keyof typeof HANDSHAKE];

/** The only version we speak. */
export const TLS_1_2 = 0x0303;
export const RANDOM_BYTES = 32;
export const VERIFY_DATA_BYTES = 12;

/** The longest message body that we take. The longest honest one, a ServerKeyExchange of 8192 bits, has 2.3 KB. */
export const MAX_MESSAGE_BYTES = 16_384;

export const EXTENSION = {
  /** RFC 5054, 2.8.1. */
  srp: 12,
  /** RFC 7366. */
  encryptThenMac: 22,
  /** RFC 7627. */
  extendedMasterSecret: 23,
  /** RFC 8446, 4.2.1; read only to tell a client that insists on TLS 1.3. */
  supportedVersions: 43,
  /** RFC 5746, 3.2. */
  renegotiationInfo: 0xff01,
} as const;

/** RFC 5746, 3.3: in the list of suites, it stands for an empty renegotiation_info. */
export const RENEGOTIATION_SCSV = 0x00ff;
const NULL_COMPRESSION = 0;

/** By extension number. */
export type Extensions = ReadonlyMap<number, Uint8Array>;

/** Type and 24-bit length in front of the body: RFC 5246, 7.4. */
export function handshakeMessage(type: HandshakeType, body: Uint8Array): Uint8Array {
  const { length } = body;
  return concatBytes(Uint8Array.of(type, length >> 16, length >> 8, length), body);
}

/** RFC 5246, 7.4.1.2; the SRP extension: RFC 5054, 2.5.1. */
export interface ClientHello {
  readonly version: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly suites: readonly number[];
  readonly compressions: readonly number[];
  readonly extensions: Extensions;
}

export function decodeClientHello(body: Uint8Array): ClientHello {
  const reader = new Reader(body);
  const version = reader.u16();
  const random = reader.bytes(RANDOM_BYTES);
  const sessionId = reader.vector8(0, 32);
  const suites = u16List(reader.vector16(2, 0xfffe));
  const compressions = [...reader.vector8(1, 0xff)];
  const extensions = decodeExtensions(reader);
  return { version, random, sessionId, suites, compressions, extensions };
}

export function encodeClientHello(hello: ClientHello): Uint8Array {
  return concatBytes(
    u16(hello.version),
    hello.random,
    vector8(hello.sessionId),
    vector16(...hello.suites.map(u16)),
    vector8(Uint8Array.from(hello.compressions)),
    encodeExtensions(hello.extensions),
  );
}

/** RFC 5246, 7.4.1.3. */
export interface ServerHello {
  readonly version: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly suite: number;
  readonly extensions: Extensions;
}

export function decodeServerHello(body: Uint8Array): ServerHello {
  const reader = new Reader(body);
  const version = reader.u16();
  const random = reader.bytes(RANDOM_BYTES);
  const sessionId = reader.vector8(0, 32);
  const suite = reader.u16();
  if (reader.u8() !== NULL_COMPRESSION)
    throw new TlsError(ALERT.illegalParameter, 'tls.compression', 'the server chose TLS compression');
  const extensions = decodeExtensions(reader);
  return { version, random, sessionId, suite, extensions };
}

export function encodeServerHello(hello: ServerHello): Uint8Array {
  return concatBytes(
    u16(hello.version),
    hello.random,
    vector8(hello.sessionId),
    u16(hello.suite),
    u8(NULL_COMPRESSION),
    encodeExtensions(hello.extensions),
  );
}

/** ServerSRPParams, RFC 5054, 2.8.2; unsigned, since these suites have no certificate. All integers big-endian. */
export interface ServerKeyExchange {
  readonly prime: Uint8Array;
  readonly generator: Uint8Array;
  readonly salt: Uint8Array;
  /** B. */
  readonly publicValue: Uint8Array;
}

export function decodeServerKeyExchange(body: Uint8Array): ServerKeyExchange {
  const reader = new Reader(body);
  const prime = reader.vector16(1, 0xffff);
  const generator = reader.vector16(1, 0xffff);
  const salt = reader.vector8(1, 0xff);
  const publicValue = reader.vector16(1, 0xffff);
  reader.end();
  return { prime, generator, salt, publicValue };
}

export function encodeServerKeyExchange(params: ServerKeyExchange): Uint8Array {
  return concatBytes(
    vector16(params.prime),
    vector16(params.generator),
    vector8(params.salt),
    vector16(params.publicValue),
  );
}

/** RFC 5246, 7.4.5: no content. */
export function decodeServerHelloDone(body: Uint8Array): void {
  new Reader(body).end();
}

/** ClientSRPPublic, RFC 5054, 2.8.3. */
export interface ClientKeyExchange {
  /** A. */
  readonly publicValue: Uint8Array;
}

export function decodeClientKeyExchange(body: Uint8Array): ClientKeyExchange {
  const reader = new Reader(body);
  const publicValue = reader.vector16(1, 0xffff);
  reader.end();
  return { publicValue };
}

export function encodeClientKeyExchange(exchange: ClientKeyExchange): Uint8Array {
  return vector16(exchange.publicValue);
}

/** RFC 5246, 7.4.9: the body is verify_data itself. */
export function decodeFinished(body: Uint8Array): Uint8Array {
  const reader = new Reader(body);
  const verifyData = reader.bytes(VERIFY_DATA_BYTES);
  reader.end();
  return verifyData;
}

/** The SRP extension's content, RFC 5054, 2.8.1: opaque srp_I<1..255>. */
export function decodeSrpExtension(content: Uint8Array): Uint8Array {
  const reader = new Reader(content);
  const username = reader.vector8(1, 0xff);
  reader.end();
  return username;
}

export function encodeSrpExtension(username: Uint8Array): Uint8Array {
  return vector8(username);
}

/** The versions in a client's supported_versions, RFC 8446, 4.2.1. */
export function decodeSupportedVersions(content: Uint8Array): readonly number[] {
  const reader = new Reader(content);
  const versions = u16List(reader.vector8(2, 254));
  reader.end();
  return versions;
}

/** renegotiation_info of a first handshake, RFC 5746, 3.4 and 3.6: a vector with nothing in it. */
export const NO_RENEGOTIATED_CONNECTION = Uint8Array.of(0);
/** encrypt_then_mac and extended_master_secret have no content. */
export const NO_CONTENT = new Uint8Array(0);

/** The block may be missing altogether (RFC 5246, 7.4.1.2). The same extension twice is illegal (7.4.1.4). */
function decodeExtensions(reader: Reader): Extensions {
  const extensions = new Map<number, Uint8Array>();
  if (reader.atEnd) return extensions;
  const block = new Reader(reader.vector16(0, 0xffff));
  reader.end();
  while (!block.atEnd) {
    const type = block.u16();
    if (extensions.has(type))
      throw new TlsError(
        ALERT.illegalParameter,
        'tls.extension_repeated',
        `TLS extension ${type} came twice`,
      );
    extensions.set(type, block.vector16(0, 0xffff));
  }
  return extensions;
}

function encodeExtensions(extensions: Extensions): Uint8Array {
  if (extensions.size === 0) return NO_CONTENT;
  return vector16(...[...extensions].map(([type, content]) => concatBytes(u16(type), vector16(content))));
}

function u16List(content: Uint8Array): number[] {
  if (content.length % 2 !== 0) throw malformed('a list of 16-bit numbers has an odd length');
  const reader = new Reader(content);
  const list: number[] = [];
  while (!reader.atEnd) list.push(reader.u16());
  return list;
}
