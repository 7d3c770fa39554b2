/** The C library on this machine, under ASan and UBSan, as a process: the Skylink driver against it over TCP and a pseudo-terminal. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import { skylinkDriver } from '../../../firmware-bridge/drivers/skylink.ts';
import { connect } from '../../../firmware-bridge/transports/connect.ts';
import { parseSource } from '../../../firmware-bridge/transports/source.ts';
import { missingOf, type Program, peerTest, runProgram, startProgram } from '../../support/peers.ts';
import { conformance, type Hand } from '../conformance.ts';

const sdk = join(import.meta.dirname, '../../../firmware-bridge/sdk');
const needs = { programs: ['gcc', 'make'] };

async function startPiano(
  t: TestContext,
  args: readonly string[],
): Promise<{ piano: Program; path: string }> {
  const made = await runProgram(t, 'make', ['-s', '-C', sdk, 'build/piano-sanitized']);
  if (made.code !== 0) throw new Error(made.output);
  const piano = startProgram(t, join(sdk, 'build/piano-sanitized'), args);
  const [path] = await piano.waitFor(/^(?:\/dev\/pts\/\d+|tcp:\S+)(?=\n)/);
  return { piano, path };
}

function handOf(piano: Program): Hand {
  const hex = (what: string | Uint8Array) => Buffer.from(what).toString('hex');
  let before = piano.output.length;
  const tell = async (words: string, expected: RegExp) => {
    piano.write(`${words}\n`);
    const answer = await piano.waitFor(new RegExp(`^[\\s\\S]{${before},}?\\n?${expected.source}\\n`));
    before = piano.output.length;
    return answer[1] ?? '';
  };
  return {
    add: async (name, bytes) => void (await tell(`save ${hex(name)} ${hex(bytes)}`, /ok/)),
    change: async (name, bytes) => void (await tell(`save ${hex(name)} ${hex(bytes)}`, /ok/)),
    rename: async (from, to) => void (await tell(`rename ${hex(from)} ${hex(to)}`, /ok/)),
    remove: async (name) => void (await tell(`delete ${hex(name)}`, /ok/)),
    pressButton: async () => void (await tell('button', /ok/)),
    display: () => tell('display', /display \[(.*)\]/),
  };
}

function against(what: string, args: readonly string[], toSource: (path: string) => string): void {
  if (missingOf(needs) !== undefined) {
    peerTest(`the C library ${what}`, needs, () => {});
    return;
  }
  conformance(`the C library ${what}`, {
    open: async (t, events) => {
      const { piano, path } = await startPiano(t, args);
      const connection = await connect(parseSource(toSource(path)), AbortSignal.timeout(20_000));
      const device = await skylinkDriver.open(connection, {
        clock: systemClock,
        log: silentLogger,
        onEvent: (event) => events.push(event),
      });
      t.after(() => device.close());
      return { device, events, hand: handOf(piano), run: (promise) => promise };
    },
  });
}

peerTest(
  "the library's own tests: shared vectors, and frames at random",
  { ...needs, timeout: 180_000 },
  async (t) => {
    const { code, output } = await runProgram(t, 'make', [
      '-s',
      '-C',
      sdk,
      'test',
      `NODE=${process.execPath}`,
    ]);
    assert.equal(code, 0, output);
    assert.equal(output.match(/the library holds/g)?.length, 2, output);
  },
);

against('over TCP', ['--tcp', '0'], (path) => path);
against('on a pseudo-terminal', [], (path) => `serial:${path}?baud=1000000`);
