/**
 * Every message of Skylink, declared once. `../PROTOCOL.md` is the normative text; the numbers in comments are its
 * sections. Host questions are 01 to 3F; answers have the high bit; what a device says unasked is A0 and up.
 */

import { bytes, i16, message, rest, text, u8, u16, u32 } from './fields.ts';

/** 4.1 The newest version of the protocol that this side speaks. */
export const SKYLINK_VERSION = 1;

/** 4.1 Host: who are you? Repeated until answered. Has no effect on the device but that it learns `receive`. */
export const HELLO = message(0x01, 'HELLO', {
  version: u8,
  /** Largest content that the host takes, bytes. */
  receive: u16,
});

export const WELCOME = message(0x81, 'WELCOME', {
  version: u8,
  /** Largest content that the device takes, bytes. */
  receive: u16,
  /** Largest content that the device sends, bytes. */
  send: u16,
  capabilities: u32,
  /** Random, new at each start of the device. */
  boot: u32,
  /** Random, new when the change counter or the file IDs started over. */
  epoch: u32,
  /** Grows with every change to any file. */
  counter: u32,
  device: bytes,
  model: text,
  firmware: text,
});

/** 4.1 Bits of `WELCOME.capabilities`. */
export const CAPABILITY = {
  /** LIST honours `since`. */
  since: 1 << 0,
  /** LIST with `since` names deleted files. */
  tombstones: 1 << 1,
  hash: 1 << 2,
  write: 1 << 3,
  delete: 1 << 4,
  time: 1 << 5,
  /** EVENT is sent to a subscriber. */
  events: 1 << 6,
  show: 1 << 7,
  button: 1 << 8,
  battery: 1 << 9,
} as const;

/** 4.2 Host: what files are there? Answered by at most `limit` FILE, then LIST_END. */
export const LIST = message(0x02, 'LIST', {
  /** Only what changed after this value of the change counter; 0: everything. */
  since: u32,
  /** Where to go on: 0 for the first question, then `next` of the last FILE or LIST_END that arrived. */
  cursor: u32,
  limit: u16,
});

export const FILE = message(0x82, 'FILE', {
  /** 0, 1, 2... within one answer, so that a lost one is noticed. */
  index: u16,
  /** The cursor that continues behind this file. */
  next: u32,
  id: u32,
  generation: u32,
  size: u32,
  /** Seconds since 1970-01-01T00:00:00Z; 0: not known. */
  mtime: u32,
  flags: u8,
  name: text,
});

/** 4.2 Bits of `FILE.flags`. */
export const FILE_FLAG = {
  /** It is gone; only `id` means anything. */
  deleted: 1 << 0,
  /** The device is still writing it. */
  open: 1 << 1,
  /** The device refuses to delete or replace it. */
  fixed: 1 << 2,
} as const;

export const LIST_END = message(0x92, 'LIST_END', {
  /** FILE messages sent in this answer. */
  count: u16,
  /** The cursor for the rest; 0: that was all. */
  next: u32,
  /** Value of the change counter when the device began this answer. */
  counter: u32,
  /** Files on the device, deleted ones not counted. */
  total: u32,
});

/** 4.3 Host: that one file. Answered by FILE. */
export const STAT = message(0x03, 'STAT', { id: u32 });

/** 4.4 Host: the CRC-32C of a range of a file. */
export const HASH = message(0x04, 'HASH', { id: u32, generation: u32, offset: u32, length: u32 });

export const DIGEST = message(0x84, 'DIGEST', {
  /** Bytes covered, from the asked offset: at least one, at most the asked length. */
  length: u32,
  crc: u32,
});

/** 4.5 Host: a range of a file. Answered by DATA as they come, then END. */
export const READ = message(0x05, 'READ', {
  id: u32,
  generation: u32,
  offset: u32,
  /** Bytes to send at most in this answer. */
  window: u32,
  /** Bytes in one DATA at most. */
  chunk: u16,
});

export const DATA = message(0x85, 'DATA', { offset: u32, data: rest });

export const END = message(0x95, 'END', {
  /** Where the answer ends: the offset behind the last byte sent. */
  offset: u32,
  /** Size of the file. */
  size: u32,
});

/** 4.6 Host: a file is coming. The device keeps it invisible until WRITE_COMMIT. */
export const WRITE_BEGIN = message(0x06, 'WRITE_BEGIN', {
  /** Chosen by the host at random, not 0; names this transfer until its end. */
  transfer: u32,
  size: u32,
  mtime: u32,
  flags: u8,
  name: text,
});

/** 4.6 Bits of `WRITE_BEGIN.flags`. */
export const WRITE_FLAG = {
  /** A file of that name may be replaced; otherwise it is an error. */
  replace: 1 << 0,
} as const;

export const WRITE_READY = message(0x86, 'WRITE_READY', {
  transfer: u32,
  /** Where to begin: not 0 if the device kept the beginning of this very transfer. */
  offset: u32,
  /** Bytes that may be under way without an answer, at least one chunk. */
  window: u32,
  chunk: u16,
});

export const WRITE_DATA = message(0x07, 'WRITE_DATA', { transfer: u32, offset: u32, data: rest });

export const WRITTEN = message(0x87, 'WRITTEN', {
  transfer: u32,
  /** All bytes before this offset have been taken. */
  offset: u32,
});

export const WRITE_COMMIT = message(0x08, 'WRITE_COMMIT', {
  transfer: u32,
  size: u32,
  /** CRC-32C of the whole file. */
  crc: u32,
});

export const COMMITTED = message(0x88, 'COMMITTED', { transfer: u32, id: u32, generation: u32 });

/** 4.7 Host: delete a file. Answered by DONE. */
export const DELETE = message(0x09, 'DELETE', { id: u32, generation: u32 });

/** The answer to what has no result. */
export const DONE = message(0x80, 'DONE', {});

/** 4.8 Host: it is this late. Answered by CLOCK. */
export const TIME = message(0x0a, 'TIME', {
  /** Seconds since 1970-01-01T00:00:00Z. */
  seconds: u32,
  milliseconds: u16,
  /** Local time is UTC plus this. */
  zoneMinutes: i16,
});

/** The device's own clock just before it was set; 0: it was not running. */
export const CLOCK = message(0x8a, 'CLOCK', { seconds: u32, milliseconds: u16 });

/** 4.9 Host: how are you, and tell me of these events from now on. Answered by STATE; repeated as a heartbeat. */
export const SUBSCRIBE = message(0x0b, 'SUBSCRIBE', { events: u8 });

export const STATE = message(0x8b, 'STATE', {
  boot: u32,
  epoch: u32,
  counter: u32,
  /** How often the share button was pressed since the start; wraps around. */
  presses: u16,
  /** Percent; 255: no battery, or not known. */
  battery: u8,
  flags: u8,
});

/** 4.9 Bits of `STATE.flags`. */
export const STATE_FLAG = {
  /** It is recording at the moment. */
  recording: 1 << 0,
} as const;

/** 4.10 Host: put this on your display. Answered by DONE. */
export const SHOW = message(0x0c, 'SHOW', {
  kind: u8,
  /** How long; 0: until something else is to be shown. */
  seconds: u16,
  text,
});

/** 4.10 `SHOW.kind`. */
export const SHOW_KIND = { nothing: 0, text: 1, code: 2, url: 3 } as const;

/** 4.9 Device, unasked. May be lost: STATE tells the same. */
export const EVENT = message(0xa0, 'EVENT', { kind: u8, value: u32 });

/** 4.9 `EVENT.kind`, and bits of `SUBSCRIBE.events` (1 << kind). */
export const EVENT_KIND = {
  /** `value` is the change counter. */
  files: 0,
  /** `value` is `STATE.presses`. */
  button: 1,
  /** `value` is the battery's percentage. */
  battery: 2,
  /** Not an EVENT: the bit asks for LOG. */
  log: 3,
} as const;

/** 4.11 Device, unasked: a line for its maker. Levels 0 debug, 1 info, 2 warning, 3 error. */
export const LOG = message(0xa1, 'LOG', { level: u8, text });

/** 4.12 The answer to what can't be done. */
export const ERR = message(0xff, 'ERR', {
  code: u8,
  /** For `busy`: ask again after so many milliseconds. */
  wait: u16,
  text,
});

/** 4.12 `ERR.code`. */
export const ERR_CODE = {
  unsupported: 1,
  malformed: 2,
  notFound: 3,
  /** The generation is not the present one: list again. */
  changed: 4,
  range: 5,
  full: 6,
  busy: 7,
  refused: 8,
  exists: 9,
  storage: 10,
  /** No such transfer: begin again. */
  transfer: 11,
} as const;

export const QUESTIONS = [
  HELLO,
  LIST,
  STAT,
  HASH,
  READ,
  WRITE_BEGIN,
  WRITE_DATA,
  WRITE_COMMIT,
  DELETE,
  TIME,
  SUBSCRIBE,
  SHOW,
] as const;

export const ANSWERS = [
  WELCOME,
  FILE,
  LIST_END,
  DIGEST,
  DATA,
  END,
  WRITE_READY,
  WRITTEN,
  COMMITTED,
  DONE,
  CLOCK,
  STATE,
  EVENT,
  LOG,
  ERR,
] as const;
