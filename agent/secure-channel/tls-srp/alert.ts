/** TLS alerts (RFC 5246, 7.2) and the errors that carry one. */

import { type ErrorDetails, SkylarkError } from '../../base/errors.ts';

export const ALERT = {
  closeNotify: 0,
  unexpectedMessage: 10,
  /** Also for wrong padding and for whatever else is wrong with a protected record: one alert for all of it. */
  badRecordMac: 20,
  recordOverflow: 22,
  handshakeFailure: 40,
  illegalParameter: 47,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
  insufficientSecurity: 71,
  internalError: 80,
  noRenegotiation: 100,
  unsupportedExtension: 110,
  /** RFC 5054, 2.5.1.2: the client named no SRP user. */
  unknownPskIdentity: 115,
} as const;

export type Alert = (typeof ALERT)[keyof typeof ALERT];

export const ALERT_LEVEL = { warning: 1, fatal: 2 } as const;

/** The peer broke a rule of TLS; this alert tells it which kind. */
export class TlsError extends SkylarkError {
  readonly alert: Alert;

  constructor(alert: Alert, code: string, message: string, details?: ErrorDetails) {
    super('peer', code, message, details);
    this.alert = alert;
  }
}

export interface ReceivedAlert {
  readonly fatal: boolean;
  readonly description: number;
}

/** @throws TlsError decode_error: an alert is exactly two bytes, and we take no alert in pieces. */
export function decodeAlert(content: Uint8Array): ReceivedAlert {
  const [level, description] = content;
  if (content.length !== 2 || description === undefined)
    throw new TlsError(ALERT.decodeError, 'tls.alert_malformed', 'a TLS alert is not two bytes long');
  // An unknown level is taken as fatal: nothing is gained by going on.
  return { fatal: level !== ALERT_LEVEL.warning, description };
}

export function encodeAlert(alert: Alert): Uint8Array {
  const warning = alert === ALERT.closeNotify || alert === ALERT.noRenegotiation;
  return Uint8Array.of(warning ? ALERT_LEVEL.warning : ALERT_LEVEL.fatal, alert);
}

/** The other side ended TLS with a fatal alert. */
export class AlertReceivedError extends SkylarkError {
  readonly description: number;

  constructor(description: number) {
    super('peer', 'tls.alert_received', `the other side ended TLS with the alert ${alertName(description)}`);
    this.description = description;
  }
}

/** `bad record mac (20)`; for a number without a name only the number. */
export function alertName(description: number): string {
  const name = Object.entries(ALERT).find(([, number]) => number === description)?.[0];
  if (name === undefined) return String(description);
  return `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} (${description})`;
}
