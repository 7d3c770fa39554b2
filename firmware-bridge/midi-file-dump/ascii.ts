/** Names in MIDI messages are ASCII, 20 to 7E, whatever people call their files. */

/** Trailing blanks are filling. What is no printable character is passed on for whoever makes a path of it. */
export function asciiOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes).trimEnd();
}

/** What ASCII has not got is written without its accent, or as `_`. @param longest characters */
export function fromAscii(text: string, longest: number): Uint8Array {
  const plain = text.normalize('NFKD').replaceAll(/\p{M}/gu, '');
  const codes = Array.from(plain, (character) => character.codePointAt(0) ?? 0);
  return Uint8Array.from(codes.slice(0, longest), (code) => (code < 0x20 || code > 0x7e ? 0x5f : code));
}
