import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { test } from 'node:test';
import { SkylarkError } from '../../agent/base/errors.ts';
import { configurationFiles, readTextFile, stateFolder } from '../../agent/platform/folders.ts';

test('state lies where it is said to, then where systemd says, then where XDG says', () => {
  const environment = { STATE_DIRECTORY: '/var/lib/skylark:/var/lib/other', XDG_DATA_HOME: '/data' };
  assert.equal(stateFolder(environment, '/chosen'), '/chosen');
  assert.equal(stateFolder(environment, 'here/../there'), `${process.cwd()}/there`);
  assert.equal(stateFolder(environment), '/var/lib/skylark');
  assert.equal(stateFolder({ XDG_DATA_HOME: '/data' }), '/data/clearskies');
  assert.equal(
    stateFolder({ XDG_DATA_HOME: 'relative', STATE_DIRECTORY: '' }),
    `${homedir()}/.local/share/clearskies`,
  );
});

test("the user's configuration overrules the machine's", () => {
  assert.deepEqual(configurationFiles({ XDG_CONFIG_HOME: '/config' }), [
    '/etc/skylark/skylark.toml',
    '/config/skylark/skylark.toml',
  ]);
  assert.equal(configurationFiles({})[1], `${homedir()}/.config/skylark/skylark.toml`);
});

test('a file that is not there is no error, one that cannot be read is', () => {
  assert.equal(readTextFile('/nonexistent/skylark.toml'), undefined);
  assert.equal(readTextFile('/dev/null/skylark.toml'), undefined);
  assert.throws(
    () => readTextFile('/dev'),
    (thrown) =>
      thrown instanceof SkylarkError && thrown.code === 'file.unreadable' && /EISDIR/.test(thrown.message),
  );
});
