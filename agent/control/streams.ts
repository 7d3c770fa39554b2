/** Commands of the control socket that tell something before their answer, as the server runs them. */

import { asError, userError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import type { CommandSpec, StreamSpec } from './command.ts';
import {
  STREAMS,
  type StreamAnswers,
  type StreamItems,
  type StreamName,
  type StreamRequests,
} from './messages.ts';

/** Each is left early when its client has gone; the signal aborts when the socket closes. */
export type AgentStreams = {
  readonly [K in StreamName]: (
    request: StreamRequests[K],
    signal: AbortSignal,
  ) => AsyncGenerator<StreamItems[K], StreamAnswers[K], void>;
};

/** Items and answer as they go over the socket. */
export type RunningStream = AsyncGenerator<JsonObject, JsonObject, void>;

const SPECS: {
  readonly [K in StreamName]: StreamSpec<StreamRequests[K], StreamItems[K], StreamAnswers[K]>;
} = STREAMS;

/** By the type of the command. */
export function openStreams(
  agent: AgentStreams,
): ReadonlyMap<string, (json: JsonObject, signal: AbortSignal) => RunningStream> {
  const names = Object.keys(STREAMS) as StreamName[];
  return new Map(names.map((name) => [STREAMS[name].type, streamOf(agent, name)]));
}

function streamOf<K extends StreamName>(
  agent: AgentStreams,
  name: K,
): (json: JsonObject, signal: AbortSignal) => RunningStream {
  const spec: StreamSpec<StreamRequests[K], StreamItems[K], StreamAnswers[K]> = SPECS[name];
  return async function* (json, signal) {
    const answer = yield* encoded(spec, agent[name](decodeRequest(spec, json), signal));
    return spec.answer.encode(answer);
  };
}

async function* encoded<Item, Answer>(
  spec: StreamSpec<never, Item, Answer> | StreamSpec<unknown, Item, Answer>,
  items: AsyncGenerator<Item, Answer, void>,
): AsyncGenerator<JsonObject, Answer, void> {
  let isOver = false;
  try {
    for (;;) {
      const step = await items.next();
      isOver = step.done === true;
      if (step.done) return step.value;
      yield spec.item.encode(step.value);
    }
  } catch (thrown) {
    isOver = true;
    throw thrown;
  } finally {
    // Left: so is the work.
    if (!isOver) await items[Symbol.asyncDispose]();
  }
}

/** Whoever types commands is a user, not a peer. @throws SkylarkError (user) `control.malformed`. */
export function decodeRequest<Request, Answer>(
  spec: CommandSpec<Request, Answer>,
  json: JsonObject,
): Request {
  try {
    return spec.request.decode(json, spec.type);
  } catch (thrown) {
    throw userError('control.malformed', asError(thrown).message, { cause: thrown });
  }
}
