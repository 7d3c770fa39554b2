import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfiguration } from '../../agent/config/load.ts';
import { OPTIONS } from '../../agent/config/options.ts';
import { configurationReference, exampleConfiguration } from '../../agent/config/reference.ts';

const top = join(import.meta.dirname, '../..');

test('docs/ has what the declarations say (npm run docs writes it)', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(top, 'scripts/generate-docs.ts'), '--check'], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
});

test('the example file is valid as it is and with every option uncommented', () => {
  const example = exampleConfiguration(OPTIONS);
  assert.deepEqual(loadConfiguration({ files: [{ path: 'example', text: example }] }), loadConfiguration({}));
  const uncommented = example.replaceAll(/^#(?! )/gm, '');
  const configuration = loadConfiguration({ files: [{ path: 'example', text: uncommented }] });
  for (const name of Object.keys(OPTIONS)) assert.ok(name in configuration);
  assert.equal(configuration.name, 'Music room piano');
  assert.equal(configuration['bridge.device'].length, 1);
});

test('the reference has a heading, a type and a default for every option, and each example is valid', () => {
  const reference = configurationReference(OPTIONS);
  for (const name of Object.keys(OPTIONS)) assert.match(reference, new RegExp(`^## \`(\\[\\[)?${name}`, 'm'));
  const examples = [...reference.matchAll(/```toml\n(.*?)```/gs)].map((match) => match[1] ?? '');
  assert.equal(examples.length, Object.keys(OPTIONS).length);
  for (const text of examples) loadConfiguration({ files: [{ path: 'example', text }] });
});
