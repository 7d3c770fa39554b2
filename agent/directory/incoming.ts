/** Contents as they come in from a peer: checked against what was asked for, and kept in memory or in a file. */

import { asError, SkylarkError } from '../base/errors.ts';
import type { MessageOf } from '../wire/message.ts';
import type { Payload } from '../wire/message-stream.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Source } from './fetch-source.ts';
import type * as messages from './messages.ts';
import type { Partials } from './partials.ts';
import { readBytes, writeBytes } from './receive.ts';
import type { Schedule } from './schedule.ts';
import { SMALL_CONTENT } from './supply.ts';

export interface IncomingOptions {
  readonly schedule: Schedule;
  readonly partials: Partials;
  readonly room: DiskRoom;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Told of all bytes that come. */
  readonly received: (bytes: number) => void;
}

/**
 * `whole`: all of the contents are here, in memory or in their file, not yet verified. `part`: there is more to come, or it
 * was of no use. `failed`: the disk refused them.
 */
export type Arrival =
  | { readonly kind: 'unasked' }
  | { readonly kind: 'part' }
  | { readonly kind: 'whole'; readonly size: number; readonly bytes: Uint8Array | undefined }
  | { readonly kind: 'failed'; readonly size: number; readonly error: Error };

const PART: Arrival = { kind: 'part' };

export class Incoming {
  readonly #options: IncomingOptions;

  constructor(options: IncomingOptions) {
    this.#options = options;
  }

  /** @throws SkylarkError (peer) if it sends more than it was asked for. */
  async receive(
    source: Source,
    message: MessageOf<typeof messages.data>,
    payload: Payload | undefined,
  ): Promise<Arrival> {
    const { schedule, now, received } = this.#options;
    const { sha256 } = message;
    const size = schedule.sizeOf(sha256);
    const [start, count] = message.range ?? [0n, BigInt(size)];
    const [offset, length] = [Number(start), Number(count)];
    const reception = schedule.begin(source.number, sha256, offset, length, now());
    // What is not read is skipped.
    if (reception === 'unasked') return { kind: 'unasked' };
    if (reception === 'late' || payload === undefined) {
      this.#settle(source, sha256, offset, length, reception === 'late');
      return PART;
    }
    const heard = (bytes: number) => {
      schedule.heard(source.number, now());
      received(bytes);
    };
    if (size <= SMALL_CONTENT && length === size) {
      const bytes = await readBytes(payload, length, heard);
      const outcome = this.#settle(source, sha256, offset, length, bytes !== undefined);
      return bytes !== undefined && outcome === 'complete' ? { kind: 'whole', size, bytes } : PART;
    }
    return this.#write(source, payload, { sha256, size, offset, length }, heard);
  }

  async #write(
    source: Source,
    payload: Payload,
    {
      sha256,
      size,
      offset,
      length,
    }: {
      readonly sha256: string;
      readonly size: number;
      readonly offset: number;
      readonly length: number;
    },
    heard: (bytes: number) => void,
  ): Promise<Arrival> {
    const { schedule, partials, room, now } = this.#options;
    const isOfUse = () => schedule.isOfUse(source.number, sha256, offset, length);
    let isBroken = false;
    const reading: Payload = {
      read: () =>
        payload.read().catch((thrown: unknown) => {
          isBroken = true;
          throw thrown;
        }),
    };
    let isWhole: boolean;
    try {
      if (!room.begin(sha256, BigInt(size - schedule.progress(sha256)))) {
        schedule.drop(sha256);
        schedule.delivered(source.number, sha256, offset, length, now());
        await partials.close(sha256);
        return PART;
      }
      const partial = await partials.open(sha256, size);
      // The file may be verified, in its place or removed by now: then the rest is read, and that is all.
      const write = async (bytes: Uint8Array, at: number) => {
        if (isOfUse()) await partial.write(bytes, at);
      };
      isWhole = await writeBytes(reading, { write }, offset, length, (bytes) => {
        heard(bytes);
        room.wrote(sha256, bytes);
      });
    } catch (thrown) {
      // The connection is gone, or not worth keeping. The disk took everything.
      if (isBroken || (thrown instanceof SkylarkError && thrown.fault === 'peer')) throw thrown;
      const wasOfUse = isOfUse();
      if (wasOfUse) {
        schedule.drop(sha256);
        room.end(sha256);
      }
      schedule.delivered(source.number, sha256, offset, length, now());
      return wasOfUse ? { kind: 'failed', size, error: asError(thrown) } : PART;
    }
    return this.#settle(source, sha256, offset, length, isWhole) === 'complete'
      ? { kind: 'whole', size, bytes: undefined }
      : PART;
  }

  #settle(source: Source, sha256: string, offset: number, length: number, isWhole: boolean) {
    const { schedule, now } = this.#options;
    if (isWhole) {
      source.presence.announce(sha256);
      return schedule.delivered(source.number, sha256, offset, length, now());
    }
    // The file was changed there while it was sent.
    schedule.refused(source.number, sha256, { start: offset, end: offset + length }, now());
    return 'late';
  }
}
