/**
 * CRC-16/XMODEM, the checksum of YMODEM's blocks: polynomial 0x1021, initial value 0, not reflected, sent with the high byte
 * first. Check value of "123456789": 0x31C3. (Forsberg, XMODEM/YMODEM Protocol Reference, 1988, chapter 8.)
 */

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 8;
  for (let bit = 0; bit < 8; bit++) value = value & 0x8000 ? (value << 1) ^ 0x1021 : value << 1;
  return value & 0xffff;
});

/** Unsigned 16 bits. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >> 8) ^ byte]!;
  return crc;
}
