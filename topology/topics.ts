// Topics: every stream of records, with its name, record type and shape. Names here are without the configured prefix,
// which the log adds. `refuse` is the one place where a decoded record is judged; the runner dead-letters what it
// refuses, so that no stage checks again.

import type { Tally } from '../processors/apply/subscriptions.ts';
import type { FitRequest, FitResult } from '../processors/forecast/fits.ts';
import type { SessionTally } from '../processors/sessions/sessions.ts';
import type { Tick } from '../processors/step.ts';
import type { Refusal } from '../schemas/errors.ts';
import type { Partition } from '../schemas/ids.ts';
import type {
  ClientEvents,
  Command,
  Decision,
  Forecast,
  Metric,
  PointerRecord,
  Progress,
  RateWindow,
  RecordName,
  SessionOperation,
  SessionRecord,
  Subscription,
  SubscriptionEvent,
  WildcardEvents,
} from '../schemas/records.ts';
import type { Effect, Outcome } from '../state/effects.ts';
import {
  refuseClientEvents,
  refuseMetric,
  refuseOperation,
  refuseSession,
  refuseSubscription,
  refuseWildcards,
} from '../state/validation.ts';
import {
  decisionNotes,
  fittedNotes,
  forecastNotes,
  type Note,
  operationNotes,
  outcomeNotes,
  progressNotes,
  subscriptionNotes,
  tallyNotes,
} from './notes.ts';

/** What a check may use beside the value itself. */
export interface Place {
  readonly key: string;
  readonly partition: Partition;
  readonly partitions: number;
}

export interface Topic<Name extends string = string, Value = unknown> {
  readonly name: Name;
  /** `undefined` for a local topic: its values never leave the process. */
  readonly record: RecordName | undefined;
  /** `all`: as many as the subscriptions topic; the task number is the partition number. `one`: a single partition. */
  readonly partitions: 'all' | 'one';
  readonly cleanup: 'delete' | 'compact';
  readonly retentionMs: number;
  /** Of a compacted topic: its readers also get removals, as `null`. */
  readonly hearsRemovals: boolean;
  readonly refuse: ((value: Value, place: Place) => Refusal | undefined) | undefined;
  /** Joins the values that one commit writes under one key into one record; by default each is its own record. */
  readonly merge: ((values: readonly Value[]) => Value) | undefined;
  /**
   * Its records are measurements, which later ones replace: when records were lost before they were read, its
   * readers continue with the next ones and report it. For any other topic an operator has to decide.
   */
  readonly lossy: boolean;
  /** True when the offset of a record is the version of the rows that it changes in stores. */
  readonly versions: boolean;
  /** The event time that a value reports; drives the clock topic. */
  readonly timeOf: ((value: Value) => number) | undefined;
  /**
   * What operators are told of a value: of an emitted one when it is committed, of a local one when it is handed over.
   */
  readonly notes: ((value: Value) => readonly Note[]) | undefined;
  /** It may be created anew, with its incarnation (a setting) raised: it is then read from its start (task.ts K9). */
  readonly hasIncarnations: boolean;
  /** Type-level only. */
  readonly value?: Value;
}

/** A topic whose value type does not matter to the reader of the code. */
// biome-ignore lint/suspicious/noExplicitAny: a topic is covariant in reading and contravariant in checking.
export type AnyTopic = Topic<string, any>;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function topic<Value>() {
  return <Name extends string>(
    name: Name,
    shape: {
      readonly record?: RecordName;
      readonly partitions?: 'all' | 'one';
      readonly cleanup?: 'delete' | 'compact';
      readonly retentionMs?: number;
      readonly hearsRemovals?: boolean;
      readonly refuse?: (value: Value, place: Place) => Refusal | undefined;
      readonly merge?: (values: readonly Value[]) => Value;
      readonly timeOf?: (value: Value) => number;
      readonly notes?: (value: Value) => readonly Note[];
      readonly hasIncarnations?: boolean;
      readonly lossy?: boolean;
      readonly versions?: boolean;
    } = {},
  ): Topic<Name, Value> => ({
    name,
    record: shape.record,
    partitions: shape.partitions ?? 'all',
    cleanup: shape.cleanup ?? 'delete',
    retentionMs: shape.retentionMs ?? 7 * DAY_MS,
    hearsRemovals: shape.hearsRemovals ?? false,
    refuse: shape.refuse,
    merge: shape.merge,
    timeOf: shape.timeOf,
    notes: shape.notes,
    hasIncarnations: shape.hasIncarnations ?? false,
    lossy: shape.lossy ?? false,
    versions: shape.versions ?? false,
  });
}

// Inputs: written by brokers, producers and people.
export const subscriptions = topic<SubscriptionEvent>()('subscriptions', {
  record: 'SubscriptionEvent',
  refuse: refuseSubscription,
  hasIncarnations: true,
  versions: true,
  notes: subscriptionNotes, // Of those that the sessions stage writes.
});
export const sessions = topic<SessionRecord>()('sessions', { record: 'SessionRecord', refuse: refuseSession });
export const metrics = topic<Metric>()('metrics', {
  record: 'Metric',
  retentionMs: DAY_MS,
  refuse: refuseMetric,
  lossy: true,
});

// Internal: between stages.
export const wildcards = topic<WildcardEvents>()('wildcard-subscriptions', {
  record: 'WildcardEvents',
  refuse: refuseWildcards,
  merge: (batches) => ({ firstLevel: batches[0]!.firstLevel, events: batches.flatMap((batch) => batch.events) }),
});
export const clientEvents = topic<ClientEvents>()('client-subscriptions', {
  record: 'ClientEvents',
  refuse: refuseClientEvents,
  merge: (batches) => ({ clientId: batches[0]!.clientId, events: batches.flatMap((batch) => batch.events) }),
});
/** Operations on all sessions of one broker: sent to each partition, which reports its progress. */
export const sessionOperations = topic<SessionOperation>()('session-operations', {
  record: 'SessionOperation',
  refuse: refuseOperation,
  notes: operationNotes,
});
export const rates = topic<RateWindow>()('rates', {
  record: 'RateWindow',
  retentionMs: DAY_MS,
  timeOf: (window) => window.windowStart + window.windowMs,
  lossy: true,
});
export const progress = topic<Progress>()('progress', {
  record: 'Progress',
  partitions: 'one',
  retentionMs: DAY_MS,
  lossy: true,
  notes: progressNotes,
});

// Outputs: read by brokers, dashboards and people.
export const forecasts = topic<Forecast>()('forecasts', {
  record: 'Forecast',
  cleanup: 'compact',
  lossy: true,
  notes: forecastNotes,
});
export const commands = topic<Command>()('commands', { record: 'Command' });
/** One partition, so that its offsets order all changes and a heartbeat's single offset says how far a broker has read. */
export const pointers = topic<PointerRecord>()('pointer-table', {
  record: 'PointerRecord',
  partitions: 'one',
  cleanup: 'compact',
  hearsRemovals: true, // Of a key that is in use: the planner puts it back.
});
export const decisions = topic<Decision>()('decisions', {
  record: 'Decision',
  partitions: 'one',
  notes: decisionNotes,
});
/** Refused records with their original bytes, key and headers; written only by the runner. */
export const deadLetters = topic<Buffer>()('dead-letters', { partitions: 'one', retentionMs: 30 * DAY_MS });

/** The truth that shards are filled from: compacted, and partitioned like the tasks, not by its keys. */
export const subscriptionTable = topic<Subscription>()('subscription-table', {
  record: 'Subscription',
  cleanup: 'compact',
});

// Local: inside one task, never written to the log.
export const clock = topic<Tick>()('clock');
export const effects = topic<Effect>()('effects');
export const outcomes = topic<Outcome>()('outcomes', { notes: outcomeNotes });
export const fits = topic<FitRequest>()('fits');
export const fitted = topic<FitResult>()('fitted', { notes: fittedNotes });

/** Counts of events that changed nothing. */
export const tallies = topic<Tally | SessionTally>()('tallies', { notes: tallyNotes });

/** Requests on one local topic, answered on another. */
export interface Exchange<Asked, Answered> {
  readonly asked: Topic<string, Asked>;
  readonly answered: Topic<string, Answered>;
}

/** The local topics, by how the runtime treats them. */
export interface LocalTopics {
  /** Carries the time. */
  readonly time: Topic<string, Tick>;
  /** Performed durably before the positions that caused it are committed (task.ts K2). */
  readonly beforeCommit: Exchange<Effect, Outcome>;
  /** Runs beside the task, in no transaction (task.ts K6). */
  readonly beside: Exchange<FitRequest, FitResult>;
  /** Only for operators. */
  readonly told: Topic<string, Tally | SessionTally>;
}

export const LOCAL: LocalTopics = {
  time: clock,
  beforeCommit: { asked: effects, answered: outcomes },
  beside: { asked: fits, answered: fitted },
  told: tallies,
};

export const ALL_TOPICS: readonly AnyTopic[] = [
  subscriptions,
  sessions,
  metrics,
  wildcards,
  clientEvents,
  sessionOperations,
  rates,
  progress,
  forecasts,
  commands,
  pointers,
  decisions,
  subscriptionTable,
  deadLetters,
];
