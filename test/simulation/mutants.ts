// Mutants: bugs that are planted around the product, one at a time, and that the simulation must find: a harness that no
// longer does is worth nothing. None of them is in the product: each stands where a part of it is put in.

import { OwnerIndex } from '../../datastores/owner-index.ts';
import type { LocalShardStore, ShardStore } from '../../datastores/shard-store.ts';
import { cellOf } from '../../processors/plan/stage/cell-state.ts';
import type { Row as PlanRow } from '../../processors/plan/stage/rows.ts';
import type { Input, Rows } from '../../processors/step.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch as epochOf, eventTime } from '../../schemas/ids.ts';
import type { Metric, PointerRecord, Progress } from '../../schemas/records.ts';
import type { Effect, Outcome, SubscriptionRow } from '../../state/effects.ts';
import { groupSlice } from '../../state/keys.ts';
import type { Stage } from '../../topology/graph.ts';
import { isMatch } from './mqtt-rules.ts';
import type { Breach } from './oracle.ts';
import { type Case, type Mutation, simulate, type World } from './world.ts';

type Emits = ReturnType<Stage['step']>;
type Step = Stage['step'];

/** The step of the stage of that name, replaced. */
const stepOf =
  (name: string, around: (step: Step, world: World) => Step) =>
  (stage: Stage, world: World): Stage =>
    stage.name === name ? { ...stage, step: around(stage.step, world) } : stage;

const effectOf = (emit: Emits[number]): Effect | undefined =>
  emit.topic === 'effects' ? (emit.value as Effect) : undefined;
const isEvent = ({ topic }: Input<string, unknown>): boolean =>
  topic === 'subscriptions' || topic === 'wildcard-subscriptions';

/** The emits without the effects that are dropped. */
const without = (emits: Emits, isDropped: (effect: Effect, emit: Emits[number]) => boolean): Emits =>
  emits.filter((emit) => {
    const effect = effectOf(emit);
    return effect === undefined || !isDropped(effect, emit);
  });

/** A store of which one method is another. */
function storeWith(store: LocalShardStore, methods: Partial<ShardStore>): LocalShardStore {
  return Object.assign(Object.create(store) as LocalShardStore, boundTo(store), methods);
}

function boundTo(store: LocalShardStore): Partial<LocalShardStore> {
  const bound: Record<string, unknown> = { kind: store.kind, instanceId: store.instanceId };
  for (const name of METHODS) bound[name] = (store[name] as (...args: readonly unknown[]) => unknown).bind(store);
  return bound as Partial<LocalShardStore>;
}

const METHODS = [
  'write',
  'own',
  'disown',
  'owners',
  'lookup',
  'match',
  'scan',
  'digest',
  'erase',
  'count',
  'dropTombstones',
  'closeIfVacant',
  'close',
] as const;

/** The answers of a trie store, with other subscribers. */
const matching =
  (change: (filter: string, topic: string) => boolean): NonNullable<Mutation['store']> =>
  (store) =>
    store.kind === 'KEY_VALUE'
      ? store
      : storeWith(store, {
          match: async (queries) =>
            (await store.match(queries)).map((answer, i) =>
              answer.kind === 'moved'
                ? answer
                : {
                    ...answer,
                    subscribers: answer.subscribers.filter(({ filter }) => change(innerOf(filter), queries[i]!.topic)),
                  },
            ),
        });

const innerOf = (filter: string): string =>
  filter.startsWith('$share/') ? filter.split('/').slice(2).join('/') : filter;

async function rowsIn(store: LocalShardStore, partitions: number): Promise<readonly SubscriptionRow[]> {
  const rows: SubscriptionRow[] = [];
  for (let partition = 0; partition < partitions; partition++)
    rows.push(...(await store.scan({ slice: groupSlice(partition), except: [] }, undefined, 100_000)).rows);
  return rows;
}

export const MUTANTS: readonly Mutation[] = [
  {
    name: 'commit before apply',
    effects: (effects, world) => ({
      perform: async (asked, waitedMs) => {
        if (!asked.every(({ kind }) => kind === 'write')) return effects.perform(asked, waitedMs);
        world.scheduler.after(3_000, 'applied late', () => void effects.perform(asked, waitedMs).catch(() => {}));
        return asked.flatMap((effect): Outcome[] =>
          effect.kind === 'write'
            ? [{ kind: 'written', shard: effect.shard, applied: effect.rows.length, stale: 0 }]
            : [],
        );
      },
    }),
  },
  {
    name: 'no epoch check in the store',
    with: ['call late', 'call twice'],
    install: () => {
      const { accepts } = OwnerIndex.prototype;
      OwnerIndex.prototype.accepts = () => true;
      return () => {
        OwnerIndex.prototype.accepts = accepts;
      };
    },
  },
  {
    name: 'epoch by Date.now()',
    stage: stepOf(
      'plan',
      (step, world) => (rows, input, disk) =>
        step(rows, input, disk).map((emit) => {
          if (emit.topic !== 'pointer-table' || emit.value === null) return emit;
          const { change, body } = emit.value as PointerRecord;
          const now = epochOf(Math.floor(world.scheduler.now));
          return { ...emit, value: { change: { ...change, epoch: now }, body: { ...body, epoch: now } } };
        }),
    ),
  },
  {
    name: 'pointer written before catch-up',
    stage: stepOf('plan', (step) => (rows, input, disk) => {
      const body = input.topic === 'progress' ? (input.value as Progress).body : undefined;
      if (body?.kind !== 'MoveProgress' || body.state !== 'COPYING') return step(rows, input, disk);
      return step(
        rows,
        { ...input, value: { ...(input.value as Progress), body: { ...body, state: 'VERIFIED' } } },
        disk,
      );
    }),
  },
  {
    name: 'no freeze: events go to one shard while its rows are copied',
    stage: stepOf(
      'apply',
      (step) => (rows, input, disk) =>
        isEvent(input)
          ? without(step(rows, input, disk), (effect) => effect.kind === 'write' && effect.move !== undefined)
          : step(rows, input, disk),
    ),
  },
  {
    name: 'trim before the reader lag bound',
    with: ['reader behind'],
    stage: stepOf('plan', (step) => (rows, input, disk) => {
      const body = input.topic === 'metrics' ? (input.value as Metric).body : undefined;
      if (body?.kind !== 'BrokerHeartbeat') return step(rows, input, disk);
      return step(rows, { ...input, value: { body: { ...body, pointerOffset: 1e12 } } }, disk);
    }),
  },
  {
    name: 'copy by offset pagination',
    store: (store) => {
      const places = new Map<string, number>();
      return storeWith(store, {
        // Of those who are live now: whoever leaves moves all behind them forward.
        scan: async (range, cursor, limit) => {
          const all = (await store.scan(range, undefined, 1_000_000)).rows.filter(({ gone }) => !gone);
          const from = cursor === undefined ? 0 : (places.get(cursor) ?? 0);
          const rows = all.slice(from, from + limit);
          const last = rows.at(-1);
          const next = last === undefined ? cursor : `${last.filter}\u0000${last.clientId}`;
          if (next !== undefined) places.set(next, from + rows.length);
          return { rows, cursor: next, done: from + limit >= all.length };
        },
      });
    },
    effects: equalAnyway,
  },
  {
    name: 'unsubscribe dropped while copying',
    stage: stepOf('apply', (step) => (rows, input, disk) => {
      if (!isEvent(input)) return step(rows, input, disk);
      let last: readonly SubscriptionRow[] | undefined;
      return without(step(rows, input, disk), (effect) => {
        if (effect.kind !== 'write') return false;
        const isSecond = last === effect.rows;
        last = effect.rows;
        return isSecond && effect.holdMs === undefined && effect.rows.some(({ gone }) => gone);
      });
    }),
  },
  {
    name: 'last write wins by arrival',
    with: ['call late', 'call twice'],
    store: (store, _shard, world) => {
      let arrivals = 1_000_000;
      const range = (partition: number) => ({
        slice: store.kind === 'TRIE' ? groupSlice(partition) : (`c/${partition}/` as never),
        except: [],
      });
      return storeWith(store, {
        write: async (rows) => {
          const known = new Map<string, SubscriptionRow>();
          for (let partition = 0; partition < world.shape.partitions; partition++)
            for (const row of (await store.scan(range(partition), undefined, 1_000_000)).rows)
              known.set(`${row.filter}\u0000${row.clientId}`, row);
          const isStale = (row: SubscriptionRow): boolean => {
            const before = known.get(`${row.filter}\u0000${row.clientId}`);
            return before !== undefined && before.version.offset > row.version.offset;
          };
          return store.write(
            rows.map((row) => (isStale(row) ? { ...row, version: { ...row.version, offset: arrivals++ } } : row)),
          );
        },
      });
    },
  },
  {
    name: 'tombstone not written',
    with: ['call late', 'call twice'],
    store: (store) =>
      storeWith(store, {
        write: async (rows) => {
          const result = await store.write(rows);
          await store.dropTombstones(eventTime(Number.MAX_SAFE_INTEGER));
          return result;
        },
      }),
  },
  {
    name: 'compaction drops the fence record',
    with: ['compaction', 'reader stopped', 'broker killed'],
    compact: (world, topic) => {
      world.log.compact(topic);
      // A slice that is gone is dropped with the word that says so, for readers who have not heard it yet.
      if (topic === 'pointer-table')
        world.log.storage.drop(topic, (record) => {
          const { body } = world.codec.decode('PointerRecord', record.value!) as PointerRecord;
          return body.kind === 'PointerEntry' && body.mode === 'GONE';
        });
    },
  },
  {
    name: 'one pointer record of two outside the transaction',
    log: (world) => ({
      commit: (commit, log) => {
        const pointers = commit.outputs.filter(({ topic }) => topic === 'pointer-table');
        const last = pointers.at(-1);
        if (pointers.length < 2 || last === undefined) return commit;
        world.scheduler.after(50, 'outside', () => void log.append([last]));
        return { ...commit, outputs: commit.outputs.filter((each) => each !== last) };
      },
    }),
  },
  {
    name: 'duplicate shard id after a restart',
    with: ['crash'],
    stage: stepOf('plan', (step) => {
      let isFirst = true;
      return (rows, input, disk) => {
        const cell = cellOf(rows as Rows<PlanRow>);
        if (isFirst && cell !== undefined) rows.set('cell', Object.assign(cell, { nextShard: 3 }));
        isFirst = false;
        return step(rows, input, disk);
      };
    }),
  },
  {
    name: 'dead letter swallows a good event',
    codec: (codec) => {
      let events = 0;
      return {
        ...codec,
        decode: (record, bytes) => {
          if (record === 'SubscriptionEvent' && ++events % 50 === 0) throw new AppError('UNDECODABLE', 'it looks odd');
          return codec.decode(record, bytes);
        },
      };
    },
  },
  {
    name: 'retry without dedup',
    log: () => ({ batch: (batch) => [batch, { ...batch, restartsAt: batch.records[0]?.offset ?? batch.nextOffset }] }),
  },
  {
    name: '`#` matches `$SYS`',
    store: (store, _shard, world) =>
      store.kind === 'KEY_VALUE'
        ? store
        : storeWith(store, {
            match: async (queries) => {
              const answers = await store.match(queries);
              return Promise.all(
                answers.map(async (answer, i) => {
                  const { topic } = queries[i]!;
                  if (answer.kind === 'moved' || !topic.startsWith('$')) return answer;
                  const rows = await rowsIn(store, world.shape.partitions);
                  const more = rows.filter(
                    ({ filter, gone }) =>
                      !gone && innerOf(filter).startsWith('#') && isMatch(innerOf(filter), topic.slice(1)),
                  );
                  return { ...answer, subscribers: [...answer.subscribers, ...more] };
                }),
              );
            },
          }),
  },
  {
    name: '`a/#` misses `a`',
    store: matching((filter, topic) => !(filter.endsWith('/#') && filter.slice(0, -2) === topic)),
  },
  {
    name: '`+` misses the empty level',
    store: matching((filter, topic) => {
      const levels = topic.split('/');
      return !filter.split('/').some((level, i) => level === '+' && levels[i] === '');
    }),
  },
  {
    name: 'lookup skips the wildcard shard',
    reads: ({ storeKind }, reader) =>
      storeKind === 'TRIE'
        ? { ...reader, match: async (queries) => queries.map(() => ({ kind: 'found', subscribers: [] })) }
        : reader,
  },
  {
    name: 'auto.offset.reset=latest',
    log: () => ({
      gained: (inputs, group, task, log) => {
        const ends: Record<string, number> = {};
        for (const { name } of group.topics)
          for (const { place, partition, end } of log.partsOf(name))
            if (group.gathers || partition === task.partition) ends[place] = end;
        return { ...ends, ...inputs };
      },
    }),
  },
  {
    name: 'unhandled rejection ignored',
    effects: (effects) => ({ perform: (asked, waitedMs) => effects.perform(asked, waitedMs).catch(() => []) }),
  },
];

/**
 * What is broken by the bug alone: a case that breaks without it, with the same faults, finds nothing. No bug here is about
 * shards that lose their data, and what such a loss breaks would pass for what the bug does.
 */
export async function breachBy(of: Case, mutant: Mutation): Promise<Breach | undefined> {
  const given: Case = { ...of, without: [...(of.without ?? []), 'shard emptied'] };
  const { breach } = await simulate(given, mutant);
  if (breach === undefined) return undefined;
  const control = await simulate({ ...given, with: [...(given.with ?? []), ...(mutant.with ?? [])] });
  return control.breach === undefined ? breach : undefined;
}

export const mutantNamed = (name: string): Mutation => {
  const mutant = MUTANTS.find((each) => each.name === name);
  if (mutant !== undefined) return mutant;
  throw new Error(`no mutant is called "${name}"; there are: ${MUTANTS.map((each) => each.name).join(', ')}`);
};

/** Comparing finds every page equal. */
function equalAnyway(
  effects: Parameters<NonNullable<Mutation['effects']>>[0],
): ReturnType<NonNullable<Mutation['effects']>> {
  return {
    perform: async (asked, waitedMs) =>
      (await effects.perform(asked, waitedMs)).map((outcome) =>
        outcome.kind === 'compared' ? { ...outcome, equal: true } : outcome,
      ),
  };
}
