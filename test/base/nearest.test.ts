import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearestName } from '../../agent/base/nearest.ts';

const COMMANDS = ['run', 'demo', 'share', 'status', 'stop', 'version'];

test('a slip of the finger finds the name that was meant', () => {
  for (const [typed, meant] of [
    ['statsu', 'status'],
    ['shar', 'share'],
    ['Stop', 'stop'],
    ['verison', 'version'],
    ['rnu', 'run'],
    ['ru', 'run'],
  ] as const)
    assert.equal(nearestName(typed, COMMANDS), meant);
});

test('what resembles nothing gets no suggestion', () => {
  for (const typed of ['upload', 'xyz', '', 'x'.repeat(100)])
    assert.equal(nearestName(typed, COMMANDS), undefined);
});
