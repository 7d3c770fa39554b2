import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { compose, STYLES } from '../../../firmware-bridge/simulator/composer.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import { encodeSmf, type Score } from '../../../firmware-bridge/simulator/smf.ts';
import { peerTest, runProgram } from '../../support/peers.ts';
import { type MidiFile, readMidiFile } from './midi-file.ts';

test('every piece is a valid MIDI file in both formats, with the same notes', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.constantFrom(...STYLES),
      fc.integer({ min: 4, max: 40 }),
      (seed, style, bars) => {
        const { score } = compose(seededRandom(seed), { style, bars });
        const [zero, one] = [readMidiFile(encodeSmf(score, 0)), readMidiFile(encodeSmf(score, 1))];
        assert.deepEqual([zero.format, one.format], [0, 1]);
        assert.deepEqual(soundOf(zero), soundOf(one));
        assert.deepEqual(zero.tempos, one.tempos);
        assert.ok(zero.tempos[0]?.tick === 0);
        // Format 1: tempo, meter and key in the first track and nowhere else, all tracks named and equally long.
        assert.deepEqual(
          one.tracks.map(({ name }) => name),
          [score.title, 'Right hand', 'Left hand'],
        );
        assert.ok(one.notes.every(({ track }) => track > 0));
        for (const meta of [0x51, 0x58, 0x59]) {
          assert.deepEqual(
            one.tracks.map(({ metas }) => metas.includes(meta)),
            [true, false, false],
          );
        }
        assert.ok(one.tracks.every(({ end }) => end === score.end));
      },
    ),
    { numRuns: 60 },
  );
});

test('what is played is piano music: within the keys, in its key, with a beginning and an end', () => {
  for (const style of STYLES) {
    const { score, key } = compose(seededRandom(style.length), { style, bars: 16 });
    const { notes } = readMidiFile(encodeSmf(score, 1));
    assert.ok(notes.length > 50, style);
    assert.ok(
      notes.every(({ pitch, velocity }) => pitch >= 21 && pitch <= 108 && velocity >= 18 && velocity <= 122),
    );
    const scale = (key.minor ? [0, 2, 3, 5, 7, 8, 10] : [0, 2, 4, 5, 7, 9, 11]).map(
      (step) => (step + key.tonic) % 12,
    );
    assert.ok(
      notes.every(({ pitch }) => scale.includes(pitch % 12)),
      `${style} leaves ${key.name}`,
    );
    const last = notes.filter(({ end }) => end > score.end - 3 * score.division);
    assert.ok(
      last.some(({ pitch }) => pitch % 12 === key.tonic),
      `${style} does not end on its tonic`,
    );
    assert.ok(new Set(notes.map(({ velocity }) => velocity)).size > 8, 'it is played without expression');
  }
});

test('each piece is different, and the same seed plays the same', () => {
  const random = seededRandom(1);
  const pieces = Array.from({ length: 30 }, () =>
    Buffer.from(encodeSmf(compose(random).score, 0)).toString('base64'),
  );
  assert.equal(new Set(pieces).size, 30);
  const play = () => encodeSmf(compose(seededRandom(77)).score, 1);
  assert.deepEqual(play(), play());
});

test('a long piece is hundreds of kilobytes and as valid', () => {
  const { score } = compose(seededRandom(5), { style: 'improvisation', bars: 2_000 });
  const bytes = encodeSmf(score, 1);
  assert.ok(bytes.length > 200_000);
  assert.ok(readMidiFile(bytes).notes.length > 20_000);
});

test('a key struck again is let go first', () => {
  const note = { pitch: 60, velocity: 80 };
  const score: Score = {
    title: 'x',
    division: 480,
    meter: { beats: 4, unit: 4 },
    accidentals: -3,
    minor: true,
    tempos: [{ tick: 0, microseconds: 500_000 }],
    parts: [
      {
        name: 'p',
        channel: 15,
        program: 0,
        controls: [],
        notes: [
          { ...note, start: 0, length: 1_000 },
          { ...note, start: 480, length: 480 },
          { ...note, start: 480, length: 10 },
          { ...note, start: 960, length: 0x1f_ffff },
        ],
      },
    ],
    end: 0x30_0000,
  };
  const { notes } = readMidiFile(encodeSmf(score, 0));
  assert.deepEqual(
    notes.map(({ start, end }) => [start, end]),
    [
      [0, 480],
      [480, 960],
      [960, 960 + 0x1f_ffff],
    ],
  );
});

peerTest(
  'another program reads the pieces and finds the same notes',
  { programs: ['midicsv'] },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'skylark-midi-'));
    t.after(() => rmSync(folder, { recursive: true }));
    for (const format of [0, 1] as const) {
      const bytes = encodeSmf(compose(seededRandom(9), { style: 'waltz' }).score, format);
      const path = join(folder, `${format}.mid`);
      writeFileSync(path, bytes);
      const { code, output } = await runProgram(t, 'midicsv', [path]);
      assert.equal(code, 0, output);
      const begun = output.match(/, Note_on_c, \d+, \d+, [1-9]/g) ?? [];
      assert.equal(begun.length, readMidiFile(bytes).notes.length);
      assert.match(output, new RegExp(`^0, 0, Header, ${format}, ${format === 0 ? 1 : 3}, 480$`, 'm'));
    }
  },
);

function soundOf(file: MidiFile) {
  return file.notes
    .map(({ channel, pitch, velocity, start, end }) => [start, channel, pitch, velocity, end] as const)
    .toSorted((a, b) => a.map((value, i) => value - (b[i] ?? 0)).find((difference) => difference !== 0) ?? 0);
}
