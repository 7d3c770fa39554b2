/** Property-test tools that several protocols share. */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SkylarkError } from '../../agent/base/errors.ts';

/** Runs `decode` on hostile input: it may succeed, or throw our error with the fault `peer`, and nothing else. */
export function survives(decode: () => unknown): void {
  try {
    decode();
  } catch (thrown) {
    assert.ok(thrown instanceof SkylarkError, `threw ${String(thrown)}, not a SkylarkError`);
    assert.equal(thrown.fault, 'peer');
  }
}

/** As `survives`, for asynchronous code. */
export async function survivesAsync(decode: () => Promise<unknown>): Promise<void> {
  try {
    await decode();
  } catch (thrown) {
    assert.ok(thrown instanceof SkylarkError, `threw ${String(thrown)}, not a SkylarkError`);
    assert.equal(thrown.fault, 'peer');
  }
}

/** Cuts bytes into pieces at arbitrary places. */
export function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let offset = 0, i = 0; offset < bytes.length; i++) {
    const length = lengths.length === 0 ? bytes.length : Math.max(1, lengths[i % lengths.length]!);
    pieces.push(bytes.slice(offset, offset + length));
    offset += length;
  }
  return pieces;
}

/** Valid bytes, damaged: some flipped, removed, repeated or inserted. The byte mutator for every codec. */
export function mutated(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    kind: fc.constantFrom('flip', 'remove', 'insert', 'repeat', 'truncate'),
    at: fc.nat(),
    byte: fc.integer({ min: 0, max: 255 }),
    length: fc.integer({ min: 1, max: 8 }),
  });
  return fc.tuple(valid, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([bytes, edits]) => {
    let result = [...bytes];
    for (const { kind, at, byte, length } of edits) {
      const place = result.length === 0 ? 0 : at % result.length;
      if (kind === 'flip' && result.length > 0) result[place] = result[place]! ^ (byte || 1);
      else if (kind === 'remove') result.splice(place, length);
      else if (kind === 'insert') result.splice(place, 0, byte);
      else if (kind === 'repeat') result.splice(place, 0, ...result.slice(place, place + length));
      else if (kind === 'truncate') result = result.slice(0, place);
    }
    return Uint8Array.from(result);
  });
}
