/** How far long work is: a bar that is drawn over itself on a terminal, a line now and then elsewhere. */

import type { Output } from '../platform/terminal.ts';

/** Between two lines where there is no terminal, milliseconds. */
const LINE_MS = 10_000;
const BAR = 20;

export interface Progress {
  /**
   * @param share of the work that is done, 0 to 1
   * @param text what to say about it
   */
  show(share: number, text: string): Promise<void>;
  /** A line that stays. */
  note(line: string): Promise<void>;
  /** Takes the bar away. */
  end(): Promise<void>;
}

/** @param now milliseconds from an arbitrary start */
export function openProgress(out: Output, now: () => number): Progress {
  let isDrawn = false;
  let last = now();
  const clear = () => (isDrawn ? '\r\x1b[K' : '');
  return {
    async show(share, text) {
      if (out.isTerminal) {
        const filled = Math.round(Math.min(1, Math.max(0, share)) * BAR);
        const line = `[${'#'.repeat(filled)}${' '.repeat(BAR - filled)}] ${text}`;
        await out.write(`${clear()}${line.slice(0, Math.max(10, out.columns() - 1))}`);
        isDrawn = true;
      } else if (now() - last >= LINE_MS) {
        last = now();
        await out.line(text);
      }
    },
    async note(line) {
      await out.write(`${clear()}${line}\n`);
      isDrawn = false;
    },
    async end() {
      if (isDrawn) await out.write(clear());
      isDrawn = false;
    },
  };
}
