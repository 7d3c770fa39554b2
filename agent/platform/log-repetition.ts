/** Keeps one cause from filling the log: what is the same is said once, what is alike a few times, the rest is counted. */

import type { Clock, Timer } from '../base/clock.ts';
import type { LogEntry } from '../base/log.ts';

/** Milliseconds for which what was said counts as said. */
const WINDOW = 60_000;
/** Different lines with one scope and message that are written within a window. */
const MOST_ALIKE = 10;
/** Scopes and messages that are remembered; when there are more, the oldest is settled early. */
const MOST_REMEMBERED = 256;

interface Said {
  readonly last: LogEntry;
  /** What was written out, to recognise the same again. */
  readonly lines: Set<string>;
  heldBack: number;
}

export interface RepetitionFilter {
  take(entry: LogEntry): void;
  /** Writes the counts of what was held back, and forgets. */
  close(): void;
}

export function openRepetitionFilter(write: (entry: LogEntry) => void, clock: Clock): RepetitionFilter {
  const said = new Map<string, Said>();
  let timer: Timer | undefined;

  const settle = (key: string, memory: Said) => {
    said.delete(key);
    if (memory.heldBack === 0) return;
    const { level, scope, message } = memory.last;
    write({ level, scope, message, fields: { repeated: memory.heldBack } });
  };

  const settleAll = () => {
    timer?.cancel();
    timer = undefined;
    for (const [key, memory] of said) settle(key, memory);
  };

  return {
    take(entry) {
      const key = `${entry.level} ${entry.scope} ${entry.message}`;
      const line = Object.entries(entry.fields)
        .map(([name, value]) => `${name}=${String(value)}`)
        .join('\n')
        .slice(0, 1_024);
      let memory = said.get(key);
      if (memory === undefined) {
        memory = { last: entry, lines: new Set(), heldBack: 0 };
        said.set(key, memory);
        const [oldest] = said;
        if (said.size > MOST_REMEMBERED && oldest !== undefined) settle(...oldest);
        timer ??= clock.after(WINDOW, settleAll);
      }
      if (memory.lines.has(line) || memory.lines.size >= MOST_ALIKE) {
        memory.heldBack += 1;
        return;
      }
      memory.lines.add(line);
      write(entry);
    },
    close: settleAll,
  };
}
