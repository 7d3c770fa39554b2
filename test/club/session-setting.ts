/** Sessions with a peer by hand, or another session, on the other side. */

import { type LogEntry, Logger } from '../../agent/base/log.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { MeteredStream } from '../../agent/club/meter.ts';
import { openSession, payloadLimits, type RunningSession } from '../../agent/club/open-session.ts';
import type { Extension, Session } from '../../agent/club/session.ts';
import { type IncomingMessage, openMessageStream } from '../../agent/wire/message-stream.ts';
import { type MemoryStreamOptions, memoryStreamPair } from '../support/memory-stream.ts';
import { type VirtualClock, virtualClock } from '../support/virtual-clock.ts';
import { framed, RawPeer } from './raw-peer.ts';

export const SECOND = 1_000;

export interface Setting {
  readonly clock: VirtualClock;
  readonly raw: RawPeer;
  readonly running: RunningSession;
  readonly session: Session;
  readonly entries: LogEntry[];
}

/** `m31{"type":"core.ping","timeout":60}` and its line feed. */
export const PING_BYTES = 39;

export interface SessionSettings {
  readonly common?: readonly string[];
  readonly timeout?: number;
}

export function sessionOver(
  stream: ByteStream,
  clock: VirtualClock,
  extensions: readonly Extension[],
  options: SessionSettings,
) {
  const meter = new MeteredStream(stream, clock);
  const entries: LogEntry[] = [];
  const running = openSession({
    messages: openMessageStream(meter, { payloadLimit: payloadLimits(() => extensions) }),
    meter,
    introduction: {
      peer: { id: 'a'.repeat(32), name: 'Alice', software: 'test', instance: undefined, address: 'memory' },
      level: 'read_write',
      extensions: new Set(options.common ?? extensions.map(({ name }) => name)),
    },
    club: 'c'.repeat(32),
    self: 'b'.repeat(32),
    extensions,
    clock,
    log: new Logger((entry) => entries.push(entry)),
    timeout: options.timeout,
  });
  return { running, meter, entries };
}

/** A session with a raw peer on the other side. */
export function setting(
  extensions: readonly Extension[] = [],
  options: SessionSettings & MemoryStreamOptions = {},
): Setting {
  const clock = virtualClock();
  const [a, b] = memoryStreamPair(options);
  const { running, entries } = sessionOver(b, clock, extensions, options);
  return { clock, raw: new RawPeer(a), running, session: running.session, entries };
}

export interface Recorder extends Extension {
  readonly received: string[];
  attached: number;
  detached: number;
}

export function recorder(
  name: string,
  receive: (message: IncomingMessage, session: Session) => Promise<void> = async () => {},
  payloads: Readonly<Record<string, bigint>> = {},
): Recorder {
  const own: Recorder = {
    name,
    payloadLimits: payloads,
    received: [],
    attached: 0,
    detached: 0,
    attach(session) {
      own.attached += 1;
      return {
        async receive(message) {
          own.received.push(message.type);
          await receive(message, session);
        },
        detach() {
          own.detached += 1;
        },
      };
    },
  };
  return own;
}

export const ping = (timeout: unknown) => framed(`{"type":"core.ping","timeout":${String(timeout)}}`);
export const say = (type: string) => framed(`{"type":"${type}"}`);
