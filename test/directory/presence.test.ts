import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../../agent/base/bytes.ts';
import { filterHas, Presence } from '../../agent/directory/presence.ts';

/** directory.md: "0xc16987a1 % 1000 = 689 [...] 0x6bc7f7dd % 1000 = 229". */
const EXAMPLE = 'c16987a16bc7f7dd45e341b855171e8d5c6577a70febd408fbe6d2a194c18224';
const OTHER = '00'.repeat(32);

function filterOf(bytes: number, k: number, hashes: readonly string[]): Uint8Array {
  const filter = new Uint8Array(bytes);
  for (const hash of hashes) {
    const view = new DataView(fromHex(hash).buffer);
    for (let i = 0; i < k; i++) {
      const bit = view.getUint32(4 * i) % (8 * bytes);
      filter[bit >> 3] = (filter[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
  }
  return filter;
}

describe('a Bloom filter', () => {
  it('has the bits of the example in directory.md (1000 bits, k = 2)', () => {
    const filter = new Uint8Array(125);
    filter[689 >> 3] = 1 << (689 & 7);
    filter[229 >> 3] = 1 << (229 & 7);
    assert.equal(filterHas(filter, 2, EXAMPLE), true);
    filter[229 >> 3] = 0;
    assert.equal(filterHas(filter, 2, EXAMPLE), false);
    assert.equal(filterHas(filter, 1, EXAMPLE), true);
  });

  it('never denies what was put into it', () => {
    const hashes = fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex), { maxLength: 50 });
    fc.assert(
      fc.property(
        hashes,
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 8 }),
        (all, size, k) => {
          const filter = filterOf(size, k, all);
          for (const hash of all) assert.equal(filterHas(filter, k, hash), true);
        },
      ),
    );
  });
});

describe('what a peer says that it has', () => {
  it('is everything before its filter came, and after 0xff', () => {
    const presence = new Presence();
    assert.equal(presence.likelihood(EXAMPLE), 'ask');
    presence.setFilter(Uint8Array.of(0xff), 3);
    assert.equal(presence.likelihood(EXAMPLE), 'ask');
  });

  it('is nothing after 0x00, but for what it announces', () => {
    const presence = new Presence();
    presence.setFilter(Uint8Array.of(0), 1);
    assert.equal(presence.likelihood(EXAMPLE), 'never');
    presence.announce(EXAMPLE);
    assert.equal(presence.likelihood(EXAMPLE), 'ask');
    assert.equal(presence.likelihood(OTHER), 'never');
  });

  it('is only unlikely when a filter denies it', () => {
    const presence = new Presence();
    presence.setFilter(filterOf(125, 2, [EXAMPLE]), 2);
    assert.equal(presence.likelihood(EXAMPLE), 'ask');
    assert.equal(presence.likelihood(OTHER), 'unlikely');
  });

  it('refuses a filter without bits', () => {
    assert.throws(() => new Presence().setFilter(new Uint8Array(0), 1), {
      code: 'directory.filter_malformed',
    });
  });
});
