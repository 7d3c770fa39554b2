/** A worker for workers.test.ts: does what its request says. */

import { createHash } from 'node:crypto';
import { readlinkSync, readSync } from 'node:fs';
import { getPriority } from 'node:os';
import { userError } from '../../agent/base/errors.ts';
import { serveWorker } from '../../agent/platform/workers.ts';

export type SampleRequest =
  | { readonly do: 'hash'; readonly fd: number }
  | { readonly do: 'send back'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly do: 'refuse' }
  | { readonly do: 'system error' }
  | { readonly do: 'exit' }
  | { readonly do: 'return a function' }
  | { readonly do: 'wait for cancellation' }
  | { readonly do: 'priority' }
  | { readonly do: 'environment' };

serveWorker<SampleRequest, unknown>(async (request, context) => {
  switch (request.do) {
    case 'hash': {
      const hash = createHash('sha256');
      const buffer = new Uint8Array(65_536);
      for (let at = 0; ; ) {
        const count = readSync(request.fd, buffer, 0, buffer.length, at);
        if (count === 0) return hash.digest('hex');
        hash.update(buffer.subarray(0, count));
        at += count;
      }
    }
    case 'send back':
      context.transfer(request.bytes.buffer);
      return request.bytes;
    case 'refuse':
      throw userError('sample.refused', 'not today', { remedy: 'come back tomorrow' });
    case 'system error':
      return readSync(9_999, new Uint8Array(1));
    case 'exit':
      return process.exit(3);
    case 'return a function':
      return () => 1;
    case 'wait for cancellation':
      await new Promise<void>((resolve) => {
        context.signal.addEventListener('abort', () => resolve());
      });
      return 'too late';
    case 'priority':
      return getPriority(Number(/\d+$/.exec(readlinkSync('/proc/thread-self'))?.[0]));
    case 'environment':
      return { ...process.env };
  }
});
