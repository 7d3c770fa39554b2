/**
 * The messages of the ClearSkies extension "directory" (directory.md), by which contents travel. Which files there are
 * is told by the database's records; contents are asked for by SHA-256, never by path.
 */

import { field, hex, integer, optionalField, pair, text, u63 } from '../base/schema.ts';
import { message } from '../wire/message.ts';

/** The extension's string in `core.greeting`. */
export const DIRECTORY = 'directory';

/** Most bytes that we ask for at a time, and so the most that an answer to us may carry. */
export const MAX_RANGE = 4_194_304;
/** Largest Bloom filter that is taken: 2^27 bits serve 10 million files at k = 8 with 0.2 % false answers. */
export const MAX_FILTER = 16_777_216;
const MAX_ERROR_TEXT = 1_024;

const sha256 = hex(32);
/** First byte, number of bytes. */
const range = pair(u63, u63);

/**
 * "When the client wishes to retrieve the contents of a file, it sends the following message. [...] The `range`
 * parameter is optional and allows the client to request only certain bytes from the file. The first number is the
 * start byte, and the second number is the number of bytes."
 */
export const get = message('directory.get', {
  sha256: field('sha256', sha256),
  range: optionalField('range', range),
});

/**
 * "The server responds with the file data. This will have a binary payload of the file contents." Carries the range
 * that was asked for. As we receive it, at most what we ever ask for; what exceeds the range of its own request is
 * refused by the fetcher.
 */
export const data = message(
  'directory.data',
  { sha256: field('sha256', sha256), range: optionalField('range', range) },
  { payloadLimit: BigInt(MAX_RANGE) },
);

/** "If a file does not exist on the server (perhaps because it has yet to be downloaded from a third peer)". */
export const notPresent = message('directory.not_present', { sha256: field('sha256', sha256) });

/**
 * "The server should respond to requests for files that it is unable to serve with a `directory.get_error` message. [...]
 * When a client receives an error from the server, it should not request the file again for an extended period of time,
 * at least several hours."
 */
export const getError = message('directory.get_error', {
  sha256: field('sha256', sha256),
  message: field('message', text({ max: MAX_ERROR_TEXT })),
});

/** "The bloom filter is requested via a `directory.get_presence` message." It also subscribes to `directory.present`. */
export const getPresence = message('directory.get_presence', {});

/**
 * "The actual bloom filter is attached to the message as a binary attachment." Bits are numbered from the least
 * significant of the first byte. One byte 0xff means "ask for anything", one byte 0x00 "ask for nothing that is not
 * announced": both are ordinary filters of 8 bits.
 */
export const bloomFilter = message(
  'directory.bloom_filter',
  {
    kValue: field('k_value', integer({ min: 1, max: 8 })),
    /** Ours: who sends it gives contents slowly, and wants to be asked for at most so many bytes at a time. */
    range: optionalField('.io.skylark.range', integer({ min: 1, max: 2_147_483_647 })),
  },
  { payloadLimit: BigInt(MAX_FILTER) },
);

/**
 * "Once the `directory.get_presence` message has been sent by the client, the server responds with its bloom filter and
 * then updates the client with any further changes via the `directory.present` message, as files are downloaded from
 * other peers."
 */
export const present = message('directory.present', { sha256: field('sha256', sha256) });

/** For `Extension.payloadLimits`: what may follow a message of each type, bytes. */
export const payloadLimits: Readonly<Record<string, bigint>> = {
  [data.type]: data.payloadLimit,
  [bloomFilter.type]: bloomFilter.payloadLimit,
};
