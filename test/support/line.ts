/**
 * A serial line inside one process: it takes its time, delivers in packets as USB adapters do, and loses, doubles and
 * flips bytes as told. For tests and benchmarks at the OS edge.
 */

import type { Clock, Timer } from '../../agent/base/clock.ts';
import type { ByteStream } from '../../agent/base/stream.ts';

export interface LineOptions {
  readonly clock: Clock;
  /** Ten bits a byte. Without it bytes arrive at once. */
  readonly baud?: number;
  /** What the host's adapter may wait for a packet to fill, milliseconds. Default 0. */
  readonly latency?: number;
  /** Sees, and may change, what arrives at the host, with the offset of its first byte; shorter or empty is allowed. */
  readonly toHost?: Tamper;
  /** The same for what arrives at the device. */
  readonly toDevice?: Tamper;
  /** Bytes that may wait to be sent before `write` waits. Default 64: a small device's buffer. */
  readonly buffer?: number;
  /** How late timers of a real clock may be without slowing the line down, milliseconds. Default 0. */
  readonly slack?: number;
}

export type Tamper = (bytes: Uint8Array, offset: number) => Uint8Array;

export interface SerialLine {
  readonly host: ByteStream;
  readonly device: ByteStream;
  /** The cable is pulled: both ends break. */
  cut(): void;
  /** The device has started anew: its end before is dead, what was on its way is lost, the host notices nothing. */
  restarted(): ByteStream;
  /** Bytes that have gone each way. */
  readonly carried: { readonly toHost: number; readonly toDevice: number };
}

/** A full-speed USB adapter's packet without its two status bytes. */
const PACKET = 62;

export function openLine(options: LineOptions): SerialLine {
  const toHost = new Wire(options, options.toHost, options.latency ?? 0);
  const toDevice = new Wire(options, options.toDevice, 0);
  const cut = (reason: Error) => {
    toHost.fail(reason);
    toDevice.fail(reason);
  };
  const deviceEnd = (): ByteStream => {
    toDevice.restart();
    toHost.forget();
    const life = toDevice.life;
    const check = () => {
      if (toDevice.life !== life) throw new Error('the device has restarted');
    };
    return {
      label: 'line:device',
      async read() {
        check();
        const bytes = await toDevice.read();
        check();
        return bytes;
      },
      async write(bytes) {
        check();
        await toHost.write(bytes);
        check();
      },
      close: async () => {},
      // A device that breaks off is one that is dead: the line goes on without it.
      abort: () => {},
    };
  };
  return {
    host: {
      label: 'line:host',
      read: () => toHost.read(),
      write: (bytes) => toDevice.write(bytes),
      close: async () => {
        toHost.end();
        toDevice.end();
      },
      abort: cut,
    },
    device: deviceEnd(),
    restarted: deviceEnd,
    cut: () => cut(new Error('the cable was pulled')),
    get carried() {
      return { toHost: toHost.carried, toDevice: toDevice.carried };
    },
  };
}

class Wire {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #latency: number;
  readonly #limit: number;
  readonly #slack: number;
  readonly #tamper: Tamper | undefined;
  #sending: Uint8Array[] = [];
  #queued = 0;
  /** When the last byte taken from the sender is through. */
  #free = 0;
  #timer: Timer | undefined;
  #packet: Uint8Array[] = [];
  #packetLength = 0;
  #packetTimer: Timer | undefined;
  #arrived: Uint8Array[] = [];
  #ended = false;
  #failure: Error | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriters: (() => void)[] = [];
  carried = 0;
  life = 0;

  constructor(options: LineOptions, tamper: Tamper | undefined, latency: number) {
    this.#clock = options.clock;
    this.#bytesPerMs = options.baud === undefined ? Number.POSITIVE_INFINITY : options.baud / 10_000;
    this.#latency = latency;
    this.#limit = options.buffer ?? 64;
    this.#slack = options.slack ?? 0;
    this.#tamper = tamper;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    if (this.#ended) throw new Error('write after close');
    const length = this.#bytesPerMs === Number.POSITIVE_INFINITY ? bytes.length : PACKET;
    for (let offset = 0; offset < bytes.length; offset += length) {
      const piece = bytes.slice(offset, offset + length);
      this.#sending.push(piece);
      this.#queued += piece.length;
    }
    this.#send();
    while (this.#queued > this.#limit && this.#failure === undefined && !this.#ended) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    }
    this.#check();
  }

  async read(): Promise<Uint8Array | null> {
    const { life } = this;
    for (;;) {
      if (this.life !== life) throw new Error('the device has restarted');
      const bytes = this.#arrived.shift();
      if (bytes !== undefined) return bytes;
      this.#check();
      if (this.#ended) return null;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** Whoever used this end is gone, and what it had not sent or read yet. */
  restart(): void {
    this.life += 1;
    this.forget();
    this.#arrived = [];
    this.#wakeReader?.();
  }

  forget(): void {
    this.#sending = [];
    this.#queued = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#wakeSenders();
  }

  end(): void {
    this.#ended = true;
    this.#stop();
  }

  fail(reason: Error): void {
    this.#failure ??= reason;
    this.#stop();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#packetTimer?.cancel();
    this.#wakeReader?.();
    this.#wakeSenders();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #wakeSenders(): void {
    for (const wake of this.#wakeWriters.splice(0)) wake();
  }

  #send(): void {
    if (this.#timer !== undefined || this.#failure !== undefined || this.#ended) return;
    const next = this.#sending[0];
    if (next === undefined) return;
    const now = this.#clock.monotonic();
    this.#free = Math.max(this.#free, now - this.#slack) + next.length / this.#bytesPerMs;
    if (this.#free <= now) {
      this.#through();
      this.#send();
      return;
    }
    this.#timer = this.#clock.after(this.#free - now, () => {
      this.#timer = undefined;
      this.#through();
      this.#send();
    });
  }

  #through(): void {
    const bytes = this.#sending.shift();
    if (bytes === undefined) return;
    this.#queued -= bytes.length;
    const passed = this.#tamper ? this.#tamper(bytes, this.carried) : bytes;
    this.carried += bytes.length;
    if (this.#queued <= this.#limit) this.#wakeSenders();
    if (passed.length === 0 || this.#failure !== undefined) return;
    this.#packet.push(passed);
    this.#packetLength += passed.length;
    if (this.#latency === 0 || this.#packetLength >= PACKET) this.#deliver();
    else this.#packetTimer ??= this.#clock.after(this.#latency, () => this.#deliver());
  }

  #deliver(): void {
    this.#packetTimer?.cancel();
    this.#packetTimer = undefined;
    this.#arrived.push(...this.#packet.splice(0));
    this.#packetLength = 0;
    this.#wakeReader?.();
  }
}

/** Flips one random bit of each byte with this probability. */
export function corrupting(rate: number, random: () => number): Tamper {
  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) {
      if (random() < rate) bytes[i] = bytes[i]! ^ (1 << Math.floor(random() * 8));
    }
    return bytes;
  };
}

export type Accident = 'lose' | 'double' | 'flip';

/** One accident, at the byte with this offset. */
export function accidentAt(offset: number, accident: Accident): Tamper {
  return (bytes, first) => {
    const index = offset - first;
    if (index < 0 || index >= bytes.length) return bytes;
    const head = bytes.subarray(0, index);
    const hit = bytes.subarray(index, index + 1);
    const tail = bytes.subarray(index + 1);
    const instead: readonly Uint8Array[] = {
      lose: [],
      double: [hit, hit],
      flip: [Uint8Array.of(hit[0]! ^ 0x55)],
    }[accident];
    return Uint8Array.from([head, ...instead, tail].flatMap((part) => [...part]));
  };
}
