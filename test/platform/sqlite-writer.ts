/** Commits numbers in a loop and says each once it is durable, until it is killed. Argument: the database's path. */

import { writeSync } from 'node:fs';
import { openSqlite } from '../../agent/platform/sqlite.ts';

const sqlite = openSqlite(process.argv[2]!);
sqlite.migrate('test', ['CREATE TABLE number(value INTEGER PRIMARY KEY) STRICT']);
const next = sqlite.prepare<{ value: bigint }>('SELECT coalesce(max(value), 0) + 1 AS value FROM number');
const insert = sqlite.prepare('INSERT INTO number VALUES(?)');
for (;;) {
  const { value } = sqlite.transaction(() => {
    const row = next.get()!;
    insert.run(row.value);
    return row;
  });
  writeSync(1, `${value}\n`);
}
