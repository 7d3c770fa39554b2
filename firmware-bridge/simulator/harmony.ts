/** Keys, chords and progressions: as much theory of harmony as a simulated pianist needs. */

import type { Random } from './random.ts';

export interface Key {
  /** `D minor`. */
  readonly name: string;
  /** Pitch class of the tonic, 0 is C. */
  readonly tonic: number;
  readonly minor: boolean;
  /** Sharps, or flats if negative. */
  readonly accidentals: number;
}

const MAJOR = [0, 2, 4, 5, 7, 9, 11] as const;
const NATURAL_MINOR = [0, 2, 3, 5, 7, 8, 10] as const;

/** Keys of up to four accidentals, by sharps: what lies well under the hands. */
const MAJOR_NAMES = ['A♭', 'E♭', 'B♭', 'F', 'C', 'G', 'D', 'A', 'E'] as const;
const MINOR_NAMES = ['F', 'C', 'G', 'D', 'A', 'E', 'B', 'F♯', 'C♯'] as const;

export function chooseKey(random: Random): Key {
  const accidentals = random.integer(-4, 4);
  const minor = random.chance(0.45);
  const name = (minor ? MINOR_NAMES : MAJOR_NAMES)[accidentals + 4] ?? 'C';
  // Each sharp is a fifth up; the relative minor lies a minor third below.
  const major = (((accidentals * 7) % 12) + 12) % 12;
  return {
    name: `${name} ${minor ? 'minor' : 'major'}`,
    tonic: minor ? (major + 9) % 12 : major,
    minor,
    accidentals,
  };
}

/**
 * The pitch of a step of the scale, counted from the tonic at or above `floor`: 0 the tonic, 7 an octave above, -1 the
 * step below.
 */
export function pitchOfStep(key: Key, step: number, floor: number): number {
  const scale = key.minor ? NATURAL_MINOR : MAJOR;
  const lowest = floor + ((((key.tonic - floor) % 12) + 12) % 12);
  const octave = Math.floor(step / 7);
  return lowest + 12 * octave + (scale[step - 7 * octave] ?? 0);
}

/** A triad, or a seventh chord, on a step of the scale (0 to 6), as steps. */
export interface Chord {
  readonly root: number;
  readonly steps: readonly number[];
}

export function chordOn(root: number, seventh = false): Chord {
  const steps = [root, root + 2, root + 4];
  return { root, steps: seventh ? [...steps, root + 6] : steps };
}

/** Where music goes from each step, and how gladly: a walk through the functions of tonal harmony. */
const NEXT: Readonly<Record<number, readonly [number, ...number[]]>> = {
  0: [3, 3, 4, 4, 5, 1, 2],
  1: [4, 4, 4, 6],
  2: [5, 5, 3],
  3: [4, 4, 0, 1],
  4: [0, 0, 0, 5],
  5: [1, 3, 3, 4],
  6: [0, 0, 2],
};

/** So many chords, one a bar: phrases of four bars that end on the dominant and on the tonic in turn. */
export function progression(random: Random, bars: number): Chord[] {
  const chords: Chord[] = [];
  let root = 0;
  for (let bar = 0; bar < bars; bar++) {
    const last = bar === bars - 1;
    const place = bar % 8;
    if (last || place === 0) root = 0;
    else if (place === 3) root = 4;
    else if (place === 7) root = random.chance(0.8) ? 0 : 5;
    else if (place === 6 || bar === bars - 2) root = 4;
    else root = random.pick(NEXT[root] ?? [0]);
    chords.push(chordOn(root, root === 4 ? random.chance(0.6) : random.chance(0.15)));
  }
  return chords;
}
