/** Events from those who make them to those who watch, each at its own pace and none holding up the others. */

import type { Clock } from '../base/clock.ts';
import { formatTimestamp } from '../base/timestamp.ts';
import type { AgentEvent } from './messages.ts';

/** Events that wait for a slow reader; older ones are lost, and counted. */
const MAX_WAITING = 1_000;
/** A reader hears something at least so often, so that a dead connection is noticed. Milliseconds. */
const ALIVE_MS = 60_000;

class Subscription {
  readonly waiting: AgentEvent[] = [];
  lost = 0;
  wake: (() => void) | undefined;

  push(event: AgentEvent): void {
    if (this.waiting.length >= MAX_WAITING) {
      this.waiting.shift();
      this.lost += 1;
    }
    this.waiting.push(event);
    this.wake?.();
  }
}

export class EventFeed {
  readonly #clock: Clock;
  readonly #subscriptions = new Set<Subscription>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Never waits. */
  publish(event: Omit<AgentEvent, 'time'>): void {
    if (this.#subscriptions.size === 0) return;
    const timed = { ...event, time: formatTimestamp(this.#clock.now()) };
    for (const subscription of this.#subscriptions) subscription.push(timed);
  }

  /** From the call on, until the signal aborts. */
  subscribe(signal: AbortSignal): AsyncIterable<AgentEvent> {
    const subscription = new Subscription();
    this.#subscriptions.add(subscription);
    signal.addEventListener('abort', () => this.#subscriptions.delete(subscription), { once: true });
    return this.#read(subscription, signal);
  }

  async *#read(subscription: Subscription, signal: AbortSignal): AsyncIterable<AgentEvent> {
    const stop = () => subscription.wake?.();
    signal.addEventListener('abort', stop, { once: true });
    try {
      while (!signal.aborted) {
        if (subscription.lost > 0) {
          const { lost } = subscription;
          subscription.lost = 0;
          yield this.#own({ event: 'lost', count: lost });
        }
        const event = subscription.waiting.shift();
        if (event !== undefined) yield event;
        else if (!(await this.#change(subscription))) yield this.#own({ event: 'alive' });
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#subscriptions.delete(subscription);
    }
  }

  /** @returns whether something came; false: nothing for a minute. */
  #change(subscription: Subscription): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(ALIVE_MS, () => settle(false));
      const settle = (came: boolean) => {
        timer.cancel();
        subscription.wake = undefined;
        resolve(came);
      };
      subscription.wake = () => settle(true);
    });
  }

  #own(event: Omit<AgentEvent, 'time'>): AgentEvent {
    return { ...event, time: formatTimestamp(this.#clock.now()) };
  }
}
