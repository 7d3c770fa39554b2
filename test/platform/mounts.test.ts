import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mountOf, parseMountinfo, readMounts } from '../../agent/platform/mounts.ts';

test('the mount of a path is the last one that is nearest around it', () => {
  const mounts = parseMountinfo(
    [
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw',
      '36 22 8:17 / /media/my\\040stick rw,nosuid - vfat /dev/sdb1 rw',
      '37 22 0:40 / /media/my\\040stick rw - exfat /dev/sdc1 rw',
      '38 22 0:41 / /media/my ro shared:7 master:2 - tmpfs none ro',
      'nonsense',
      '',
    ].join('\n'),
  );
  assert.equal(mounts.length, 4);
  assert.equal(mountOf('/media/my stick/a/b', mounts)?.type, 'exfat');
  assert.equal(mountOf('/media/my stick', mounts)?.source, '/dev/sdc1');
  assert.equal(mountOf('/media/my', mounts)?.type, 'tmpfs');
  assert.equal(mountOf('/media/mystery', mounts)?.point, '/');
});

test("the kernel's own list is understood", async () => {
  const mounts = await readMounts();
  assert.ok(mounts.length > 0);
  assert.equal(mountOf('/proc/self', mounts)?.type, 'proc');
});

test('nothing in it throws', () => {
  fc.assert(fc.property(fc.string(), (text) => void parseMountinfo(text)));
});
