/** docs/control.md: every command is in it, and its examples are what the daemon and its clients read. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isJsonObject, type JsonObject, parseJson } from '../../agent/base/json.ts';
import { loadConfiguration } from '../../agent/config/load.ts';
import type { CommandSpec, StreamSpec } from '../../agent/control/command.ts';
import { agentEvent, COMMANDS, failure, greeting, STREAMS, SUBSCRIBE } from '../../agent/control/messages.ts';
import { configurationJson } from '../../agent/daemon/stored-options.ts';

const text = readFileSync(new URL('../../docs/control.md', import.meta.url), 'utf8');
const specs = new Map<string, CommandSpec<unknown, unknown>>(
  [...Object.values(COMMANDS), ...Object.values(STREAMS), SUBSCRIBE].map((spec) => [
    spec.type,
    spec as CommandSpec<unknown, unknown>,
  ]),
);
const streams = new Map(
  Object.values(STREAMS).map((spec) => [spec.type as string, spec as StreamSpec<unknown, unknown, unknown>]),
);

interface Exchange {
  readonly sent: JsonObject | undefined;
  readonly answers: JsonObject[];
}

function exchanges(): Exchange[] {
  const found: Exchange[] = [];
  for (const [, sign, line = ''] of text.matchAll(/^([<>]) (.*)$/gm)) {
    const json = parseJson(line);
    assert.ok(isJsonObject(json), line);
    if (sign === '>') found.push({ sent: json, answers: [] });
    else if (found.length === 0) found.push({ sent: undefined, answers: [json] });
    else found.at(-1)?.answers.push(json);
  }
  return found;
}

test('every command is shown with an answer, and both are as declared', () => {
  const [greeted, ...others] = exchanges();
  const welcome = greeted?.answers[0];
  assert.ok(welcome !== undefined);
  assert.deepEqual(greeting.encode(greeting.decode(welcome)), welcome);
  const shown = new Set<string>();
  for (const { sent, answers } of others) {
    const items = answers.flatMap(({ more }) => (more === undefined ? [] : [more]));
    const [answer, ...events] = answers.slice(items.length);
    assert.ok(sent !== undefined && answer !== undefined);
    const { type, ...request } = sent;
    const spec = specs.get(String(type));
    if (answer.error !== undefined) {
      assert.deepEqual(failure.encode(failure.decode(answer)), answer);
      continue;
    }
    assert.ok(spec !== undefined, String(type));
    // What a key is not read from is gone afterwards.
    assert.deepEqual({ ...spec.request.encode(spec.request.decode(request)) }, request);
    assert.deepEqual(spec.answer.encode(spec.answer.decode(answer)), answer);
    for (const event of events) assert.deepEqual(agentEvent.encode(agentEvent.decode(event)), event);
    const stream = streams.get(spec.type);
    assert.equal(items.length > 0, stream !== undefined, spec.type);
    for (const item of items) assert.deepEqual(stream?.item.encode(stream.item.decode(item)), item);
    shown.add(spec.type);
  }
  assert.deepEqual(
    [...specs.keys()].filter((type) => !shown.has(type)),
    [],
  );
});

test('the options in the examples exist, with the values that they have by default', () => {
  const options = configurationJson(loadConfiguration({ files: [] }));
  const shown = exchanges().find(({ sent }) => sent?.type === 'get_config')?.answers[0]?.config;
  assert.ok(shown !== undefined && isJsonObject(shown));
  for (const [name, value] of Object.entries(shown)) assert.deepEqual(value, options.get(name), name);
});
