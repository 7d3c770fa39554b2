/** The folders of shares: which may become one, and that one which does not is left as it was. */

import { userError } from '../base/errors.ts';
import { type MadeFolder, makeFolderAnew, unmakeFolder } from '../platform/folders.ts';

export interface ShareFolderOptions {
  /** Real and absolute: it holds keys, and must never be in a share. */
  readonly stateFolder: string;
  /** The shares that there are. */
  readonly shares: () => readonly { readonly name: string; readonly folder: string }[];
}

/** What a share that was opened leaves in a folder that is otherwise empty. */
const OWN = { name: '.clearskies', files: ['share'] } as const;

export class ShareFolders {
  readonly #options: ShareFolderOptions;
  /** Those that are about to become shares. */
  readonly #claimed = new Set<string>();

  constructor(options: ShareFolderOptions) {
    this.#options = options;
  }

  /**
   * Makes the folder if it is missing, and gives it (without symbolic links) to `work`, which makes it a share. If it does
   * not, and the folder was not there before, it is removed again, unless somebody has put something into it.
   * @throws SkylarkError (user) `share.overlaps`, `share.overlaps_state`, `folder.*`; what `work` throws.
   */
  async use<T>(path: string, work: (folder: string) => Promise<T>): Promise<T> {
    // First as it was given, so that a refused one is not made; then as it is without symbolic links.
    this.#refuseOverlap(path);
    const made = await makeFolderAnew(path);
    let isClaimed = false;
    try {
      this.#refuseOverlap(made.path);
      this.#claimed.add(made.path);
      isClaimed = true;
      return await work(made.path);
    } catch (thrown) {
      await this.#takeBack(made);
      throw thrown;
    } finally {
      if (isClaimed) this.#claimed.delete(made.path);
    }
  }

  async #takeBack(made: MadeFolder): Promise<void> {
    const isShare = this.#options.shares().some(({ folder }) => folder === made.path);
    if (!isShare) await unmakeFolder(made, OWN);
  }

  /** Two shares in one tree would sync each other's files. */
  #refuseOverlap(folder: string): void {
    const overlaps = (other: string) => isWithin(other, folder) || isWithin(folder, other);
    const { stateFolder, shares } = this.#options;
    if (overlaps(stateFolder)) {
      throw userError(
        'share.overlaps_state',
        `${folder} overlaps with ${stateFolder}, where the keys of this device are`,
        { remedy: 'choose a folder that is neither inside of that one nor around it' },
      );
    }
    const other = shares().find((share) => overlaps(share.folder));
    if (other?.folder === folder) {
      throw userError('share.exists', `${folder} is the share ${other.name} already`, {
        remedy: `'skylark code' lets others join it`,
      });
    }
    if (other !== undefined) {
      throw userError(
        'share.overlaps',
        `${folder} overlaps with the share ${other.name} in ${other.folder}`,
        { remedy: 'choose a folder that is neither inside of another share nor around it' },
      );
    }
    for (const claimed of this.#claimed) {
      if (!overlaps(claimed)) continue;
      throw userError(
        'share.overlaps',
        `${folder} overlaps with ${claimed}, which is being made a share at this moment`,
        { remedy: 'wait for the end of that, or choose another folder' },
      );
    }
  }
}

function isWithin(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`);
}
