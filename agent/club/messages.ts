/** The messages of the core protocol (core.md, "Handshake" to "Keep-alive"; docs/protocol.md, section 4). */

import { field, hex, integer, list, nullable, object, optionalField, text, u63 } from '../base/schema.ts';
import { message } from '../wire/message.ts';

/** The version of the protocol that we speak. */
export const PROTOCOL = 1;

/** Longest name of a device or a program, UTF-16 code units. */
export const MAX_NAME = 256;

const peerId = hex(16);
const name = nullable(text({ max: MAX_NAME }));
const software = text({ max: MAX_NAME });
const extensions = list(text({ min: 1, max: 128 }), { max: 64 });
const protocolVersion = integer({ min: 0, max: 2 ** 31 - 1 });
/** Two levels are known; unknown ones are passed over. */
const accessLevel = text({ max: 64 });

/**
 * Skylark's, to each of two processes that go by one peer ID: a copied card of which the copies do not meet. What each of
 * them has given out under a revision, nobody would take from the other.
 */
export const peerCopied = message('.io.skylark.copied', {});

/**
 * "Once the TLS session has started, the server sends a 'greeting' message that lists all of the protocol versions it
 * supports, as well as an optional extension list." `instance` is ours: random for each process, so that a copied card
 * can be told from a connection to oneself.
 */
export const coreGreeting = message('core.greeting', {
  software: optionalField('software', software),
  name: optionalField('name', name),
  protocol: field('protocol', list(protocolVersion, { max: 64 })),
  extensions: optionalField('extensions', extensions),
  peer: field('peer', peerId),
  instance: optionalField('instance', peerId),
});

/**
 * "The client will examine the greeting and decide which protocol version and extensions it has in common with the
 * server. It will then respond with a start message."
 */
export const coreStart = message('core.start', {
  software: optionalField('software', software),
  protocol: field('protocol', protocolVersion),
  extensions: optionalField('extensions', extensions),
  peer: field('peer', peerId),
  name: optionalField('name', name),
  instance: optionalField('instance', peerId),
});

/**
 * "The very first connection will have been started with an access code instead of a key, and after the 'start' message
 * is received a 'keys' message should be sent. The 'keys' message will be sent by the creator of the access code, which
 * may be the 'server' or 'client'." RSA keys are PEM, the other keys hexadecimal; a level's private parts are there only
 * if the receiver is to have them.
 */
export const coreKeys = message('core.keys', {
  accessLevel: field('access_level', accessLevel),
  keys: field(
    'keys',
    list(
      object({
        accessLevel: field('access_level', accessLevel),
        id: optionalField('id', hex(32)),
        key: optionalField('key', hex(32)),
        privateRsa: optionalField('private_rsa', text({ max: 8_192 })),
        publicRsa: optionalField('public_rsa', text({ max: 8_192 })),
      }),
      { max: 16 },
    ),
  ),
});

/**
 * "Once the keys are received, the peer should respond with a 'keys_acknowledgment' message. [...] As soon as the
 * acknowledgment is received, the corresponding access code should be deactivated, unless it was a multi-use access code."
 */
export const coreKeysAcknowledgment = message('core.keys_acknowledgment', {});

/**
 * "The 'timeout' specified is the absolute minimum amount of time to wait for the peer to send another ping before
 * dropping the connection. A peer should adjust its own timeout to be same as the timeout of its peer if the peer's
 * timeout is greater." Seconds.
 */
export const corePing = message('core.ping', { timeout: field('timeout', u63) });
