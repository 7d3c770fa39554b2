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

/** Sizes, counts and rates: whole numbers that every JSON reader holds exactly. */
export const count: Schema<number> = integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
