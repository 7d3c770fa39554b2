/** The server's side of the handshake. The messages, in order: messages.ts. */

import { fromUtf8, utf8 } from '../../base/bytes.ts';
import { SkylarkError } from '../../base/errors.ts';
import type { Secret } from '../../base/log.ts';
import type { ByteStream } from '../../base/stream.ts';
import { equalSecret } from '../../crypto/constant-time.ts';
import { randomBytes } from '../../crypto/random.ts';
import { type SrpCredentials, srpServerExchange } from '../../crypto/srp.ts';
import { srpGroupOf } from '../../crypto/srp-groups.ts';
import { ALERT, TlsError } from './alert.ts';
import { fakePassword, saltFor } from './fake-verifier.ts';
import {
  type Agreement,
  checkRenegotiationInfo,
  endHandshake,
  hasEmptyExtension,
  idOf,
  protect,
  refusingIllegalValues,
  requireExtension,
} from './handshake.ts';
import { HandshakeTransport } from './handshake-transport.ts';
import { verifyData } from './key-schedule.ts';
import {
  type ClientHello,
  decodeClientHello,
  decodeClientKeyExchange,
  decodeFinished,
  decodeSrpExtension,
  decodeSupportedVersions,
  EXTENSION,
  encodeServerHello,
  encodeServerKeyExchange,
  HANDSHAKE,
  NO_CONTENT,
  NO_RENEGOTIATED_CONNECTION,
  RANDOM_BYTES,
  RENEGOTIATION_SCSV,
  TLS_1_2,
} from './messages.ts';
import { DEFAULT_TLS_POLICY, TLS_SUITES, type TlsPolicy } from './policy.ts';
import { RecordLayer } from './record-layer.ts';
import { TlsStream } from './stream.ts';

export interface TlsServerOptions {
  readonly authenticate: (
    id: string,
    remote: string,
  ) => Secret<string> | undefined | Promise<Secret<string> | undefined>;
  readonly fakeVerifierKey: Secret<Uint8Array>;
  readonly tls?: TlsPolicy | undefined;
  readonly onFailure?: ((id: string | undefined, why: SkylarkError) => void) | undefined;
}

/**
 * Serves one handshake. On failure the other side is told, the stream is closed, `onFailure` is called, and the promise
 * rejects.
 * @param first what was already read from the stream
 */
export async function acceptTlsSrp(
  stream: ByteStream,
  first: Uint8Array,
  options: TlsServerOptions,
): Promise<TlsStream> {
  const records = new RecordLayer(stream, first);
  const claim: Claim = { id: undefined, known: false };
  try {
    return await serveHandshake(records, options, claim);
  } catch (thrown) {
    // The failure is counted before the next guess can be made, not when the last byte has gone.
    const ended = endHandshake(records, thrown);
    if (thrown instanceof SkylarkError) options.onFailure?.(claim.id, thrown);
    await ended;
    throw thrown;
  }
}

/** Who the client says it is. */
interface Claim {
  id: string | undefined;
  known: boolean;
}

async function serveHandshake(
  records: RecordLayer,
  options: TlsServerOptions,
  claim: Claim,
): Promise<TlsStream> {
  const policy = { ...DEFAULT_TLS_POLICY, ...options.tls };
  const transport = new HandshakeTransport(records);

  const hello = decodeClientHello(await transport.receive(HANDSHAKE.clientHello));
  const { agreement, username, renegotiationInfo } = negotiate(hello, policy);
  const credentials = await credentialsOf(username, options, records.stream.label, claim);
  const group = srpGroupOf(policy.groups[0] ?? 3072);
  const exchange = srpServerExchange(group, credentials);

  transport.send(
    HANDSHAKE.serverHello,
    encodeServerHello({
      version: TLS_1_2,
      random: agreement.randoms.server,
      // No session is ever resumed.
      sessionId: NO_CONTENT,
      suite: agreement.suite.number,
      extensions: answerTo(agreement, renegotiationInfo),
    }),
  );
  transport.send(
    HANDSHAKE.serverKeyExchange,
    encodeServerKeyExchange({
      prime: group.prime,
      generator: group.generator,
      salt: credentials.salt,
      publicValue: exchange.publicValue,
    }),
  );
  transport.send(HANDSHAKE.serverHelloDone, NO_CONTENT);
  await transport.flush();

  const key = decodeClientKeyExchange(await transport.receive(HANDSHAKE.clientKeyExchange));
  const premaster = refusingIllegalValues(() => exchange.premasterSecret(key.publicValue));
  const { master, seal, open } = protect('server', agreement, premaster, transport);

  await transport.receiveChangeCipherSpec(open);
  const expected = verifyData(master, 'client', transport.transcriptHash());
  const finished = decodeFinished(await receiveFinished(transport, claim));
  if (!equalSecret(finished, expected))
    throw new TlsError(ALERT.decryptError, 'tls.finished', 'the two sides saw different TLS handshakes');
  if (claim.id === undefined || !claim.known)
    // Reached by nobody: it takes the password that we made up.
    throw new TlsError(ALERT.badRecordMac, 'channel.authentication_failed', 'an unknown ID was used');

  transport.sendChangeCipherSpec(seal);
  transport.send(HANDSHAKE.finished, verifyData(master, 'server', transport.transcriptHash()));
  await transport.flush();
  return new TlsStream(records, { role: 'server', id: claim.id, cipher: agreement.suite.name });
}

interface Negotiated {
  readonly agreement: Agreement;
  readonly username: Uint8Array;
  /** The client knows of renegotiation_info, so the answer has it too. */
  readonly renegotiationInfo: boolean;
}

function negotiate(hello: ClientHello, policy: Required<TlsPolicy>): Negotiated {
  checkVersion(hello);
  const srp = hello.extensions.get(EXTENSION.srp);
  if (srp === undefined)
    throw new TlsError(ALERT.unknownPskIdentity, 'tls.no_srp', 'the client did not name an SRP user');
  const username = decodeSrpExtension(srp);
  if (!hello.compressions.includes(0))
    throw new TlsError(ALERT.illegalParameter, 'tls.compression', 'the client insists on TLS compression');
  const suite = policy.suites.map((name) => TLS_SUITES[name]).find((s) => hello.suites.includes(s.number));
  if (suite === undefined)
    throw new TlsError(
      ALERT.handshakeFailure,
      'tls.no_common_suite',
      'the client has none of our TLS suites',
    );

  const { extensions } = hello;
  const renegotiationInfo = checkRenegotiationInfo(extensions) || hello.suites.includes(RENEGOTIATION_SCSV);
  const extendedMasterSecret = hasEmptyExtension(extensions, EXTENSION.extendedMasterSecret);
  const encryptThenMac = hasEmptyExtension(extensions, EXTENSION.encryptThenMac);
  requireExtension('extended master secret', extendedMasterSecret, policy.requireExtendedMasterSecret);
  requireExtension('encrypt-then-MAC', encryptThenMac, policy.requireEncryptThenMac);
  const randoms = { client: hello.random, server: randomBytes(RANDOM_BYTES) };
  return {
    agreement: { suite, randoms, extendedMasterSecret, encryptThenMac },
    username,
    renegotiationInfo,
  };
}

/** RFC 5246, E.1; a client that can do 1.3 too says so in supported_versions, and falls back (RFC 8446, D.2). */
function checkVersion(hello: ClientHello): void {
  const list = hello.extensions.get(EXTENSION.supportedVersions);
  if (hello.version < TLS_1_2 || (list !== undefined && !decodeSupportedVersions(list).includes(TLS_1_2)))
    throw new TlsError(ALERT.protocolVersion, 'tls.version', 'the client does not offer TLS 1.2');
}

function answerTo(agreement: Agreement, renegotiationInfo: boolean): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>();
  if (renegotiationInfo) extensions.set(EXTENSION.renegotiationInfo, NO_RENEGOTIATED_CONNECTION);
  if (agreement.extendedMasterSecret) extensions.set(EXTENSION.extendedMasterSecret, NO_CONTENT);
  if (agreement.encryptThenMac) extensions.set(EXTENSION.encryptThenMac, NO_CONTENT);
  return extensions;
}

/** For a known and for an unknown name alike: the same steps, lengths and amount of work from here on. */
async function credentialsOf(
  username: Uint8Array,
  options: TlsServerOptions,
  remote: string,
  claim: Claim,
): Promise<SrpCredentials> {
  const key = options.fakeVerifierKey.reveal();
  const fake = fakePassword(key, username);
  claim.id = idOf(textOf(username));
  const secret = claim.id === undefined ? undefined : await options.authenticate(claim.id, remote);
  claim.known = secret !== undefined;
  return {
    username,
    password: secret === undefined ? fake : utf8(secret.reveal()),
    salt: saltFor(key, username),
  };
}

/** A name that is not UTF-8 is just one more that nobody has. */
function textOf(username: Uint8Array): string {
  try {
    return fromUtf8(username);
  } catch {
    return '';
  }
}

/** The first record under the new keys: if it is not authentic, the client has another password. */
async function receiveFinished(transport: HandshakeTransport, claim: Claim): Promise<Uint8Array> {
  try {
    return await transport.receive(HANDSHAKE.finished);
  } catch (thrown) {
    if (!(thrown instanceof TlsError) || thrown.alert !== ALERT.badRecordMac) throw thrown;
    const what = claim.known ? 'the wrong secret' : 'an unknown ID';
    throw new TlsError(ALERT.badRecordMac, 'channel.authentication_failed', `the client used ${what}`);
  }
}
