/** The simulated pianist: pieces in a few styles, each different, each the same again for the same chance. */

import { type Chord, chooseKey, type Key, pitchOfStep, progression } from './harmony.ts';
import type { Random } from './random.ts';
import type { Control, Note, Score } from './smf.ts';

export const STYLES = ['etude', 'waltz', 'nocturne', 'chorale', 'improvisation'] as const;
export type Style = (typeof STYLES)[number];

export interface Wish {
  readonly style?: Style;
  /** Bars of music, 4 to 20,000. Default: 16 to 48. */
  readonly bars?: number;
}

export interface Composition {
  readonly style: Style;
  readonly key: Key;
  readonly score: Score;
}

const DIVISION = 480;
const PIANO = 0;
const SUSTAIN = 64;

/** How a style is played. */
interface Manner {
  readonly title: string;
  readonly beats: number;
  /** Quarter notes a minute. */
  readonly tempo: readonly [slow: number, fast: number];
  /** How far the tempo breathes, as a share. */
  readonly rubato: number;
  readonly loudness: number;
  readonly pedal: boolean;
}

const MANNERS: Readonly<Record<Style, Manner>> = {
  etude: { title: 'Étude', beats: 4, tempo: [96, 144], rubato: 0.02, loudness: 78, pedal: false },
  waltz: { title: 'Waltz', beats: 3, tempo: [138, 186], rubato: 0.06, loudness: 70, pedal: true },
  nocturne: { title: 'Nocturne', beats: 4, tempo: [54, 76], rubato: 0.12, loudness: 56, pedal: true },
  chorale: { title: 'Chorale', beats: 4, tempo: [60, 84], rubato: 0.04, loudness: 64, pedal: false },
  improvisation: {
    title: 'Improvisation',
    beats: 4,
    tempo: [84, 126],
    rubato: 0.08,
    loudness: 72,
    pedal: true,
  },
};

interface Hands {
  readonly right: Note[];
  readonly left: Note[];
}

/** One bar, its chord, and how it is to be played. */
interface Bar {
  readonly start: number;
  readonly beats: number;
  readonly chord: Chord;
  readonly next: Chord;
  readonly loudness: number;
  readonly last: boolean;
}

export function compose(random: Random, wish: Wish = {}): Composition {
  const style = wish.style ?? random.pick(STYLES);
  const manner = MANNERS[style];
  const key = chooseKey(random);
  const bars = wish.bars ?? 4 * random.integer(4, 12);
  const chords = progression(random, bars);
  const barLength = manner.beats * DIVISION;
  const hands: Hands = { right: [], left: [] };
  const pedal: Control[] = [];
  const melody = new Melody(random, key);
  chords.forEach((chord, index) => {
    const bar: Bar = {
      start: index * barLength,
      beats: manner.beats,
      chord,
      next: chords[index + 1] ?? chord,
      loudness: manner.loudness + swell(index),
      last: index === chords.length - 1,
    };
    playBar(style, bar, hands, melody, random, key);
    if (manner.pedal) {
      pedal.push({ tick: bar.start + 20, controller: SUSTAIN, value: 127 });
      pedal.push({ tick: bar.start + barLength - 30, controller: SUSTAIN, value: 0 });
    }
  });
  const shaped = { right: humanise(hands.right, random), left: humanise(hands.left, random) };
  const score: Score = {
    title: `${manner.title} in ${key.name}`,
    division: DIVISION,
    meter: { beats: manner.beats, unit: 4 },
    accidentals: key.accidentals,
    minor: key.minor,
    tempos: tempoMap(random, manner, bars, barLength),
    parts: [
      { name: 'Right hand', channel: 0, program: PIANO, notes: shaped.right, controls: pedal },
      { name: 'Left hand', channel: 1, program: PIANO, notes: shaped.left, controls: pedal },
    ],
    end: bars * barLength + 2 * DIVISION,
  };
  return { style, key, score };
}

/** Louder towards the middle of each phrase of eight bars. */
function swell(bar: number): number {
  return Math.round(12 * Math.sin((Math.PI * (bar % 8)) / 8));
}

/** A tempo for every second bar, slower where a phrase ends. */
function tempoMap(random: Random, manner: Manner, bars: number, barLength: number) {
  const [slow, fast] = manner.tempo;
  const base = random.integer(slow, fast);
  const tempos = [];
  for (let bar = 0; bar < bars; bar += 2) {
    const closing = bar % 8 === 6 ? -manner.rubato : 0;
    const breath = (random.next() - 0.5) * manner.rubato;
    const tempo = base * (1 + closing + breath);
    tempos.push({ tick: bar * barLength, microseconds: Math.round(60_000_000 / tempo) });
  }
  return tempos;
}

/** Fingers are neither equally strong nor exactly together. */
function humanise(notes: readonly Note[], random: Random): Note[] {
  return notes.map((note) => ({
    pitch: clamp(note.pitch, 21, 108),
    start: Math.max(0, note.start + random.integer(-6, 6)),
    length: Math.max(20, note.length - random.integer(0, 12)),
    velocity: clamp(note.velocity + random.integer(-5, 5), 18, 122),
  }));
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, Math.round(value)));
}

/** A line that walks by steps, leaps now and then, and lands on the chord where it counts. */
class Melody {
  readonly #random: Random;
  readonly #key: Key;
  #step = 7;
  #direction = 1;

  constructor(random: Random, key: Key) {
    this.#random = random;
    this.#key = key;
  }

  /** The next note, on the chord if `strong`. */
  next(chord: Chord, strong: boolean): number {
    const leap = this.#random.chance(0.15) ? this.#random.integer(2, 4) : 1;
    if (this.#random.chance(0.3)) this.#direction = -this.#direction;
    if (this.#step > 13) this.#direction = -1;
    if (this.#step < 2) this.#direction = 1;
    this.#step += this.#direction * leap;
    if (strong) this.#step = nearestOf(chord, this.#step);
    return this.relative(0);
  }

  /** So many steps above the last note. */
  relative(steps: number): number {
    return pitchOfStep(this.#key, this.#step + steps, 60);
  }
}

/** The step of the chord, in any octave, nearest to `step`. */
function nearestOf(chord: Chord, step: number): number {
  for (let distance = 0; ; distance++) {
    for (const candidate of [step + distance, step - distance]) {
      if (chord.steps.some((one) => (one - candidate) % 7 === 0)) return candidate;
    }
  }
}

/** Durations, in quarters of a beat, that fill a bar. */
const RHYTHMS: Readonly<Record<number, readonly [readonly number[], ...(readonly number[])[]]>> = {
  3: [[8, 4], [4, 4, 4], [12], [6, 2, 4], [4, 2, 2, 4]],
  4: [
    [8, 8],
    [4, 4, 8],
    [6, 2, 8],
    [4, 4, 4, 4],
    [12, 2, 2],
    [2, 2, 4, 6, 2],
  ],
};
const SIXTEENTH = DIVISION / 4;

function playBar(style: Style, bar: Bar, hands: Hands, melody: Melody, random: Random, key: Key): void {
  const { start, beats, chord, loudness } = bar;
  const quiet = loudness - 14;
  const barLength = beats * DIVISION;
  const low = (step: number) => pitchOfStep(key, step, 36);
  const middle = (step: number) => pitchOfStep(key, step, 48);
  const note = (at: number, length: number, pitch: number, velocity: number): Note => ({
    start: start + at,
    length,
    pitch,
    velocity,
  });
  if (bar.last) {
    for (const step of chord.steps)
      hands.right.push(note(0, barLength, pitchOfStep(key, step, 60), loudness));
    hands.left.push(note(0, barLength, low(chord.root), loudness));
    return;
  }
  switch (style) {
    case 'etude': {
      // Scales in running sixteenths, up and down from the chord's root, over held chords.
      const up = random.chance(0.5);
      for (let i = 0; i < beats * 4; i++) {
        const step = chord.root + (up ? i : beats * 4 - i) - 2;
        hands.right.push(
          note(i * SIXTEENTH, SIXTEENTH, pitchOfStep(key, step, 60), loudness + (i % 4 === 0 ? 8 : 0)),
        );
      }
      for (const step of chord.steps) hands.left.push(note(0, barLength, middle(step), quiet));
      return;
    }
    case 'waltz':
      sing(bar, hands.right, melody, random, loudness);
      hands.left.push(note(0, DIVISION, low(chord.root), loudness));
      for (const beat of [1, 2]) {
        for (const step of chord.steps.slice(0, 3)) {
          hands.left.push(note(beat * DIVISION, DIVISION / 2, middle(step), quiet));
        }
      }
      return;
    case 'chorale':
      for (let beat = 0; beat < beats; beat += 2) {
        const top = melody.next(chord, true);
        hands.right.push(note(beat * DIVISION, 2 * DIVISION, top, loudness + 6));
        for (const step of chord.steps) {
          const inner = middle(step) + 12 < top ? middle(step) + 12 : middle(step);
          hands.right.push(note(beat * DIVISION, 2 * DIVISION, inner, quiet));
        }
      }
      hands.left.push(note(0, barLength / 2, low(chord.root), loudness));
      hands.left.push(
        note(barLength / 2, barLength / 2, low(chord.root + (random.chance(0.5) ? 7 : 2)), loudness),
      );
      return;
    case 'nocturne':
    case 'improvisation': {
      sing(bar, hands.right, melody, random, loudness);
      // Broken chords that open up from the bass, towards the next one at the end.
      const shape = [0, 2, 4, 7, 9, 7, 4, 2];
      const quick = style === 'improvisation' && random.chance(0.5);
      const unit = quick ? SIXTEENTH : DIVISION / 2;
      for (let i = 0; i * unit < barLength; i++) {
        const last = (i + 1) * unit >= barLength;
        const step = last ? bar.next.root + 1 : chord.root + (shape[i % shape.length] ?? 0);
        hands.left.push(note(i * unit, unit, low(step), quiet + (i === 0 ? 10 : 0)));
      }
      return;
    }
  }
}

/** The melody's bar, now and then with an ornament or in thirds. */
function sing(bar: Bar, right: Note[], melody: Melody, random: Random, loudness: number): void {
  let at = 0;
  const thirds = random.chance(0.15);
  for (const quarters of random.pick(RHYTHMS[bar.beats] ?? [[4]])) {
    const start = bar.start + at * SIXTEENTH;
    const length = quarters * SIXTEENTH;
    const pitch = melody.next(bar.chord, at % 4 === 0);
    const velocity = loudness + 10 + (at === 0 ? 6 : 0);
    if (quarters >= 4 && random.chance(0.08)) {
      right.push({ start, length: 50, pitch: melody.relative(1), velocity: velocity - 8 });
      right.push({ start: start + 50, length: length - 50, pitch, velocity });
    } else {
      right.push({ start, length, pitch, velocity });
    }
    if (thirds) right.push({ start, length, pitch: melody.relative(-2), velocity: velocity - 12 });
    at += quarters;
  }
}
