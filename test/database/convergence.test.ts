/**
 * The whole of the database against a plain specification: a few members edit, rename, delete, lose connections and
 * power in the worst places, with clocks from 1970 to the year 9000; in the end all have the same records and nothing
 * that a person wrote is gone, unless somebody who had seen it overwrote it.
 *
 * SKYLARK_SCHEDULES sets how many schedules are tried (20,000 in a long run); a failure prints the seed and the smallest schedule that fails.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DatabaseRecord, VectorClock, WrittenRecord } from '../../agent/database/database.ts';
import { updateBody } from '../../agent/database/messages.ts';
import { isBefore } from '../../agent/database/vector-clock.ts';
import { type Member, mark, recordsOf, Simulation } from './club-simulation.ts';

const SCHEDULES = Number(process.env.SKYLARK_SCHEDULES ?? (process.env.SKYLARK_LONG === '1' ? 20_000 : 500));
const KEYS = ['/a', '/b', '/c'];
const HOUR = 3_600_000_000_000n;
const SKEWS = [0n, 0n, HOUR, -HOUR, -1_790_000_000_000_000_000n, 220_000_000_000_000_000_000n];

interface Plan {
  readonly members: readonly { readonly writable: boolean; readonly skew: number }[];
  readonly steps: readonly Step[];
  /** How the members are connected in the end. */
  readonly shape: 'chain' | 'mesh';
  readonly startsConnected: boolean;
  /** Whether time passes between the steps; otherwise many changes have the same time. */
  readonly ticks: boolean;
  /** Whether connections that are open at the end are used on, or all are made anew. */
  readonly keep: boolean;
}

interface Step {
  readonly kind:
    | 'put'
    | 'late'
    | 'rename'
    | 'swap'
    | 'remove'
    | 'connect'
    | 'disconnect'
    | 'deliver'
    | 'sync'
    | 'restart'
    | 'wait'
    | 'forge';
  readonly member: number;
  readonly other: number;
  readonly key: number;
  readonly count: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('put' as const) },
    { weight: 2, arbitrary: fc.constant('late' as const) },
    { weight: 2, arbitrary: fc.constant('rename' as const) },
    { weight: 2, arbitrary: fc.constant('swap' as const) },
    { weight: 2, arbitrary: fc.constant('remove' as const) },
    { weight: 4, arbitrary: fc.constant('connect' as const) },
    { weight: 1, arbitrary: fc.constant('disconnect' as const) },
    { weight: 9, arbitrary: fc.constant('deliver' as const) },
    { weight: 1, arbitrary: fc.constant('sync' as const) },
    { weight: 2, arbitrary: fc.constant('restart' as const) },
    { weight: 1, arbitrary: fc.constant('wait' as const) },
    { weight: 1, arbitrary: fc.constant('forge' as const) },
  ),
  member: fc.nat({ max: 5 }),
  other: fc.nat({ max: 5 }),
  key: fc.nat({ max: KEYS.length - 1 }),
  count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 12 })),
});

const plan: fc.Arbitrary<Plan> = fc.record({
  members: fc
    .array(fc.record({ writable: fc.boolean(), skew: fc.nat({ max: SKEWS.length - 1 }) }), {
      minLength: 1,
      maxLength: 5,
    })
    .map((others) => [{ writable: true, skew: 0 }, ...others]),
  steps: fc.array(step, { minLength: 10, maxLength: 70, size: 'max' }),
  shape: fc.constantFrom('chain', 'mesh'),
  startsConnected: fc.boolean(),
  ticks: fc.boolean(),
  keep: fc.boolean(),
});

/** A version that a person made. */
interface Edit {
  readonly mark: string;
  readonly uuid: string;
  readonly key: string;
  readonly clock: VectorClock;
  /** The edits that its author knew of: of this record what was before his eyes, of others what his device had. */
  readonly seen: ReadonlySet<Edit>;
}

/** What has happened, as the people who did it know it. */
class Specification {
  readonly edits: Edit[] = [];
  /** Marks of contents that somebody replaced or deleted who had them before his eyes. */
  readonly overwritten = new Set<string>();
  /** What each member's people have looked at: the clock and contents of each record, at one time or another. */
  readonly looked = new Map<Member, { uuid: string; clock: VectorClock; mark: string | undefined }[]>();

  /** What somebody sees who looks at this member's device. */
  visibleTo({ database }: Member): Set<Edit> {
    const visible = this.edits.filter(({ uuid, clock }) => {
      const known = database.getByUuid(uuid);
      if (known === undefined || !isBefore(clock, known.vectorClock)) return false;
      // Of two live records of a key, nobody sees the one that will have to give way.
      return known.deleted || database.get(known.key)?.uuid === uuid;
    });
    return new Set(visible);
  }

  /** @param visible what the author saw; of the record itself, it is what the clock says. */
  note(made: WrittenRecord, visible: Set<Edit>): void {
    const { uuid, key, value, writtenClock } = made;
    const seen = this.edits.filter((edit) =>
      edit.uuid === uuid ? isBefore(edit.clock, writtenClock) : visible.has(edit),
    );
    const edit = { mark: mark(value) ?? '', uuid, key, clock: writtenClock, seen: new Set(seen) };
    this.edits.push(edit);
    visible.add(edit);
  }

  look(member: Member, record: DatabaseRecord): void {
    const list = this.looked.get(member) ?? [];
    list.push({ uuid: record.uuid, clock: record.vectorClock, mark: mark(record.value) });
    this.looked.set(member, list);
  }
}

let marks = 0;

function act(simulation: Simulation, specification: Specification, { kind, member, key, count }: Step): void {
  const writers = simulation.members.filter(({ writable }) => writable);
  const actor = writers[member % writers.length]!;
  const { database } = actor;
  const wanted = database.get(KEYS[key]!);
  const current = wanted ?? (kind === 'put' ? undefined : database.iterate().next().value);
  const path = current?.key ?? KEYS[key]!;
  const visible = specification.visibleTo(actor);
  const overwrite = (seen: { mark: string | undefined } | undefined) => {
    if (seen?.mark !== undefined) specification.overwritten.add(seen.mark);
  };
  const before = current === undefined ? undefined : { mark: mark(current.value) };
  if (current !== undefined) specification.look(actor, current);
  switch (kind) {
    case 'put': {
      const made = database.put(path, { v: `v${++marks}` });
      if (current?.uuid === made.uuid) overwrite(before);
      specification.note(made, visible);
      break;
    }
    case 'late': {
      // Somebody had opened a file some time ago, and saves it now.
      const looked = specification.looked.get(actor) ?? [];
      const then = looked[count % Math.max(1, looked.length)];
      if (then === undefined) break;
      const record = database.getByUuid(then.uuid);
      assert.ok(record !== undefined);
      const made = database.put(record.key, { v: `v${++marks}` }, { uuid: then.uuid, basedOn: then.clock });
      overwrite(then);
      specification.note(made, new Set());
      break;
    }
    case 'rename': {
      const target = KEYS[count % KEYS.length]!;
      if (current === undefined || target === path) break;
      const occupant = database.get(target);
      // As a file system does it: what has the name is replaced.
      database.transaction(() => {
        if (occupant !== undefined) {
          const removed = database.remove(occupant.uuid);
          specification.note(removed, visible);
          overwrite({ mark: mark(occupant.value) });
        }
        const made = database.rename(current.uuid, target);
        specification.note(made, visible);
      });
      break;
    }
    case 'swap': {
      const target = KEYS[count % KEYS.length]!;
      const occupant = database.get(target);
      if (current === undefined || occupant === undefined || target === path) break;
      database.transaction(() => {
        for (const [uuid, to] of [
          [current.uuid, target],
          [occupant.uuid, path],
        ] as const) {
          const made = database.rename(uuid, to);
          specification.note(made, visible);
        }
      });
      break;
    }
    case 'remove': {
      if (current === undefined) break;
      const made = database.remove(current.uuid);
      overwrite(before);
      specification.note(made, visible);
      break;
    }
    default:
  }
}

/** A read-only member makes something up, signs it as well as it can, and sends it around. */
function forge(simulation: Simulation, { member, count }: Step): void {
  const actor = simulation.members[member % simulation.members.length]!;
  if (actor.writable) return;
  assert.throws(() => actor.database.put('/a', { v: 'forged' }), { code: 'database.read_only' });
  for (const link of simulation.openLinks()) {
    const side = link.members.indexOf(actor);
    if (side !== 0 && side !== 1) continue;
    const body = updateBody({
      uuid: 'f'.repeat(32),
      key: '/a',
      valueText: '{"v":"forged"}',
      deleted: false,
      lastUpdatedBy: simulation.members[0]!.id,
      lastUpdatedRev: BigInt(count),
      updateTime: '2030-01-01T00:00:00Z',
      vectorClock: new Map([['f'.repeat(32), 1n]]),
    });
    link.inject(side, count % 2 === 0 ? { body } : { body, signature: 'bm9uc2Vuc2U=' });
  }
}

async function run({ members, steps, shape, startsConnected, ticks, keep }: Plan): Promise<void> {
  const simulation = new Simulation();
  const specification = new Specification();
  try {
    for (const [i, { writable, skew }] of members.entries()) {
      simulation.add({ id: `${i}`.repeat(32), writable, skew: SKEWS[skew]! });
    }
    if (startsConnected) connectAll(simulation, shape);
    const of = (n: number) => simulation.members[n % simulation.members.length]!;
    for (const each of steps) {
      if (ticks) simulation.setClocksForward(each.count);
      const [a, b] = [of(each.member), of(each.other)];
      const open = simulation.openLinks();
      const chosen = open[each.other % Math.max(1, open.length)];
      switch (each.kind) {
        case 'connect':
          if (a !== b && simulation.linkOf(a, b) === undefined) simulation.connect(a, b, each.count);
          break;
        case 'disconnect':
          chosen?.close();
          break;
        case 'deliver': {
          const side = each.member % 2 === 0 ? 0 : 1;
          for (let i = 0; i < each.count && chosen !== undefined; i++) await chosen.deliver(side);
          // Otherwise what has arrived waits for its commit, and a loss of power takes it away again.
          if (each.key !== 0) await simulation.clock.pass(0);
          break;
        }
        case 'sync':
          await simulation.deliverAll();
          break;
        case 'restart':
          simulation.restart(a);
          break;
        case 'wait':
          await simulation.clock.pass(1_500);
          break;
        case 'forge':
          forge(simulation, each);
          break;
        default:
          act(simulation, specification, each);
      }
    }
    if (!keep) for (const link of simulation.openLinks()) link.close();
    await converge(simulation, shape);
    check(simulation, specification);
  } finally {
    simulation.close();
  }
}

function connectAll(simulation: Simulation, shape: Plan['shape']): void {
  const { members } = simulation;
  for (const [i, member] of members.entries()) {
    for (const other of members.slice(i + 1, shape === 'chain' ? i + 2 : undefined)) {
      if (simulation.linkOf(member, other) === undefined) simulation.connect(member, other);
    }
  }
}

async function converge(simulation: Simulation, shape: Plan['shape']): Promise<void> {
  connectAll(simulation, shape);
  await simulation.settle();
  for (const { closedBy } of simulation.links) assert.equal(closedBy, undefined);
}

function check({ members }: Simulation, { edits, overwritten }: Specification): void {
  const [first] = members;
  assert.ok(first !== undefined);
  for (const member of members) assert.deepEqual(recordsOf(member), recordsOf(first), 'all have the same');
  const records = [...first.database.iterate({ includeDeleted: true })];
  const live = records.filter(({ deleted }) => !deleted);
  assert.equal(new Set(live.map(({ key }) => key)).size, live.length, 'each key has one live record');

  const found = new Set(live.map(({ value }) => mark(value)));
  assert.ok(!found.has('forged'), "a read-only member's own changes never spread");
  for (const edit of edits) {
    assert.ok(found.has(edit.mark) || overwritten.has(edit.mark), `${edit.mark} is gone`);
  }
  for (const { key, value } of records) {
    const isCopy = (value as { conflict_source?: unknown } | null)?.conflict_source !== undefined;
    if (!isCopy) continue;
    const copied = new Set(edits.filter((edit) => edit.mark === mark(value)).map(({ uuid }) => uuid));
    // Of the record itself or, where it had to give way, of another version of it.
    const isTrue = edits.some(
      (edit) => copied.has(edit.uuid) && edits.some((other) => isConcurrent(edit, other)),
    );
    // Half of an exchange of names, and then nothing for a while, looks like a conflict of names (see contested.ts).
    const wasMoved = edits.some(
      (edit) =>
        copied.has(edit.uuid) &&
        edits.some(({ uuid, key: other }) => uuid === edit.uuid && other !== edit.key),
    );
    assert.ok(isTrue || wasMoved, `${key} is a false conflict`);
  }
}

/** Neither author knew of the other's change, to the same record or to another one of that name. */
function isConcurrent(a: Edit, b: Edit): boolean {
  if (a === b || a.seen.has(b) || b.seen.has(a)) return false;
  return a.uuid === b.uuid || a.key === b.key;
}

test(`${SCHEDULES} schedules: all members converge, nothing is lost, no conflict is made up`, async () => {
  await fc.assert(fc.asyncProperty(plan, run), { numRuns: SCHEDULES });
});
