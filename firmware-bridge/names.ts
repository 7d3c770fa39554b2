/** From what a device calls a file to where it lies in a share's folder. Device names are data of unknown origin. */

import { utf8 } from '../agent/base/bytes.ts';
import { cutUtf8 } from './cut-utf8.ts';

/** As in agent/base/printable.ts, with what other systems take for a path: nothing of it may stand in a file's name. */
const UNFIT = /[\p{Cc}\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\\]/gu;
/** Room for ` (123)` remains below the file systems' 255. */
const LONGEST_COMPONENT = 240;
const DEEPEST = 8;
/** Names that belong to the share's own temporary files. */
const RESERVED_SUFFIX = '.!clearsky';

/**
 * A path with one leading slash: each component of 1 to 240 bytes, in NFC, without control or reading-direction
 * characters, never hidden, never `.` or `..`. Different names may give the same path.
 */
export function pathOfName(name: string): string {
  const components = name
    .toWellFormed()
    .normalize('NFC')
    .replaceAll(UNFIT, (character) => (character === '\0' ? '' : '_'))
    .split('/')
    .filter((component) => component.trim() !== '');
  const folders = components.slice(0, DEEPEST - 1);
  const last = components.slice(DEEPEST - 1).join('_');
  const kept = last === '' ? folders : [...folders, last];
  return `/${(kept.length === 0 ? ['unnamed'] : kept).map(fitting).join('/')}`;
}

/** The same path with a number before the extension: `/a/song (2).mid`. 1 is the path itself. */
export function numberedPath(path: string, number: number): string {
  if (number === 1) return path;
  const slash = path.lastIndexOf('/');
  const { stem, extension } = split(path.slice(slash + 1));
  return `${path.slice(0, slash + 1)}${stem} (${number})${extension}`;
}

function fitting(component: string): string {
  let fit = component.startsWith('.') ? `_${component.slice(1)}` : component;
  if (fit.endsWith(RESERVED_SUFFIX)) fit += '_';
  if (utf8(fit).length <= LONGEST_COMPONENT) return fit;
  const { stem, extension } = split(fit);
  return `${cutUtf8(stem, LONGEST_COMPONENT - utf8(extension).length)}${extension}`;
}

/** Extensions are short; a dot early in a long name begins none. */
function split(component: string): { readonly stem: string; readonly extension: string } {
  const dot = component.lastIndexOf('.');
  if (dot <= 0 || component.length - dot > 16) return { stem: component, extension: '' };
  return { stem: component.slice(0, dot), extension: component.slice(dot) };
}
