import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeError, SkylarkError } from '../../agent/base/errors.ts';
import { type ConfigurationSources, LONGEST_FILE, loadConfiguration } from '../../agent/config/load.ts';

const NO_ENDPOINT =
  'an address is not HOST:PORT; write it like 192.168.1.7:49221, name.local:49221 or [fd00::7]:49221';

const fromFile = (text: string) => loadConfiguration({ files: [{ path: 'skylark.toml', text }] });

function refusal(sources: ConfigurationSources): string {
  try {
    loadConfiguration(sources);
  } catch (thrown) {
    assert.ok(thrown instanceof SkylarkError);
    assert.deepEqual([thrown.fault, thrown.exitCode], ['user', 78]);
    return describeError(thrown);
  }
  return assert.fail('it was not refused');
}

const refusedFile = (text: string) => refusal({ files: [{ path: 'skylark.toml', text }] });

test('without sources everything has its default', () => {
  const configuration = loadConfiguration({});
  assert.equal(configuration['discovery.lan'], true);
  assert.equal(configuration['discovery.lan_port'], 60_106);
  assert.equal(configuration.name, undefined);
  assert.deepEqual(configuration['security.channel_versions'], [1]);
  assert.deepEqual(configuration['bridge.device'], []);
});

test('a file sets options in any of the ways TOML offers', () => {
  const configuration = fromFile(`
    name = 'Flügel'
    listen = "[::1]:49221"
    discovery.lan = false
    security = { guesses_per_hour = 5 }
    [log]
    level = "debug"
    [[bridge.device]]
    source = "tcp://127.0.0.1:5000"
    share = "Music"
    [[bridge.device]]
    source = "serial:/dev/ttyACM0?baud=115200"
    driver = "skylink"
    share = "Music"
    folder = "second"
    mode = "mirror"
    send = ["lessons/"]
    send_largest = "1MB"
  `);
  assert.equal(configuration.name, 'Flügel');
  assert.deepEqual(configuration.listen, { host: '::1', port: 49_221 });
  assert.equal(configuration['discovery.lan'], false);
  assert.equal(configuration['security.guesses_per_hour'], 5);
  assert.equal(configuration['log.level'], 'debug');
  assert.deepEqual(configuration['bridge.device'], [
    {
      source: 'tcp://127.0.0.1:5000',
      driver: undefined,
      share: 'Music',
      folder: '',
      mode: 'archive',
      send: [],
      send_largest: undefined,
    },
    {
      source: 'serial:/dev/ttyACM0?baud=115200',
      driver: 'skylink',
      share: 'Music',
      folder: 'second',
      mode: 'mirror',
      send: ['lessons/'],
      send_largest: 1_000_000n,
    },
  ]);
});

test('later files, then the environment, then the command line overrule', () => {
  const sources = {
    files: [
      { path: 'a', text: 'name = "a"\nlog.level = "error"\ndiscovery.lan_port = 1' },
      { path: 'b', text: 'name = "b"' },
    ],
    environment: {
      SKYLARK_NAME: 'c = not TOML',
      SKYLARK_DISCOVERY__LAN_PORT: '2',
      SKYLARK_SECURITY__CHANNEL_VERSIONS: '[1]',
      SKYLARK_REQUIRE_PEERS: '1',
      HOME: '/root',
    },
  };
  const configuration = loadConfiguration(sources);
  assert.equal(configuration.name, 'c = not TOML');
  assert.equal(configuration['discovery.lan_port'], 2);
  assert.equal(configuration['log.level'], 'error');
  const settings = [
    'name=d',
    'discovery.lan_port = 3',
    'listen=0.0.0.0:0',
    'bridge.device=[{source="a", share="b"}]',
  ];
  const overruled = loadConfiguration({ ...sources, settings });
  assert.equal(overruled.name, 'd');
  assert.equal(overruled['discovery.lan_port'], 3);
  assert.deepEqual(overruled.listen, { host: '0.0.0.0', port: 0 });
  assert.equal(overruled['bridge.device'][0]?.share, 'b');
});

test('an unknown option is an error with file, line and the nearest known name', () => {
  assert.equal(
    refusedFile('name = "a"\n\n[discovery]\n# a comment\nlann = true\n'),
    'skylark.toml line 5: there is no option "discovery.lann"; did you mean discovery.lan?',
  );
  assert.equal(
    refusedFile('lan = 3'),
    'skylark.toml line 1: there is no option "lan"; did you mean discovery.lan?',
  );
  assert.match(
    refusedFile('\n[colour]\nsky = "blue"'),
    /line 2: there is no option "colour"; docs\/configuration\.md/,
  );
  assert.equal(
    refusal({ environment: { SKYLARK_LOG__LEVLE: 'info' } }),
    'SKYLARK_LOG__LEVLE: there is no option "log.levle"; did you mean log.level?',
  );
  assert.equal(refusal({ settings: ['nmae=x'] }), '--set: there is no option "nmae"; did you mean name?');
});

test('a value that does not fit is an error with file, line and what is expected', () => {
  const cases: [string, string][] = [
    ['\ndiscovery.lan = "yes"', 'line 2: discovery.lan: it must be true or false, without quotes'],
    ['discovery.lan_port = 0', 'line 1: discovery.lan_port: it must be a whole number from 1 to 65535'],
    ['discovery.lan_port = 1.5', 'line 1: discovery.lan_port: it must be a whole number from 1 to 65535'],
    ['name = ""', 'line 1: name: it must be a text of 1 to 64 characters in quotes'],
    ['name = "a\\u001b"', 'line 1: name: it must be a text of 1 to 64 characters in quotes'],
    ['discovery = 1', 'line 1: discovery is a group of options, not one'],
    ['listen = "here"', `line 1: listen: ${NO_ENDPOINT}`],
    ['listen = "a:99999"', `line 1: listen: ${NO_ENDPOINT}`],
    ['listen = 49221', 'line 1: listen: it must be "ADDRESS:PORT", with the quotes'],
    ['log.level = "loud"', 'line 1: log.level: it must be one of "debug", "info", "warn", "error"'],
    ['directory.rescan_period = "1s"', 'line 1: directory.rescan_period: it must be from 10s to 7d'],
    [
      'directory.rescan_period = 60',
      'line 1: directory.rescan_period: it must be a time in quotes, such as "90s", "15m" or "24h"',
    ],
    ['directory.reserve = "1001TB"', 'line 1: directory.reserve: it must be at most 1000TB'],
    [
      'directory.reserve = 500',
      'line 1: directory.reserve: it must be a size in quotes, such as "500MB" or "2GB"',
    ],
    [
      'directory.rescan_period = 1979-05-27',
      'line 1: directory.rescan_period: it must be a time in quotes, such as "90s", "15m" or "24h"',
    ],
    [
      '# x\nsecurity.channel_versions = [\n  1,\n  2,\n]',
      'line 2: security.channel_versions[2]: this version of Skylark speaks channel version 1 and no other',
    ],
    [
      'security.channel_versions = []',
      'line 1: security.channel_versions: it must be a list of 1 to 64 values in square brackets',
    ],
    ['[[bridge.device]]\nshare = "a"', 'line 1: bridge.device[1]: source is missing'],
    [
      '[[bridge.device]]\nsource = "a"\nshare = "a"\n[[bridge.device]]\nsource = "a"\nshare = "b"\ndriver = "morse"',
      'line 7: bridge.device[2].driver: it must be one of "skylink", "ymodem", "midi-file-dump", "folder"',
    ],
    [
      '[[bridge.device]]\nsource = "a"\nshares = "a"',
      'line 3: bridge.device[1].shares: there is no option "shares" here; known are source, driver, share, folder, send, send_largest, mode',
    ],
    ['[bridge.device]\nsource = "a"', 'line 1: bridge.device: it must be at most 64 [[tables]]'],
  ];
  for (const [text, expected] of cases) assert.equal(refusedFile(text), `skylark.toml ${expected}`);
});

test('quotes around a setting that needs none are named when it does not fit', () => {
  const remedy = 'leave the quotes out: here the value is taken as it is';
  assert.equal(
    refusal({ settings: ['listen="127.0.0.1:49221"'] }),
    `--set: listen: it is in quotes; ${remedy}`,
  );
  assert.equal(
    refusal({ environment: { SKYLARK_LOG__LEVEL: "'debug'" } }),
    `SKYLARK_LOG__LEVEL: log.level: it is in quotes; ${remedy}`,
  );
  assert.equal(
    refusal({ settings: ['directory.rescan_period="1h"'] }),
    `--set: directory.rescan_period: it is in quotes; ${remedy}`,
  );
  // Without them it would not fit either: that is what is said.
  assert.equal(refusal({ settings: ['listen="here"'] }), `--set: listen: ${NO_ENDPOINT}`);
  assert.equal(loadConfiguration({ settings: ['name="Flügel"'] }).name, '"Flügel"');
});

test('what is no TOML is an error with file and line', () => {
  assert.match(refusedFile('name = "a"\nlisten = \n'), /^skylark\.toml line 2: /);
  assert.match(refusedFile('name = "a"\nname = "b"\n'), /^skylark\.toml line 2: /);
  assert.match(refusedFile('__proto__ = 1'), /^skylark\.toml line 1: /);
  assert.match(refusedFile(`name = ${'['.repeat(10_000)}`), /^skylark\.toml line 1: /);
  assert.match(refusedFile('#'.repeat(LONGEST_FILE + 1)), /longer than/);
  assert.match(refusal({ settings: ['name'] }), /no equals sign; write --set KEY=VALUE/);
  assert.match(
    refusal({ settings: ['discovery.lan=maybe'] }),
    /^--set discovery\.lan: "maybe" can't be read; it must be true or false/,
  );
  assert.match(
    refusal({ environment: { SKYLARK_DISCOVERY__LAN: 'true\nname = 1' } }),
    /^SKYLARK_DISCOVERY__LAN: /,
  );
});

test('whatever the sources hold, the result is a configuration or an error of the configuration', () => {
  const key = fc.constantFrom(
    'name',
    'discovery',
    'lan',
    'bridge',
    'device',
    'log',
    'constructor',
    'x',
    '"a.b"',
  );
  const value = fc.constantFrom(
    '1',
    '"a"',
    'true',
    '[1]',
    '{ lan = 1 }',
    '1979-05-27',
    '[[1]]',
    'nan',
    '{}',
    "'''",
  );
  const line = fc.oneof(
    fc
      .tuple(fc.array(key, { minLength: 1, maxLength: 3 }), value)
      .map(([keys, text]) => `${keys.join('.')} = ${text}`),
    fc.array(key, { minLength: 1, maxLength: 2 }).map((keys) => `[${keys.join('.')}]`),
    fc.array(key, { minLength: 1, maxLength: 2 }).map((keys) => `[[${keys.join('.')}]]`),
    fc.string({ maxLength: 20 }),
  );
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 8 }),
      fc.array(fc.string({ maxLength: 30 }), { maxLength: 2 }),
      (lines, settings) => {
        try {
          loadConfiguration({ files: [{ path: 'x', text: lines.join('\n') }], settings });
        } catch (thrown) {
          assert.ok(thrown instanceof SkylarkError && thrown.exitCode === 78, String(thrown));
        }
      },
    ),
    { numRuns: 1_000 },
  );
});
