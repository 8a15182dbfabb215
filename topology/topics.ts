// Topics: every stream of records, its name, its record and its shape. Names here are without the configured prefix,
// which the log adds. `refuse` is the one place where a decoded record is judged; what it refuses is dead-lettered by the
// runner, so that no stage checks again.

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

/** What a check may look at beside the value itself. */
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
  /** Of a compacted topic: its readers are given removals too, as `null`. */
  readonly hearsRemovals: boolean;
  readonly refuse: ((value: Value, place: Place) => Refusal | undefined) | undefined;
  /** Joins the values that one commit writes under one key into one record; by default each is a record of its own. */
  readonly merge: ((values: readonly Value[]) => Value) | undefined;
  /**
   * What is lost of it is measurements, which the next ones replace: where records are gone that were not read yet, its
   * readers go on with those that are there, and tell. Of any other topic that is for a person to decide.
   */
  readonly lossy: boolean;
  /** The offset of a record is the version of what it changes in stores. */
  readonly versions: boolean;
  /** The event time that a value proves to have passed; drives the clock topic. */
  readonly timeOf: ((value: Value) => number) | undefined;
  /** What people are told of a value: of an emitted one when it is committed, of a local one when it comes. */
  readonly notes: ((value: Value) => readonly Note[]) | undefined;
  /** It may be made anew, and its incarnation raised with it (a setting): then it is read from its start (task.ts K9). */
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
/** What befalls the sessions of a broker, told to each partition, and what each has done of it. */
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
/** Refused records with their original bytes, key and headers; written by the runner alone. */
export const deadLetters = topic<Buffer>()('dead-letters', { partitions: 'one', retentionMs: 30 * DAY_MS });

/** The truth that shards are filled from: compacted, and partitioned as the tasks are, not by its keys. */
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

/** What came of events that changed nothing, to be counted. */
export const tallies = topic<Tally | SessionTally>()('tallies', { notes: tallyNotes });

/** What is asked for on one local topic, and answered on another. */
export interface Exchange<Asked, Answered> {
  readonly asked: Topic<string, Asked>;
  readonly answered: Topic<string, Answered>;
}

/** The local topics, by what the runtime does with them. */
export interface LocalTopics {
  /** Tells the time. */
  readonly time: Topic<string, Tick>;
  /** Durable before the positions that caused it are committed (task.ts K2). */
  readonly beforeCommit: Exchange<Effect, Outcome>;
  /** Runs beside the task, in no transaction (task.ts K6). */
  readonly beside: Exchange<FitRequest, FitResult>;
  /** Is for people alone. */
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
