// Generated from schemas/*.avsc by `npm run generate`. Do not edit.

import type { Epoch, EventTime, MoveId, PlanId, SeriesId, ShardId, SliceKey } from './ids.ts';

export type ClientAction = 'SUBSCRIBE' | 'UNSUBSCRIBE';

export interface ClientEvent {
  readonly action: ClientAction;
  readonly topicFilter: string;
  readonly brokerId: string;
  readonly qos: number;
  readonly noLocal?: boolean | undefined;
  readonly retainAsPublished?: boolean | undefined;
  readonly retainHandling?: number | undefined;
  readonly subscriptionIdentifier?: number | undefined;
  readonly sessionEpoch: number;
  readonly bySession?: boolean | undefined;
  readonly timestamp: EventTime;
}

/** Subscription events of one client that belong to its session, in the order of their source partition; one record for each batch of ingest. */
export interface ClientEvents {
  readonly clientId: string;
  readonly events: readonly (ClientEvent)[];
}

export interface AllocateShard {
  readonly kind: 'AllocateShard';
  readonly shardId: ShardId;
  readonly datastoreType: string;
}

export interface ResizeShard {
  readonly kind: 'ResizeShard';
  readonly shardId: ShardId;
  readonly datastoreType: string;
}

export interface RetireShard {
  readonly kind: 'RetireShard';
  readonly shardId: ShardId;
}

/** `slice` is replaced by the slices `into`, on the same shard. When `slice` is also in `into`, it stays and becomes smaller: a pin or a deeper wildcard group is carved out of it. */
export interface SplitSlice {
  readonly kind: 'SplitSlice';
  readonly slice: SliceKey;
  readonly into: readonly (SliceKey)[];
}

/** `slices`, all on one shard, become `into`. */
export interface MergeSlices {
  readonly kind: 'MergeSlices';
  readonly slices: readonly (SliceKey)[];
  readonly into: SliceKey;
}

export type MoveSource = 'SHARD' | 'TABLE';

export interface MoveSlice {
  readonly kind: 'MoveSlice';
  readonly moveId: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  /** Copy throttle; 0 means the configured rate. */
  readonly rowsPerSecond: number;
  /** TABLE: `from` has lost its data, and the target is filled from the subscription table. */
  readonly source?: MoveSource | undefined;
}

export type SteerAction = 'SWITCH' | 'RETIRE' | 'ABORT' | 'PAUSE' | 'RESUME' | 'THROTTLE' | 'SHARE' | 'UNSHARE';

/** SWITCH: the pointer with this command's epoch is published in the same transaction. RETIRE: every reader has passed the switch. */
export interface SteerMove {
  readonly kind: 'SteerMove';
  readonly moveId: MoveId;
  readonly slice: SliceKey;
  readonly action: SteerAction;
  readonly rowsPerSecond: number;
}

/** Compare the rows of shards with the subscription table, and correct them if asked to. */
export interface CheckSlices {
  readonly kind: 'CheckSlices';
  readonly checkId: string;
  /** Check the slices of this shard; empty for all shards. */
  readonly shardId: string;
  /** Check this slice only; empty for all slices. */
  readonly slice: string;
  readonly repair: boolean;
  /** Shards to be searched for rows that should be elsewhere. */
  readonly concreteShards: readonly (ShardId)[];
  readonly trieShards: readonly (ShardId)[];
}

/** A command of the planner to the apply stage. A command that comes twice, with the same id, has one effect. */
export interface Command {
  readonly id: string;
  readonly epoch: Epoch;
  readonly reason: string;
  /** Event time by which the effect is wanted. */
  readonly deadline: EventTime;
  readonly body: AllocateShard | ResizeShard | RetireShard | SplitSlice | MergeSlices | MoveSlice | SteerMove | CheckSlices;
  /** Term of the planner that sent the command: grows each time the planner's task is taken over. 0: sent by an earlier release, or not by a planner. */
  readonly term: number;
  /** The instance that ran the planner. */
  readonly planner: string;
}

export type DecisionKind = 'START' | 'ALLOCATE' | 'RESIZE' | 'RETIRE' | 'SPLIT' | 'MERGE' | 'MOVE' | 'SWITCH' | 'FINISH' | 'ABORT' | 'REFUSE' | 'KEEP' | 'PROPOSE' | 'APPROVE' | 'REJECT' | 'EXPIRE' | 'REVIEW' | 'REPLICATE' | 'UNREPLICATE';

export interface Alternative {
  readonly what: string;
  readonly dollars: number;
  readonly whyNot: string;
}

/** One shard before and after a proposed plan. */
export interface ShardChange {
  readonly shardId: ShardId;
  /** Empty when the shard is new. */
  readonly typeBefore: string;
  /** Empty when the shard is removed. */
  readonly typeAfter: string;
  readonly slicesBefore: number;
  readonly slicesAfter: number;
  /** Highest utilisation within the horizon at the planned-for quantile; 1 is full. */
  readonly fullBefore: number;
  readonly fullAfter: number;
}

/** One decision or refusal of the planner, with the figures it was based on. */
export interface Decision {
  readonly id: string;
  readonly at: EventTime;
  readonly kind: DecisionKind;
  /** A slice key, shard id, move id or plan id. */
  readonly subject: string;
  /** One sentence for an operator. */
  readonly reason: string;
  /** For a refusal: the constraint that the action did not pass. Empty otherwise. */
  readonly constraint: string;
  readonly requestId: string;
  readonly commandIds: readonly (string)[];
  /** The planned-for rate (upper quantile) at its peak within the lead time; -1 when no forecast was used. */
  readonly forecastPerSecond: number;
  /** -1 when not applicable. */
  readonly capacityPerSecond: number;
  /** When the forecast crosses capacity; 0 when it does not. */
  readonly crossingAt: EventTime;
  readonly leadTimeMs: number;
  /** Change of running cost if carried out. */
  readonly dollarsPerHour: number;
  readonly alternatives: readonly (Alternative)[];
  /** One-time cost of carrying it out: provisioning and copying. */
  readonly dollarsOnce: number;
  /** Savings expected within the horizon; -1 when none were stated. */
  readonly promisedDollars: number;
  /** For a review: the savings that were realised, to compare with promisedDollars; -1 otherwise. */
  readonly realisedDollars: number;
  /** Until when a proposed plan may be approved, or an approval is valid; 0 when not applicable. */
  readonly expiresAt: EventTime;
  /** The actions of a proposed plan, in order. */
  readonly steps: readonly (string)[];
  readonly changes: readonly (ShardChange)[];
}

export type Signal = 'SUBSCRIPTIONS' | 'PUBLISHES';

export type Pattern = 'UNKNOWN' | 'BURSTY' | 'CONSISTENT' | 'PERIODIC' | 'TRENDING' | 'MIXED';

/** The Prediction Cache's entry for one series and signal: quantiles of the rate for each coming step. */
export interface Forecast {
  readonly series: SeriesId;
  /** SUBSCRIPTIONS: subscribe and unsubscribe events. PUBLISHES: look-ups by topic. */
  readonly signal: Signal;
  /** Event time: the end of the last step seen. Step k covers madeAt + k*stepMs .. madeAt + (k+1)*stepMs. */
  readonly madeAt: EventTime;
  readonly stepMs: number;
  /** Quantile levels, ascending, 0..1. */
  readonly levels: readonly (number)[];
  /** Events per second, step-major: quantiles[step * levels.length + level]. */
  readonly quantiles: readonly (number)[];
  /** Measured rate of the last step, events per second. */
  readonly currentPerSecond: number;
  readonly model: string;
  /** Share of each model in the forecast. */
  readonly weights: Readonly<Record<string, number>>;
  /** Recent mean absolute error one step ahead, divided by that of the seasonal naive forecast (MASE); -1 while unknown. */
  readonly recentError: number;
  /** Index of dispersion of the counts: variance over mean. */
  readonly dispersion: number;
  readonly peakToMean: number;
  /** 0 when no season was found. */
  readonly seasonMs: number;
  readonly pattern: Pattern;
  /** False when the forecast is not accurate enough, and the planner uses measurements only; `distrust` says why. */
  readonly trusted: boolean;
  /** Why the forecast is not trusted; empty when it is. */
  readonly distrust: string;
  readonly distinctClients: number;
  readonly bytesPerSecond: number;
  /** Step of farQuantiles; 0 when there are none. */
  readonly farStepMs: number;
  /** The steps after those of `quantiles`, in events per second, step-major. Step k, counted from 0, ends at madeAt + (k+2)*farStepMs. */
  readonly farQuantiles: readonly (number)[];
  /** Share of recent steps at or below the 0.95 quantile that was forecast fifteen minutes before; -1 while unknown. */
  readonly coverage: number;
  /** Age of the series: number of steps seen in all. */
  readonly stepsSeen: number;
  /** SUBSCRIPTIONS: share of the latest events that were unsubscribes. */
  readonly unsubscribeShare: number;
}

/** Publishes to one topic through one broker in one window. Keyed by the topic. */
export interface TopicTraffic {
  readonly kind: 'TopicTraffic';
  readonly brokerId: string;
  readonly topic: string;
  readonly publishes: number;
  readonly bytes: number;
  readonly windowStart: EventTime;
  readonly windowMs: number;
}

/** Load of the datastore instance that serves one shard. Keyed by the shard id. */
export interface DatastoreMetrics {
  readonly kind: 'DatastoreMetrics';
  readonly shardId: ShardId;
  readonly instanceId: string;
  /** CPU utilisation, 0..1. */
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly iops: number;
  readonly iopsLimit: number;
  readonly entries: number;
  readonly lookupP99Ms: number;
  readonly timestamp: EventTime;
  /** Average number of trie nodes that one look-up visits; -1 when not reported. */
  readonly nodesPerLookup: number;
  /** Average number of subscriptions that one look-up finds in a trie (its fan-out); -1 when not reported. */
  readonly matchesPerLookup: number;
}

/** A broker is alive and has applied every pointer-table record below pointerOffset. Keyed by the broker id. */
export interface BrokerHeartbeat {
  readonly kind: 'BrokerHeartbeat';
  readonly brokerId: string;
  readonly pointerOffset: number;
  readonly timestamp: EventTime;
  /** When this process of the broker was started. A process that was started later has none of its connections. 0 when not reported. */
  readonly startedAt?: EventTime | undefined;
}

/** A request to the planner to judge one topic now. The answer is a Decision with this request's id. */
export interface PlanRequest {
  readonly kind: 'PlanRequest';
  readonly requestId: string;
  readonly topic: string;
  readonly timestamp: EventTime;
}

export type MoveRequestAction = 'ABORT' | 'PAUSE' | 'RESUME' | 'THROTTLE';

/** An operator steers a move. Idempotent: the same requestId twice has one effect. */
export interface MoveRequest {
  readonly kind: 'MoveRequest';
  readonly requestId: string;
  readonly moveId: MoveId;
  readonly action: MoveRequestAction;
  readonly rowsPerSecond: number;
  readonly timestamp: EventTime;
}

export type PlanVerdict = 'APPROVE' | 'REJECT';

/** An operator approves or rejects a proposed plan. Idempotent: the same requestId twice has one effect. */
export interface PlanAnswer {
  readonly kind: 'PlanAnswer';
  readonly requestId: string;
  readonly planId: PlanId;
  readonly answer: PlanVerdict;
  readonly timestamp: EventTime;
}

/** An operator asks for shards to be compared with the subscription table. Idempotent: the same requestId twice has one effect. */
export interface CheckRequest {
  readonly kind: 'CheckRequest';
  readonly requestId: string;
  /** Check the slices of this shard; empty for all shards. */
  readonly shardId: string;
  /** Check this slice only; empty for all slices. */
  readonly slice: string;
  readonly repair: boolean;
  readonly timestamp: EventTime;
}

/** An operator asks for a lost shard to be rebuilt from the subscription table. Idempotent: the same requestId twice has one effect. */
export interface RebuildRequest {
  readonly kind: 'RebuildRequest';
  readonly requestId: string;
  readonly shardId: ShardId;
  /** Rebuild it also when it is not known to be lost. */
  readonly force: boolean;
  readonly timestamp: EventTime;
}

/** A measurement of the fleet (traffic of a topic, load of a datastore instance, how far a broker has read the pointer table), or a request of an operator. */
export interface Metric {
  readonly body: TopicTraffic | DatastoreMetrics | BrokerHeartbeat | PlanRequest | MoveRequest | PlanAnswer | CheckRequest | RebuildRequest;
}

export interface Change {
  /** Epoch of the whole table: grows by one with each change. */
  readonly epoch: Epoch;
  readonly index: number;
  readonly count: number;
  /** Term of the planner that wrote the record: grows each time the planner's task is taken over. 0: written by an earlier release, or not by a planner. */
  readonly term: number;
  /** The instance that ran the planner. */
  readonly planner: string;
}

export type PointerMode = 'SINGLE' | 'SPREAD' | 'REPLICAS' | 'GONE';

export interface PointerEntry {
  readonly kind: 'PointerEntry';
  readonly slice: SliceKey;
  /** GONE: the slice was split or merged away; its filters have other owners in the same change. */
  readonly mode: PointerMode;
  readonly shards: readonly (ShardId)[];
  /** The change that gave the slice these shards. */
  readonly epoch: Epoch;
}

export type StoreKind = 'KEY_VALUE' | 'TRIE';

export type ShardState = 'READY' | 'DRAINING' | 'GONE';

export type ShardLoss = 'NONE' | 'SILENT' | 'LOST';

export interface ShardEntry {
  readonly kind: 'ShardEntry';
  readonly shardId: ShardId;
  readonly storeKind: StoreKind;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
  readonly state: ShardState;
  readonly epoch: Epoch;
  /** No reader asks a shard that is not NONE. SILENT: it may still answer; readers are told first. LOST: nobody waits for it any more. */
  readonly loss?: ShardLoss | undefined;
  /** When a lost shard's slices are expected on other shards; 0: not known yet. */
  readonly rebuiltAt?: EventTime | undefined;
}

/** One entry of the pointer table. A reader applies a change when it has read all `count` entries of it, not before. */
export interface PointerRecord {
  readonly change: Change;
  readonly body: PointerEntry | ShardEntry;
}

export type MoveState = 'PLANNED' | 'PROVISIONING' | 'COPYING' | 'VERIFYING' | 'VERIFIED' | 'SWITCHED' | 'DRAINING' | 'RETIRED' | 'ABORTED' | 'SHARED';

export interface MoveProgress {
  readonly kind: 'MoveProgress';
  readonly moveId: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly state: MoveState;
  readonly paused: boolean;
  readonly rowsCopied: number;
  readonly bytesCopied: number;
  readonly rowsVerified: number;
  readonly rowsErased: number;
  /** -1 while unknown. */
  readonly etaMs: number;
  readonly reason: string;
}

export type ShardProgressState = 'PROVISIONING' | 'READY' | 'RESIZED' | 'RELEASED' | 'FAILED' | 'LOST' | 'FOUND';

export interface ShardProgress {
  readonly kind: 'ShardProgress';
  readonly shardId: ShardId;
  readonly datastoreType: string;
  readonly state: ShardProgressState;
  readonly instanceId: string;
  /** Address at which readers query the shard; empty for a store inside this process. */
  readonly address: string;
  readonly tookMs: number;
  readonly reason: string;
  /** With the state LOST: a store exists, but it belongs to another fleet. The settings are wrong; no data is lost. */
  readonly foreign?: boolean | undefined;
  /** With the state LOST: it has not answered for too long. It may hold its data, and answer others. */
  readonly silent?: boolean | undefined;
}

/** A split or merge has been carried out, or refused with a reason. */
export interface SliceProgress {
  readonly kind: 'SliceProgress';
  readonly commandId: string;
  readonly done: boolean;
  readonly reason: string;
}

/** Number of live rows of a slice, reported when it has changed by a stated share. */
export interface SliceEntries {
  readonly kind: 'SliceEntries';
  readonly slice: SliceKey;
  readonly entries: number;
  readonly bytes: number;
}

/** A command was refused: its writer had no right to send it, or it contradicts what the task knows. Nothing was changed. */
export interface CommandRefused {
  readonly kind: 'CommandRefused';
  readonly commandId: string;
  /** The reason, as one word of a closed list. */
  readonly constraint: string;
  /** The highest term that the task knows. */
  readonly term: number;
  readonly reason: string;
}

/** A move has ended without one of its shards, which did not answer. Once that shard answers, it is told where the slice is now, and its rows of the slice are erased; then `done` is true. */
export interface SliceLeft {
  readonly kind: 'SliceLeft';
  readonly shardId: ShardId;
  readonly slice: SliceKey;
  readonly livesOn: ShardId;
  readonly done: boolean;
  readonly reason: string;
}

export type CheckState = 'RUNNING' | 'DONE' | 'REFUSED';

export type DifferenceKind = 'MISSING' | 'EXTRA' | 'DIFFERENT' | 'STRAY';

export interface ListedDifference {
  readonly kind: DifferenceKind;
  readonly slice: SliceKey;
  readonly shardId: ShardId;
  /** The beginning of it, when it is long. */
  readonly topicFilter: string;
  /** The beginning of it, when it is long. */
  readonly clientId: string;
  readonly mended: boolean;
}

/** Progress and findings of a check, for one partition. */
export interface CheckProgress {
  readonly kind: 'CheckProgress';
  readonly checkId: string;
  readonly partition: number;
  readonly state: CheckState;
  /** Number of slices to check, plus searches for stray rows. */
  readonly slices: number;
  readonly slicesDone: number;
  /** Rows compared. */
  readonly rows: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  /** Rows in a shard that does not have their slice. */
  readonly stray: number;
  /** How many of these differences were corrected. */
  readonly mended: number;
  /** Slices that could not be compared; `reason` says why, for the last one. */
  readonly unchecked: number;
  /** Always 0: what has ended is dropped from the table whether shards are checked or not. */
  readonly dropped: number;
  /** The first differences found. */
  readonly differences: readonly (ListedDifference)[];
  readonly reason: string;
}

/** Whether the subscription table has every subscription of a partition, so that a lost shard can be rebuilt from it. */
export interface TableProgress {
  readonly kind: 'TableProgress';
  readonly partition: number;
  readonly whole: boolean;
}

/** What the apply stage reports back to the planner. */
export interface Progress {
  readonly at: EventTime;
  readonly body: MoveProgress | ShardProgress | SliceProgress | SliceEntries | CommandRefused | SliceLeft | CheckProgress | TableProgress;
}

/** Counts of one series in one source partition, for one closed window. Windows of the same series from several partitions add up. */
export interface RateWindow {
  readonly series: SeriesId;
  /** The partition that counted it. */
  readonly source: number;
  readonly windowStart: EventTime;
  readonly windowMs: number;
  readonly subscribes: number;
  readonly unsubscribes: number;
  readonly publishes: number;
  readonly bytes: number;
  /** Estimate (HyperLogLog) of the clients behind the subscription events. */
  readonly distinctClients: number;
  /** Events that came after their window had closed; they are counted here and in no rate. */
  readonly lateEvents: number;
}

export type OperationAction = 'LOSE' | 'DISCONNECT' | 'RESTORE';

export interface OperationStart {
  readonly kind: 'OperationStart';
  /** LOSE: the broker is silent. DISCONNECT: it was restarted and has lost its connections. RESTORE: it was silent, and is back with its connections. */
  readonly action: OperationAction;
  /** Sessions that were connected after this time, by the broker's clock, are not affected. */
  readonly before: EventTime;
}

/** The operation stops: sessions not processed yet are left as they are. */
export interface OperationStop {
  readonly kind: 'OperationStop';
  readonly reason: string;
}

export type OperationProgressAction = 'LOSE' | 'DISCONNECT' | 'RESTORE';

export type OperationState = 'RUNNING' | 'DONE' | 'STOPPED';

/** Progress of the operation in one partition. */
export interface OperationProgress {
  readonly kind: 'OperationProgress';
  readonly partition: number;
  readonly action: OperationProgressAction;
  readonly state: OperationState;
  /** Sessions found. */
  readonly sessions: number;
  /** Sessions that this operation has ended. */
  readonly ended: number;
  /** SUBSCRIBE and UNSUBSCRIBE events that it has caused. */
  readonly events: number;
  readonly startedAt: EventTime;
  readonly reason: string;
}

/** An operation on all sessions of one broker. The task that watches the broker sends it to each partition, and each partition reports its progress. */
export interface SessionOperation {
  readonly operationId: string;
  readonly brokerId: string;
  readonly at: EventTime;
  readonly body: OperationStart | OperationStop | OperationProgress;
}

/** The client has connected. */
export interface Connected {
  readonly kind: 'Connected';
  readonly clientId: string;
  readonly brokerId: string;
  /** MQTT 5, 3.1.2.4: true when an earlier session has ended. MQTT 3.1.1: the clean session flag. */
  readonly cleanStart: boolean;
  /** MQTT 5, 3.1.2.11.2: 0 ends the session with the connection, 4294967295 (0xFFFFFFFF) never. MQTT 3.1.1: 0 for a clean session, else 4294967295. */
  readonly sessionExpirySeconds: number;
  /** Number of this connection of the client: greater than that of every earlier one, at whichever broker; at least 1. */
  readonly sessionEpoch: number;
}

/** The connection has closed; the session continues until it expires. */
export interface Disconnected {
  readonly kind: 'Disconnected';
  readonly clientId: string;
  readonly brokerId: string;
  /** The new value, when DISCONNECT changed it (MQTT 5, 3.14.2.2.2); -1: unchanged. */
  readonly sessionExpirySeconds: number;
  readonly sessionEpoch: number;
}

/** The session and its subscriptions have ended: removed by an operator, or by a rule of the broker. */
export interface Ended {
  readonly kind: 'Ended';
  readonly clientId: string;
  readonly brokerId: string;
  readonly sessionEpoch: number;
}

/** A change of one client's session, reported by a broker. Keyed by the client id. */
export interface SessionRecord {
  readonly body: Connected | Disconnected | Ended;
  readonly timestamp: EventTime;
}

export type Action = 'SUBSCRIBE' | 'UNSUBSCRIBE';

export interface SubscriptionEvent {
  readonly action: Action;
  readonly topicFilter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  readonly timestamp: EventTime;
  /** MQTT 5, 3.8.3.1: messages that the client publishes itself are not sent to it. */
  readonly noLocal?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: messages keep their RETAIN flag. */
  readonly retainAsPublished?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: at SUBSCRIBE retained messages are sent always (0), only for a new subscription (1), or never (2). */
  readonly retainHandling?: number | undefined;
  /** MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none. */
  readonly subscriptionIdentifier?: number | undefined;
  /** Number of the client's connection that the event came by: greater than that of every earlier one, at whichever broker. 0 when the broker does not report sessions. */
  readonly sessionEpoch?: number | undefined;
  /** True when Foreshard wrote the event, because a session has ended or has moved to another broker. Brokers never set it. */
  readonly bySession?: boolean | undefined;
}

/** The state of one client's subscription to one topic filter: the result of all events so far. The key is the filter, NUL, and the client id. */
export interface Subscription {
  readonly topicFilter: string;
  readonly clientId: string;
  /** The broker that holds the subscription. */
  readonly brokerId: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  /** 0: none. */
  readonly subscriptionIdentifier: number;
  /** 0: the broker does not report sessions. */
  readonly sessionEpoch: number;
  /** The incarnation of the subscriptions topic that the offset belongs to. */
  readonly incarnation: number;
  /** Offset, in the subscriptions topic, of the last event that changed the subscription. */
  readonly offset: number;
  readonly timestamp: EventTime;
  /** True when the subscription has ended. It is remembered for a time, so that a late event of an earlier session does not bring it back. */
  readonly removed: boolean;
}

export type WildcardAction = 'SUBSCRIBE' | 'UNSUBSCRIBE';

export interface WildcardEvent {
  readonly action: WildcardAction;
  readonly topicFilter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  readonly timestamp: EventTime;
  /** Offset in the subscriptions topic. One filter has one source partition, so offsets order its events. */
  readonly offset: number;
  /** The incarnation of the subscriptions topic that the offset belongs to; -1 in records of an earlier release, which did not have this field. */
  readonly incarnation: number;
  /** MQTT 5, 3.8.3.1: messages that the client publishes itself are not sent to it. */
  readonly noLocal?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: messages keep their RETAIN flag. */
  readonly retainAsPublished?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: at SUBSCRIBE retained messages are sent always (0), only for a new subscription (1), or never (2). */
  readonly retainHandling?: number | undefined;
  /** MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none. */
  readonly subscriptionIdentifier?: number | undefined;
  /** Number of the client's connection that the event came by: greater than that of every earlier one, at whichever broker. 0 when the broker does not report sessions. */
  readonly sessionEpoch?: number | undefined;
}

/** Wildcard subscription events that share their first level, in the order of their source partition; one record for each batch of ingest. */
export interface WildcardEvents {
  /** The first level when it is literal; '+' or '#' otherwise. */
  readonly firstLevel: string;
  readonly events: readonly (WildcardEvent)[];
}

/** The Avro schema of each record that is a topic’s value. */
export const SCHEMAS = {
  ClientEvents: {"type":"record","name":"ClientEvents","namespace":"psm","doc":"Subscription events of one client that belong to its session, in the order of their source partition; one record for each batch of ingest.","fields":[{"name":"clientId","type":"string"},{"name":"events","type":{"type":"array","items":{"type":"record","name":"ClientEvent","fields":[{"name":"action","type":{"type":"enum","name":"ClientAction","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"noLocal","type":"boolean","default":false,"optional":true},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true},{"name":"retainHandling","type":"int","default":0,"optional":true},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true},{"name":"sessionEpoch","type":"long"},{"name":"bySession","type":"boolean","default":false,"optional":true},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}}}]},
  Command: {"type":"record","name":"Command","namespace":"psm","doc":"A command of the planner to the apply stage. A command that comes twice, with the same id, has one effect.","fields":[{"name":"id","type":"string"},{"name":"epoch","type":"long","brand":"Epoch"},{"name":"reason","type":"string"},{"name":"deadline","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Event time by which the effect is wanted."},{"name":"body","type":[{"type":"record","name":"AllocateShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"}]},{"type":"record","name":"ResizeShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"}]},{"type":"record","name":"RetireShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"}]},{"type":"record","name":"SplitSlice","doc":"`slice` is replaced by the slices `into`, on the same shard. When `slice` is also in `into`, it stays and becomes smaller: a pin or a deeper wildcard group is carved out of it.","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"into","type":{"type":"array","items":{"type":"string","brand":"SliceKey"}}}]},{"type":"record","name":"MergeSlices","doc":"`slices`, all on one shard, become `into`.","fields":[{"name":"slices","type":{"type":"array","items":{"type":"string","brand":"SliceKey"}}},{"name":"into","type":"string","brand":"SliceKey"}]},{"type":"record","name":"MoveSlice","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"from","type":"string","brand":"ShardId"},{"name":"to","type":"string","brand":"ShardId"},{"name":"rowsPerSecond","type":"int","doc":"Copy throttle; 0 means the configured rate."},{"name":"source","type":{"type":"enum","name":"MoveSource","symbols":["SHARD","TABLE"]},"default":"SHARD","optional":true,"doc":"TABLE: `from` has lost its data, and the target is filled from the subscription table."}]},{"type":"record","name":"SteerMove","doc":"SWITCH: the pointer with this command's epoch is published in the same transaction. RETIRE: every reader has passed the switch.","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"action","type":{"type":"enum","name":"SteerAction","symbols":["SWITCH","RETIRE","ABORT","PAUSE","RESUME","THROTTLE","SHARE","UNSHARE"]}},{"name":"rowsPerSecond","type":"int","default":0}]},{"type":"record","name":"CheckSlices","doc":"Compare the rows of shards with the subscription table, and correct them if asked to.","fields":[{"name":"checkId","type":"string"},{"name":"shardId","type":"string","doc":"Check the slices of this shard; empty for all shards."},{"name":"slice","type":"string","doc":"Check this slice only; empty for all slices."},{"name":"repair","type":"boolean"},{"name":"concreteShards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}},"doc":"Shards to be searched for rows that should be elsewhere."},{"name":"trieShards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}}}]}]},{"name":"term","type":"long","default":0,"doc":"Term of the planner that sent the command: grows each time the planner's task is taken over. 0: sent by an earlier release, or not by a planner."},{"name":"planner","type":"string","default":"","doc":"The instance that ran the planner."}]},
  Decision: {"type":"record","name":"Decision","namespace":"psm","doc":"One decision or refusal of the planner, with the figures it was based on.","fields":[{"name":"id","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"kind","type":{"type":"enum","name":"DecisionKind","symbols":["START","ALLOCATE","RESIZE","RETIRE","SPLIT","MERGE","MOVE","SWITCH","FINISH","ABORT","REFUSE","KEEP","PROPOSE","APPROVE","REJECT","EXPIRE","REVIEW","REPLICATE","UNREPLICATE"]}},{"name":"subject","type":"string","doc":"A slice key, shard id, move id or plan id."},{"name":"reason","type":"string","doc":"One sentence for an operator."},{"name":"constraint","type":"string","doc":"For a refusal: the constraint that the action did not pass. Empty otherwise."},{"name":"requestId","type":"string","default":""},{"name":"commandIds","type":{"type":"array","items":"string"}},{"name":"forecastPerSecond","type":"double","doc":"The planned-for rate (upper quantile) at its peak within the lead time; -1 when no forecast was used."},{"name":"capacityPerSecond","type":"double","doc":"-1 when not applicable."},{"name":"crossingAt","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"When the forecast crosses capacity; 0 when it does not."},{"name":"leadTimeMs","type":"long"},{"name":"dollarsPerHour","type":"double","doc":"Change of running cost if carried out."},{"name":"alternatives","type":{"type":"array","items":{"type":"record","name":"Alternative","fields":[{"name":"what","type":"string"},{"name":"dollars","type":"double"},{"name":"whyNot","type":"string"}]}}},{"name":"dollarsOnce","type":"double","default":0,"doc":"One-time cost of carrying it out: provisioning and copying."},{"name":"promisedDollars","type":"double","default":-1,"doc":"Savings expected within the horizon; -1 when none were stated."},{"name":"realisedDollars","type":"double","default":-1,"doc":"For a review: the savings that were realised, to compare with promisedDollars; -1 otherwise."},{"name":"expiresAt","type":{"type":"long","logicalType":"timestamp-millis"},"default":0,"doc":"Until when a proposed plan may be approved, or an approval is valid; 0 when not applicable."},{"name":"steps","type":{"type":"array","items":"string"},"default":[],"doc":"The actions of a proposed plan, in order."},{"name":"changes","type":{"type":"array","items":{"type":"record","name":"ShardChange","doc":"One shard before and after a proposed plan.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"typeBefore","type":"string","doc":"Empty when the shard is new."},{"name":"typeAfter","type":"string","doc":"Empty when the shard is removed."},{"name":"slicesBefore","type":"int"},{"name":"slicesAfter","type":"int"},{"name":"fullBefore","type":"double","doc":"Highest utilisation within the horizon at the planned-for quantile; 1 is full."},{"name":"fullAfter","type":"double"}]}},"default":[]}]},
  Forecast: {"type":"record","name":"Forecast","namespace":"psm","doc":"The Prediction Cache's entry for one series and signal: quantiles of the rate for each coming step.","fields":[{"name":"series","type":"string","brand":"SeriesId"},{"name":"signal","type":{"type":"enum","name":"Signal","symbols":["SUBSCRIPTIONS","PUBLISHES"]},"doc":"SUBSCRIPTIONS: subscribe and unsubscribe events. PUBLISHES: look-ups by topic."},{"name":"madeAt","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Event time: the end of the last step seen. Step k covers madeAt + k*stepMs .. madeAt + (k+1)*stepMs."},{"name":"stepMs","type":"int"},{"name":"levels","type":{"type":"array","items":"double"},"doc":"Quantile levels, ascending, 0..1."},{"name":"quantiles","type":{"type":"array","items":"float"},"doc":"Events per second, step-major: quantiles[step * levels.length + level]."},{"name":"currentPerSecond","type":"double","doc":"Measured rate of the last step, events per second."},{"name":"model","type":"string"},{"name":"weights","type":{"type":"map","values":"double"},"doc":"Share of each model in the forecast."},{"name":"recentError","type":"double","doc":"Recent mean absolute error one step ahead, divided by that of the seasonal naive forecast (MASE); -1 while unknown."},{"name":"dispersion","type":"double","doc":"Index of dispersion of the counts: variance over mean."},{"name":"peakToMean","type":"double"},{"name":"seasonMs","type":"long","doc":"0 when no season was found."},{"name":"pattern","type":{"type":"enum","name":"Pattern","symbols":["UNKNOWN","BURSTY","CONSISTENT","PERIODIC","TRENDING","MIXED"]}},{"name":"trusted","type":"boolean","doc":"False when the forecast is not accurate enough, and the planner uses measurements only; `distrust` says why."},{"name":"distrust","type":"string","doc":"Why the forecast is not trusted; empty when it is."},{"name":"distinctClients","type":"double"},{"name":"bytesPerSecond","type":"double"},{"name":"farStepMs","type":"int","default":0,"doc":"Step of farQuantiles; 0 when there are none."},{"name":"farQuantiles","type":{"type":"array","items":"float"},"default":[],"doc":"The steps after those of `quantiles`, in events per second, step-major. Step k, counted from 0, ends at madeAt + (k+2)*farStepMs."},{"name":"coverage","type":"double","default":-1,"doc":"Share of recent steps at or below the 0.95 quantile that was forecast fifteen minutes before; -1 while unknown."},{"name":"stepsSeen","type":"long","default":0,"doc":"Age of the series: number of steps seen in all."},{"name":"unsubscribeShare","type":"double","default":0.5,"doc":"SUBSCRIPTIONS: share of the latest events that were unsubscribes."}]},
  Metric: {"type":"record","name":"Metric","namespace":"psm","doc":"A measurement of the fleet (traffic of a topic, load of a datastore instance, how far a broker has read the pointer table), or a request of an operator.","fields":[{"name":"body","type":[{"type":"record","name":"TopicTraffic","doc":"Publishes to one topic through one broker in one window. Keyed by the topic.","fields":[{"name":"brokerId","type":"string"},{"name":"topic","type":"string"},{"name":"publishes","type":"long"},{"name":"bytes","type":"long"},{"name":"windowStart","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"windowMs","type":"int"}]},{"type":"record","name":"DatastoreMetrics","doc":"Load of the datastore instance that serves one shard. Keyed by the shard id.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"instanceId","type":"string"},{"name":"cpu","type":"double","doc":"CPU utilisation, 0..1."},{"name":"memoryBytes","type":"long"},{"name":"memoryLimitBytes","type":"long"},{"name":"iops","type":"double"},{"name":"iopsLimit","type":"double"},{"name":"entries","type":"long"},{"name":"lookupP99Ms","type":"double"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"nodesPerLookup","type":"double","default":-1,"doc":"Average number of trie nodes that one look-up visits; -1 when not reported."},{"name":"matchesPerLookup","type":"double","default":-1,"doc":"Average number of subscriptions that one look-up finds in a trie (its fan-out); -1 when not reported."}]},{"type":"record","name":"BrokerHeartbeat","doc":"A broker is alive and has applied every pointer-table record below pointerOffset. Keyed by the broker id.","fields":[{"name":"brokerId","type":"string"},{"name":"pointerOffset","type":"long"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"startedAt","type":{"type":"long","logicalType":"timestamp-millis"},"default":0,"optional":true,"doc":"When this process of the broker was started. A process that was started later has none of its connections. 0 when not reported."}]},{"type":"record","name":"PlanRequest","doc":"A request to the planner to judge one topic now. The answer is a Decision with this request's id.","fields":[{"name":"requestId","type":"string"},{"name":"topic","type":"string"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"MoveRequest","doc":"An operator steers a move. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"moveId","type":"string","brand":"MoveId"},{"name":"action","type":{"type":"enum","name":"MoveRequestAction","symbols":["ABORT","PAUSE","RESUME","THROTTLE"]}},{"name":"rowsPerSecond","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"PlanAnswer","doc":"An operator approves or rejects a proposed plan. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"planId","type":"string","brand":"PlanId"},{"name":"answer","type":{"type":"enum","name":"PlanVerdict","symbols":["APPROVE","REJECT"]}},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"CheckRequest","doc":"An operator asks for shards to be compared with the subscription table. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"shardId","type":"string","doc":"Check the slices of this shard; empty for all shards."},{"name":"slice","type":"string","doc":"Check this slice only; empty for all slices."},{"name":"repair","type":"boolean"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"RebuildRequest","doc":"An operator asks for a lost shard to be rebuilt from the subscription table. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"shardId","type":"string","brand":"ShardId"},{"name":"force","type":"boolean","doc":"Rebuild it also when it is not known to be lost."},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}]}]},
  PointerRecord: {"type":"record","name":"PointerRecord","namespace":"psm","doc":"One entry of the pointer table. A reader applies a change when it has read all `count` entries of it, not before.","fields":[{"name":"change","type":{"type":"record","name":"Change","fields":[{"name":"epoch","type":"long","brand":"Epoch","doc":"Epoch of the whole table: grows by one with each change."},{"name":"index","type":"int"},{"name":"count","type":"int"},{"name":"term","type":"long","default":0,"doc":"Term of the planner that wrote the record: grows each time the planner's task is taken over. 0: written by an earlier release, or not by a planner."},{"name":"planner","type":"string","default":"","doc":"The instance that ran the planner."}]}},{"name":"body","type":[{"type":"record","name":"PointerEntry","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"mode","type":{"type":"enum","name":"PointerMode","symbols":["SINGLE","SPREAD","REPLICAS","GONE"]},"doc":"GONE: the slice was split or merged away; its filters have other owners in the same change."},{"name":"shards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}}},{"name":"epoch","type":"long","brand":"Epoch","doc":"The change that gave the slice these shards."}]},{"type":"record","name":"ShardEntry","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"storeKind","type":{"type":"enum","name":"StoreKind","symbols":["KEY_VALUE","TRIE"]}},{"name":"datastoreType","type":"string"},{"name":"instanceId","type":"string"},{"name":"address","type":"string"},{"name":"state","type":{"type":"enum","name":"ShardState","symbols":["READY","DRAINING","GONE"]}},{"name":"epoch","type":"long","brand":"Epoch"},{"name":"loss","type":{"type":"enum","name":"ShardLoss","symbols":["NONE","SILENT","LOST"]},"default":"NONE","optional":true,"doc":"No reader asks a shard that is not NONE. SILENT: it may still answer; readers are told first. LOST: nobody waits for it any more."},{"name":"rebuiltAt","type":{"type":"long","logicalType":"timestamp-millis"},"default":0,"optional":true,"doc":"When a lost shard's slices are expected on other shards; 0: not known yet."}]}]}]},
  Progress: {"type":"record","name":"Progress","namespace":"psm","doc":"What the apply stage reports back to the planner.","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"body","type":[{"type":"record","name":"MoveProgress","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"from","type":"string","brand":"ShardId"},{"name":"to","type":"string","brand":"ShardId"},{"name":"state","type":{"type":"enum","name":"MoveState","symbols":["PLANNED","PROVISIONING","COPYING","VERIFYING","VERIFIED","SWITCHED","DRAINING","RETIRED","ABORTED","SHARED"]}},{"name":"paused","type":"boolean"},{"name":"rowsCopied","type":"long"},{"name":"bytesCopied","type":"long"},{"name":"rowsVerified","type":"long"},{"name":"rowsErased","type":"long"},{"name":"etaMs","type":"long","doc":"-1 while unknown."},{"name":"reason","type":"string"}]},{"type":"record","name":"ShardProgress","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"},{"name":"state","type":{"type":"enum","name":"ShardProgressState","symbols":["PROVISIONING","READY","RESIZED","RELEASED","FAILED","LOST","FOUND"]}},{"name":"instanceId","type":"string"},{"name":"address","type":"string","doc":"Address at which readers query the shard; empty for a store inside this process."},{"name":"tookMs","type":"long"},{"name":"reason","type":"string"},{"name":"foreign","type":"boolean","default":false,"optional":true,"doc":"With the state LOST: a store exists, but it belongs to another fleet. The settings are wrong; no data is lost."},{"name":"silent","type":"boolean","default":false,"optional":true,"doc":"With the state LOST: it has not answered for too long. It may hold its data, and answer others."}]},{"type":"record","name":"SliceProgress","doc":"A split or merge has been carried out, or refused with a reason.","fields":[{"name":"commandId","type":"string"},{"name":"done","type":"boolean"},{"name":"reason","type":"string"}]},{"type":"record","name":"SliceEntries","doc":"Number of live rows of a slice, reported when it has changed by a stated share.","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"entries","type":"long"},{"name":"bytes","type":"long"}]},{"type":"record","name":"CommandRefused","doc":"A command was refused: its writer had no right to send it, or it contradicts what the task knows. Nothing was changed.","fields":[{"name":"commandId","type":"string"},{"name":"constraint","type":"string","doc":"The reason, as one word of a closed list."},{"name":"term","type":"long","doc":"The highest term that the task knows."},{"name":"reason","type":"string"}]},{"type":"record","name":"SliceLeft","doc":"A move has ended without one of its shards, which did not answer. Once that shard answers, it is told where the slice is now, and its rows of the slice are erased; then `done` is true.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"livesOn","type":"string","brand":"ShardId"},{"name":"done","type":"boolean"},{"name":"reason","type":"string"}]},{"type":"record","name":"CheckProgress","doc":"Progress and findings of a check, for one partition.","fields":[{"name":"checkId","type":"string"},{"name":"partition","type":"int"},{"name":"state","type":{"type":"enum","name":"CheckState","symbols":["RUNNING","DONE","REFUSED"]}},{"name":"slices","type":"int","doc":"Number of slices to check, plus searches for stray rows."},{"name":"slicesDone","type":"int"},{"name":"rows","type":"long","doc":"Rows compared."},{"name":"missing","type":"long"},{"name":"extra","type":"long"},{"name":"different","type":"long"},{"name":"stray","type":"long","doc":"Rows in a shard that does not have their slice."},{"name":"mended","type":"long","doc":"How many of these differences were corrected."},{"name":"unchecked","type":"long","doc":"Slices that could not be compared; `reason` says why, for the last one."},{"name":"dropped","type":"long","doc":"Always 0: what has ended is dropped from the table whether shards are checked or not."},{"name":"differences","type":{"type":"array","items":{"type":"record","name":"ListedDifference","fields":[{"name":"kind","type":{"type":"enum","name":"DifferenceKind","symbols":["MISSING","EXTRA","DIFFERENT","STRAY"]}},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"shardId","type":"string","brand":"ShardId"},{"name":"topicFilter","type":"string","doc":"The beginning of it, when it is long."},{"name":"clientId","type":"string","doc":"The beginning of it, when it is long."},{"name":"mended","type":"boolean"}]}},"doc":"The first differences found."},{"name":"reason","type":"string"}]},{"type":"record","name":"TableProgress","doc":"Whether the subscription table has every subscription of a partition, so that a lost shard can be rebuilt from it.","fields":[{"name":"partition","type":"int"},{"name":"whole","type":"boolean"}]}]}]},
  RateWindow: {"type":"record","name":"RateWindow","namespace":"psm","doc":"Counts of one series in one source partition, for one closed window. Windows of the same series from several partitions add up.","fields":[{"name":"series","type":"string","brand":"SeriesId"},{"name":"source","type":"int","doc":"The partition that counted it."},{"name":"windowStart","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"windowMs","type":"int"},{"name":"subscribes","type":"long"},{"name":"unsubscribes","type":"long"},{"name":"publishes","type":"long"},{"name":"bytes","type":"long"},{"name":"distinctClients","type":"double","doc":"Estimate (HyperLogLog) of the clients behind the subscription events."},{"name":"lateEvents","type":"long","doc":"Events that came after their window had closed; they are counted here and in no rate."}]},
  SessionOperation: {"type":"record","name":"SessionOperation","namespace":"psm","doc":"An operation on all sessions of one broker. The task that watches the broker sends it to each partition, and each partition reports its progress.","fields":[{"name":"operationId","type":"string"},{"name":"brokerId","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"body","type":[{"type":"record","name":"OperationStart","fields":[{"name":"action","type":{"type":"enum","name":"OperationAction","symbols":["LOSE","DISCONNECT","RESTORE"]},"doc":"LOSE: the broker is silent. DISCONNECT: it was restarted and has lost its connections. RESTORE: it was silent, and is back with its connections."},{"name":"before","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Sessions that were connected after this time, by the broker's clock, are not affected."}]},{"type":"record","name":"OperationStop","doc":"The operation stops: sessions not processed yet are left as they are.","fields":[{"name":"reason","type":"string"}]},{"type":"record","name":"OperationProgress","doc":"Progress of the operation in one partition.","fields":[{"name":"partition","type":"int"},{"name":"action","type":{"type":"enum","name":"OperationProgressAction","symbols":["LOSE","DISCONNECT","RESTORE"]}},{"name":"state","type":{"type":"enum","name":"OperationState","symbols":["RUNNING","DONE","STOPPED"]}},{"name":"sessions","type":"long","doc":"Sessions found."},{"name":"ended","type":"long","doc":"Sessions that this operation has ended."},{"name":"events","type":"long","doc":"SUBSCRIBE and UNSUBSCRIBE events that it has caused."},{"name":"startedAt","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"reason","type":"string"}]}]}]},
  SessionRecord: {"type":"record","name":"SessionRecord","namespace":"psm","doc":"A change of one client's session, reported by a broker. Keyed by the client id.","fields":[{"name":"body","type":[{"type":"record","name":"Connected","doc":"The client has connected.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"cleanStart","type":"boolean","doc":"MQTT 5, 3.1.2.4: true when an earlier session has ended. MQTT 3.1.1: the clean session flag."},{"name":"sessionExpirySeconds","type":"long","doc":"MQTT 5, 3.1.2.11.2: 0 ends the session with the connection, 4294967295 (0xFFFFFFFF) never. MQTT 3.1.1: 0 for a clean session, else 4294967295."},{"name":"sessionEpoch","type":"long","doc":"Number of this connection of the client: greater than that of every earlier one, at whichever broker; at least 1."}]},{"type":"record","name":"Disconnected","doc":"The connection has closed; the session continues until it expires.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"sessionExpirySeconds","type":"long","default":-1,"doc":"The new value, when DISCONNECT changed it (MQTT 5, 3.14.2.2.2); -1: unchanged."},{"name":"sessionEpoch","type":"long"}]},{"type":"record","name":"Ended","doc":"The session and its subscriptions have ended: removed by an operator, or by a rule of the broker.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"sessionEpoch","type":"long"}]}]},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},
  SubscriptionEvent: {"type":"record","name":"SubscriptionEvent","namespace":"psm","fields":[{"name":"action","type":{"type":"enum","name":"Action","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"noLocal","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages that the client publishes itself are not sent to it."},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages keep their RETAIN flag."},{"name":"retainHandling","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.3.1: at SUBSCRIBE retained messages are sent always (0), only for a new subscription (1), or never (2)."},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none."},{"name":"sessionEpoch","type":"long","default":0,"optional":true,"doc":"Number of the client's connection that the event came by: greater than that of every earlier one, at whichever broker. 0 when the broker does not report sessions."},{"name":"bySession","type":"boolean","default":false,"optional":true,"doc":"True when Foreshard wrote the event, because a session has ended or has moved to another broker. Brokers never set it."}]},
  Subscription: {"type":"record","name":"Subscription","namespace":"psm","doc":"The state of one client's subscription to one topic filter: the result of all events so far. The key is the filter, NUL, and the client id.","fields":[{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string","doc":"The broker that holds the subscription."},{"name":"qos","type":"int","default":0},{"name":"noLocal","type":"boolean","default":false},{"name":"retainAsPublished","type":"boolean","default":false},{"name":"retainHandling","type":"int","default":0},{"name":"subscriptionIdentifier","type":"int","default":0,"doc":"0: none."},{"name":"sessionEpoch","type":"long","default":0,"doc":"0: the broker does not report sessions."},{"name":"incarnation","type":"int","doc":"The incarnation of the subscriptions topic that the offset belongs to."},{"name":"offset","type":"long","doc":"Offset, in the subscriptions topic, of the last event that changed the subscription."},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"removed","type":"boolean","default":false,"doc":"True when the subscription has ended. It is remembered for a time, so that a late event of an earlier session does not bring it back."}]},
  WildcardEvents: {"type":"record","name":"WildcardEvents","namespace":"psm","doc":"Wildcard subscription events that share their first level, in the order of their source partition; one record for each batch of ingest.","fields":[{"name":"firstLevel","type":"string","doc":"The first level when it is literal; '+' or '#' otherwise."},{"name":"events","type":{"type":"array","items":{"type":"record","name":"WildcardEvent","fields":[{"name":"action","type":{"type":"enum","name":"WildcardAction","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"offset","type":"long","doc":"Offset in the subscriptions topic. One filter has one source partition, so offsets order its events."},{"name":"incarnation","type":"int","default":-1,"doc":"The incarnation of the subscriptions topic that the offset belongs to; -1 in records of an earlier release, which did not have this field."},{"name":"noLocal","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages that the client publishes itself are not sent to it."},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages keep their RETAIN flag."},{"name":"retainHandling","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.3.1: at SUBSCRIBE retained messages are sent always (0), only for a new subscription (1), or never (2)."},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none."},{"name":"sessionEpoch","type":"long","default":0,"optional":true,"doc":"Number of the client's connection that the event came by: greater than that of every earlier one, at whichever broker. 0 when the broker does not report sessions."}]}}}]},
} as const;

export type RecordName = keyof typeof SCHEMAS;
