import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SkylarkError } from '../../agent/base/errors.ts';
import { command } from '../../agent/commands/command.ts';
import { parseCommandLine } from '../../agent/commands/command-line.ts';
import { CONFIGURATION_OPTIONS, readConfiguration } from '../../agent/commands/configuration.ts';

const folder = mkdtempSync(join(tmpdir(), 'skylark-configuration-'));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'skylark'));
writeFileSync(join(folder, 'skylark/skylark.toml'), 'name = "of the user"\nlog.level = "debug"\n');
writeFileSync(join(folder, 'other.toml'), 'name = "other"\n');

const environment = { XDG_CONFIG_HOME: folder };

test("the user's file is read, or the one that was chosen instead, and --set overrules both", () => {
  const none = { config: undefined, set: [] };
  assert.equal(readConfiguration(environment, none).name, 'of the user');
  const other = readConfiguration(environment, { ...none, config: join(folder, 'other.toml') });
  assert.deepEqual([other.name, other['log.level']], ['other', 'info']);
  assert.equal(readConfiguration(environment, { ...none, set: ['name=set'] }).name, 'set');
});

test('a chosen file that is not there is an error of the configuration', () => {
  const chosen = { config: join(folder, 'missing.toml'), set: [] };
  assert.throws(
    () => readConfiguration(environment, chosen),
    (thrown) => thrown instanceof SkylarkError && thrown.code === 'config.missing' && thrown.exitCode === 78,
  );
});

test('a command that takes a configuration gets it from its command line', async () => {
  let name: string | undefined;
  const sample = command({
    name: 'sample',
    summary: 'read the configuration',
    arguments: {},
    options: { ...CONFIGURATION_OPTIONS },
    examples: [],
    async run(context) {
      name = readConfiguration(context.environment, context.options).name;
    },
  });
  const { options } = parseCommandLine(sample, [
    '--config',
    join(folder, 'other.toml'),
    '--set',
    'name=a',
    '--set=name=b',
  ]);
  await sample.run({ environment, options } as unknown as Parameters<typeof sample.run>[0]);
  assert.equal(name, 'b');
});
