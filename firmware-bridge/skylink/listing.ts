/** LIST: page after page, none lost, none twice, and an end to it (PROTOCOL.md, 4.2). */

import { deviceError } from '../device-error.ts';
import type { Asker } from './asker.ts';
import type { MessageOf } from './fields.ts';
import { frameLength } from './frame.ts';
import type { Turn } from './line.ts';
import { ERR, FILE, LIST, LIST_END } from './messages.ts';

/** Files asked for at once; fewer after an answer with a gap. */
const LARGEST_PAGE = 32;
const MOST_FRUITLESS = 50;

export type FileEntry = MessageOf<typeof FILE>;

export interface ListingEnd {
  /** The change counter before the listing: what to ask `since` next time. */
  readonly counter: number;
  readonly total: number;
}

interface Page {
  readonly files: readonly FileEntry[];
  /** Undefined if the answer has a gap or no end. */
  readonly end: MessageOf<typeof LIST_END> | undefined;
}

/**
 * Files that changed after `since` (0: all).
 * @throws SkylarkError `device.stuck` for a listing that gets nowhere or never ends.
 */
export async function* listFiles(
  asker: Asker,
  since: number,
  mostFiles: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<FileEntry, ListingEnd> {
  let cursor = 0;
  let listed = 0;
  let fruitless = 0;
  let limit = LARGEST_PAGE;
  let counter: number | undefined;
  for (;;) {
    const question = { since, cursor, limit };
    const { files, end } = await asker.line.ask(signal, (turn) => askPage(asker, turn, question, signal));
    limit = end === undefined ? Math.max(1, limit >> 1) : Math.min(LARGEST_PAGE, limit * 2);
    // The counter is worth something only if it was read before the first file was: a first answer without its end is
    // asked for again from the start.
    if (counter === undefined && end === undefined) {
      fruitless += 1;
    } else {
      counter ??= end?.counter ?? 0;
      yield* files;
      listed += files.length;
      fruitless = files.length === 0 ? fruitless + 1 : 0;
      if (end?.next === 0) return { counter, total: end.total };
      cursor = end?.next ?? files.at(-1)?.next ?? cursor;
    }
    asker.giveUp(listed > mostFiles, `the device lists more than ${mostFiles} files`);
    asker.giveUp(fruitless > MOST_FRUITLESS, 'the listing gets nowhere');
  }
}

async function askPage(
  asker: Asker,
  turn: Turn,
  question: MessageOf<typeof LIST>,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const files: FileEntry[] = [];
  const broken = { files, end: undefined };
  const began = asker.clock.monotonic();
  const sent = await turn.send(LIST, question);
  for (let answers = 0; ; answers++) {
    const frame = await turn.next(asker.tempo.wait(sent + frameLength(256)));
    if (frame === undefined) {
      asker.missed();
      return broken;
    }
    asker.tempo.heard();
    if (answers === 0) {
      asker.tempo.answered(asker.clock.monotonic() - began, sent + frameLength(frame.body.length));
    }
    if (frame.type === FILE.type) {
      const file = FILE.decode(frame.body);
      if (file.index === files.length) files.push(file);
      else if (file.index > files.length) break;
      if (files.length > question.limit)
        throw deviceError('device.protocol', 'the device lists more than was asked for');
    } else if (frame.type === LIST_END.type) {
      const end = LIST_END.decode(frame.body);
      if (end.count !== files.length) break;
      if (end.next !== 0 && end.next === question.cursor)
        throw deviceError('device.stuck', 'the listing repeats itself');
      return { files, end };
    } else if (frame.type === ERR.type) {
      await asker.pauseIfBusy(frame, asker.clock.monotonic() - began, signal);
      return broken;
    }
  }
  asker.gap();
  return broken;
}
