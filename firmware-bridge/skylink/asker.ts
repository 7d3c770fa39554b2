/** What all questions have in common: asking again, waiting for a busy device, giving up on a silent one. */

import { type Clock, sleep } from '../../agent/base/clock.ts';
import type { SkylarkError } from '../../agent/base/errors.ts';
import { printable } from '../../agent/base/printable.ts';
import { type DeviceErrorCode, deviceError } from '../device-error.ts';
import type { MessageOf, MessageSpec } from './fields.ts';
import { type Frame, frameLength } from './frame.ts';
import type { Line } from './line.ts';
import { ERR, ERR_CODE } from './messages.ts';
import type { ReadPlan, Tempo } from './tempo.ts';

/** What a slow device may need beyond the line's time: a flash page to erase, a card to wake. Milliseconds. */
export const STORAGE_ALLOWANCE = 1_500;
/** Tries of one question. */
const MOST_TRIES = 50;
/** Longest pause that a busy device is granted at a time, and in all for one question. Milliseconds. */
const LONGEST_PAUSE = 5_000;
const LONGEST_BUSY = 30_000;

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds beyond the line's own time. */
  readonly allowance?: number;
  /** Told each time that the question goes out. */
  readonly onAsked?: () => void;
}

export class Asker {
  readonly line: Line;
  readonly clock: Clock;
  readonly tempo: Tempo;
  readonly plan: ReadPlan;
  readonly #patience: number;
  #retries = 0;

  /** @param patience milliseconds without a valid frame after which the device counts as gone. */
  constructor(line: Line, clock: Clock, tempo: Tempo, plan: ReadPlan, patience: number) {
    this.line = line;
    this.clock = clock;
    this.tempo = tempo;
    this.plan = plan;
    this.#patience = patience;
  }

  /** Questions asked again, and gaps. */
  get retries(): number {
    return this.#retries;
  }

  /** A question with one answer, asked again until it comes. @throws what the device refused, and `device.*`. */
  async ask<Q, A>(
    question: MessageSpec<Q>,
    value: Q,
    answer: MessageSpec<A>,
    options: AskOptions = {},
  ): Promise<A> {
    return await this.line.ask(options.signal, async (turn) => {
      const began = this.clock.monotonic();
      options.onAsked?.();
      const sent = await turn.send(question, value);
      for (let tries = 1; ; ) {
        const frame = await turn.next(this.tempo.wait(sent + frameLength(64), options.allowance));
        if (frame?.type === answer.type) {
          // An answer to a repeated question says nothing about the time that answers take (Karn's rule, RFC 6298, 3).
          if (tries === 1) {
            this.tempo.answered(this.clock.monotonic() - began, sent + frameLength(frame.body.length));
          }
          return answer.decode(frame.body);
        }
        if (frame !== undefined && frame.type !== ERR.type) continue;
        if (frame === undefined) this.missed();
        else await this.pauseIfBusy(frame, this.clock.monotonic() - began, options.signal);
        tries += 1;
        this.giveUp(tries > MOST_TRIES, `the device never answers ${question.name}`);
        options.onAsked?.();
        await turn.resend();
      }
    });
  }

  /** A part of a longer answer was lost on the way. */
  gap(): void {
    this.#retries += 1;
    this.plan.gap();
  }

  /** Counts an answer that did not come. @throws `device.silent` if none has for too long. */
  missed(): void {
    this.#retries += 1;
    this.tempo.silence();
    if (this.line.silentFor > this.#patience) {
      throw deviceError('device.silent', 'the device does not answer any more');
    }
  }

  /** Returns after the pause that a busy device asked for. @throws any other refusal. */
  async pauseIfBusy(frame: Frame, busyFor: number, signal: AbortSignal | undefined): Promise<void> {
    const error = ERR.decode(frame.body);
    if (error.code !== ERR_CODE.busy || busyFor > LONGEST_BUSY) throw refusal(error);
    await sleep(this.clock, Math.min(LONGEST_PAUSE, Math.max(20, error.wait)), signal);
  }

  /** @throws `device.stuck` if `hopeless`. */
  giveUp(hopeless: boolean, what: string): void {
    if (hopeless) throw deviceError('device.stuck', what);
  }
}

const REFUSALS: Readonly<Record<number, readonly [DeviceErrorCode, string]>> = {
  [ERR_CODE.unsupported]: ['device.unsupported', 'the device can not do that'],
  [ERR_CODE.malformed]: ['device.protocol', 'the device did not understand the question'],
  [ERR_CODE.notFound]: ['device.not_found', 'the device has no such file'],
  [ERR_CODE.changed]: ['device.changed', 'the file has changed on the device'],
  [ERR_CODE.range]: ['device.protocol', 'the device has no such range in the file'],
  [ERR_CODE.full]: ['device.full', 'the device is full'],
  [ERR_CODE.busy]: ['device.busy', 'the device is busy'],
  [ERR_CODE.refused]: ['device.refused', 'the device refuses'],
  [ERR_CODE.exists]: ['device.exists', 'the device has a file of that name'],
  [ERR_CODE.storage]: ['device.storage', "the device's memory failed"],
  [ERR_CODE.transfer]: ['device.transfer', 'the device does not know the transfer'],
};

/** What an ERR means here. */
export function refusal({ code, text }: MessageOf<typeof ERR>): SkylarkError {
  const [known, meaning] = REFUSALS[code] ?? ['device.refused', `the device reports error ${code}`];
  return deviceError(known, text === '' ? meaning : `${meaning} (${printable(text, 100)})`);
}
