/**
 * What every driver must do with every device. A driver, a simulator, an emulated or a real board is tested by giving this
 * suite a way to open it; what the device has no capability for, or its tester no hand in, is skipped and says so.
 */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { concatBytes } from '../../agent/base/bytes.ts';
import {
  type Capability,
  capability,
  type Device,
  type DeviceEvent,
  type DeviceFile,
  type ListItem,
} from '../../firmware-bridge/drivers/driver.ts';
import { seededRandom } from '../../firmware-bridge/simulator/random.ts';
import { crc32c } from '../../firmware-bridge/skylink/crc32c.ts';

/** The user of a device that sends and receives by itself. */
export interface SendingHand {
  /** Presses the button that sends a file. @returns whether the device takes it for stored. */
  send(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Makes the device wait for a file. @returns what it has stored; undefined if it got none. */
  receive(): Promise<{ readonly name: string; readonly bytes: Uint8Array } | undefined>;
}

/** The device's own user, as far as the test can play one. */
export interface Hand {
  add(name: string, bytes: Uint8Array): void | Promise<void>;
  /** Another content under the same name. */
  change(name: string, bytes: Uint8Array): void | Promise<void>;
  rename(from: string, to: string): void | Promise<void>;
  remove(name: string): void | Promise<void>;
  pressButton(): void | Promise<void>;
  /** What the display shows. */
  display(): string | Promise<string>;
}

export interface Rig {
  readonly device: Device;
  /** What has happened so far, in order. */
  readonly events: readonly DeviceEvent[];
  readonly hand?: Hand;
  readonly sendingHand?: SendingHand;
  /** Waits for a promise, and lets time pass if time is the test's. */
  run<T>(promise: Promise<T>): Promise<T>;
}

export interface ConformanceOptions {
  /** Opens a device that is this test's alone; the test's end closes it. */
  readonly open: (t: TestContext, events: DeviceEvent[]) => Promise<Rig>;
  /** Bytes of the largest file used. Default 20,000. */
  readonly largest?: number;
  /** Of a file that is sent; with characters that are not ASCII, unless the protocol has no others. */
  readonly oddName?: string;
}

export function conformance(
  subject: string,
  { open, largest = 20_000, oddName = 'odd name ♭.mid' }: ConformanceOptions,
): void {
  const check = (what: string, needs: Needs, body: (rig: Rig, t: TestContext) => Promise<void>) => {
    void test(`${subject}: ${what}`, async (t) => {
      const rig = await open(t, []);
      const missing = missingOf(rig, needs);
      if (missing !== undefined) return t.skip(missing);
      await rig.run(body(rig, t));
    });
  };

  check('says who it is', {}, async ({ device }) => {
    assert.match(device.facts.id, /^[\x21-\x7e]{1,80}$/);
    const kinds = device.capabilities.map(({ kind }) => kind);
    assert.equal(new Set(kinds).size, kinds.length);
  });

  check(
    'lists its files, and reads them byte for byte',
    { hand: true, kinds: ['list'] },
    async ({ device, hand }) => {
      const contents = new Map([
        ['one.mid', content(1, 1)],
        ['empty.mid', new Uint8Array()],
        ['long name with spaces ♭.mid', content(2, largest)],
        ['zeros.bin', new Uint8Array(700)],
      ]);
      for (const [name, bytes] of contents) await hand?.add(name, bytes);
      const { files, end } = await listed(device);
      for (const [name, bytes] of contents) {
        const file = find(files, name);
        assert.equal(file.size, bytes.length);
        assert.ok(file.complete);
        assert.ok(equal(await readAll(device, file), bytes), `${name} is not what was saved`);
      }
      assert.equal(end.whole, true);
      if (end.total !== undefined) assert.equal(end.total, files.length);
    },
  );

  check('reads whatever it lists, to the size it says', { kinds: ['list'] }, async ({ device }) => {
    const { files } = await listed(device);
    for (const file of files.filter(({ complete }) => complete).slice(0, 5)) {
      const bytes = await readAll(device, file);
      assert.equal(bytes.length, file.size);
      if (capability(device, 'digest')) assert.equal(await device.digest(file), crc32c(bytes));
    }
  });

  check('reads from any offset', { hand: true, kinds: ['read', 'list'] }, async ({ device, hand }) => {
    if (capability(device, 'read')?.resume !== true) return;
    const bytes = content(3, Math.min(5_000, largest));
    await hand?.add('offsets.mid', bytes);
    const file = find((await listed(device)).files, 'offsets.mid');
    for (const offset of [0, 1, 253, 254, bytes.length - 1, bytes.length]) {
      assert.ok(equal(await readAll(device, file, offset), bytes.subarray(offset)), `from offset ${offset}`);
    }
  });

  check(
    'knows the checksum of what it has',
    { hand: true, kinds: ['digest', 'list'] },
    async ({ device, hand }) => {
      const bytes = content(4, largest);
      await hand?.add('checked.mid', bytes);
      await hand?.add('empty.mid', new Uint8Array());
      const { files } = await listed(device);
      assert.equal(await device.digest(find(files, 'checked.mid')), crc32c(bytes));
      assert.equal(await device.digest(find(files, 'empty.mid')), 0);
    },
  );

  check('tells of one file what it lists', { hand: true, kinds: ['list'] }, async ({ device, hand }) => {
    await hand?.add('stat.mid', content(5, 99));
    const file = find((await listed(device)).files, 'stat.mid');
    assert.deepEqual(await device.stat(file.key), file);
    await hand?.remove('stat.mid');
    assert.equal(await device.stat(file.key), undefined);
  });

  check('lists only what changed since', { hand: true, kinds: ['list'] }, async ({ device, hand }) => {
    for (const name of ['a.mid', 'b.mid', 'c.mid']) await hand?.add(name, content(6, 50));
    const first = await listed(device);
    if (first.end.mark === undefined) return;
    const incremental = capability(device, 'list')?.incremental === true;
    const nothing = await listed(device, first.end.mark);
    if (incremental) assert.equal(nothing.files.length, 0);
    await hand?.add('d.mid', content(7, 60));
    await hand?.change('a.mid', content(8, 70));
    await hand?.rename('b.mid', 'e.mid');
    await hand?.remove('c.mid');
    const second = await listed(device, first.end.mark);
    const names = second.files.map(({ name }) => name);
    for (const name of ['a.mid', 'd.mid', 'e.mid']) assert.ok(names.includes(name), `${name} is missing`);
    if (incremental) assert.equal(names.length, 3);
    // That a file is gone follows from its name in the list, from a whole list, or from the number of files.
    const gone = find(first.files, 'c.mid').key;
    const told = second.deleted.includes(gone) || second.end.whole || second.end.total === 3;
    assert.ok(told, 'nothing tells that a file is gone');
  });

  check(
    'a renamed file keeps its key and version',
    { hand: true, kinds: ['list'] },
    async ({ device, hand }) => {
      await hand?.add('before.mid', content(9, 500));
      const before = find((await listed(device)).files, 'before.mid');
      await hand?.rename('before.mid', 'after.mid');
      const after = find((await listed(device)).files, 'after.mid');
      if (after.key !== before.key) return;
      assert.ok(equal(await readAll(device, after), content(9, 500)));
    },
  );

  check(
    'refuses to read a version that is no more',
    { hand: true, kinds: ['list'] },
    async ({ device, hand }) => {
      await hand?.add('version.mid', content(10, 400));
      const old = find((await listed(device)).files, 'version.mid');
      await hand?.change('version.mid', content(11, 400));
      await assert.rejects(readAll(device, old), { code: 'device.changed' });
      const present = find((await listed(device)).files, 'version.mid');
      assert.notEqual(present.version, old.version);
      assert.ok(equal(await readAll(device, present), content(11, 400)));
    },
  );

  check('stores files, visible when whole', { kinds: ['write', 'list'] }, async ({ device }) => {
    for (const size of [0, 1, 1_000, largest]) {
      const name = `written-${size}.bin`;
      const bytes = content(size, size);
      await device.write({
        name,
        size,
        mtime: 1_700_000_000_000_000_000n,
        replace: true,
        content: pieces(bytes),
      });
      const file = find((await listed(device)).files, name);
      assert.equal(file.size, size);
      assert.ok(equal(await readAll(device, file), bytes));
    }
  });

  check('replaces only when told', { kinds: ['write', 'list'] }, async ({ device }) => {
    const name = 'replaced.bin';
    const write = (bytes: Uint8Array, replace: boolean) =>
      device.write({ name, size: bytes.length, mtime: undefined, replace, content: pieces(bytes) });
    await write(content(12, 300), true);
    await assert.rejects(write(content(13, 310), false), { code: 'device.exists' });
    assert.ok(equal(await readAll(device, find((await listed(device)).files, name)), content(12, 300)));
    await write(content(14, 320), true);
    assert.ok(equal(await readAll(device, find((await listed(device)).files, name)), content(14, 320)));
  });

  check(
    'a writer whose content is not as long as announced fails',
    { kinds: ['write', 'list'] },
    async ({ device }) => {
      for (const [size, actual] of [
        [100, 90],
        [100, 110],
      ] as const) {
        const file = {
          name: 'short.bin',
          size,
          mtime: undefined,
          replace: true,
          content: pieces(content(15, actual)),
        };
        await assert.rejects(device.write(file), { code: 'bridge.content_size' });
      }
      assert.ok((await listed(device)).files.every(({ name }) => name !== 'short.bin'));
    },
  );

  check(
    'deletes what is meant, and only that',
    { hand: true, kinds: ['delete', 'list'] },
    async ({ device, hand }) => {
      await hand?.add('kept.mid', content(16, 20));
      await hand?.add('deleted.mid', content(17, 20));
      await hand?.add('changed.mid', content(18, 20));
      const { files } = await listed(device);
      await device.delete(find(files, 'deleted.mid'));
      await device.delete(find(files, 'deleted.mid'));
      await hand?.change('changed.mid', content(19, 20));
      await assert.rejects(device.delete(find(files, 'changed.mid')), { code: 'device.changed' });
      const left = (await listed(device)).files.map(({ name }) => name);
      assert.ok(left.includes('kept.mid') && left.includes('changed.mid') && !left.includes('deleted.mid'));
    },
  );

  check('keeps the time it is given', { kinds: ['clock'] }, async ({ device }) => {
    const time = 1_800_000_000_123_000_000n;
    await device.setClock(time, 120);
    const before = await device.setClock(time, -570);
    assert.ok(before !== undefined && before >= time && before < time + 60_000_000_000n, `${before}`);
  });

  check('shows what it is told', { kinds: ['show'] }, async ({ device, hand }) => {
    await device.show({ kind: 'code', text: 'SYNC7-4ABC-DEFG' }, 60);
    if (hand) assert.match(await hand.display(), /SYNC7-4ABC-DEFG/);
    await device.show({ kind: 'nothing' }, 0);
    if (hand) assert.equal(await hand.display(), '');
  });

  check('tells of changes and of its button', { hand: true, kinds: ['button', 'list'] }, async (rig) => {
    const { device, hand, events } = rig;
    await hand?.add('event.mid', content(20, 10));
    await hand?.pressButton();
    // What an announcement lost on the line would have said, the next question finds out.
    await device.stat('0.0');
    const kinds = events.map(({ kind }) => kind);
    assert.ok(kinds.includes('files-changed'), kinds.join());
    assert.equal(kinds.filter((kind) => kind === 'button').length, 1, kinds.join());
  });

  check('goes on after a reader has left', { hand: true, kinds: ['list'] }, async ({ device, hand }) => {
    const bytes = content(21, largest);
    await hand?.add('left.mid', bytes);
    const file = find((await listed(device)).files, 'left.mid');
    const leaving = new AbortController();
    const reason = new Error('left');
    await assert.rejects(async () => {
      for await (const _ of device.read(file, 0, leaving.signal)) leaving.abort(reason);
    }, reason);
    for await (const _ of device.read(file, 0)) break;
    assert.ok(equal(await readAll(device, file), bytes));
    await assert.rejects(listed(device, undefined, AbortSignal.abort(reason)), reason);
  });

  check(
    'takes its turn when asked several things at once',
    { hand: true, kinds: ['list'] },
    async ({ device, hand }) => {
      const [a, b] = [content(22, largest), content(23, largest >> 1)];
      await hand?.add('a.mid', a);
      await hand?.add('b.mid', b);
      const { files } = await listed(device);
      const [readA, readB, again] = await Promise.all([
        readAll(device, find(files, 'a.mid')),
        readAll(device, find(files, 'b.mid')),
        listed(device),
      ]);
      assert.ok(equal(readA, a) && equal(readB, b));
      assert.equal(again.files.length, files.length);
    },
  );

  check('offers what is sent, once', { sendingHand: true, kinds: ['offers'] }, async (rig) => {
    const { device, sendingHand, events } = rig;
    for (const [name, size] of [
      ['first.mid', largest],
      ['empty.mid', 0],
      [oddName, 1_025],
    ] as const) {
      const bytes = content(size, size);
      const sending = sendingHand!.send(name, bytes);
      const file = await offered(events, name);
      assert.equal(file.size, size);
      assert.ok(equal(await readAll(device, file), bytes));
      assert.deepEqual(await device.stat(file.key), file);
      await assert.rejects(readAll(device, file), { code: 'device.not_found' });
      await device.release?.(file, true);
      assert.equal(await sending, true, 'the device does not know that its file is stored');
      assert.equal(await device.stat(file.key), undefined);
    }
  });

  check(
    'tells the device what could not be stored',
    { sendingHand: true, kinds: ['offers'] },
    async (rig) => {
      const { device, sendingHand, events } = rig;
      for (const how of ['unread', 'half', 'unstored'] as const) {
        const name = `${how}.mid`;
        const sending = sendingHand!.send(name, content(1, largest));
        const file = await offered(events, name);
        if (how === 'half') for await (const _ of device.read(file, 0)) break;
        if (how === 'unstored') await readAll(device, file);
        await device.release?.(file, false);
        assert.equal(await sending, false, `${how}: the device takes its file for stored`);
      }
      const bytes = content(2, 500);
      const sending = sendingHand!.send('after.mid', bytes);
      const file = await offered(events, 'after.mid');
      assert.ok(equal(await readAll(device, file), bytes));
      await device.release?.(file, true);
      assert.equal(await sending, true);
    },
  );

  check('sends files to a device that waits', { sendingHand: true, kinds: ['write'] }, async (rig) => {
    const { device, sendingHand } = rig;
    for (const size of [0, 1, 128, 129, 1_024, largest]) {
      const receiving = sendingHand!.receive();
      const name = `sent-${size}.bin`;
      const bytes = content(size, size);
      await device.write({ name, size, mtime: undefined, replace: true, content: pieces(bytes) });
      const got = await receiving;
      assert.equal(got?.name, name);
      assert.ok(got && equal(got.bytes, bytes), `${size} bytes`);
    }
  });

  check('says no to what it can not do', {}, async ({ device }) => {
    const file: DeviceFile = {
      key: '0.0',
      version: '0',
      name: 'x',
      size: 0,
      mtime: undefined,
      complete: true,
    };
    const unsupported = { code: 'device.unsupported' };
    const has = (kind: Capability['kind']) => capability(device, kind) !== undefined;
    if (!has('digest')) await assert.rejects(device.digest(file), unsupported);
    if (!has('delete')) await assert.rejects(device.delete(file), unsupported);
    if (!has('clock')) await assert.rejects(device.setClock(0n, 0), unsupported);
    if (!has('show')) await assert.rejects(device.show({ kind: 'nothing' }, 0), unsupported);
    const nothing = {
      name: 'x',
      size: 0,
      mtime: undefined,
      replace: false,
      content: pieces(new Uint8Array()),
    };
    if (!has('write')) await assert.rejects(device.write(nothing), unsupported);
  });

  check('is lost after it was closed', {}, async ({ device }) => {
    await device.close();
    await device.close();
    assert.match((await device.lost).code, /^device\./);
    await assert.rejects(listed(device), (thrown: { code?: string }) => thrown.code === 'device.lost');
  });
}

interface Needs {
  readonly hand?: boolean;
  readonly sendingHand?: boolean;
  readonly kinds?: readonly Capability['kind'][];
}

function missingOf(rig: Rig, needs: Needs): string | undefined {
  if (needs.hand && rig.hand === undefined) return "nobody plays the device's user";
  if (needs.sendingHand && rig.sendingHand === undefined) return 'nobody presses its buttons';
  const missing = needs.kinds?.find((kind) => capability(rig.device, kind) === undefined);
  return missing && `the device has no capability ${missing}`;
}

/** Repeatable and different for each seed, with zeros and runs, which are what framing gets wrong. */
export function content(seed: number, length: number): Uint8Array {
  const random = seededRandom(seed + 1);
  return Uint8Array.from({ length }, (_, i) => (i % 97 < 13 ? 0 : random.integer(0, 255)));
}

export function pieces(bytes: Uint8Array): () => AsyncGenerator<Uint8Array, void> {
  return async function* () {
    for (let offset = 0; offset < bytes.length; offset += 333) yield bytes.subarray(offset, offset + 333);
  };
}

export async function readAll(device: Device, file: DeviceFile, offset = 0): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of device.read(file, offset)) all.push(piece);
  return concatBytes(...all);
}

export async function listed(device: Device, since?: string, signal?: AbortSignal) {
  const files: DeviceFile[] = [];
  const deleted: string[] = [];
  let end: Extract<ListItem, { kind: 'end' }> | undefined;
  for await (const item of device.list(since, signal)) {
    assert.equal(end, undefined, 'something comes behind the end of the listing');
    if (item.kind === 'file') files.push(item.file);
    else if (item.kind === 'deleted') deleted.push(item.key);
    else end = item;
  }
  assert.ok(end, 'the listing has no end');
  return { files, deleted, end };
}

export function find(files: readonly DeviceFile[], name: string): DeviceFile {
  const file = files.find((one) => one.name === name);
  assert.ok(file, `${name} is not listed`);
  return file;
}

/** Waits for a file to be offered. */
export async function offered(events: readonly DeviceEvent[], name: string): Promise<DeviceFile> {
  for (;;) {
    const event = events.findLast((one) => one.kind === 'offered' && one.file.name === name);
    if (event?.kind === 'offered') return event.file;
    await turn();
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
