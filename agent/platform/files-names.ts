/** Names that are our own inside a share, in every form in which a file system could take them for such. */

/** Our own hidden folder in the root of every share: marker, temporary files, archive. Never synced, never listed. */
export const STATE_FOLDER = '.clearskies';
/** Ends the name of every temporary file; the drafts' own, so that other agents on the same folder pass them over too. */
export const TEMPORARY_SUFFIX = '.!clearsky';

/** The 8.3 alias that vfat gives to the state folder. */
const SHORT_ALIAS = /^(?:clears|cl[0-9a-f]{4})~[0-9]{1,6}$/;
/** What all of our names contain after folding; spares the folding of nearly all names. */
const SUSPICIOUS = /[^!-~]|clear|^cl.{4}~/i;

/**
 * Whether the name is, or could be taken by a file system for, our state folder or one of our temporary files. The state
 * folder is refused at any depth, since a share may lie inside another.
 */
export function isOwnName(name: string): boolean {
  if (!SUSPICIOUS.test(name)) return false;
  const folded = foldName(name);
  return folded === STATE_FOLDER || folded.endsWith(TEMPORARY_SUFFIX) || SHORT_ALIAS.test(folded);
}

/**
 * Equal for names that some file system takes for one: ignoring case (exFAT, ext4 with casefold), normalising (APFS,
 * ext4), passing over invisible characters (ext4), dropping dots and spaces at the end (FAT).
 */
export function foldName(name: string): string {
  return (
    name
      .normalize('NFC')
      .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
      // Upper case first: some letters (long s, Kelvin sign) have no lower case of their own.
      .toUpperCase()
      .toLowerCase()
      .normalize('NFC')
      .replace(/[. ]+$/, '')
  );
}
