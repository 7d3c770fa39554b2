/** Choices that a seed repeats. */

export interface Random {
  /** An integer from 0 up to, not including, the limit. */
  below(limit: number): number;
  chance(probability: number): boolean;
  of<T>(choices: readonly T[]): T;
}

/** SplitMix32: enough for choices. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    chance: (probability) => next() < probability,
    of: (choices) => {
      const choice = choices[below(choices.length)];
      if (choice === undefined) throw new Error('nothing to choose from');
      return choice;
    },
  };
}

/** Of this run, unless CRASH_SEED says which one to repeat. */
export function chosenSeed(): number {
  return process.env.CRASH_SEED === undefined
    ? Math.floor(Math.random() * 2 ** 31)
    : Number(process.env.CRASH_SEED);
}
