import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SkylarkError } from '../../agent/base/errors.ts';
import {
  configurationFiles,
  makeFolder,
  makeFolderAnew,
  makeStateFolder,
  readTextFile,
  stateFolder,
  unmakeFolder,
} from '../../agent/platform/folders.ts';

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

test('a folder is made, with those above it, for nobody else if so asked; one that is there stays as it is', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'skylark-folders-'));
  t.after(() => rm(base, { recursive: true }));
  const modeOf = async (path: string) => (await stat(path)).mode & 0o777;
  const folder = await makeFolder(join(base, 'above', 'state'), 0o700);
  assert.equal(await modeOf(folder), 0o700);
  assert.equal(await modeOf(join(base, 'above')), 0o700);
  const open = await makeFolder(join(base, 'share'));
  assert.equal(await modeOf(open), 0o777 & ~process.umask());
  await makeFolder(open, 0o700);
  assert.equal(await modeOf(open), 0o777 & ~process.umask());
});

test('a state folder is for its owner only: one that others may write is refused, one that they may read is closed', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'skylark-folders-'));
  t.after(() => rm(base, { recursive: true }));
  const path = join(base, 'above', 'state');
  const modeOf = async () => (await stat(path)).mode & 0o7777;
  assert.equal(await makeStateFolder(path), path);
  assert.equal(await modeOf(), 0o700);
  for (const mode of [0o777, 0o1777, 0o770, 0o702]) {
    await chmod(path, mode);
    await assert.rejects(
      makeStateFolder(path),
      (thrown) =>
        thrown instanceof SkylarkError &&
        thrown.code === 'state.folder_writable' &&
        thrown.exitCode === 77 &&
        thrown.remedy?.includes(`chmod 700 ${path}`) === true,
    );
    assert.equal(await modeOf(), mode, 'what others put there meanwhile is for its owner to look at');
  }
  for (const mode of [0o755, 0o750, 0o711]) {
    await chmod(path, mode);
    await makeStateFolder(path);
    assert.equal(await modeOf(), 0o700);
  }
});

test('a folder with other things in it does not become a state folder', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'skylark-folders-'));
  t.after(() => rm(base, { recursive: true }));
  const modeOf = async (path: string) => (await stat(path)).mode & 0o7777;
  const refused = (path: string) =>
    assert.rejects(
      makeStateFolder(path),
      (thrown) =>
        thrown instanceof SkylarkError &&
        thrown.code === 'state.folder_not_ours' &&
        thrown.fault === 'user' &&
        thrown.exitCode === 77 &&
        /--state/.test(thrown.remedy ?? ''),
    );
  const home = join(base, 'home');
  await mkdir(home);
  await writeFile(join(home, 'letter'), '');
  // As of /var.
  await symlink('/run/lock', join(home, 'lock'));
  await mkdir(join(home, 'state.json'));
  for (const mode of [0o755, 0o711, 0o1777]) {
    await chmod(home, mode);
    await refused(home);
    assert.equal(await modeOf(home), mode);
  }
  // Nothing is changed in a folder that is closed already.
  await chmod(home, 0o700);
  assert.equal(await makeStateFolder(home), home);
  for (const name of ['state.json', 'lock']) {
    const ours = join(base, name);
    await mkdir(ours);
    await chmod(ours, 0o755);
    await writeFile(join(ours, name), '');
    await writeFile(join(ours, 'else'), '');
    assert.equal(await makeStateFolder(ours), ours);
    assert.equal(await modeOf(ours), 0o700);
  }
});

test("a state folder of another user's is refused", {
  skip: process.getuid?.() === 0 ? false : 'only root can give a folder away',
}, async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'skylark-folders-'));
  t.after(() => rm(base, { recursive: true }));
  const path = join(base, 'state');
  await mkdir(path, { mode: 0o700 });
  await chown(path, 1_234, 0);
  await assert.rejects(
    makeStateFolder(path),
    (thrown) =>
      thrown instanceof SkylarkError &&
      thrown.code === 'state.folder_foreign' &&
      thrown.exitCode === 77 &&
      /chown 0 /.test(thrown.remedy ?? ''),
  );
});

test('what was made is taken back: our own in it, and nothing else ever', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'skylark-folders-'));
  t.after(() => rm(base, { recursive: true }));
  const own = { name: '.ours', files: ['mark'] };
  const path = join(base, 'above', 'made');
  const ours = join(path, '.ours');
  const made = async (...more: readonly (() => Promise<unknown>)[]) => {
    const folder = await makeFolderAnew(path);
    for (const each of more) await each();
    await unmakeFolder(folder, own);
    return (await readdir(base, { recursive: true })).sort();
  };
  const makeOurs = () => mkdir(ours);
  const mark = () => writeFile(join(ours, 'mark'), '');

  assert.deepEqual(await made(), []);
  assert.deepEqual(await made(makeOurs, mark), []);
  await writeFile(join(base, 'target'), 'theirs');
  assert.deepEqual(await made(() => symlink(join(base, 'target'), ours)), [
    'above',
    'above/made',
    'above/made/.ours',
    'target',
  ]);
  // It was there before: nothing is taken back.
  assert.deepEqual((await made()).length, 4);
  await rm(join(base, 'above'), { recursive: true });
  await rm(join(base, 'target'));
  const kept = [
    'above',
    'above/made',
    'above/made/.ours',
    'above/made/.ours/archived',
    'above/made/.ours/mark',
  ];
  assert.deepEqual(await made(makeOurs, mark, () => writeFile(join(ours, 'archived'), '')), kept);
  await rm(join(base, 'above'), { recursive: true });
  assert.deepEqual(await made(makeOurs, () => writeFile(join(path, 'file'), '')), [
    'above',
    'above/made',
    'above/made/.ours',
    'above/made/file',
  ]);
});
