/** Tests of what a user may not do: they need to be somebody whom the system refuses something. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const BECOME_NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath];

const NEEDS = 'needs setpriv, and a checkout that everybody may read';

/**
 * Runs Node, with these arguments, as somebody without rights.
 * @returns undefined where this is not possible: we are not root, `setpriv` is missing, or that user may not read this checkout.
 */
export function nodeAsNobody(args: readonly string[]): ReturnType<typeof spawnNobody> | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (spawnNobody([fileURLToPath(import.meta.url)]).status !== 0) return undefined;
  return spawnNobody(args);
}

function spawnNobody(args: readonly string[]) {
  // Under node's test runner, NODE_TEST_CONTEXT would make a test file in the child report to nobody.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync('setpriv', [...BECOME_NOBODY, ...args], { encoding: 'utf8', timeout: 120_000, env });
}

/** The tests of a file, run by an ordinary user: by this one, or, if it is root, by nobody in a process of its own. */
export function asOrdinaryUser(file: string, define: () => void): void {
  if (process.getuid?.() !== 0) {
    define();
    return;
  }
  const isImpossible = nodeAsNobody(['--version']) === undefined;
  test('as an ordinary user', { skip: isImpossible && NEEDS }, () => {
    const result = nodeAsNobody(['--test', fileURLToPath(file)]);
    assert.equal(result?.status, 0, `${result?.stdout}\n${result?.stderr}`);
  });
}
