/** Ends of a handshake, real and by hand, for the tests of the handshake. */

import assert from 'node:assert/strict';
import { asError } from '../../agent/base/errors.ts';
import type { ByteStream } from '../../agent/base/stream.ts';
import { type Grant, type HandshakeOptions, type Purpose, shakeHands } from '../../agent/club/handshake.ts';
import { generateClubKeys, type KeysMessage, keysFor, readClubKeys } from '../../agent/club/keys.ts';
import { openMessageStream } from '../../agent/wire/message-stream.ts';
import { stockRsa } from './test-device.ts';

export const ALICE = 'a'.repeat(32);
export const BOB = 'b'.repeat(32);
export const MEMBER: Purpose = { kind: 'member', level: 'read_write' };
const clubKeys = await generateClubKeys(stockRsa);

export function given(level: 'read_write' | 'read_only'): KeysMessage {
  const keys = keysFor(clubKeys, level);
  assert.ok(keys !== undefined);
  return keys;
}

export function who(peer: string, extensions: readonly string[] = ['database', 'directory']) {
  return {
    peer,
    instance: peer.replace(/./g, '9').slice(1) + peer[0],
    name: `name ${peer[0]}`,
    software: 'test 1',
    extensions,
  };
}

/** One end; ends the stream when the handshake fails, as its caller does. */
export async function handshake(stream: ByteStream, options: Omit<HandshakeOptions, 'address'>) {
  const messages = openMessageStream(stream, { payloadLimit: () => 1_000n });
  try {
    return await shakeHands(messages, { ...options, address: stream.label });
  } catch (thrown) {
    messages.abort(asError(thrown));
    throw thrown;
  }
}

export interface GrantLog {
  readonly events: string[];
  readonly purpose: Purpose;
}

export function grantOf(level: 'read_write' | 'read_only', change: Partial<Grant> = {}): GrantLog {
  const events: string[] = [];
  const grant: Grant = {
    level,
    keys: given(level),
    sending: () => void events.push('sending'),
    acknowledged: async () => void events.push('acknowledged'),
    release: async () => void events.push('released'),
    ...change,
  };
  return {
    events,
    purpose: {
      kind: 'grant',
      claim: async ({ id }) => {
        events.push(`claimed by ${id[0]}`);
        return grant;
      },
    },
  };
}

export const join = (store: (keys: KeysMessage) => Promise<void> = async () => {}): Purpose => ({
  kind: 'join',
  store: async (keys) => {
    await store(keys);
    return (await readClubKeys(keys, stockRsa)).level;
  },
});
export function greeting(change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: 'core.greeting',
    software: 'x',
    protocol: [1],
    extensions: ['database'],
    peer: ALICE,
    ...change,
  });
}

export function started(change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: 'core.start',
    software: 'x',
    protocol: 1,
    extensions: ['database'],
    peer: ALICE,
    ...change,
  });
}

export function keysText(level: 'read_write' | 'read_only'): string {
  return JSON.stringify({
    type: 'core.keys',
    access_level: level,
    keys: given(level).keys.map(({ accessLevel, id, key, privateRsa, publicRsa }) => ({
      access_level: accessLevel,
      id,
      key,
      private_rsa: privateRsa,
      public_rsa: publicRsa,
    })),
  });
}
