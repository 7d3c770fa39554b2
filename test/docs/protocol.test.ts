/** docs/protocol.md is normative: its examples are read by what the program itself uses. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromUtf8, utf8 } from '../../agent/base/bytes.ts';
import { isJsonObject, parseJson } from '../../agent/base/json.ts';
import * as core from '../../agent/club/messages.ts';
import * as database from '../../agent/database/messages.ts';
import * as directory from '../../agent/directory/messages.ts';
import { decodeBroadcast } from '../../agent/discovery/broadcast.ts';
import { FrameDecoder } from '../../agent/wire/frame.ts';
import { decode, encode, type MessageSpec } from '../../agent/wire/message.ts';

const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

function blocks(language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    (match) => match[1] ?? '',
  );
}

function isSpec(value: unknown): value is MessageSpec<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    'schema' in value &&
    'payloadLimit' in value
  );
}

const specs = new Map(
  [core, database, directory].flatMap((module) =>
    Object.values(module)
      .filter(isSpec)
      .map((spec) => [spec.type, spec]),
  ),
);

test('every JSON example decodes, and encodes to itself', () => {
  const seen = new Set<string>();
  for (const block of blocks('json')) {
    const json = parseJson(block);
    assert.ok(isJsonObject(json), block);
    if (json.name === 'ClearSkiesBroadcast') {
      const broadcast = decodeBroadcast(utf8(block));
      assert.deepEqual(broadcast.versions, [1]);
      seen.add('ClearSkiesBroadcast');
      continue;
    }
    const type = String(json.type);
    const spec = specs.get(type);
    assert.ok(spec !== undefined, `no declaration of ${type}`);
    const value = decode(spec, { type, json });
    assert.deepEqual(encode(spec, value), json, `${type} lost something`);
    seen.add(type);
  }
  assert.deepEqual(
    [...seen].sort(),
    [...specs.keys(), 'ClearSkiesBroadcast'].sort(),
    'each message has an example',
  );
});

test('every framed example is one whole message', () => {
  const examples = blocks('frame');
  assert.ok(examples.length > 0);
  for (const example of examples) {
    const decoder = new FrameDecoder();
    decoder.push(utf8(example));
    const kinds: string[] = [];
    for (let event = decoder.next(); event !== undefined; event = decoder.next()) {
      if (event.kind === 'message') parseJson(fromUtf8(event.body));
      kinds.push(event.kind);
    }
    assert.ok(decoder.betweenMessages, example);
    assert.equal(kinds.filter((kind) => kind === 'message').length, 1);
  }
});
