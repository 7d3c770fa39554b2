/** The bridge as the daemon opens it: a piano on a TCP port, a real folder. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/base/clock.ts';
import { environmentError, SkylarkError } from '../../agent/base/errors.ts';
import { type LogEntry, Logger, silentLogger } from '../../agent/base/log.ts';
import { openShareRoot } from '../../agent/platform/files.ts';
import { listenTcp } from '../../agent/platform/net.ts';
import { openFolderWriter } from '../../firmware-bridge/folder-writer.ts';
import { type DeviceConfig, openBridge } from '../../firmware-bridge/index.ts';
import { openPiano, type ServedPiano } from '../../firmware-bridge/simulator/piano.ts';
import { content } from './conformance.ts';
import { TestMemory } from './memory-folder.ts';
import { stage } from './stage.ts';

async function piano(t: TestContext, options: Parameters<typeof openPiano>[0] = {}): Promise<ServedPiano> {
  const opened = await openPiano({ seed: 11, ...options });
  t.after(() => opened.close());
  return opened;
}

test('what the piano records appears in the folder, and goes on after a reset and on a bad line', async (t) => {
  const { path, open, until, events } = await stage(t);
  const device = await piano(t);
  const first = await device.record();
  const bridge = open([{ source: device.source }]);
  const arrived = (name: string) => until((event) => event.kind === 'file-arrived' && event.name === name);
  await arrived(first.name);
  const second = await device.record({ atLeastBytes: 150_000, format: 1 });
  device.reset();
  await arrived(second.name);
  device.corrupt(0.001);
  const third = await device.record({ format: 0, bars: 8 });
  await arrived(third.name);
  for (const { name, bytes } of [first, second, third]) {
    assert.ok(Buffer.compare(readFileSync(join(path, 'piano', name)), bytes) === 0, name);
  }
  assert.equal(readdirSync(join(path, 'piano')).length, 3);
  assert.ok(events.some(({ kind }) => kind === 'disconnected'));
  const [status] = bridge.status();
  assert.equal(status?.files, 3);
  assert.equal(status?.device?.model, 'Skylark Piano Simulator');
  assert.ok(status && status.line.bytesIn > 150_000);
  await bridge.close();
  assert.equal(bridge.status()[0]?.state.kind, 'closed');
});

test('its button, its battery and its display reach their owner, and it gets the time', async (t) => {
  const { open, until, events } = await stage(t);
  const device = await piano(t);
  const bridge = open([{ source: device.source }]);
  await until(({ kind }) => kind === 'connected');
  bridge.show({ kind: 'code', text: 'SYNC7-4ABCD' }, { seconds: 600 });
  await device.record();
  const event = await until(({ kind }) => kind === 'file-arrived');
  assert.deepEqual([event.share, event.folder, event.source], ['music', '/piano', device.source]);
  assert.equal(device.display(), 'SYNC7-4ABCD');
  device.pressButton();
  await until(({ kind }) => kind === 'button');
  device.setBattery(9);
  assert.deepEqual(await until(({ kind }) => kind === 'battery-low'), {
    kind: 'battery-low',
    percent: 9,
    source: device.source,
    share: 'music',
    folder: '/piano',
  });
  device.setBattery(8);
  // After a reset the display is dark, and shows the code again once the device is back.
  device.reset();
  assert.equal(device.display(), '');
  await until((one) => one.kind === 'connected' && events.indexOf(one) > 0 && one !== events[0]);
  await device.record();
  await until((one) => one.kind === 'file-arrived' && one !== event);
  assert.equal(device.display(), 'SYNC7-4ABCD');
  assert.equal(events.filter(({ kind }) => kind === 'battery-low').length, 1);
});

test('devices that are not there, babble or hang up do not keep the others', async (t) => {
  const { open, until } = await stage(t);
  const babbler = await listenTcp({ host: '127.0.0.1', port: 0 }, (stream) => {
    const babble = async () => {
      for (let i = 0; i < 50; i++) await stream.write(new Uint8Array(1_000).fill(0x41));
    };
    babble().catch(() => {});
    t.after(() => stream.abort(new Error('over')));
  });
  const hangUp = await listenTcp({ host: '127.0.0.1', port: 0 }, (stream) => void stream.close());
  t.after(() => Promise.all([babbler.close(), hangUp.close()]));
  const device = await piano(t);
  const recording = await device.record();
  const bridge = open([
    { source: 'serial:/dev/serial/by-id/usb-absent' },
    { source: `tcp://127.0.0.1:${babbler.port}` },
    { source: `tcp://127.0.0.1:${hangUp.port}` },
    { source: device.source },
  ]);
  const arrived = await until(({ kind }) => kind === 'file-arrived');
  assert.ok(arrived.kind === 'file-arrived' && arrived.name === recording.name);
  const [absent] = bridge.status();
  assert.ok(absent?.state.kind === 'waiting' && absent.state.error instanceof SkylarkError);
  assert.equal(absent.state.error.code, 'serial.absent');
});

test('a share that is not there yet is asked for again, and the problem is told once', async (t) => {
  const { open, until, path } = await stage(t);
  const device = await piano(t);
  await device.record();
  const entries: LogEntry[] = [];
  let missing = 2;
  const root = await openShareRoot(path);
  t.after(() => root.close());
  const bridge = open([{ source: device.source }], {
    log: new Logger((entry) => entries.push(entry)),
    random: () => 0,
    folderFor: async ({ folder, label }) => {
      missing -= 1;
      if (missing >= 0) throw environmentError('share.unknown', 'there is no share music');
      return openFolderWriter({ root, folder, label });
    },
  });
  await until(({ kind }) => kind === 'connected');
  await until(({ kind }) => kind === 'file-arrived');
  assert.equal(entries.filter(({ level }) => level === 'warn').length, 1);
  await bridge.close();
  assert.deepEqual(bridge.status()[0]?.problems, []);
});

test('what was mirrored is remembered by the next bridge', async (t) => {
  const { open, until, events, path } = await stage(t);
  const device = await piano(t);
  device.save('a.mid', content(1, 50_000));
  const first = open([{ source: device.source }]);
  await until(({ kind }) => kind === 'file-arrived');
  await first.close();
  events.length = 0;
  const second = open([{ source: device.source }]);
  await until(({ kind }) => kind === 'connected');
  device.save('b.mid', content(2, 10));
  await until(({ kind }) => kind === 'file-arrived');
  assert.deepEqual(readdirSync(join(path, 'piano')).sort(), ['a.mid', 'b.mid']);
  assert.ok((second.status()[0]?.line.bytesIn ?? 0) < 5_000);
});

test('a wrong configuration is told before anything is opened', () => {
  const open = (device: Partial<DeviceConfig>, again?: Partial<DeviceConfig>) => () => {
    const base = {
      source: 'tcp://h:1',
      driver: 'skylink',
      share: 's',
      folder: '',
      mode: 'archive',
      send: [],
      sendLargest: 1,
    } as const;
    openBridge({
      devices: again
        ? [
            { ...base, ...device },
            { ...base, ...again },
          ]
        : [{ ...base, ...device }],
      folderFor: () => Promise.reject(new Error('not asked')),
      memory: new TestMemory(),
      clock: systemClock,
      log: silentLogger,
      onEvent: () => {},
    });
  };
  assert.throws(open({ source: 'usb:1' }), { code: 'bridge.source', exitCode: 78 });
  assert.throws(open({ driver: 'folder' }), {
    code: 'bridge.driver',
    exitCode: 78,
    remedy: /usually skylink/,
  });
  assert.throws(open({ source: 'dir:/media/x', driver: 'ymodem' }), { code: 'bridge.driver' });
  assert.throws(open({ source: 'dir:/media/x' }), {
    code: 'bridge.driver',
    exitCode: 78,
    remedy: /leave out/,
  });
  assert.throws(open({ driver: 'skylnik' }), {
    code: 'bridge.driver',
    exitCode: 78,
    remedy: 'did you mean skylink',
  });
  for (const folder of ['../x', 'a/./b', '.clearskies/tmp', 'a\0b']) {
    assert.throws(open({ folder }), { code: 'bridge.folder', exitCode: 78 }, folder);
  }
  assert.throws(open({}, { source: 'tcp://h:1', folder: 'other' }), { code: 'bridge.twice', exitCode: 78 });
});
