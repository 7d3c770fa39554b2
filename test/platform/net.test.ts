import assert from 'node:assert/strict';
import { createServer, connect as nodeConnect } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes } from '../../agent/base/bytes.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { connectTcp, type Listener, listenTcp } from '../../agent/platform/net.ts';

/** A listener and the stream of each connection that it accepts, in order. */
async function openListener(host = '127.0.0.1', maxConnections?: number) {
  const accepted: ByteStream[] = [];
  const waiting: ((stream: ByteStream) => void)[] = [];
  const listener: Listener = await listenTcp({ host, port: 0, maxConnections }, (stream) => {
    const next = waiting.shift();
    if (next) next(stream);
    else accepted.push(stream);
  });
  const next = (): Promise<ByteStream> => {
    const stream = accepted.shift();
    return stream ? Promise.resolve(stream) : new Promise((resolve) => waiting.push(resolve));
  };
  return { listener, next };
}

async function openPair(): Promise<{ near: ByteStream; far: ByteStream; end(): Promise<void> }> {
  const { listener, next } = await openListener();
  const [near, far] = await Promise.all([connectTcp('127.0.0.1', listener.port), next()]);
  return {
    near,
    far,
    async end() {
      near.abort(new Error('test over'));
      far.abort(new Error('test over'));
      await listener.close();
    },
  };
}

async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = await stream.read();
    if (piece === null) return concatBytes(...pieces);
    assert.ok(piece.length > 0);
    pieces.push(piece);
  }
}

function refuses(code: string, fault: string) {
  return (error: unknown) => {
    assert.ok(error instanceof SkylarkError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.fault, fault);
    return true;
  };
}

/** A writer against a reader that does not read: settles with the bytes taken once no more are. */
async function writeUntilHeld(stream: ByteStream, piece: Uint8Array): Promise<number> {
  let taken = 0;
  let lastTaken = -1;
  let failed = false;
  const pump = async () => {
    for (;;) {
      await stream.write(piece);
      taken += piece.length;
    }
  };
  pump().catch(() => {
    failed = true;
  });
  // Held: nothing more was taken in a hundred turns of the event loop.
  while (taken !== lastTaken && !failed) {
    lastTaken = taken;
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  return taken;
}

test('what is written arrives unchanged and ends with null', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 8 }),
      fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 8 }),
      async (there, back) => {
        const { near, far, end } = await openPair();
        const send = async (stream: ByteStream, pieces: readonly Uint8Array[]) => {
          for (const piece of pieces) await stream.write(piece);
          await stream.close();
        };
        const [, , atFar, atNear] = await Promise.all([
          send(near, there),
          send(far, back),
          readAll(far),
          readAll(near),
        ]);
        assert.deepEqual(atFar, concatBytes(...there));
        assert.deepEqual(atNear, concatBytes(...back));
        await end();
      },
    ),
    { numRuns: 30 },
  );
});

test('pieces are plain Uint8Arrays that the reader may keep', async () => {
  const { near, far, end } = await openPair();
  await near.write(Uint8Array.of(1, 2, 3));
  const first = await far.read();
  assert.equal(Object.getPrototypeOf(first), Uint8Array.prototype);
  await near.write(Uint8Array.of(9, 9, 9));
  await far.read();
  assert.deepEqual(first, Uint8Array.of(1, 2, 3));
  await end();
});

test('what was written may be written over as soon as the write has resolved', async () => {
  const { near, far, end } = await openPair();
  const piece = new Uint8Array(300_000);
  const send = async () => {
    for (let i = 0; i < 20; i++) {
      piece.fill(i);
      await near.write(piece);
    }
    await near.close();
  };
  const receive = async () => {
    // Nothing is read for a while, so that the kernel can't take it all.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    return readAll(far);
  };
  const [all] = await Promise.all([receive(), send()]);
  assert.equal(all.length, 20 * piece.length);
  assert.ok(all.every((byte, at) => byte === Math.floor(at / piece.length)));
  await end();
});

test('a writer waits for a reader that does not read, and goes on when it does', async () => {
  const { near, far, end } = await openPair();
  const piece = new Uint8Array(262_144).fill(7);
  const held = await writeUntilHeld(near, piece);
  // The kernel's two socket buffers, our read-ahead and one piece on each side: some megabytes at most.
  assert.ok(held < 32 * 1024 * 1024, `${held} bytes were taken`);
  let received = 0;
  while (received < 2 * held + piece.length) {
    const bytes = await far.read();
    assert.ok(bytes !== null);
    received += bytes.length;
  }
  await end();
});

test('a reader waits, and a second read at the same time is our own mistake', async () => {
  const { near, far, end } = await openPair();
  const waiting = far.read();
  await assert.rejects(far.read(), refuses('stream.concurrent_read', 'internal'));
  await near.write(Uint8Array.of(5));
  assert.deepEqual(await waiting, Uint8Array.of(5));
  await end();
});

test('after the other side ended, it can still be written to', async () => {
  const { near, far, end } = await openPair();
  await near.write(Uint8Array.of(1));
  await near.close();
  assert.deepEqual(await readAll(far), Uint8Array.of(1));
  await far.write(Uint8Array.of(2));
  await far.close();
  assert.deepEqual(await readAll(near), Uint8Array.of(2));
  assert.equal(await near.read(), null);
  await end();
});

test('closing twice is closing once; writing after it is refused', async () => {
  const { near, end } = await openPair();
  await Promise.all([near.close(), near.close()]);
  await assert.rejects(near.write(Uint8Array.of(1)), refuses('net.closed', 'environment'));
  await end();
});

test('closing sends everything that was written, also to a slow reader', async () => {
  const { near, far, end } = await openPair();
  const bytes = new Uint8Array(12_000_000).map((_, at) => at % 251);
  const writing = near.write(bytes);
  const closing = near.close();
  const received = await readAll(far);
  assert.equal(received.length, bytes.length);
  assert.deepEqual(received, bytes);
  await Promise.all([writing, closing]);
  await end();
});

test('an abort rejects what waits with the reason and resets the other side', async () => {
  const { near, far, end } = await openPair();
  const reason = new Error('enough');
  const reading = near.read();
  near.abort(reason);
  near.abort(new Error('the first reason stays'));
  await assert.rejects(reading, (error) => error === reason);
  await assert.rejects(near.read(), (error) => error === reason);
  await assert.rejects(near.write(Uint8Array.of(1)), (error) => error === reason);
  await near.close();
  await assert.rejects(readAll(far), refuses('net.connection_lost', 'environment'));
  await end();
});

test('an abort wakes a writer that waits', async () => {
  const { near, end } = await openPair();
  const reason = new Error('enough');
  const writing = near.write(new Uint8Array(64 * 1024 * 1024));
  near.abort(reason);
  await assert.rejects(writing, (error) => error === reason);
  await end();
});

test('what arrived before a reset can still be read', async () => {
  const { listener, next } = await openListener();
  const socket = nodeConnect({ host: '127.0.0.1', port: listener.port });
  const far = await next();
  await new Promise((resolve) => socket.write(Uint8Array.of(1, 2), resolve));
  assert.deepEqual(await far.read(), Uint8Array.of(1, 2));
  socket.resetAndDestroy();
  await assert.rejects(far.read(), refuses('net.connection_lost', 'environment'));
  await assert.rejects(far.read(), refuses('net.connection_lost', 'environment'));
  await listener.close();
});

test('one socket serves IPv4 and IPv6 on [::], and names an IPv4 peer by its IPv4 address', async () => {
  const { listener, next } = await openListener('[::]');
  for (const host of ['127.0.0.1', ...(listener.host === '::' ? ['::1'] : []), 'localhost']) {
    const [near, far] = await Promise.all([connectTcp(host, listener.port), next()]);
    assert.match(far.label, host === '::1' ? /^\[::1\]:\d+$/ : /^(127\.0\.0\.1|\[::1\]):\d+$/);
    assert.ok(near.label.endsWith(`:${listener.port}`));
    near.abort(new Error('test over'));
    far.abort(new Error('test over'));
  }
  await listener.close();
});

test('a taken port is an environment error that names the port and what to do', async () => {
  const { listener } = await openListener();
  await assert.rejects(
    listenTcp({ host: '127.0.0.1', port: listener.port }, () => {}),
    (error) => {
      refuses('net.port_taken', 'environment')(error);
      assert.match(String(error), new RegExp(`port ${listener.port} on 127\\.0\\.0\\.1 is taken`));
      assert.match((error as SkylarkError).remedy ?? '', /another port/);
      assert.equal((error as SkylarkError).exitCode, 75);
      return true;
    },
  );
  await listener.close();
  const again = await listenTcp({ host: '127.0.0.1', port: listener.port }, () => {});
  await again.close();
});

test('an address of another machine is refused', async () => {
  await assert.rejects(
    listenTcp({ host: '192.0.2.1', port: 0 }, () => {}),
    refuses('net.address_not_here', 'environment'),
  );
});

test('connecting where nothing listens is refused at once', async () => {
  const { listener } = await openListener();
  await listener.close();
  await assert.rejects(connectTcp('127.0.0.1', listener.port), refuses('net.refused', 'environment'));
});

test('a name that cannot exist is told as such', async () => {
  await assert.rejects(connectTcp('nowhere.invalid', 1), refuses('net.name_unknown', 'environment'));
});

test('connecting stops at the signal, before and while it waits', async () => {
  const reason = new Error('no longer wanted');
  await assert.rejects(
    connectTcp('127.0.0.1', 9, { signal: AbortSignal.abort(reason) }),
    (error) => error === reason,
  );
  // A listener whose queue is full leaves further connections waiting: fill it from a socket that never accepts.
  const controller = new AbortController();
  const waiting = connectTcp('127.0.0.1', await portOfNobody(), { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
});

/** A port on which something listens; the abort comes before the connection could be made. */
async function portOfNobody(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  server.close();
  return address.port;
}

test('connections beyond the limit are closed, the others live', async () => {
  const { listener, next } = await openListener('127.0.0.1', 2);
  const near = await Promise.all([1, 2].map(() => connectTcp('127.0.0.1', listener.port)));
  const far = [await next(), await next()];
  const third = await connectTcp('127.0.0.1', listener.port);
  await assert.rejects(async () => {
    if ((await third.read()) === null) throw new Error('ended');
  }, /ended|gone/);
  await near[0]?.write(Uint8Array.of(3));
  assert.deepEqual(await Promise.race(far.map((stream) => stream.read())), Uint8Array.of(3));
  for (const stream of [...near, ...far, third]) stream.abort(new Error('test over'));
  await listener.close();
});

test('closing a listener leaves its connections alone', async () => {
  const { listener, next } = await openListener();
  const [near, far] = await Promise.all([connectTcp('127.0.0.1', listener.port), next()]);
  await listener.close();
  await listener.close();
  await near.write(Uint8Array.of(1));
  assert.deepEqual(await far.read(), Uint8Array.of(1));
  near.abort(new Error('test over'));
  far.abort(new Error('test over'));
});
