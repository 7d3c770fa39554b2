/** Writes Standard MIDI Files (The Complete MIDI 1.0 Detailed Specification, "Standard MIDI Files 1.0"), formats 0 and 1. */

import { concatBytes, utf8 } from '../../agent/base/bytes.ts';
import { internalError } from '../../agent/base/errors.ts';

/** Ticks are counted from the beginning of the piece. */
export interface Note {
  readonly start: number;
  /** At least one tick. */
  readonly length: number;
  /** 0 to 127; 60 is middle C. */
  readonly pitch: number;
  /** 1 to 127. */
  readonly velocity: number;
}

export interface Control {
  readonly tick: number;
  readonly controller: number;
  readonly value: number;
}

export interface Part {
  readonly name: string;
  /** 0 to 15. */
  readonly channel: number;
  /** General MIDI, 0 to 127. */
  readonly program: number;
  readonly notes: readonly Note[];
  readonly controls: readonly Control[];
}

export interface Score {
  readonly title: string;
  /** Ticks a quarter note, 1 to 32,767. */
  readonly division: number;
  readonly meter: { readonly beats: number /** 1, 2, 4, 8... */; readonly unit: number };
  /** Sharps, or flats if negative, -7 to 7. */
  readonly accidentals: number;
  readonly minor: boolean;
  /** Microseconds a quarter note, from that tick on. */
  readonly tempos: readonly { readonly tick: number; readonly microseconds: number }[];
  readonly parts: readonly Part[];
  /** Where every track ends: behind all notes. */
  readonly end: number;
}

interface TrackEvent {
  readonly tick: number;
  /** At one tick: names and tempo first, then notes end, then controls, then notes begin. */
  readonly order: number;
  readonly bytes: Uint8Array;
}

const META = {
  trackName: 0x03,
  endOfTrack: 0x2f,
  tempo: 0x51,
  timeSignature: 0x58,
  keySignature: 0x59,
} as const;

/** @param format 0: all in one track; 1: a track of tempo and meter, then one a part. */
export function encodeSmf(score: Score, format: 0 | 1): Uint8Array {
  const conductor = conductorEvents(score);
  const tracks =
    format === 0
      ? [[...conductor, ...score.parts.flatMap((part) => partEvents(part, false))]]
      : [conductor, ...score.parts.map((part) => partEvents(part, true))];
  const header = chunk('MThd', Uint8Array.from([format, tracks.length, score.division].flatMap(u16)));
  return concatBytes(header, ...tracks.map((events) => chunk('MTrk', encodeTrack(events, score.end))));
}

function conductorEvents(score: Score): TrackEvent[] {
  const { beats, unit } = score.meter;
  // 24 MIDI clocks a metronome click, 8 thirty-seconds a quarter note.
  const meter = [beats, Math.log2(unit), 24, 8];
  const key = [score.accidentals & 0xff, score.minor ? 1 : 0];
  return [
    meta(0, META.trackName, utf8(score.title)),
    meta(0, META.timeSignature, meter),
    meta(0, META.keySignature, key),
    ...score.tempos.map(({ tick, microseconds }) =>
      meta(tick, META.tempo, [microseconds >> 16, (microseconds >> 8) & 0xff, microseconds & 0xff]),
    ),
  ];
}

function partEvents(part: Part, named: boolean): TrackEvent[] {
  const { channel } = part;
  const events: TrackEvent[] = named ? [meta(0, META.trackName, utf8(part.name))] : [];
  events.push({ tick: 0, order: 1, bytes: Uint8Array.of(0xc0 | channel, part.program) });
  for (const { tick, controller, value } of part.controls) {
    events.push({ tick, order: 3, bytes: Uint8Array.of(0xb0 | channel, controller, value) });
  }
  for (const { start, length, pitch, velocity } of separate(part.notes)) {
    events.push({ tick: start, order: 4, bytes: Uint8Array.of(0x90 | channel, pitch, velocity) });
    events.push({ tick: start + length, order: 2, bytes: Uint8Array.of(0x80 | channel, pitch, 64) });
  }
  return events;
}

/** A key that is struck again is let go first: a note-on for a sounding key would leave one note-off too many. */
function separate(notes: readonly Note[]): Note[] {
  const sorted = notes.toSorted((a, b) => a.pitch - b.pitch || a.start - b.start || b.length - a.length);
  const apart: Note[] = [];
  for (const note of sorted) {
    const before = apart.at(-1);
    if (before?.pitch === note.pitch && before.start + before.length > note.start) {
      if (before.start === note.start) continue;
      apart[apart.length - 1] = { ...before, length: note.start - before.start };
    }
    apart.push(note);
  }
  return apart;
}

function encodeTrack(events: readonly TrackEvent[], end: number): Uint8Array {
  const sorted = events.toSorted((a, b) => a.tick - b.tick || a.order - b.order);
  const track = new Uint8Array(sorted.reduce((length, { bytes }) => length + bytes.length + 4, 8));
  let length = 0;
  let tick = 0;
  let running = -1;
  for (const { tick: at, bytes } of sorted) {
    const [status = 0] = bytes;
    length = writeVariableLength(track, length, at - tick);
    // Running status: the same channel message again does without its status byte; a meta event ends it.
    for (let i = status === running ? 1 : 0; i < bytes.length; i++) track[length++] = bytes[i] ?? 0;
    running = status < 0xf0 ? status : -1;
    tick = at;
  }
  length = writeVariableLength(track, length, end - tick);
  track.set([0xff, META.endOfTrack, 0], length);
  return track.subarray(0, length + 3);
}

function meta(tick: number, type: number, data: ArrayLike<number>): TrackEvent {
  const bytes = new Uint8Array(6 + data.length);
  bytes[0] = 0xff;
  bytes[1] = type;
  const start = writeVariableLength(bytes, 2, data.length);
  bytes.set(data, start);
  return { tick, order: 0, bytes: bytes.subarray(0, start + data.length) };
}

function chunk(type: 'MThd' | 'MTrk', data: Uint8Array): Uint8Array {
  return concatBytes(utf8(type), Uint8Array.from([...u16(data.length >>> 16), ...u16(data.length)]), data);
}

function u16(value: number): [number, number] {
  return [(value >> 8) & 0xff, value & 0xff];
}

/** Seven bits a byte, most significant first; at most 28 bits. @returns the offset behind it. */
function writeVariableLength(target: Uint8Array, offset: number, value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0x0fff_ffff) {
    throw internalError('piano.time', `${value} ticks do not fit a MIDI file`);
  }
  let next = offset;
  for (let shift = 21; shift > 0; shift -= 7) {
    if (value >> shift > 0) target[next++] = ((value >> shift) & 0x7f) | 0x80;
  }
  target[next] = value & 0x7f;
  return next + 1;
}
