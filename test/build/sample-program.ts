/** A program for bundle.test.ts that needs what is hard to put into one file: a worker, a native addon, SQLite. */

import { DatabaseSync } from 'node:sqlite';
import { isSingleBinary, programVersion } from '../../agent/platform/program.ts';
import { openWorkerPool } from '../../agent/platform/workers.ts';
import type { SampleRequest } from '../platform/sample-worker.ts';

async function main(): Promise<void> {
  const pool = openWorkerPool<SampleRequest, unknown>({ entry: '../test/platform/sample-worker' });
  const priority = await pool.run({ do: 'priority' });
  await pool.close();
  const { SerialPort } = await import('serialport');
  const { promise, resolve } = Promise.withResolvers<string>();
  new SerialPort({ path: '/nonexistent/tty', baudRate: 9_600 }, (error) => resolve(String(error?.message)));
  const { rows } = new DatabaseSync(':memory:').prepare('SELECT 1 AS rows').get() ?? {};
  console.log(
    JSON.stringify({ isSingleBinary, version: programVersion(), priority, port: await promise, rows }),
  );
}

void main();
