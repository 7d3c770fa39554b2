import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { connectUnix, listenUnix } from '../../agent/platform/unix-socket.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'skylark-unix-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

const options = (path: string) => ({ path, mode: 0o600, maxConnections: 8 });
const nothing = () => {};

test('bytes go both ways, also after one side has ended', async (t) => {
  const path = join(await folder(t), 'control');
  const answer = async (stream: ByteStream) => {
    let text = '';
    for (;;) {
      const bytes = await stream.read();
      if (bytes === null) break;
      text += fromUtf8(bytes);
    }
    await stream.write(utf8(text.toUpperCase()));
    await stream.close();
  };
  const listener = await listenUnix(options(path), (stream) => void answer(stream));
  const stream = await connectUnix(path);
  await stream.write(utf8('hello'));
  await stream.close();
  assert.equal(fromUtf8((await stream.read()) ?? new Uint8Array()), 'HELLO');
  assert.equal(await stream.read(), null);
  await listener.close();
});

test('the socket has its permissions and goes away with the listener', async (t) => {
  const path = join(await folder(t), 'control');
  const listener = await listenUnix(options(path), nothing);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await listener.close();
  await listener.close();
  await assert.rejects(stat(path), { code: 'ENOENT' });
});

test('a live socket is left alone', async (t) => {
  const path = join(await folder(t), 'control');
  const listener = await listenUnix(options(path), (stream) => void stream.close());
  await assert.rejects(listenUnix(options(path), nothing), {
    code: 'net.socket_taken',
    fault: 'environment',
  });
  const stream = await connectUnix(path);
  assert.equal(await stream.read(), null);
  await listener.close();
});

test('a socket that nobody listens on any more is replaced', async (t) => {
  const place = await folder(t);
  const path = join(place, 'control');
  const dead = createServer().listen(path);
  await new Promise((resolve) => dead.once('listening', resolve));
  // Node removes what it has bound by name: keep it under another one, as a killed program does.
  await rename(path, join(place, 'kept'));
  await new Promise((resolve) => dead.close(resolve));
  await rename(join(place, 'kept'), path);
  assert.ok((await stat(path)).isSocket());
  await assert.rejects(connectUnix(path), { code: 'net.refused' });
  const listener = await listenUnix(options(path), (stream) => void stream.close());
  await (await connectUnix(path)).close();
  await listener.close();
});

test('a file that is no socket is never replaced', async (t) => {
  const path = join(await folder(t), 'control');
  await writeFile(path, 'precious');
  await assert.rejects(listenUnix(options(path), nothing), { code: 'net.not_a_socket' });
  assert.equal((await stat(path)).size, 8);
});

test('closing leaves a successor alone', async (t) => {
  const path = join(await folder(t), 'control');
  const first = await listenUnix(options(path), nothing);
  await rm(path);
  const second = await listenUnix(options(path), (stream) => void stream.close());
  await first.close();
  await (await connectUnix(path)).close();
  await second.close();
});

test('paths longer than an address can hold work', async (t) => {
  const deep = join(await folder(t), 'x'.repeat(100), 'y'.repeat(100));
  await mkdir(deep, { recursive: true });
  const path = join(deep, 'control');
  await assert.rejects(connectUnix(path), { code: 'net.refused' });
  await assert.rejects(connectUnix(join(deep, 'z'.repeat(20), 'control')), { code: 'net.refused' });
  const listener = await listenUnix(
    options(path),
    (stream) => void stream.write(utf8('hi')).then(() => stream.close()),
  );
  assert.equal(fromUtf8((await (await connectUnix(path)).read()) ?? new Uint8Array()), 'hi');
  await listener.close();
});

test('where nothing is, nobody listens; a signal ends the try', async (t) => {
  const path = join(await folder(t), 'control');
  await assert.rejects(connectUnix(path), { code: 'net.refused', fault: 'environment' });
  const reason = new Error('no longer wanted');
  await assert.rejects(connectUnix(path, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
});
