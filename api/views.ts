// Views: what can be asked of a running instance, and what it can be told. The HTTP API, the command line and the
// dashboard know the system through this alone.
//
//   V1. What a topic publishes (forecasts, the pointer table, decisions) every instance answers. What only rows know comes
//       from the task that owns them. Another instance's address is an answer too: the caller asks there, once.
//   V2. A view waits for no commit: it answers from what is published, or from the owner's rows as they are.

import type { Letter } from '../runtime/dead-letter.ts';
import type {
  Epoch,
  EventTime,
  MoveId,
  Offset,
  Partition,
  PlanId,
  SeriesId,
  ShardId,
  SliceKey,
} from '../schemas/ids.ts';
import type {
  Decision,
  Forecast,
  Metric,
  MoveProgress,
  MoveRequestAction,
  PlanVerdict,
  PointerMode,
  ShardChange,
  ShardState,
  Signal,
  StoreKind,
} from '../schemas/records.ts';

/** `nobody`: the tasks are being dealt out; ask again in a moment. */
export type Owned<Answer> =
  | { readonly kind: 'here'; readonly answer: Answer }
  | { readonly kind: 'elsewhere'; readonly address: string }
  | { readonly kind: 'nobody' };

/** What is expected of one topic. */
export interface TopicForecast {
  /** The series that the forecast is of: the topic's own when it is heavy, else its leaf or group. */
  readonly series: SeriesId;
  /**
   * The topic's share of that series, 0..1; a forecast's rates are multiplied by it. 1 for a series of the topic's own and
   * for a group, whose filters are counted together. Of a leaf: the largest share of a topic that has no series of its own.
   */
  readonly share: number;
  readonly forecast: Forecast;
}

export interface ShardView {
  readonly shardId: ShardId;
  readonly storeKind: StoreKind;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
  /**
   * `LOST`: its data is gone; nothing is read from it or written to it. `UNREACHABLE`: it should serve, and its store does not
   * answer a look-up.
   */
  readonly state: ShardState | 'PROVISIONING' | 'LOST' | 'UNREACHABLE';
  readonly epoch: Epoch;
  readonly slices: number;
  readonly entries: number;
  readonly bytes: number;
  /** Share of what the instance can do or hold that is in use, as its store last told; -1 when it has not. */
  readonly utilisation: number;
}

/** Where a filter's subscriptions are, and what a message to it has to ask. */
export interface TopicPlace {
  readonly slice: SliceKey;
  readonly mode: PointerMode;
  readonly epoch: Epoch;
  /** The shards that hold it, first the one that a single read asks. */
  readonly shards: readonly Omit<ShardView, 'slices' | 'entries' | 'bytes' | 'utilisation'>[];
  /** Every shard that a PUBLISH to this topic asks: its own and those of wildcard groups. Empty for a filter. */
  readonly publishAsks: readonly ShardId[];
}

export interface MoveView extends Omit<MoveProgress, 'kind'> {
  readonly startedAt: EventTime;
  /** 0 while it is open. */
  readonly endedAt: EventTime;
  /** Why it was given up; empty when it was not. */
  readonly outcome: string;
}

/** A plan that waits for a person's word, or has had it. */
export interface PlanView {
  readonly planId: PlanId;
  readonly state: 'OPEN' | 'APPROVED' | 'REJECTED' | 'EXPIRED' | 'REPLACED';
  readonly madeAt: EventTime;
  /** Of the offer while it is open, then of the answer. */
  readonly expiresAt: EventTime;
  readonly reason: string;
  readonly steps: readonly string[];
  /** Shards before and after. */
  readonly changes: readonly ShardChange[];
  readonly dollarsPerHour: number;
  readonly dollarsOnce: number;
  /** What doing nothing is expected to cost. */
  readonly promisedDollars: number;
}

export interface DecisionPage {
  readonly decisions: readonly Decision[];
  /** Where the next page goes on; absent at the end. */
  readonly next: string | undefined;
}

/** A record that was refused, with the first of its bytes. */
export interface LetterView extends Letter {
  readonly headBase64: string | null;
}

export interface LetterPage {
  readonly letters: readonly LetterView[];
  /** Where the next page goes on; absent at the end of those that are kept. */
  readonly next: string | undefined;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for an operator; empty when ready. */
  readonly reasons: readonly string[];
  /** Percentage of local state that has been restored. */
  readonly restorePercent: number;
  /** Tasks of this instance that a shard's store holds up, with the time of the first attempt. */
  readonly waiting: readonly { readonly task: string; readonly shard: string; readonly since: EventTime }[];
  /** Records that no task has consumed yet, of the whole fleet, as the log tells; -1 while it does not. */
  readonly lagRecords: number;
  /** Partitions with records to consume whose position does not move, of the whole fleet. */
  readonly standing: readonly {
    readonly topic: string;
    readonly partition: Partition;
    readonly task: string;
    readonly records: number;
    readonly since: EventTime;
    /** Who has the task; an instance that has just died has it until the group notices. */
    readonly owner: 'self' | 'other' | 'nobody';
  }[];
}

export interface Steering {
  readonly moveId: MoveId;
  readonly action: MoveRequestAction;
  /** For THROTTLE; 0 otherwise. */
  readonly rowsPerSecond: number;
  /** The caller's own, so that a repeat has one effect; absent: a new one is made. */
  readonly requestId: string | undefined;
}

export interface PlanAnswering {
  readonly planId: PlanId;
  readonly answer: PlanVerdict;
  /** As for a steering. */
  readonly requestId: string | undefined;
}

export interface PlanRequested {
  /** The Decision has it, or will. */
  readonly requestId: string;
  /** `undefined` while the planner has not answered. */
  readonly decision: Decision | undefined;
}

export interface Views {
  /** `undefined`: no series of this topic has a forecast yet. */
  forecastFor(topic: string, signal: Signal): Promise<Owned<TopicForecast | undefined>>;
  /** `undefined`: the pointer table has no entry for it yet. Of a filter that is spread by client, the client's part alone. */
  shardFor(topic: string, clientId?: string): Promise<Owned<TopicPlace | undefined>>;
  shards(): Promise<Owned<readonly ShardView[]>>;
  moves(): Promise<Owned<readonly MoveView[]>>;
  /** Newest first. `after` is a page's `next`; a foreign one throws REQUEST_INVALID. `requestId` keeps its answers alone. */
  decisions(query: {
    readonly after: string | undefined;
    readonly limit: number;
    readonly requestId: string | undefined;
  }): Promise<Owned<DecisionPage>>;
  /** Refused records, the last ones, newest first; `before`: those with a smaller number. */
  deadLetters(query: { readonly before: Offset | undefined; readonly limit: number }): Promise<Owned<LetterPage>>;
  /** Resolves when the log has them. They are checked (state/validation.ts). */
  sendMetrics(metrics: readonly Metric[]): Promise<void>;
  /** Resolves with the planner's answer, or without it after a time; the log has the request then. */
  requestPlan(topic: string, requestId: string | undefined): Promise<PlanRequested>;
  /** The request's id; `undefined` when there is no such move. */
  steerMove(steering: Steering): Promise<Owned<string | undefined>>;
  /** Newest first. */
  plans(): Promise<Owned<readonly PlanView[]>>;
  /** The request's id; `undefined` when there is no such plan. The Decision with that id says what came of it. */
  answerPlan(answer: PlanAnswering): Promise<Owned<string | undefined>>;
  /** Every loop makes progress; says nothing of what we depend on. */
  live(): { readonly live: boolean; readonly reasons: readonly string[] };
  ready(): Readiness;
  /** Prometheus text. */
  metricsText(): Promise<string>;
}
