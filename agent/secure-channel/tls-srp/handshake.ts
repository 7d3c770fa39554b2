/** What both ends of the handshake do alike. */

import { equalBytes } from '../../base/bytes.ts';
import { SkylarkError } from '../../base/errors.ts';
import { ALERT, TlsError } from './alert.ts';
import type { HandshakeTransport } from './handshake-transport.ts';
import { extendedMasterSecret, masterSecret, type Randoms, recordKeys } from './key-schedule.ts';
import { EXTENSION, type Extensions, NO_RENEGOTIATED_CONNECTION } from './messages.ts';
import type { TlsSuite } from './policy.ts';
import { malformed } from './presentation.ts';
import type { RecordLayer } from './record-layer.ts';
import { RecordOpener, RecordSealer } from './record-protection.ts';

/** The `1` is the version of channel establishment: ClearSkies, core. */
const USERNAME_PREFIX = 'clearskies:1:';
const USERNAME = /^clearskies:1:([0-9a-f]{64})$/;

export function usernameOf(id: string): string {
  return USERNAME_PREFIX + id;
}

/** The ID in a username, or undefined if it has another form. */
export function idOf(username: string): string | undefined {
  return USERNAME.exec(username)?.[1];
}

/** What the two hellos settled. */
export interface Agreement {
  readonly suite: TlsSuite;
  readonly randoms: Randoms;
  readonly extendedMasterSecret: boolean;
  readonly encryptThenMac: boolean;
}

export interface Protection {
  readonly master: Uint8Array;
  readonly seal: RecordSealer;
  readonly open: RecordOpener;
}

/** Keys for one side. To be called when the ClientKeyExchange is the last message of the transcript. */
export function protect(
  role: 'client' | 'server',
  agreement: Agreement,
  premaster: Uint8Array,
  transport: HandshakeTransport,
): Protection {
  const { randoms, suite, encryptThenMac } = agreement;
  const master = agreement.extendedMasterSecret
    ? extendedMasterSecret(premaster, transport.transcriptHash())
    : masterSecret(premaster, randoms);
  const keys = recordKeys(master, randoms, suite.keyBytes);
  const [own, others] = role === 'client' ? [keys.client, keys.server] : [keys.server, keys.client];
  return {
    master,
    seal: new RecordSealer(own, encryptThenMac),
    open: new RecordOpener(others, encryptThenMac),
  };
}

/** Whether one of the extensions that have no content is there. */
export function hasEmptyExtension(extensions: Extensions, type: number): boolean {
  const content = extensions.get(type);
  if (content !== undefined && content.length > 0) throw malformed(`TLS extension ${type} is not empty`);
  return content !== undefined;
}

/** @returns whether the extension is there. @throws TlsError if it speaks of an earlier handshake (RFC 5746, 3.4, 3.6). */
export function checkRenegotiationInfo(extensions: Extensions): boolean {
  const content = extensions.get(EXTENSION.renegotiationInfo);
  if (content !== undefined && !equalBytes(content, NO_RENEGOTIATED_CONNECTION))
    throw new TlsError(
      ALERT.handshakeFailure,
      'tls.renegotiation',
      'the other side takes the TLS handshake for a renegotiation',
    );
  return content !== undefined;
}

/** @throws TlsError if the policy demands an extension that the other side does not have. */
export function requireExtension(name: string, present: boolean, required: boolean): void {
  if (required && !present)
    throw new TlsError(
      ALERT.handshakeFailure,
      'tls.extension_required',
      `the other side lacks TLS's ${name}`,
      {
        remedy: 'update it, or allow old peers',
      },
    );
}

/**
 * Tells the other side why the handshake ends, as far as TLS has a word for it, and lets the stream go. Waits as long
 * as the stream does; the caller's signal bounds it.
 */
export async function endHandshake(records: RecordLayer, thrown: unknown): Promise<void> {
  const alert = alertFor(thrown);
  if (alert !== undefined) await records.sendAlert(alert);
  await records.stream.close();
}

function alertFor(thrown: unknown): TlsError['alert'] | undefined {
  if (thrown instanceof TlsError) return thrown.alert;
  // Our own trouble. If it was the connection that broke, nobody hears of it.
  const isPeersFault = thrown instanceof SkylarkError && thrown.fault === 'peer';
  return isPeersFault ? undefined : ALERT.internalError;
}

/** SRP's own refusals (RFC 5054, 2.5.3 and 2.5.4: illegal_parameter) as TLS errors. */
export function refusingIllegalValues<T>(exchange: () => T): T {
  try {
    return exchange();
  } catch (thrown) {
    if (thrown instanceof SkylarkError && thrown.code === 'srp.public_value')
      throw new TlsError(ALERT.illegalParameter, thrown.code, thrown.message);
    throw thrown;
  }
}
