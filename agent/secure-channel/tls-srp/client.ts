/** The client's side of the handshake. The messages, in order: messages.ts. */

import { utf8 } from '../../base/bytes.ts';
import { peerError, type SkylarkError } from '../../base/errors.ts';
import type { Secret } from '../../base/log.ts';
import type { ByteStream } from '../../base/stream.ts';
import { equalSecret } from '../../crypto/constant-time.ts';
import { randomBytes } from '../../crypto/random.ts';
import { srpClientExchange } from '../../crypto/srp.ts';
import { findSrpGroup } from '../../crypto/srp-groups.ts';
import { ALERT, AlertReceivedError, TlsError } from './alert.ts';
import {
  type Agreement,
  checkRenegotiationInfo,
  endHandshake,
  hasEmptyExtension,
  protect,
  refusingIllegalValues,
  requireExtension,
  usernameOf,
} from './handshake.ts';
import { HandshakeTransport } from './handshake-transport.ts';
import { verifyData } from './key-schedule.ts';
import {
  decodeFinished,
  decodeServerHello,
  decodeServerHelloDone,
  decodeServerKeyExchange,
  EXTENSION,
  encodeClientHello,
  encodeClientKeyExchange,
  encodeSrpExtension,
  HANDSHAKE,
  NO_CONTENT,
  NO_RENEGOTIATED_CONNECTION,
  RANDOM_BYTES,
  type ServerHello,
  TLS_1_2,
} from './messages.ts';
import { DEFAULT_TLS_POLICY, TLS_SUITES, type TlsPolicy } from './policy.ts';
import { RecordLayer } from './record-layer.ts';
import type { RecordOpener } from './record-protection.ts';
import { TlsStream } from './stream.ts';

export interface TlsClientOptions {
  readonly id: string;
  readonly secret: Secret<string>;
  readonly tls?: TlsPolicy | undefined;
}

/** On failure the other side is told, the stream is closed, and the promise rejects. */
export async function connectTlsSrp(stream: ByteStream, options: TlsClientOptions): Promise<TlsStream> {
  const records = new RecordLayer(stream, NO_CONTENT);
  try {
    return await handshake(records, options);
  } catch (thrown) {
    await endHandshake(records, thrown);
    // RFC 5054, 2.5.1.3: a server that does not hide which names it knows.
    throw isAlert(thrown, [ALERT.unknownPskIdentity]) ? notAccepted(thrown) : thrown;
  }
}

async function handshake(records: RecordLayer, options: TlsClientOptions): Promise<TlsStream> {
  const policy = { ...DEFAULT_TLS_POLICY, ...options.tls };
  const username = utf8(usernameOf(options.id));
  const transport = new HandshakeTransport(records);

  const random = randomBytes(RANDOM_BYTES);
  const offered = new Map([
    [EXTENSION.renegotiationInfo, NO_RENEGOTIATED_CONNECTION],
    [EXTENSION.srp, encodeSrpExtension(username)],
    [EXTENSION.extendedMasterSecret, NO_CONTENT],
    [EXTENSION.encryptThenMac, NO_CONTENT],
  ]);
  transport.send(
    HANDSHAKE.clientHello,
    encodeClientHello({
      version: TLS_1_2,
      random,
      sessionId: NO_CONTENT,
      suites: policy.suites.map((name) => TLS_SUITES[name].number),
      compressions: [0],
      extensions: offered,
    }),
  );
  await transport.flush();

  const hello = decodeServerHello(await transport.receive(HANDSHAKE.serverHello));
  const agreement = agree(hello, random, policy, offered);
  const params = decodeServerKeyExchange(await transport.receive(HANDSHAKE.serverKeyExchange));
  decodeServerHelloDone(await transport.receive(HANDSHAKE.serverHelloDone));

  // RFC 5054, 2.5.3: only a group that is known to be good. Its size bounds all that is computed next.
  const group = findSrpGroup(params.prime, params.generator, policy.groups);
  if (group === undefined)
    throw new TlsError(
      ALERT.insufficientSecurity,
      'tls.group',
      'the server chose an SRP group that we refuse',
    );
  const credentials = { username, password: utf8(options.secret.reveal()), salt: params.salt };
  const exchange = refusingIllegalValues(() => srpClientExchange(group, credentials, params.publicValue));

  transport.send(HANDSHAKE.clientKeyExchange, encodeClientKeyExchange({ publicValue: exchange.publicValue }));
  const { master, seal, open } = protect('client', agreement, exchange.premasterSecret, transport);
  transport.sendChangeCipherSpec(seal);
  transport.send(HANDSHAKE.finished, verifyData(master, 'client', transport.transcriptHash()));
  await transport.flush();

  const expected = verifyData(master, 'server', transport.transcriptHash());
  const finished = decodeFinished(await receiveProof(transport, open));
  if (!equalSecret(finished, expected))
    throw new TlsError(ALERT.decryptError, 'tls.finished', 'the two sides saw different TLS handshakes');
  transport.end();
  return new TlsStream(records, { role: 'client', id: options.id, cipher: agreement.suite.name });
}

function agree(
  hello: ServerHello,
  random: Uint8Array,
  policy: Required<TlsPolicy>,
  offered: ReadonlyMap<number, Uint8Array>,
): Agreement {
  if (hello.version !== TLS_1_2)
    throw new TlsError(ALERT.protocolVersion, 'tls.version', 'the server does not speak TLS 1.2');
  const suite = policy.suites.map((name) => TLS_SUITES[name]).find((s) => s.number === hello.suite);
  if (suite === undefined)
    throw new TlsError(
      ALERT.illegalParameter,
      'tls.suite',
      'the server chose a TLS suite that was not offered',
    );
  const { extensions } = hello;
  // RFC 5246, 7.4.1.4. SRP's own has no place in an answer (RFC 5054, 2.8.1).
  for (const type of extensions.keys()) {
    if (!offered.has(type) || type === EXTENSION.srp)
      throw new TlsError(
        ALERT.unsupportedExtension,
        'tls.extension',
        `the server answered with TLS extension ${type}, which it was not offered`,
      );
  }
  checkRenegotiationInfo(extensions);
  const extendedMasterSecret = hasEmptyExtension(extensions, EXTENSION.extendedMasterSecret);
  const encryptThenMac = hasEmptyExtension(extensions, EXTENSION.encryptThenMac);
  requireExtension('extended master secret', extendedMasterSecret, policy.requireExtendedMasterSecret);
  requireExtension('encrypt-then-MAC', encryptThenMac, policy.requireEncryptThenMac);
  return {
    suite,
    randoms: { client: random, server: hello.random },
    extendedMasterSecret,
    encryptThenMac,
  };
}

/**
 * The server's Finished. If our secrets differ, an honest server can't read ours and says so with bad_record_mac or
 * decrypt_error; a dishonest one sends what we can't read.
 */
async function receiveProof(transport: HandshakeTransport, open: RecordOpener): Promise<Uint8Array> {
  try {
    await transport.receiveChangeCipherSpec(open);
    return await transport.receive(HANDSHAKE.finished);
  } catch (thrown) {
    if (isAlert(thrown, [ALERT.badRecordMac, ALERT.decryptError])) throw notAccepted(thrown);
    if (thrown instanceof TlsError && thrown.alert === ALERT.badRecordMac)
      throw new TlsError(
        thrown.alert,
        'channel.authentication_failed',
        'the other side did not prove that it knows the secret',
      );
    throw thrown;
  }
}

function isAlert(thrown: unknown, descriptions: readonly number[]): boolean {
  return thrown instanceof AlertReceivedError && descriptions.includes(thrown.description);
}

function notAccepted(cause: unknown): SkylarkError {
  return peerError(
    'channel.authentication_failed',
    'the other side does not know this ID, or has another secret for it',
    { cause },
  );
}
