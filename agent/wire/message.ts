/**
 * How messages are declared: a type, the members, and how much payload may follow. A protocol's `messages.ts` is a list
 * of such declarations.
 */

import { peerError } from '../base/errors.ts';
import { type JsonObject, jsonObject } from '../base/json.ts';
import { type Fields, type ObjectOf, type ObjectSchema, object } from '../base/schema.ts';

export interface MessageSpec<T> {
  readonly type: string;
  readonly schema: ObjectSchema<T>;
  /** Most payload bytes that may follow; 0n: the message carries none. */
  readonly payloadLimit: bigint;
}

export type MessageOf<S> = S extends MessageSpec<infer T> ? T : never;

/** Declares a message. */
export function message<const F extends Fields>(
  type: string,
  fields: F,
  options: { readonly payloadLimit?: bigint } = {},
): MessageSpec<ObjectOf<F>> {
  return { type, schema: object(fields), payloadLimit: options.payloadLimit ?? 0n };
}

/** The JSON body, `type` first. */
export function encode<T>(spec: MessageSpec<T>, value: T): JsonObject {
  return jsonObject([['type', spec.type], ...Object.entries(spec.schema.encode(value))]);
}

/**
 * The members of a received message of the type `spec.type`.
 * @throws SkylarkError (peer) `schema.mismatch`; `wire.type_unexpected` if it is of another type.
 */
export function decode<T>(
  spec: MessageSpec<T>,
  received: { readonly type: string; readonly json: JsonObject },
): T {
  if (received.type !== spec.type) {
    throw peerError('wire.type_unexpected', `a message of type ${spec.type} was expected`);
  }
  return spec.schema.decode(received.json, spec.type);
}
