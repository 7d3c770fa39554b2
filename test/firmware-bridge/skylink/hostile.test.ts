/** Devices that lie, babble or say nothing: the host's memory and time stay bounded, and it says what was wrong. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SkylarkError } from '../../../agent/base/errors.ts';
import type { ByteStream } from '../../../agent/base/stream.ts';
import { seededRandom } from '../../../firmware-bridge/simulator/random.ts';
import type { MessageSpec } from '../../../firmware-bridge/skylink/fields.ts';
import { encodeFrame, type Frame, FrameDecoder } from '../../../firmware-bridge/skylink/frame.ts';
import { type Announcement, openSkylink } from '../../../firmware-bridge/skylink/host.ts';
import {
  ANSWERS,
  DATA,
  END,
  ERR,
  ERR_CODE,
  EVENT,
  FILE,
  HELLO,
  LIST,
  LIST_END,
  LOG,
  READ,
  SUBSCRIBE,
  WELCOME,
} from '../../../firmware-bridge/skylink/messages.ts';
import { openLine } from '../../support/line.ts';
import { virtualClock } from '../../support/virtual-clock.ts';

const WELCOME_VALUES = {
  version: 1,
  receive: 254,
  send: 254,
  capabilities: 0x3ff,
  boot: 1,
  epoch: 2,
  counter: 3,
  device: Uint8Array.of(1, 2, 3),
  model: 'Liar',
  firmware: '0',
};

/** Answers to one question, as frames under its seq. */
type Answers = (question: Frame) => Iterable<Frame>;

function answer<T>(spec: MessageSpec<T>, { seq }: Pick<Frame, 'seq'>, value: T): Frame {
  return { type: spec.type, seq, body: spec.encode(value) };
}

/** A device that greets as it should, and answers everything else as the test wants. */
async function serve(line: ByteStream, answers: Answers): Promise<void> {
  const decoder = new FrameDecoder();
  try {
    for (;;) {
      const bytes = await line.read();
      if (bytes === null) return;
      for (const question of decoder.push(bytes)) {
        const frames =
          question.type === HELLO.type ? [answer(WELCOME, question, WELCOME_VALUES)] : answers(question);
        for (const frame of frames) await line.write(encodeFrame(frame));
      }
    }
  } catch {
    // The host has left.
  }
}

async function openLiar(answers: Answers, onUnasked: (announcement: Announcement) => void = () => {}) {
  const clock = virtualClock();
  const line = openLine({ clock, buffer: 65_536 });
  void serve(line.device, answers);
  const random = seededRandom(1).next;
  const host = await clock.run(openSkylink(line.host, { clock, random, onUnasked, mostFiles: 5_000 }));
  return { clock, host, line };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const FILE_VALUES = { index: 0, next: 2, id: 1, generation: 1, size: 100, mtime: 0, flags: 0, name: 'a' };

test('ten megabytes of noise are no device, and the report says so', async () => {
  const clock = virtualClock();
  const line = openLine({ clock, buffer: 65_536 });
  const babble = async () => {
    const noise = new Uint8Array(65_536).fill(0x55);
    for (let i = 0; i < 160; i++) await line.device.write(noise);
  };
  babble().catch(() => {});
  await assert.rejects(clock.run(openSkylink(line.host, { clock })), {
    code: 'device.silent',
    message: 'no device answers (10485760 bytes came, 10485760 of them noise)',
  });
});

test('a line that echoes is no device', async () => {
  const clock = virtualClock();
  const line = openLine({ clock });
  const echo = async () => {
    for (;;) {
      const bytes = await line.device.read();
      if (bytes === null) return;
      await line.device.write(bytes);
    }
  };
  echo().catch(() => {});
  await assert.rejects(clock.run(openSkylink(line.host, { clock })), { code: 'device.silent' });
});

test('a device that greets wrongly is refused', async () => {
  const greetings = [
    { ...WELCOME_VALUES, version: 2 },
    { ...WELCOME_VALUES, version: 0 },
    { ...WELCOME_VALUES, send: 63 },
    { ...WELCOME_VALUES, receive: 0 },
    { ...WELCOME_VALUES, device: new Uint8Array() },
    { ...WELCOME_VALUES, device: new Uint8Array(33) },
  ];
  for (const greeting of greetings) {
    const clock = virtualClock();
    const line = openLine({ clock });
    const greet = async () => {
      for (;;) {
        const bytes = (await line.device.read()) ?? new Uint8Array();
        for (const frame of new FrameDecoder().push(bytes)) {
          await line.device.write(encodeFrame(answer(WELCOME, frame, greeting)));
        }
      }
    };
    greet().catch(() => {});
    await assert.rejects(clock.run(openSkylink(line.host, { clock })), { code: 'device.protocol' });
  }
});

test('a listing that never ends ends', async () => {
  let id = 1;
  const { clock, host } = await openLiar((question) => {
    if (question.type !== LIST.type) return [];
    const files = Array.from({ length: 32 }, (_, index) => {
      id += 1;
      return answer(FILE, question, { ...FILE_VALUES, index, id, next: id + 1 });
    });
    return [...files, answer(LIST_END, question, { count: 32, next: id + 1, counter: 1, total: 5 })];
  });
  const listing = async () => {
    let files = 0;
    for await (const _ of host.list(0)) files += 1;
    return files;
  };
  await assert.rejects(clock.run(listing()), { code: 'device.stuck' });
  assert.ok(id < 5_100);
});

test('a listing that repeats itself, skips, or says nothing ends', async () => {
  const tricks: readonly Answers[] = [
    (question) => [
      answer(LIST_END, question, { count: 0, next: LIST.decode(question.body).cursor, counter: 1, total: 0 }),
    ],
    (question) => [answer(LIST_END, question, { count: 0, next: 7, counter: 1, total: 0 })],
    (question) => [answer(LIST_END, question, { count: 9, next: 7, counter: 1, total: 0 })],
    (question) => [answer(FILE, question, { ...FILE_VALUES, index: 3 })],
    (question) => Array.from({ length: 40 }, (_, index) => answer(FILE, question, { ...FILE_VALUES, index })),
    (question) =>
      Array.from({ length: 100 }, () => answer(DATA, question, { offset: 0, data: new Uint8Array(9) })),
    () => [],
  ];
  for (const [i, trick] of tricks.entries()) {
    const { clock, host } = await openLiar((question) =>
      question.type === LIST.type ? trick(question) : [],
    );
    // The one that ends at cursor 0 with nothing is simply an empty device.
    const result = clock.run(collect(host.list(0)));
    if (i === 0) assert.deepEqual(await result, []);
    else await assert.rejects(result, { name: 'SkylarkError', code: /^device\./ }, `trick ${i}`);
  }
});

test('four gibibytes that are announced and never come are given up, and nothing is reserved for them', async () => {
  const tricks: readonly Answers[] = [
    (question) => [answer(END, question, { offset: 0, size: 0xffff_ffff })],
    (question) => [answer(DATA, question, { offset: 1_000_000, data: Uint8Array.of(1) })],
    (question) => [answer(DATA, question, { offset: 0, data: new Uint8Array() })],
    (question) => [answer(END, question, { offset: 0, size: 5 })],
    () => [],
  ];
  for (const [i, trick] of tricks.entries()) {
    const { clock, host } = await openLiar((question) =>
      question.type === READ.type ? trick(question) : [],
    );
    const before = process.memoryUsage().arrayBuffers;
    const reading = clock.run(collect(host.read({ id: 1, generation: 1, size: 0xffff_ffff }, 0)));
    await assert.rejects(reading, { name: 'SkylarkError', code: /^device\./ }, `trick ${i}`);
    assert.ok(process.memoryUsage().arrayBuffers - before < 64e6);
    assert.ok(clock.monotonic() < 600_000);
  }
});

test('more data than was asked for is cut off, and data that was never asked for is ignored', async () => {
  const { clock, host } = await openLiar((question) => {
    if (question.type !== READ.type) return [];
    const data = new Uint8Array(3_000).fill(7);
    return [
      answer(DATA, { seq: (question.seq % 255) + 1 }, { offset: 0, data: new Uint8Array(50) }),
      answer(DATA, question, { offset: 0, data }),
    ];
  });
  const read = await clock.run(collect(host.read({ id: 1, generation: 1, size: 1_234 }, 0)));
  assert.equal(
    read.reduce((sum, piece) => sum + piece.length, 0),
    1_234,
  );
  assert.ok(read.every((piece) => piece.every((byte) => byte === 7)));
  assert.ok(host.quality.stale >= 1);
});

test('a device that is always busy is given up', async () => {
  const { clock, host } = await openLiar((question) => [
    answer(ERR, question, { code: ERR_CODE.busy, wait: 60_000, text: 'later\u001b[2J' }),
  ]);
  await assert.rejects(clock.run(host.stat(1)), (thrown: SkylarkError) => {
    assert.equal(thrown.code, 'device.busy');
    assert.ok(!thrown.message.includes('\u001b'));
    return true;
  });
  await assert.rejects(clock.run(collect(host.list(0))), { name: 'SkylarkError' });
  await assert.rejects(clock.run(collect(host.read({ id: 1, generation: 1, size: 9 }, 0))), {
    name: 'SkylarkError',
  });
});

test('a device that answers without end is given up', async () => {
  const { clock, host } = await openLiar(function* (question) {
    for (let i = 0; i < 30_000; i++) yield answer(LOG, question, { level: 0, text: '' });
  });
  await assert.rejects(clock.run(host.stat(1)), { code: 'device.stuck' });
});

test('a device that goes silent is noticed within ten seconds of asking, not by not being asked', async () => {
  let silent = false;
  const { clock, host } = await openLiar((question) =>
    silent ? [] : [answer(FILE, question, { ...FILE_VALUES, next: 0 })],
  );
  await clock.run(host.stat(1));
  await clock.pass(3_600_000);
  await clock.run(host.stat(1));
  silent = true;
  const began = clock.monotonic();
  await assert.rejects(clock.run(host.stat(1)), { code: 'device.silent' });
  assert.ok(clock.monotonic() - began < 15_000);
});

test('what it says unasked may be anything', async () => {
  const heard: Announcement[] = [];
  const { clock, host } = await openLiar(
    (question) => [
      { type: EVENT.type, seq: 0, body: new Uint8Array() },
      answer(EVENT, { seq: 0 }, { kind: 250, value: 0xffff_ffff }),
      answer(LOG, { seq: 0 }, { level: 250, text: '\u001b]0;title\u0007\n'.repeat(10) }),
      { type: 0xb7, seq: 0, body: new Uint8Array(200) },
      answer(FILE, question, { ...FILE_VALUES, next: 0 }),
    ],
    (announcement) => heard.push(announcement),
  );
  assert.equal((await clock.run(host.stat(1)))?.name, 'a');
  assert.equal(heard.length, 2);
  assert.ok(heard[1]?.kind === 'log' && [...heard[1].text].every((character) => character >= ' '));
});

test('answers with a right checksum and any content end every question, with a result or our error', async () => {
  const answers = fc.array(
    fc.record({
      type: fc.constantFrom(...ANSWERS.map(({ type }) => type)),
      body: fc.uint8Array({ maxLength: 60 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(answers, { minLength: 1, maxLength: 6 }), async (script) => {
      let turn = 0;
      const { clock, host } = await openLiar(({ seq }) => {
        const frames = script[turn++ % script.length] ?? [];
        return frames.map(({ type, body }) => ({ type, seq, body }));
      });
      const file = { id: 1, generation: 1, size: 500 };
      const questions: readonly (() => Promise<unknown>)[] = [
        () => host.stat(1),
        () => collect(host.list(0)),
        () => collect(host.read(file, 0)),
        () => host.hash(file),
        () => host.subscribe(['files']),
        () => host.delete(1, 1),
        () => host.setTime(1e12, 0),
        () => host.show('text', 'x'.repeat(300), 1),
        () => host.greetAgain(),
        () => host.write({ name: 'a', size: 3, mtime: 0, replace: true, content: threeBytes }),
      ];
      for (const question of questions) {
        await clock.run(question()).catch((thrown: unknown) => {
          assert.ok(thrown instanceof SkylarkError, String(thrown));
          assert.notEqual(thrown.fault, 'internal');
        });
      }
      await host.close();
    }),
    { numRuns: 40 },
  );
});

async function* threeBytes(): AsyncGenerator<Uint8Array, void> {
  yield Uint8Array.of(1, 2, 3);
}

test('a host that asks for its state hears it even between damaged frames', async () => {
  const { clock, host, line } = await openLiar((question) =>
    question.type === SUBSCRIBE.type ? [{ type: 0x8b, seq: question.seq, body: new Uint8Array(19) }] : [],
  );
  await line.device.write(Uint8Array.of(1, 2, 3, 0, 9, 9, 0, 0));
  assert.equal((await clock.run(host.subscribe([]))).battery, 0);
  assert.equal(host.quality.crcErrors, 2);
});
