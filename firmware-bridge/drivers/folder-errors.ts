/** What the file system says of a medium, in the words that all devices share. */

import { asError, errorCode, SkylarkError } from '../../agent/base/errors.ts';
import { deviceError } from '../device-error.ts';

const MEANINGS: Readonly<Record<string, Parameters<typeof deviceError>[0]>> = {
  'share.root_missing': 'device.lost',
  'share.root_replaced': 'device.lost',
  'files.io': 'device.storage',
  'files.corrupt': 'device.storage',
  'files.no_space': 'device.full',
  'files.too_big': 'device.full',
  'files.exists': 'device.exists',
  'files.absent': 'device.changed',
  'files.changed': 'device.changed',
  'files.not_a_file': 'device.changed',
  'files.symlink': 'device.changed',
};

/** @throws what `work` threw; what the file system said, as `device.*`. */
export async function asDevice<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const code = errorCode(thrown);
    if (!/^(?:files|share)\./.test(code ?? '')) throw thrown;
    const { message } = asError(thrown);
    const remedy = thrown instanceof SkylarkError ? thrown.remedy : undefined;
    throw deviceError(MEANINGS[code ?? ''] ?? 'device.refused', message, {
      cause: thrown,
      ...(remedy === undefined ? {} : { remedy }),
    });
  }
}
