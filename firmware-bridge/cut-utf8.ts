import { utf8 } from '../agent/base/bytes.ts';

/** The longest beginning of whole characters that takes at most so many bytes of UTF-8. */
export function cutUtf8(text: string, bytes: number): string {
  if (utf8(text).length <= bytes) return text;
  let used = 0;
  let kept = '';
  for (const character of text) {
    used += utf8(character).length;
    if (used > bytes) break;
    kept += character;
  }
  return kept;
}
