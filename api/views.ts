// Views: what a running instance can be asked, and what it can be told to do. The HTTP API, the command line and the
// dashboard reach the system only through this.
//
//   V1. Every instance answers from what topics publish (forecasts, the pointer table, decisions). What is only in rows
//       comes from the task that owns them; when that runs on another instance, the answer is its address, and the
//       caller asks there, once.
//   V2. A view does not wait for a commit: it answers from what is published, or from the owner's rows as they are.

import type { CheckSummary } from '../processors/plan/stage/checks.ts';
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
  SessionRecord,
  ShardChange,
  ShardState,
  Signal,
  StoreKind,
  SubscriptionEvent,
} from '../schemas/records.ts';
import type { PointerPage } from './pointer-records.ts';
import type { SessionOperationView } from './session-operations.ts';

/** `nobody`: the tasks are being assigned; ask again in a moment. */
export type Owned<Answer> =
  | { readonly kind: 'here'; readonly answer: Answer }
  | { readonly kind: 'elsewhere'; readonly address: string }
  | { readonly kind: 'nobody' };

/** The forecast of one topic. */
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
   * `LOST`: its data is gone; nothing is read from it or written to it. `UNREACHABLE`: it should serve, but its store
   * does not answer a look-up.
   */
  readonly state: ShardState | 'PROVISIONING' | 'LOST' | 'UNREACHABLE';
  readonly epoch: Epoch;
  readonly slices: number;
  readonly entries: number;
  readonly bytes: number;
  /** Utilisation of the instance as its store last reported it; -1 when it has not. */
  readonly utilisation: number;
}

/** Where a filter's subscriptions are, and the shards that a message to it asks. */
export interface TopicPlace {
  readonly slice: SliceKey;
  readonly mode: PointerMode;
  readonly epoch: Epoch;
  /** The shards that hold it; the first is the one for a single read. */
  readonly shards: readonly Omit<ShardView, 'slices' | 'entries' | 'bytes' | 'utilisation'>[];
  /** Every shard that a PUBLISH to this topic asks: its own and those of wildcard groups. Empty for a filter. */
  readonly publishAsks: readonly ShardId[];
}

export interface MoveView extends Omit<MoveProgress, 'kind'> {
  readonly startedAt: EventTime;
  /** 0 while it is open. */
  readonly endedAt: EventTime;
  /** Why it was aborted; empty when it was not. */
  readonly outcome: string;
}

/** A plan that waits for a person's answer, or has had one. */
export interface PlanView {
  readonly planId: PlanId;
  readonly state: 'OPEN' | 'APPROVED' | 'REJECTED' | 'EXPIRED' | 'REPLACED';
  readonly madeAt: EventTime;
  /** When the proposal expires while it is open, then when the answer does. */
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
  /** Cursor of the next page; absent at the end. */
  readonly next: string | undefined;
}

/** A record that was refused, with the first of its bytes. */
export interface LetterView extends Letter {
  readonly headBase64: string | null;
}

export interface LetterPage {
  readonly letters: readonly LetterView[];
  /** Cursor of the next page; absent after the oldest kept letter. */
  readonly next: string | undefined;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for an operator; empty when ready. */
  readonly reasons: readonly string[];
  /** Percentage of local state that has been restored. */
  readonly restorePercent: number;
  /** Tasks of this instance that wait for a shard's store, with the time of the first attempt. */
  readonly waiting: readonly { readonly task: string; readonly shard: string; readonly since: EventTime }[];
  /** Records of the whole fleet that no task has consumed yet, asked of the log; -1 while unknown. */
  readonly lagRecords: number;
  /** Partitions with records to consume whose position does not move, of the whole fleet. */
  readonly standing: readonly {
    readonly topic: string;
    readonly partition: Partition;
    readonly task: string;
    readonly records: number;
    readonly since: EventTime;
    /** The instance that has the task; one that has just died keeps it until the group notices. */
    readonly owner: 'self' | 'other' | 'nobody';
  }[];
}

export interface Steering {
  readonly moveId: MoveId;
  readonly action: MoveRequestAction;
  /** For THROTTLE; 0 otherwise. */
  readonly rowsPerSecond: number;
  /** Chosen by the caller, so that a repetition has no second effect; made here when absent. */
  readonly requestId: string | undefined;
}

export interface PlanAnswering {
  readonly planId: PlanId;
  readonly answer: PlanVerdict;
  /** As for a steering. */
  readonly requestId: string | undefined;
}

export interface CheckAsking {
  /** Without either everything is checked. */
  readonly shardId: string | undefined;
  readonly slice: string | undefined;
  readonly repair: boolean;
  /** As for a steering. */
  readonly requestId: string | undefined;
}

export interface RebuildAsking {
  readonly shardId: ShardId;
  /** Also when it is not known to be lost. */
  readonly force: boolean;
  /** As for a steering. */
  readonly requestId: string | undefined;
}

/** A check of the shards, with what it has found so far; `continuous` is the one that always goes on. */
export type CheckView = CheckSummary;

export interface PlanRequested {
  /** The Decision carries this id, or will. */
  readonly requestId: string;
  /** `undefined` while the planner has not answered. */
  readonly decision: Decision | undefined;
}

export interface Views {
  /** `undefined` when no series of this topic has a forecast yet. */
  forecastFor(topic: string, signal: Signal): Promise<Owned<TopicForecast | undefined>>;
  /** `undefined`: the pointer table has no entry for it yet. Of a filter that is spread by client, the client's part alone. */
  shardFor(topic: string, clientId?: string): Promise<Owned<TopicPlace | undefined>>;
  shards(): Promise<Owned<readonly ShardView[]>>;
  moves(): Promise<Owned<readonly MoveView[]>>;
  /**
   * Newest first. `after` is a page's `next`; any other value throws REQUEST_INVALID. `requestId` selects the answers
   * to that request.
   */
  decisions(query: {
    readonly after: string | undefined;
    readonly limit: number;
    readonly requestId: string | undefined;
  }): Promise<Owned<DecisionPage>>;
  /** The last refused records, newest first; `before`: only those with a lower number. */
  deadLetters(query: { readonly before: Offset | undefined; readonly limit: number }): Promise<Owned<LetterPage>>;
  /** Resolves when the log has them. They are checked (state/validation.ts). */
  sendMetrics(metrics: readonly Metric[]): Promise<void>;
  /** Resolves when the log has them. They are checked (subscription-body.ts). */
  sendSubscriptions(events: readonly SubscriptionEvent[]): Promise<void>;
  /** Resolves when the log has them. They are checked (session-body.ts). */
  sendSessions(sessions: readonly SessionRecord[]): Promise<void>;
  /** Records of the pointer table from `after` on; waits for the first one, at most `waitMs`. */
  pointerRecords(query: { readonly after: Offset; readonly waitMs: number }): Promise<Owned<PointerPage>>;
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves with the planner's answer, or without one after a while; the log has the request in either case. */
  requestPlan(topic: string, requestId: string | undefined): Promise<PlanRequested>;
  /** The request's id; `undefined` when there is no such move. */
  steerMove(steering: Steering): Promise<Owned<string | undefined>>;
  /** Has shards compared with the subscription table; the request's id, which is the check's. */
  requestCheck(check: CheckAsking): Promise<string>;
  /** Has a lost shard rebuilt; resolves as `requestPlan` does. */
  requestRebuild(rebuild: RebuildAsking): Promise<PlanRequested>;
  /** Newest first. */
  checks(): Promise<Owned<readonly CheckView[]>>;
  /** Newest first. */
  plans(): Promise<Owned<readonly PlanView[]>>;
  /** The request's id; `undefined` when there is no such plan. The Decision with that id has the result. */
  answerPlan(answer: PlanAnswering): Promise<Owned<string | undefined>>;
  /** Whether every loop makes progress; independent of the systems that we depend on. */
  /** What befell the sessions of brokers, newest first. */
  sessionOperations(): Promise<Owned<readonly SessionOperationView[]>>;
  /** False when there is no such operation. What is not done yet of it is left as it is. */
  stopSessionOperation(operationId: string): Promise<Owned<boolean>>;
  live(): { readonly live: boolean; readonly reasons: readonly string[] };
  ready(): Readiness;
  /** Prometheus text. */
  metricsText(): Promise<string>;
}
