/**
 * The one door through which bytes come and go: TCP, TLS-SRP, a WebSocket, a serial port. Pull-based in both
 * directions, so that back-pressure is the default and nothing needs a buffer without a bound.
 */
export interface ByteStream {
  /** Where it leads, for logs: `192.168.1.7:49221`. */
  readonly label: string;

  /**
   * The next bytes, at least one; null after the other side's orderly end. One call at a time. The returned bytes
   * belong to the caller, and so does their whole buffer.
   * @throws what broke the stream (a SkylarkError with fault `peer` or `environment`, or the reason given to `abort`).
   */
  read(): Promise<Uint8Array | null>;

  /**
   * Sends in the order of the calls. Resolves when the stream is ready for more, not when the other side has it. The
   * bytes must not be changed before that; afterwards they are the caller's again.
   */
  write(bytes: Uint8Array): Promise<void>;

  /** Orderly: flushes, tells the other side that this was all, lets go. Idempotent; never rejects. */
  close(): Promise<void>;

  /** At once and without ceremony. Pending and later reads and writes reject with the reason. Idempotent. */
  abort(reason: Error): void;
}
