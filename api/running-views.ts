// Running views: the views of a running instance (views.ts), over its tasks and the topics that it follows.
//
//   R1. Forecasts, pointers and decisions are answered from the topics, which every instance follows; shards, moves and
//       plans from the rows of the planner's task, or with the address of the instance that runs it.
//   R2. Until a topic has been read to the end that it had at the start, questions about it are answered `nobody`, and
//       the instance is not ready. Dead letters are read only once somebody asks for them, and do not affect readiness.
//   R3. The planner knows a shard from its last report; whether its store answers now is checked when shards are asked
//       for.
//   R4. When the log does not accept a record in time, the answer is LOG_UNAVAILABLE: no caller is kept waiting until
//       its connection is cut.

import { readerOf } from '../processors/plan/stage/cell-state.ts';
import { checksOf } from '../processors/plan/stage/checks.ts';
import type { PlanRows } from '../processors/plan/stage/rows.ts';
import { movesOf, proposalsOf, shardsOf } from '../processors/plan/stage/views.ts';
import type { Clock, Follower, Log } from '../runtime/ports.ts';
import type { OwnedLag, Running } from '../runtime/runner.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import { eventTime, type ShardId } from '../schemas/ids.ts';
import type { Decision, Metric, ShardEntry } from '../schemas/records.ts';
import { parseSlice, partitionOf, placeOf } from '../state/keys.ts';
import { type Pointer, type PointerRefusal, PointerTable } from '../state/pointer-table.ts';
import { refuseMetric } from '../state/validation.ts';
import {
  deadLetters,
  decisions,
  forecasts,
  metrics,
  pointers,
  sessionOperations,
  sessions,
  subscriptions,
} from '../topology/topics.ts';
import { DecisionRing } from './decision-ring.ts';
import { type Followed, followTopic } from './follow-topic.ts';
import { LetterRing } from './letter-ring.ts';
import { PLAN_TASK, planRowsOf } from './plan-rows.ts';
import { PointerRecords } from './pointer-records.ts';
import { PredictionCache, type SeriesSettings } from './prediction-cache.ts';
import { SessionOperations } from './session-operations.ts';
import type { MoveView, Owned, ShardView, TopicPlace, Views } from './views.ts';

export interface RunningParts {
  readonly running: Running;
  readonly log: Log;
  readonly codec: Codec;
  readonly clock: Clock;
  /** Settings of the rates stage. */
  readonly settings: SeriesSettings;
  metricsText(): Promise<string>;
  /** Called for each record of the pointer table that no planner can have written. */
  onForeignPointer?(refusal: PointerRefusal, key: string): void;
  /** Why shards cannot be used, for an operator. */
  lostShards(): readonly string[];
  /** The shards among these that do not answer a look-up now. */
  unreachable(shards: readonly ShardId[]): Promise<ReadonlySet<ShardId>>;
  /** Makes a unique id. */
  newId(): string;
}

/**
 * The planner answers with its next commit, a fraction of a second later; less than a request to another instance may
 * take.
 */
const ANSWER_WAIT_MS = 3_000;
/** Kafka takes a record in a few ms, and chooses a new leader in a few seconds. */
const APPEND_WAIT_MS = 5_000;

export interface RunningViews extends Views {
  /** The pointer table, once it has been read to its end. */
  pointerEpoch(): number | undefined;
  /** The instance that the pointer table names for a shard, as far as it has been read. */
  instanceOf(shard: ShardId): string | undefined;
  /** Whether a pointer names the shard; true while that is not known. */
  isNamed(shard: ShardId): boolean;
  /** The shards of the pointer table; none before it has been read to its end. */
  shardEntries(): readonly ShardEntry[];
  /** Whether the pointer table calls the shard lost, and readers have had the time to know that. */
  isGivenUp(shard: ShardId): boolean;
  close(): Promise<void>;
}

/** Resolves when the topics are being followed; `close` ends that. */
export async function runningViews(parts: RunningParts): Promise<RunningViews> {
  const { running, log, codec, clock, settings } = parts;
  const cache = new PredictionCache(settings);
  const ring = new DecisionRing();
  const table = new PointerTable(settings.partitions, (refusal, key) => parts.onForeignPointer?.(refusal, key));
  const pointerRecords = new PointerRecords(settings.partitions);
  const operations = new SessionOperations(settings.partitions);
  const [forecastsRead, decisionsRead, pointersRead, operationsRead] = await Promise.all([
    followTopic(parts, forecasts, { take: (key, forecast) => cache.take(key, forecast) }),
    followTopic(parts, decisions, { take: (_key, decision, offset) => ring.take(decision, offset) }),
    followTopic(parts, pointers, {
      take(key, record, offset) {
        table.apply(key, record, offset);
        pointerRecords.take(key, record, offset);
      },
      reached(next, end) {
        table.reached(next, end);
        pointerRecords.reached(next);
      },
    }),
    followTopic(parts, sessionOperations, { take: (_key, said) => said !== null && operations.take(said) }),
  ]);
  const topicsRead = {
    ...{ forecasts: forecastsRead, decisions: decisionsRead, pointers: pointersRead },
    'session operations': operationsRead,
  };

  const letters = new LetterRing();
  let lettersRead: Promise<Follower> | undefined;
  const readLetters = async (): Promise<void> => {
    lettersRead ??= log.follow(deadLetters.name, 'earliest', async ({ records }) => {
      for (const record of records) letters.take(record);
    });
    try {
      await (await lettersRead).caughtUp;
    } catch (error) {
      lettersRead = undefined; // Restarted when somebody asks again.
      throw error;
    }
  };

  const send = (bodies: readonly Metric['body'][]): Promise<void> => {
    const records = bodies.map((body) => {
      const key = keyOf(body);
      const partition = partitionOf(key, settings.partitions);
      return { topic: metrics.name, partition, key, value: codec.encode(metrics.record!, { body }) };
    });
    return takenInTime(log.append(records), clock);
  };

  return {
    forecastFor: async (topic, signal) => ifRead(forecastsRead, () => cache.expected(topic, signal)),
    shardFor: async (topic, clientId) => ifRead(pointersRead, () => placeIn(table, topic, clientId)),
    async shards() {
      const found = ofPlanner(running, shardViews);
      if (found.kind !== 'here') return found;
      const away = await parts.unreachable(found.answer.filter(isServing).map(({ shardId }) => shardId));
      const told = found.answer.map((each) => (away.has(each.shardId) ? { ...each, state: UNREACHABLE } : each));
      return { kind: 'here', answer: told }; // R3
    },
    moves: async () => ofPlanner(running, moveViews),
    plans: async () => ofPlanner(running, proposalsOf),
    decisions: async (query) => ifRead(decisionsRead, () => ring.page(query)),

    async deadLetters(query) {
      const isRead = await withinTime(
        clock,
        readLetters().then(() => true),
      );
      return isRead === true ? { kind: 'here', answer: letters.page(query) } : { kind: 'nobody' };
    },

    async sendMetrics(all) {
      for (const metric of all) {
        const refusal = refuseMetric(metric);
        if (refusal !== undefined) throw new AppError(refusal.code, refusal.reason);
      }
      await send(all.map(({ body }) => body));
    },

    async sendSubscriptions(events) {
      const records = events.map((event) => {
        const key = event.topicFilter;
        const partition = partitionOf(key, settings.partitions);
        return { topic: subscriptions.name, partition, key, value: codec.encode(subscriptions.record!, event) };
      });
      await takenInTime(log.append(records), clock);
    },

    async sendSessions(all) {
      const records = all.map((session) => {
        const key = session.body.clientId;
        const partition = partitionOf(key, settings.partitions);
        return { topic: sessions.name, partition, key, value: codec.encode(sessions.record!, session) };
      });
      await takenInTime(log.append(records), clock);
    },

    async pointerRecords({ after, waitMs }) {
      if (waitMs > 0) await pointerRecords.newerThan(after, clock.sleep(waitMs));
      return ifRead(pointersRead, () => pointerRecords.page(after));
    },

    now: () => Math.floor(clock.now()),

    async requestPlan(topic, requestId = parts.newId()) {
      await send([{ kind: 'PlanRequest', requestId, topic, timestamp: eventTime(clock.now()) }]);
      return { requestId, decision: await answerInTime(ring, clock, requestId) };
    },

    async steerMove({ moveId, action, rowsPerSecond, requestId = parts.newId() }) {
      const known = ofPlanner(running, (rows) => readerOf(rows).moves.has(moveId));
      if (known.kind !== 'here') return known;
      if (!known.answer) return { kind: 'here', answer: undefined };
      const timestamp = eventTime(clock.now());
      await send([{ kind: 'MoveRequest', requestId, moveId, action, rowsPerSecond, timestamp }]);
      return { kind: 'here', answer: requestId };
    },

    async requestCheck({ shardId = '', slice = '', repair, requestId = parts.newId() }) {
      await send([{ kind: 'CheckRequest', requestId, shardId, slice, repair, timestamp: eventTime(clock.now()) }]);
      return requestId;
    },

    async requestRebuild({ shardId, force, requestId = parts.newId() }) {
      await send([{ kind: 'RebuildRequest', requestId, shardId, force, timestamp: eventTime(clock.now()) }]);
      return { requestId, decision: await answerInTime(ring, clock, requestId) };
    },

    checks: async () => ofPlanner(running, checksOf),

    async answerPlan({ planId, answer, requestId = parts.newId() }) {
      const known = ofPlanner(running, (rows) => readerOf(rows).proposals.has(planId));
      if (known.kind !== 'here') return known;
      if (!known.answer) return { kind: 'here', answer: undefined };
      await send([{ kind: 'PlanAnswer', requestId, planId, answer, timestamp: eventTime(clock.now()) }]);
      return { kind: 'here', answer: requestId };
    },

    sessionOperations: async () => ifRead(operationsRead, () => operations.all()),

    async stopSessionOperation(operationId) {
      const known = ifRead(operationsRead, () => operations.has(operationId));
      if (known.kind !== 'here' || !known.answer) return known;
      const value = codec.encode(sessionOperations.record!, {
        ...{ operationId, brokerId: '', at: eventTime(clock.now()) },
        body: { kind: 'OperationStop', reason: 'stopped by an operator' },
      });
      const records = Array.from({ length: settings.partitions }, (_, partition) => ({
        ...{ topic: sessionOperations.name, partition, key: operationId, value },
      }));
      await takenInTime(log.append(records), clock);
      return known;
    },

    live: () => running.liveness(),

    ready() {
      const { reasons, restoredPercent, waiting, lagRecords, standing } = running.readiness();
      const unread = Object.entries(topicsRead).filter(([, { caughtUp }]) => !caughtUp);
      const schemas = codec.trouble === undefined ? [] : [codec.trouble];
      const all = [
        ...reasons,
        ...parts.lostShards(),
        ...schemas,
        ...unread.map(([name]) => `still reading the existing ${name}`),
      ]; // R2
      const held = waiting.map(({ task, shard, since }) => ({ task, shard, since: eventTime(since) }));
      return {
        ready: all.length === 0,
        reasons: all,
        restorePercent: restoredPercent,
        waiting: held,
        lagRecords,
        standing: standing.map(standingView),
      };
    },

    metricsText: () => parts.metricsText(),

    pointerEpoch: () => (pointersRead.caughtUp ? table.epoch : undefined),
    instanceOf: (shard) => table.shard(shard)?.instanceId,
    shardEntries: () => (pointersRead.caughtUp ? [...table.shards()] : []),
    isGivenUp: (shard) => table.shard(shard)?.loss === 'LOST',
    isNamed: (shard) => !pointersRead.caughtUp || [...table.pointers()].some(({ shards }) => shards.includes(shard)),

    async close() {
      // Not awaited: while the log is away the reading has not begun, and closing the log ends it.
      lettersRead?.then((follower) => follower.close()).catch(() => {});
      await Promise.all(Object.values(topicsRead).map((each) => each.close()));
    },
  };
}

const standingView = ({ group, task, topic, partition, records, standsSince, owner }: OwnedLag) => ({
  ...{ topic, partition, task: `${group}-${task}`, records, since: eventTime(standsSince ?? 0), owner },
});

/** R4. Rejects while the append is still under way: the log may still accept the records. */
async function takenInTime(taken: Promise<void>, clock: Clock): Promise<void> {
  let stop = (): void => {};
  const late = new Promise<never>((_, reject) => {
    stop = clock.every(APPEND_WAIT_MS, () =>
      reject(
        new AppError(
          'LOG_UNAVAILABLE',
          `the log has not accepted the request within ${APPEND_WAIT_MS / 1_000} s, but may still do so: repeat it with the same requestId`,
        ),
      ),
    );
  });
  taken.catch(() => {}); // A later failure reaches nobody, so it is caught here.
  try {
    await Promise.race([taken, late]);
  } finally {
    stop();
  }
}

async function answerInTime(ring: DecisionRing, clock: Clock, requestId: string): Promise<Decision | undefined> {
  const { answer, forget } = ring.answerTo(requestId);
  try {
    return await withinTime(clock, answer);
  } finally {
    forget();
  }
}

/** `undefined` when the wait is over without an answer. */
async function withinTime<Answer>(clock: Clock, answer: Promise<Answer>): Promise<Answer | undefined> {
  let stop = (): void => {};
  const over = new Promise<undefined>((resolve) => {
    stop = clock.every(ANSWER_WAIT_MS, () => resolve(undefined));
  });
  try {
    return await Promise.race([answer, over]);
  } finally {
    stop();
  }
}

/** R2 */
function ifRead<Answer>(topic: Followed, answer: () => Answer): Owned<Answer> {
  return topic.caughtUp ? { kind: 'here', answer: answer() } : { kind: 'nobody' };
}

/** Answers from the planner's rows when its task runs here (R1). */
function ofPlanner<Answer>(running: Running, answer: (rows: PlanRows) => Answer): Owned<Answer> {
  const owner = running.where('plan', PLAN_TASK);
  if (owner.kind === 'elsewhere') return owner;
  if (owner.kind === 'unknown') return { kind: 'nobody' };
  return { kind: 'here', answer: answer(planRowsOf(running)) };
}

const UNREACHABLE = 'UNREACHABLE' as const;
const isServing = ({ state }: ShardView): boolean => state === 'READY' || state === 'DRAINING';

function shardViews(rows: PlanRows): ShardView[] {
  return shardsOf(rows).map((shard) => ({
    shardId: shard.shardId,
    storeKind: shard.storeKind,
    datastoreType: shard.datastoreType,
    instanceId: shard.instanceId,
    address: shard.address,
    state: shard.state === 'RETIRING' ? 'DRAINING' : shard.state,
    epoch: shard.epoch,
    slices: shard.slices,
    entries: shard.entries,
    bytes: shard.bytes,
    utilisation: shard.utilisation,
  }));
}

const moveViews = (rows: PlanRows): MoveView[] =>
  movesOf(rows).map(({ closedAt, ...move }) => ({ ...move, endedAt: closedAt }));

function placeIn(table: PointerTable, filter: string, clientId: string | undefined): TopicPlace | undefined {
  const first = table.resolve(filter, clientId ?? '');
  if (first === undefined) return undefined;
  // Every other valid name is a topic name, to which messages can be published.
  const stops = placeOf(filter).trie ? [] : table.route(filter);
  const isWhole = isPart(first) && clientId === undefined;
  const pointers = isWhole ? stops.flatMap((stop) => stop.pointers.filter(isPart)) : [first];
  const shards = new Set(pointers.flatMap((pointer) => pointer.shards));
  return {
    slice: first.slice,
    mode: pointers.length > 1 ? 'SPREAD' : first.mode,
    epoch: first.epoch,
    shards: [...shards].flatMap((id) => {
      const entry = table.shard(id);
      if (entry === undefined) return []; // Named by a pointer, but never published.
      const { kind: _, ...shard } = entry;
      return [shard];
    }),
    publishAsks: stops.map((stop) => stop.shard),
  };
}

/** Whether it points to one part of a filter that is spread over several slices by client. */
const isPart = ({ slice }: Pointer): boolean => parseSlice(slice)?.kind === 'spread';

/** Every record of one subject goes to one partition, in order. */
function keyOf(body: Metric['body']): string {
  switch (body.kind) {
    case 'TopicTraffic':
    case 'PlanRequest':
      return body.topic;
    case 'DatastoreMetrics':
    case 'RebuildRequest':
      return body.shardId;
    case 'BrokerHeartbeat':
      return body.brokerId;
    case 'PlanAnswer':
      return body.planId;
    case 'MoveRequest':
      return body.moveId;
    case 'CheckRequest':
      return body.requestId;
  }
}
