/** The driver against an instrument of another make, and against lines that lose and damage what they carry. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../../agent/base/clock.ts';
import { silentLogger } from '../../../agent/base/log.ts';
import { connectTcp } from '../../../agent/platform/net.ts';
import type { DeviceEvent } from '../../../firmware-bridge/drivers/driver.ts';
import { midiFileDumpDriver } from '../../../firmware-bridge/drivers/midi-file-dump.ts';
import { eventually } from '../../support/eventually.ts';
import { missingOf, peerTest } from '../../support/peers.ts';
import { conformance, content, pieces, readAll } from '../conformance.ts';
import { stage } from '../stage.ts';
import { Instrument } from './instrument.ts';

const PYTHON = { programs: ['python3'] };

async function connected(t: TestContext, events: DeviceEvent[] = []) {
  const instrument = await Instrument.start(t);
  const stream = await connectTcp('127.0.0.1', instrument.port);
  const device = await midiFileDumpDriver.open(
    { kind: 'stream', stream },
    { clock: systemClock, log: silentLogger, onEvent: (event) => events.push(event) },
  );
  t.after(() => device.close());
  return { instrument, device, events };
}

if (missingOf(PYTHON) === undefined) {
  conformance('MIDI File Dump with an instrument', {
    oddName: 'odd name ~#[].mid',
    open: async (t, events) => {
      const { instrument, device } = await connected(t, events);
      const sendingHand = {
        send: (name: string, bytes: Uint8Array) => instrument.send({ name, bytes }),
        receive: async () => instrument.receive(),
      };
      return { device, events, sendingHand, run: (promise) => promise };
    },
  });
}

const offered = async (events: readonly DeviceEvent[]) => {
  await eventually('it is offered', () => events.some(({ kind }) => kind === 'offered'));
  const event = events.find((one) => one.kind === 'offered');
  assert.ok(event?.kind === 'offered');
  return event.file;
};

peerTest('damaged and doubled packets cost time, not data', PYTHON, async (t) => {
  const { instrument, device, events } = await connected(t);
  const bytes = content(7, 30_000);
  await instrument.noise(Uint8Array.from({ length: 5_000 }, (_, i) => (i * 37) & 0xff));
  const sending = instrument.send({ name: 'take 1', bytes, damaged: [0, 1, 5, 130, 267], doubled: [3, 128] });
  const file = await offered(events);
  assert.deepEqual([file.name, file.size], ['take 1.mid', 30_000]);
  assert.ok(Buffer.compare(await readAll(device, file), bytes) === 0);
  await device.release?.(file, true);
  assert.equal(await sending, true);
  assert.equal(device.statistics.crcErrors, 5);
  const receiving = instrument.receive({ refuse_first: [0, 2, 130] });
  await device.write({
    name: 'back.mid',
    size: 30_000,
    mtime: undefined,
    replace: true,
    content: pieces(bytes),
  });
  const got = await receiving;
  assert.deepEqual([got?.name, got?.type, got?.announced], ['back.mid', 'MIDI', 30_000]);
  assert.ok(got && Buffer.compare(got.bytes, bytes) === 0);
});

peerTest(
  'a transfer that stops, is too large or does not end is given up, and the next one works',
  PYTHON,
  async (t) => {
    const { instrument, device, events } = await connected(t);
    const bytes = content(8, 5_000);
    assert.equal(await instrument.send({ name: 'huge', bytes, announced: 0x0fff_ffff }), false);
    assert.equal(await instrument.send({ name: 'half', bytes, stop_after: 10 }), false);
    await eventually('it is told', () => events.filter(({ kind }) => kind === 'log').length === 2);
    assert.ok(!events.some(({ kind }) => kind === 'offered'));
    const sending = instrument.send({ name: 'whole', bytes });
    const file = await offered(events);
    assert.ok(Buffer.compare(await readAll(device, file), bytes) === 0);
    await device.release?.(file, true);
    assert.equal(await sending, true);
  },
);

peerTest('an instrument that miscounts its file by less than a packet is understood', PYTHON, async (t) => {
  const { instrument, device, events } = await connected(t);
  const bytes = content(9, 3_785);
  const sending = instrument.send({ name: 'PAT:0.43:StarSeeker', type: 'SMF ', bytes, announced: 3_784 });
  const file = await offered(events);
  assert.deepEqual([file.name, file.size], ['PAT:0.43:StarSeeker.mid', 3_785]);
  assert.ok(Buffer.compare(await readAll(device, file), bytes) === 0);
  await device.release?.(file, true);
  assert.equal(await sending, true);
});

peerTest('an instrument that is told to wait for long still has its answer', PYTHON, async (t) => {
  const { instrument, device, events } = await connected(t);
  const sending = instrument.send({ name: 'patience', bytes: content(1, 200) });
  const file = await offered(events);
  await wait(6_000);
  await readAll(device, file);
  await device.release?.(file, true);
  assert.equal(await sending, true);
});

peerTest(
  'what the instrument sends lies in the share before it hears so; two takes of one name are two files',
  PYTHON,
  async (t) => {
    const instrument = await Instrument.start(t);
    const { path, open } = await stage(t);
    open([{ source: `tcp://127.0.0.1:${instrument.port}`, driver: 'midi-file-dump' }]);
    const [one, two] = [content(2, 700), content(3, 900)];
    assert.equal(await instrument.send({ name: 'take', bytes: one }), true);
    assert.ok(Buffer.compare(readFileSync(join(path, 'piano/take.mid')), one) === 0);
    assert.equal(await instrument.send({ name: 'take', bytes: two }), true);
    assert.deepEqual(readdirSync(join(path, 'piano')).sort(), ['take (2).mid', 'take.mid']);
    assert.ok(Buffer.compare(readFileSync(join(path, 'piano/take (2).mid')), two) === 0);
  },
);

test('a line that is no MIDI at all is said to be none', async () => {
  await assert.rejects(
    async () =>
      midiFileDumpDriver.open(
        { kind: 'directory', path: '/' },
        { clock: systemClock, log: silentLogger, onEvent: () => undefined },
      ),
    { code: 'bridge.connection' },
  );
});
