/**
 * One error class for everything that Skylark refuses or fails at. It says whose fault it is, carries a code that
 * programs may rely on, and, where somebody can do something about it, says what.
 */

/**
 * Whose fault it is: `peer` (bytes from outside broke a rule: drop the connection, log once), `user` (bad input or
 * configuration: exit code 64 or 78), `environment` (disk, network, permissions: retry or report), `internal` (a bug).
 */
export type Fault = 'peer' | 'user' | 'environment' | 'internal';

export interface ErrorDetails {
  /** What to do about it, one imperative sentence without a full stop. */
  readonly remedy?: string;
  readonly cause?: unknown;
  /** sysexits code for the command line; by default derived from the fault. */
  readonly exitCode?: number;
}

export class SkylarkError extends Error {
  override readonly name = 'SkylarkError';
  readonly fault: Fault;
  /** Stable, lower-case, dotted: `wire.length_malformed`, `share.root_missing`. */
  readonly code: string;
  readonly remedy: string | undefined;
  readonly exitCode: number;

  constructor(fault: Fault, code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.fault = fault;
    this.code = code;
    this.remedy = details.remedy;
    this.exitCode = details.exitCode ?? EXIT_OF_FAULT[fault];
  }
}

/** sysexits.h, as far as Skylark uses it. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 64,
  daemonNotRunning: 69,
  internal: 70,
  cannotCreate: 73,
  tryAgain: 75,
  notPermitted: 77,
  configuration: 78,
} as const;

const EXIT_OF_FAULT: Record<Fault, number> = {
  peer: EXIT.failed,
  user: EXIT.usage,
  environment: EXIT.failed,
  internal: EXIT.internal,
};

/** The peer (or device, broker, file format: anything outside) broke the protocol. */
export function peerError(code: string, message: string, details?: ErrorDetails): SkylarkError {
  return new SkylarkError('peer', code, message, details);
}

/** The owner or operator gave something that can't be used. */
export function userError(code: string, message: string, details?: ErrorDetails): SkylarkError {
  return new SkylarkError('user', code, message, details);
}

/** The machine (disk, network, permissions) said no. */
export function environmentError(code: string, message: string, details?: ErrorDetails): SkylarkError {
  return new SkylarkError('environment', code, message, details);
}

/** Our own mistake; never caught to be ignored. */
export function internalError(code: string, message: string, details?: ErrorDetails): SkylarkError {
  return new SkylarkError('internal', code, message, details);
}

/** The `code` of a SkylarkError or of a Node system error (`ENOENT`), else undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

/** One line for people: the message, and the remedy behind a semicolon. */
export function describeError(error: unknown): string {
  if (error instanceof SkylarkError)
    return error.remedy === undefined ? error.message : `${error.message}; ${error.remedy}`;
  if (error instanceof Error) return error.message;
  return String(error);
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
