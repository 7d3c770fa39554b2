import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDuration } from '../../agent/base/duration.ts';
import { SkylarkError } from '../../agent/base/errors.ts';
import {
  argument,
  type Command,
  choice,
  command,
  count,
  flag,
  optionalArgument,
  text,
  texts,
  value,
} from '../../agent/commands/command.ts';
import { parseCommandLine } from '../../agent/commands/command-line.ts';
import { commandHelp, usageLine } from '../../agent/commands/help-text.ts';

const SAMPLE: Command = command({
  name: 'sample',
  summary: 'show what a command can ask for',
  description:
    'First paragraph, long enough that it has to be wrapped somewhere when the terminal is narrow.\n\nSecond.',
  arguments: {
    folder: argument('DIR', 'where it is'),
    other: optionalArgument('OTHER', 'where else'),
  },
  options: {
    name: text({ placeholder: 'N', text: 'what it is called' }),
    mode: choice(['read_write', 'read_only'], { text: 'what is allowed', default: 'read_write' }),
    expires: value({ placeholder: 'TIME', text: 'how long', default: '24h' }, parseDuration),
    recordings: count({ min: 1, max: 10 }, { placeholder: 'N', text: 'how many' }),
    output: text({ short: 'o', placeholder: 'FILE', text: 'where to' }),
    set: texts({ placeholder: 'KEY=VALUE', text: 'an option' }),
    watch: flag('keep looking'),
  },
  json: true,
  examples: [['skylark sample .', 'show it here']],
  async run({ arguments: { folder, other }, options }) {
    // The types that the declaration gives, as the compiler sees them.
    const typed: [
      string,
      string | undefined,
      string | undefined,
      'read_write' | 'read_only',
      number,
      number | undefined,
    ] = [folder, other, options.name, options.mode, options.expires, options.recordings];
    const more: [readonly string[], boolean] = [options.set, options.watch];
    assert.equal(typed.length + more.length, 8);
  },
});

const parse = (...typed: string[]) => parseCommandLine(SAMPLE, typed);

function refusal(...typed: string[]): string {
  try {
    parse(...typed);
  } catch (thrown) {
    assert.ok(thrown instanceof SkylarkError);
    assert.equal(thrown.exitCode, 64);
    return `${thrown.message}${thrown.remedy === undefined ? '' : `; ${thrown.remedy}`}`;
  }
  return assert.fail('it was not refused');
}

test('what was typed becomes values, what was not typed becomes defaults', () => {
  assert.deepEqual(parse('a'), {
    arguments: { folder: 'a', other: undefined },
    options: {
      name: undefined,
      mode: 'read_write',
      expires: 86_400_000,
      recordings: undefined,
      output: undefined,
      set: [],
      watch: false,
    },
    state: undefined,
    verbose: false,
    json: false,
    help: false,
  });
  assert.deepEqual(
    parse(
      '--watch',
      '--set',
      'a=1',
      'x',
      '--set=b=2',
      '--mode',
      'read_only',
      '--expires=90s',
      '--json',
      '--state',
      '/s',
      '--recordings',
      '3',
      '--',
      '--y',
    ),
    {
      arguments: { folder: 'x', other: '--y' },
      options: {
        name: undefined,
        mode: 'read_only',
        expires: 90_000,
        recordings: 3,
        output: undefined,
        set: ['a=1', 'b=2'],
        watch: true,
      },
      state: '/s',
      verbose: false,
      json: true,
      help: false,
    },
  );
});

test('an option may have a letter, too', () => {
  for (const typed of [['-o', 'f'], ['-of'], ['--output', 'f'], ['--output=f']])
    assert.equal(parse('a', ...typed).options.output, 'f', typed.join(' '));
});

test('mistakes are named, with what was probably meant', () => {
  assert.equal(refusal(), "DIR is missing; see 'skylark help sample'");
  assert.equal(
    refusal('a', 'b', 'c\u001b'),
    '"c\\u{1b}" is one argument too many; see \'skylark help sample\'',
  );
  assert.equal(refusal('a', '--mod', 'x'), 'there is no option "--mod"; did you mean --mode?');
  assert.equal(refusal('a', '--quux'), 'there is no option "--quux"; see \'skylark help sample\'');
  assert.equal(refusal('a', '-x'), 'there is no option "-x"; see \'skylark help sample\'');
  assert.equal(refusal('a', '--name'), '--name needs a value');
  assert.equal(refusal('a', '-o'), '-o needs a value');
  assert.equal(
    refusal('a', '--name', '--watch'),
    '--name needs a value; write --name=--watch if that is the value',
  );
  assert.equal(refusal('a', '--watch=yes'), '--watch takes no value');
  assert.equal(refusal('a', '--mode', 'all'), '--mode is "all", but it must be one of read_write, read_only');
  assert.equal(
    refusal('a', '--recordings', '11'),
    '--recordings is "11", but it must be a whole number from 1 to 10',
  );
  assert.equal(
    refusal('a', '--recordings', '1e1'),
    '--recordings is "1e1", but it must be a whole number from 1 to 10',
  );
  assert.match(
    refusal('a', '--expires', '1 day'),
    /--expires is "1 day", but it must be a number with a unit/,
  );
  assert.equal(refusal('a', '--name', ''), '--name is "", but it must not be empty');
  assert.equal(refusal('a', '--set='), '--set is "", but it must not be empty');
  assert.equal(refusal('a', '--state='), '--state is "", but it must not be empty');
  assert.equal(refusal(''), 'DIR is "", but it must not be empty');
  assert.match(
    refusal('x'.repeat(20_000)),
    /^DIR is "x{100}\.\.\.\(19900 more\)", but it must not be longer than 16384 characters$/,
  );
  assert.equal(refusal('\ud800'), 'DIR is "\ufffd", but it must be valid Unicode');
  assert.match(refusal('a', '--__proto__', 'x'), /there is no option/);
  assert.match(refusal('a', '--constructor'), /there is no option/);
});

test('who asks for help gets it in spite of mistakes', () => {
  assert.equal(parse('--help').help, true);
  assert.equal(parse('-h').help, true);
  assert.equal(parse('a', 'b', 'c', '--mode', 'x', '--help').help, true);
});

test('help shows everything that was declared, within the width', () => {
  const help = commandHelp(SAMPLE, 60);
  for (const part of [
    'sample: show what',
    'DIR',
    'OTHER',
    '--name N',
    '-o, --output FILE',
    '--mode read_write|read_only',
    'default: 24h',
    '--watch',
    '--json',
    '--state DIR',
    'may be given several times',
    '# show it here',
    'skylark sample .',
  ])
    assert.ok(help.replace(/\s+/g, ' ').includes(part), part);
  for (const line of help.split('\n')) assert.ok(line.length <= 60 || line.startsWith('Usage:'), line);
  assert.equal(
    usageLine(SAMPLE),
    'skylark sample DIR [OTHER] [--name N] [--mode read_write|read_only] [--expires TIME] [--recordings N] [-o FILE] [--set KEY=VALUE]... [--watch]',
  );
});

test('whatever is typed, it is parsed or refused as usage', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('--name', '--mode', '--', '-', '--set=', '-abc', '--watch', 'read_only', '--help'),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (typed) => {
      try {
        parse(...typed);
      } catch (thrown) {
        assert.ok(thrown instanceof SkylarkError && thrown.code.startsWith('usage.'), String(thrown));
      }
    }),
  );
});
