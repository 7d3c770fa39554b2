/**
 * Reads Standard MIDI Files strictly, by "Standard MIDI Files 1.0" alone; what that forbids or what a pianist would hear as a
 * mistake (a note that never ends) is an error. Shares no code with the composer.
 */

export interface MidiNote {
  readonly track: number;
  readonly channel: number;
  readonly pitch: number;
  readonly velocity: number;
  readonly start: number;
  readonly end: number;
}

export interface MidiFile {
  readonly format: number;
  readonly division: number;
  readonly tracks: readonly {
    readonly name: string | undefined;
    readonly end: number;
    readonly metas: readonly number[];
  }[];
  readonly notes: readonly MidiNote[];
  readonly tempos: readonly { readonly tick: number; readonly microseconds: number }[];
}

class Reader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw new Error(`the file ends at byte ${this.at}`);
    this.at += 1;
    return byte;
  }

  dataByte(): number {
    const byte = this.byte();
    if (byte > 0x7f) throw new Error(`status byte ${byte.toString(16)} where data is due, at ${this.at - 1}`);
    return byte;
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw new Error(`a piece of ${length} bytes runs past the end`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  number(length: number): number {
    return this.take(length).reduce((value, byte) => value * 256 + byte, 0);
  }

  variable(): number {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.byte();
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
    throw new Error('a variable-length quantity of more than four bytes');
  }
}

const PARAMETERS: Readonly<Record<number, number>> = { 8: 2, 9: 2, 10: 2, 11: 2, 12: 1, 13: 1, 14: 2 };
const META_LENGTHS: Readonly<Record<number, number>> = { 47: 0, 81: 3, 88: 4, 89: 2 };

/** @throws Error that says what is wrong and where. */
export function readMidiFile(bytes: Uint8Array): MidiFile {
  const file = new Reader(bytes);
  const header = chunk(file, 'MThd');
  if (header.bytes.length !== 6) throw new Error('the header is not 6 bytes long');
  const [format, count, division] = [header.number(2), header.number(2), header.number(2)];
  if (format > 1) throw new Error(`format ${format}`);
  if (format === 0 && count !== 1) throw new Error(`format 0 with ${count} tracks`);
  if (division === 0 || division > 0x7fff) throw new Error(`division ${division}`);
  const notes: MidiNote[] = [];
  const tempos: { tick: number; microseconds: number }[] = [];
  const tracks = Array.from({ length: count }, (_, index) =>
    readTrack(chunk(file, 'MTrk'), index, notes, tempos),
  );
  if (!file.atEnd) throw new Error(`${bytes.length - file.at} bytes behind the last track`);
  return { format, division, tracks, notes, tempos };
}

function chunk(file: Reader, type: string): Reader {
  const found = String.fromCharCode(...file.take(4));
  if (found !== type) throw new Error(`${JSON.stringify(found)} where ${type} is due`);
  return new Reader(file.take(file.number(4)));
}

function readTrack(
  track: Reader,
  index: number,
  notes: MidiNote[],
  tempos: { tick: number; microseconds: number }[],
): MidiFile['tracks'][number] {
  const sounding = new Map<number, { start: number; velocity: number }>();
  const metas: number[] = [];
  let name: string | undefined;
  let tick = 0;
  let status: number | undefined;
  for (;;) {
    tick += track.variable();
    const first = track.byte();
    if (first === 0xff) {
      status = undefined;
      const type = track.byte();
      const data = track.take(track.variable());
      const due = META_LENGTHS[type];
      if (due !== undefined && data.length !== due)
        throw new Error(`meta event ${type} of ${data.length} bytes`);
      metas.push(type);
      if (type === 0x03) name = new TextDecoder('utf-8', { fatal: true }).decode(data);
      if (type === 0x51) {
        const microseconds = new Reader(data).number(3);
        if (microseconds === 0) throw new Error('a tempo of 0');
        tempos.push({ tick, microseconds });
      }
      if (type !== 0x2f) continue;
      if (!track.atEnd) throw new Error(`track ${index} goes on behind its end`);
      if (sounding.size > 0) throw new Error(`track ${index} ends while ${sounding.size} notes sound`);
      return { name, end: tick, metas };
    }
    if (first > 0xef) throw new Error(`system message ${first.toString(16)}`);
    let data1: number;
    if (first >= 0x80) {
      status = first;
      data1 = track.dataByte();
    } else {
      if (status === undefined) throw new Error('running status behind nothing');
      data1 = first;
    }
    const data2 = PARAMETERS[status >> 4] === 2 ? track.dataByte() : 0;
    const channel = status & 0x0f;
    const key = channel * 128 + data1;
    const begins = status >> 4 === 9 && data2 > 0;
    const ends = status >> 4 === 8 || (status >> 4 === 9 && data2 === 0);
    if (begins) {
      if (sounding.has(key)) throw new Error(`note ${data1} begins while it sounds, at tick ${tick}`);
      sounding.set(key, { start: tick, velocity: data2 });
    } else if (ends) {
      const note = sounding.get(key);
      if (note === undefined) throw new Error(`note ${data1} ends without a beginning, at tick ${tick}`);
      sounding.delete(key);
      notes.push({ track: index, channel, pitch: data1, ...note, end: tick });
    }
  }
}
