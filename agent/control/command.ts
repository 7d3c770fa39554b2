/** How commands of the control socket are declared: a type, the options, and what the answer says. */

import {
  type Fields,
  integer,
  type ObjectOf,
  type ObjectSchema,
  object,
  type Schema,
} from '../base/schema.ts';

export interface CommandSpec<Request, Answer> {
  readonly type: string;
  readonly request: ObjectSchema<Request>;
  readonly answer: ObjectSchema<Answer>;
}

export type RequestOf<S> = S extends CommandSpec<infer Request, infer _> ? Request : never;
export type AnswerOf<S> = S extends CommandSpec<infer _, infer Answer> ? Answer : never;

export function command<const R extends Fields, const A extends Fields>(
  type: string,
  request: R,
  answer: A,
): CommandSpec<ObjectOf<R>, ObjectOf<A>> {
  return { type, request: object(request), answer: object(answer) };
}

/** A command whose answer takes long: before it come lines of their own, `{"more": ITEM}`. */
export interface StreamSpec<Request, Item, Answer> extends CommandSpec<Request, Answer> {
  readonly item: ObjectSchema<Item>;
}

export type ItemOf<S> = S extends StreamSpec<infer _, infer Item, infer __> ? Item : never;

export function stream<const R extends Fields, const I extends Fields, const A extends Fields>(
  type: string,
  request: R,
  item: I,
  answer: A,
): StreamSpec<ObjectOf<R>, ObjectOf<I>, ObjectOf<A>> {
  return { ...command(type, request, answer), item: object(item) };
}

/** Sizes, counts and rates: whole numbers that every JSON reader holds exactly. */
export const count: Schema<number> = integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
