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

/** Subscription events of one client that belong to sessions, in the order of their source partition; one record for each micro-batch of ingest. */
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

/** `slice` gives way to `into`, on the same shard. A slice named on both sides stays, smaller (a pin or a deeper wildcard group is carved out of it). */
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
  /** TABLE: `from` has lost its data, and the target is filled from the table of subscriptions. */
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

/** Compare what shards have with the table of subscriptions, and mend it if asked to. */
export interface CheckSlices {
  readonly kind: 'CheckSlices';
  readonly checkId: string;
  /** The slices there; empty for those of all shards. */
  readonly shardId: string;
  /** That slice alone; empty for all. */
  readonly slice: string;
  readonly repair: boolean;
  /** Where rows are looked for that should be elsewhere. */
  readonly concreteShards: readonly (ShardId)[];
  readonly trieShards: readonly (ShardId)[];
}

/** The planner tells the apply stage what to do. The same id twice has one effect. */
export interface Command {
  readonly id: string;
  readonly epoch: Epoch;
  readonly reason: string;
  /** Event time by which the effect is wanted. */
  readonly deadline: EventTime;
  readonly body: AllocateShard | ResizeShard | RetireShard | SplitSlice | MergeSlices | MoveSlice | SteerMove | CheckSlices;
  /** Of the planner that sent it: grows each time that the planner's task is taken over. 0: an earlier release, or somebody else. */
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
  /** Empty when the shard goes. */
  readonly typeAfter: string;
  readonly slicesBefore: number;
  readonly slicesAfter: number;
  /** How full it gets within the horizon by the planned-for quantile; 1 is full. */
  readonly fullBefore: number;
  readonly fullAfter: number;
}

/** One decision or refusal of the planner, with what it knew. */
export interface Decision {
  readonly id: string;
  readonly at: EventTime;
  readonly kind: DecisionKind;
  /** A slice key, shard id, move id or plan id. */
  readonly subject: string;
  /** One sentence for an operator. */
  readonly reason: string;
  /** For a refusal: the constraint that bound. Empty otherwise. */
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
  /** What carrying it out costs once: provisioning and copying. */
  readonly dollarsOnce: number;
  /** What it is to save within the horizon; -1 when nothing was promised. */
  readonly promisedDollars: number;
  /** For a review: what was saved in the end, beside promisedDollars; -1 otherwise. */
  readonly realisedDollars: number;
  /** Until when a proposed plan may be approved, or an approval holds; 0 when not applicable. */
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
  /** The last step's measured rate. */
  readonly currentPerSecond: number;
  readonly model: string;
  /** Share of each model in the forecast. */
  readonly weights: Readonly<Record<string, number>>;
  /** Recent mean absolute error of one step ahead over that of the seasonal naive forecast (MASE); -1 while unknown. */
  readonly recentError: number;
  /** Index of dispersion of the counts: variance over mean. */
  readonly dispersion: number;
  readonly peakToMean: number;
  /** 0 when no season was found. */
  readonly seasonMs: number;
  readonly pattern: Pattern;
  /** False when the accuracy gate says to plan from measurements alone. */
  readonly trusted: boolean;
  /** Why it is not trusted; empty when it is. */
  readonly distrust: string;
  readonly distinctClients: number;
  readonly bytesPerSecond: number;
  /** Step of farQuantiles; 0 when there are none. */
  readonly farStepMs: number;
  /** Further ahead than quantiles, events per second, step-major: the k-th ones, from 0 on, are of the step that ends at madeAt + (k+2)*farStepMs. */
  readonly farQuantiles: readonly (number)[];
  /** Share of lately seen steps at or below their 0.95 quantile of fifteen minutes before; -1 while unknown. */
  readonly coverage: number;
  /** Age of the series: steps seen in all. */
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
  /** 0..1 */
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly iops: number;
  readonly iopsLimit: number;
  readonly entries: number;
  readonly lookupP99Ms: number;
  readonly timestamp: EventTime;
  /** Nodes of a trie that one look-up visits, on average; -1 when it does not say. */
  readonly nodesPerLookup: number;
  /** Subscriptions that one look-up finds in a trie, on average: its fan-out; -1 when it does not say. */
  readonly matchesPerLookup: number;
}

/** A broker is alive and has applied every pointer-table record below pointerOffset. Keyed by the broker id. */
export interface BrokerHeartbeat {
  readonly kind: 'BrokerHeartbeat';
  readonly brokerId: string;
  readonly pointerOffset: number;
  readonly timestamp: EventTime;
  /** Since when this process of the broker runs: a later one has none of its connections. 0 where it does not say. */
  readonly startedAt?: EventTime | undefined;
}

/** A person or program asks the planner to judge one topic now. The answer is a Decision with this request's id. */
export interface PlanRequest {
  readonly kind: 'PlanRequest';
  readonly requestId: string;
  readonly topic: string;
  readonly timestamp: EventTime;
}

export type MoveRequestAction = 'ABORT' | 'PAUSE' | 'RESUME' | 'THROTTLE';

/** A person steers a move. Idempotent: the same requestId twice has one effect. */
export interface MoveRequest {
  readonly kind: 'MoveRequest';
  readonly requestId: string;
  readonly moveId: MoveId;
  readonly action: MoveRequestAction;
  readonly rowsPerSecond: number;
  readonly timestamp: EventTime;
}

export type PlanVerdict = 'APPROVE' | 'REJECT';

/** A person approves a proposed plan, or rejects it. Idempotent: the same requestId twice has one effect. */
export interface PlanAnswer {
  readonly kind: 'PlanAnswer';
  readonly requestId: string;
  readonly planId: PlanId;
  readonly answer: PlanVerdict;
  readonly timestamp: EventTime;
}

/** A person has shards compared with the table of subscriptions. Idempotent: the same requestId twice has one effect. */
export interface CheckRequest {
  readonly kind: 'CheckRequest';
  readonly requestId: string;
  /** What is there; empty for all shards. */
  readonly shardId: string;
  /** That slice alone; empty for all. */
  readonly slice: string;
  readonly repair: boolean;
  readonly timestamp: EventTime;
}

/** What the fleet measures: traffic of a topic, load of a datastore instance, or how far a broker has read the pointer table. */
export interface Metric {
  readonly body: TopicTraffic | DatastoreMetrics | BrokerHeartbeat | PlanRequest | MoveRequest | PlanAnswer | CheckRequest;
}

export interface Change {
  /** Of the whole table: grows by one with each change. */
  readonly epoch: Epoch;
  readonly index: number;
  readonly count: number;
  /** Of the planner that wrote it: grows each time that the planner's task is taken over. 0: an earlier release, or somebody else. */
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

export interface ShardEntry {
  readonly kind: 'ShardEntry';
  readonly shardId: ShardId;
  readonly storeKind: StoreKind;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
  readonly state: ShardState;
  readonly epoch: Epoch;
}

/** One entry of the pointer table. A reader applies a change when it holds all `count` entries of it, never sooner. */
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
  /** Where readers ask; empty for a store inside this process. */
  readonly address: string;
  readonly tookMs: number;
  readonly reason: string;
  /** LOST: a store is there, and it is another fleet's. Settings are wrong, and no data is gone. */
  readonly foreign?: boolean | undefined;
}

/** A split or merge has been carried out; or refused, with the reason. */
export interface SliceProgress {
  readonly kind: 'SliceProgress';
  readonly commandId: string;
  readonly done: boolean;
  readonly reason: string;
}

/** How many live rows a slice holds, reported when it changes by a stated share. */
export interface SliceEntries {
  readonly kind: 'SliceEntries';
  readonly slice: SliceKey;
  readonly entries: number;
  readonly bytes: number;
}

/** A command that its writer had no right to, or that speaks against what is known. Nothing was changed. */
export interface CommandRefused {
  readonly kind: 'CommandRefused';
  readonly commandId: string;
  /** One word of a closed list. */
  readonly constraint: string;
  /** The highest that the task knows. */
  readonly term: number;
  readonly reason: string;
}

/** A move has ended without one of its shards, which did not answer. It is told where the slice is once it does, and what it holds of it is erased: then `done`. */
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
  /** Its beginning. */
  readonly topicFilter: string;
  /** Its beginning. */
  readonly clientId: string;
  readonly mended: boolean;
}

/** How far one partition's part of a check is, and what it has found. */
export interface CheckProgress {
  readonly kind: 'CheckProgress';
  readonly checkId: string;
  readonly partition: number;
  readonly state: CheckState;
  /** To be looked at, with the searches for stray rows. */
  readonly slices: number;
  readonly slicesDone: number;
  /** Compared. */
  readonly rows: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  /** In a shard where their slice is not. */
  readonly stray: number;
  /** Of these, those that are gone. */
  readonly mended: number;
  /** Slices that could not be compared; `reason` tells why of the last one. */
  readonly unchecked: number;
  /** Long-ended subscriptions that the table no longer has. */
  readonly dropped: number;
  /** The first ones. */
  readonly differences: readonly (ListedDifference)[];
  readonly reason: string;
}

/** Whether the table of subscriptions has every subscription of a partition, so that a lost shard can be rebuilt from it. */
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

/** What one source partition saw of one series in one closed window. Windows of one series from several partitions add up. */
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
  /** Events that came after their window had closed; counted here, in no rate. */
  readonly lateEvents: number;
}

export type OperationAction = 'LOSE' | 'DISCONNECT' | 'RESTORE';

export interface OperationStart {
  readonly kind: 'OperationStart';
  /** LOSE: the broker is silent. DISCONNECT: it has been started again. RESTORE: it was silent, and is back as it was. */
  readonly action: OperationAction;
  /** Sessions that were connected later, by the broker's clock, are left alone. */
  readonly before: EventTime;
}

/** What is not done yet is left as it is. */
export interface OperationStop {
  readonly kind: 'OperationStop';
  readonly reason: string;
}

export type OperationProgressAction = 'LOSE' | 'DISCONNECT' | 'RESTORE';

export type OperationState = 'RUNNING' | 'DONE' | 'STOPPED';

/** What one partition has done. */
export interface OperationProgress {
  readonly kind: 'OperationProgress';
  readonly partition: number;
  readonly action: OperationProgressAction;
  readonly state: OperationState;
  /** Sessions that were found. */
  readonly sessions: number;
  /** Those of them that have ended with it. */
  readonly ended: number;
  /** SUBSCRIBEs and UNSUBSCRIBEs that came of it. */
  readonly events: number;
  readonly startedAt: EventTime;
  readonly reason: string;
}

/** Something that befalls all sessions of one broker: told to each partition by the task that watches the broker, and what each partition has done of it. */
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
  /** MQTT 5, 3.1.2.4: whatever session there was has ended. MQTT 3.1.1: the clean session flag. */
  readonly cleanStart: boolean;
  /** MQTT 5, 3.1.2.11.2: 0 ends the session with the connection, 4294967295 (0xFFFFFFFF) never. MQTT 3.1.1: 0 of a clean session, else never. */
  readonly sessionExpirySeconds: number;
  /** Which connection of the client this is: grows with each, whatever the broker; at least 1. */
  readonly sessionEpoch: number;
}

/** That connection is closed; the session goes on until it expires. */
export interface Disconnected {
  readonly kind: 'Disconnected';
  readonly clientId: string;
  readonly brokerId: string;
  /** When DISCONNECT changed it (MQTT 5, 3.14.2.2.2); -1: as it was. */
  readonly sessionExpirySeconds: number;
  readonly sessionEpoch: number;
}

/** The session has ended, with its subscriptions: taken away by a person, or by a rule of the broker's own. */
export interface Ended {
  readonly kind: 'Ended';
  readonly clientId: string;
  readonly brokerId: string;
  readonly sessionEpoch: number;
}

/** What a broker tells of the session of one client. Keyed by the client id. */
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
  /** MQTT 5, 3.8.3.1: what the client publishes itself is not sent to it. */
  readonly noLocal?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: messages keep their RETAIN flag. */
  readonly retainAsPublished?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: retained messages are sent at SUBSCRIBE always (0), if the subscription is new (1), never (2). */
  readonly retainHandling?: number | undefined;
  /** MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none. */
  readonly subscriptionIdentifier?: number | undefined;
  /** Which connection of the client it came by: grows with each, whatever the broker. 0 where the broker tells of no sessions. */
  readonly sessionEpoch?: number | undefined;
  /** Written by Foreshard, since a session has ended or is at another broker now. No broker writes it. */
  readonly bySession?: boolean | undefined;
}

/** What a client is subscribed to: the outcome of all events of one topic filter and client. The key is the filter, NUL, and the client id. */
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
  /** 0: the broker sends no session records. */
  readonly sessionEpoch: number;
  /** Which making of the subscriptions topic the offset is of. */
  readonly incarnation: number;
  /** Of the last event that changed it, in the subscriptions topic. */
  readonly offset: number;
  readonly timestamp: EventTime;
  /** The subscription has ended; remembered for a time, so that a late event of an earlier session does not bring it back. */
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
  /** Which life of the subscriptions topic the offset is of; -1 where an earlier release did not say. */
  readonly incarnation: number;
  /** MQTT 5, 3.8.3.1: what the client publishes itself is not sent to it. */
  readonly noLocal?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: messages keep their RETAIN flag. */
  readonly retainAsPublished?: boolean | undefined;
  /** MQTT 5, 3.8.3.1: retained messages are sent at SUBSCRIBE always (0), if the subscription is new (1), never (2). */
  readonly retainHandling?: number | undefined;
  /** MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none. */
  readonly subscriptionIdentifier?: number | undefined;
  /** Which connection of the client it came by: grows with each, whatever the broker. 0 where the broker tells of no sessions. */
  readonly sessionEpoch?: number | undefined;
}

/** Wildcard subscription events that share their first level, in the order of their source partition; one record for each micro-batch of ingest. */
export interface WildcardEvents {
  /** The first level when it is literal; '+' or '#' otherwise. */
  readonly firstLevel: string;
  readonly events: readonly (WildcardEvent)[];
}

/** The Avro schema of each record that is a topic’s value. */
export const SCHEMAS = {
  ClientEvents: {"type":"record","name":"ClientEvents","namespace":"psm","doc":"Subscription events of one client that belong to sessions, in the order of their source partition; one record for each micro-batch of ingest.","fields":[{"name":"clientId","type":"string"},{"name":"events","type":{"type":"array","items":{"type":"record","name":"ClientEvent","fields":[{"name":"action","type":{"type":"enum","name":"ClientAction","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"noLocal","type":"boolean","default":false,"optional":true},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true},{"name":"retainHandling","type":"int","default":0,"optional":true},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true},{"name":"sessionEpoch","type":"long"},{"name":"bySession","type":"boolean","default":false,"optional":true},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}}}]},
  Command: {"type":"record","name":"Command","namespace":"psm","doc":"The planner tells the apply stage what to do. The same id twice has one effect.","fields":[{"name":"id","type":"string"},{"name":"epoch","type":"long","brand":"Epoch"},{"name":"reason","type":"string"},{"name":"deadline","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Event time by which the effect is wanted."},{"name":"body","type":[{"type":"record","name":"AllocateShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"}]},{"type":"record","name":"ResizeShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"}]},{"type":"record","name":"RetireShard","fields":[{"name":"shardId","type":"string","brand":"ShardId"}]},{"type":"record","name":"SplitSlice","doc":"`slice` gives way to `into`, on the same shard. A slice named on both sides stays, smaller (a pin or a deeper wildcard group is carved out of it).","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"into","type":{"type":"array","items":{"type":"string","brand":"SliceKey"}}}]},{"type":"record","name":"MergeSlices","doc":"`slices`, all on one shard, become `into`.","fields":[{"name":"slices","type":{"type":"array","items":{"type":"string","brand":"SliceKey"}}},{"name":"into","type":"string","brand":"SliceKey"}]},{"type":"record","name":"MoveSlice","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"from","type":"string","brand":"ShardId"},{"name":"to","type":"string","brand":"ShardId"},{"name":"rowsPerSecond","type":"int","doc":"Copy throttle; 0 means the configured rate."},{"name":"source","type":{"type":"enum","name":"MoveSource","symbols":["SHARD","TABLE"]},"default":"SHARD","optional":true,"doc":"TABLE: `from` has lost its data, and the target is filled from the table of subscriptions."}]},{"type":"record","name":"SteerMove","doc":"SWITCH: the pointer with this command's epoch is published in the same transaction. RETIRE: every reader has passed the switch.","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"action","type":{"type":"enum","name":"SteerAction","symbols":["SWITCH","RETIRE","ABORT","PAUSE","RESUME","THROTTLE","SHARE","UNSHARE"]}},{"name":"rowsPerSecond","type":"int","default":0}]},{"type":"record","name":"CheckSlices","doc":"Compare what shards have with the table of subscriptions, and mend it if asked to.","fields":[{"name":"checkId","type":"string"},{"name":"shardId","type":"string","doc":"The slices there; empty for those of all shards."},{"name":"slice","type":"string","doc":"That slice alone; empty for all."},{"name":"repair","type":"boolean"},{"name":"concreteShards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}},"doc":"Where rows are looked for that should be elsewhere."},{"name":"trieShards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}}}]}]},{"name":"term","type":"long","default":0,"doc":"Of the planner that sent it: grows each time that the planner's task is taken over. 0: an earlier release, or somebody else."},{"name":"planner","type":"string","default":"","doc":"The instance that ran the planner."}]},
  Decision: {"type":"record","name":"Decision","namespace":"psm","doc":"One decision or refusal of the planner, with what it knew.","fields":[{"name":"id","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"kind","type":{"type":"enum","name":"DecisionKind","symbols":["START","ALLOCATE","RESIZE","RETIRE","SPLIT","MERGE","MOVE","SWITCH","FINISH","ABORT","REFUSE","KEEP","PROPOSE","APPROVE","REJECT","EXPIRE","REVIEW","REPLICATE","UNREPLICATE"]}},{"name":"subject","type":"string","doc":"A slice key, shard id, move id or plan id."},{"name":"reason","type":"string","doc":"One sentence for an operator."},{"name":"constraint","type":"string","doc":"For a refusal: the constraint that bound. Empty otherwise."},{"name":"requestId","type":"string","default":""},{"name":"commandIds","type":{"type":"array","items":"string"}},{"name":"forecastPerSecond","type":"double","doc":"The planned-for rate (upper quantile) at its peak within the lead time; -1 when no forecast was used."},{"name":"capacityPerSecond","type":"double","doc":"-1 when not applicable."},{"name":"crossingAt","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"When the forecast crosses capacity; 0 when it does not."},{"name":"leadTimeMs","type":"long"},{"name":"dollarsPerHour","type":"double","doc":"Change of running cost if carried out."},{"name":"alternatives","type":{"type":"array","items":{"type":"record","name":"Alternative","fields":[{"name":"what","type":"string"},{"name":"dollars","type":"double"},{"name":"whyNot","type":"string"}]}}},{"name":"dollarsOnce","type":"double","default":0,"doc":"What carrying it out costs once: provisioning and copying."},{"name":"promisedDollars","type":"double","default":-1,"doc":"What it is to save within the horizon; -1 when nothing was promised."},{"name":"realisedDollars","type":"double","default":-1,"doc":"For a review: what was saved in the end, beside promisedDollars; -1 otherwise."},{"name":"expiresAt","type":{"type":"long","logicalType":"timestamp-millis"},"default":0,"doc":"Until when a proposed plan may be approved, or an approval holds; 0 when not applicable."},{"name":"steps","type":{"type":"array","items":"string"},"default":[],"doc":"The actions of a proposed plan, in order."},{"name":"changes","type":{"type":"array","items":{"type":"record","name":"ShardChange","doc":"One shard before and after a proposed plan.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"typeBefore","type":"string","doc":"Empty when the shard is new."},{"name":"typeAfter","type":"string","doc":"Empty when the shard goes."},{"name":"slicesBefore","type":"int"},{"name":"slicesAfter","type":"int"},{"name":"fullBefore","type":"double","doc":"How full it gets within the horizon by the planned-for quantile; 1 is full."},{"name":"fullAfter","type":"double"}]}},"default":[]}]},
  Forecast: {"type":"record","name":"Forecast","namespace":"psm","doc":"The Prediction Cache's entry for one series and signal: quantiles of the rate for each coming step.","fields":[{"name":"series","type":"string","brand":"SeriesId"},{"name":"signal","type":{"type":"enum","name":"Signal","symbols":["SUBSCRIPTIONS","PUBLISHES"]},"doc":"SUBSCRIPTIONS: subscribe and unsubscribe events. PUBLISHES: look-ups by topic."},{"name":"madeAt","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Event time: the end of the last step seen. Step k covers madeAt + k*stepMs .. madeAt + (k+1)*stepMs."},{"name":"stepMs","type":"int"},{"name":"levels","type":{"type":"array","items":"double"},"doc":"Quantile levels, ascending, 0..1."},{"name":"quantiles","type":{"type":"array","items":"float"},"doc":"Events per second, step-major: quantiles[step * levels.length + level]."},{"name":"currentPerSecond","type":"double","doc":"The last step's measured rate."},{"name":"model","type":"string"},{"name":"weights","type":{"type":"map","values":"double"},"doc":"Share of each model in the forecast."},{"name":"recentError","type":"double","doc":"Recent mean absolute error of one step ahead over that of the seasonal naive forecast (MASE); -1 while unknown."},{"name":"dispersion","type":"double","doc":"Index of dispersion of the counts: variance over mean."},{"name":"peakToMean","type":"double"},{"name":"seasonMs","type":"long","doc":"0 when no season was found."},{"name":"pattern","type":{"type":"enum","name":"Pattern","symbols":["UNKNOWN","BURSTY","CONSISTENT","PERIODIC","TRENDING","MIXED"]}},{"name":"trusted","type":"boolean","doc":"False when the accuracy gate says to plan from measurements alone."},{"name":"distrust","type":"string","doc":"Why it is not trusted; empty when it is."},{"name":"distinctClients","type":"double"},{"name":"bytesPerSecond","type":"double"},{"name":"farStepMs","type":"int","default":0,"doc":"Step of farQuantiles; 0 when there are none."},{"name":"farQuantiles","type":{"type":"array","items":"float"},"default":[],"doc":"Further ahead than quantiles, events per second, step-major: the k-th ones, from 0 on, are of the step that ends at madeAt + (k+2)*farStepMs."},{"name":"coverage","type":"double","default":-1,"doc":"Share of lately seen steps at or below their 0.95 quantile of fifteen minutes before; -1 while unknown."},{"name":"stepsSeen","type":"long","default":0,"doc":"Age of the series: steps seen in all."},{"name":"unsubscribeShare","type":"double","default":0.5,"doc":"SUBSCRIPTIONS: share of the latest events that were unsubscribes."}]},
  Metric: {"type":"record","name":"Metric","namespace":"psm","doc":"What the fleet measures: traffic of a topic, load of a datastore instance, or how far a broker has read the pointer table.","fields":[{"name":"body","type":[{"type":"record","name":"TopicTraffic","doc":"Publishes to one topic through one broker in one window. Keyed by the topic.","fields":[{"name":"brokerId","type":"string"},{"name":"topic","type":"string"},{"name":"publishes","type":"long"},{"name":"bytes","type":"long"},{"name":"windowStart","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"windowMs","type":"int"}]},{"type":"record","name":"DatastoreMetrics","doc":"Load of the datastore instance that serves one shard. Keyed by the shard id.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"instanceId","type":"string"},{"name":"cpu","type":"double","doc":"0..1"},{"name":"memoryBytes","type":"long"},{"name":"memoryLimitBytes","type":"long"},{"name":"iops","type":"double"},{"name":"iopsLimit","type":"double"},{"name":"entries","type":"long"},{"name":"lookupP99Ms","type":"double"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"nodesPerLookup","type":"double","default":-1,"doc":"Nodes of a trie that one look-up visits, on average; -1 when it does not say."},{"name":"matchesPerLookup","type":"double","default":-1,"doc":"Subscriptions that one look-up finds in a trie, on average: its fan-out; -1 when it does not say."}]},{"type":"record","name":"BrokerHeartbeat","doc":"A broker is alive and has applied every pointer-table record below pointerOffset. Keyed by the broker id.","fields":[{"name":"brokerId","type":"string"},{"name":"pointerOffset","type":"long"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"startedAt","type":{"type":"long","logicalType":"timestamp-millis"},"default":0,"optional":true,"doc":"Since when this process of the broker runs: a later one has none of its connections. 0 where it does not say."}]},{"type":"record","name":"PlanRequest","doc":"A person or program asks the planner to judge one topic now. The answer is a Decision with this request's id.","fields":[{"name":"requestId","type":"string"},{"name":"topic","type":"string"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"MoveRequest","doc":"A person steers a move. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"moveId","type":"string","brand":"MoveId"},{"name":"action","type":{"type":"enum","name":"MoveRequestAction","symbols":["ABORT","PAUSE","RESUME","THROTTLE"]}},{"name":"rowsPerSecond","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"PlanAnswer","doc":"A person approves a proposed plan, or rejects it. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"planId","type":"string","brand":"PlanId"},{"name":"answer","type":{"type":"enum","name":"PlanVerdict","symbols":["APPROVE","REJECT"]}},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},{"type":"record","name":"CheckRequest","doc":"A person has shards compared with the table of subscriptions. Idempotent: the same requestId twice has one effect.","fields":[{"name":"requestId","type":"string"},{"name":"shardId","type":"string","doc":"What is there; empty for all shards."},{"name":"slice","type":"string","doc":"That slice alone; empty for all."},{"name":"repair","type":"boolean"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}]}]},
  PointerRecord: {"type":"record","name":"PointerRecord","namespace":"psm","doc":"One entry of the pointer table. A reader applies a change when it holds all `count` entries of it, never sooner.","fields":[{"name":"change","type":{"type":"record","name":"Change","fields":[{"name":"epoch","type":"long","brand":"Epoch","doc":"Of the whole table: grows by one with each change."},{"name":"index","type":"int"},{"name":"count","type":"int"},{"name":"term","type":"long","default":0,"doc":"Of the planner that wrote it: grows each time that the planner's task is taken over. 0: an earlier release, or somebody else."},{"name":"planner","type":"string","default":"","doc":"The instance that ran the planner."}]}},{"name":"body","type":[{"type":"record","name":"PointerEntry","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"mode","type":{"type":"enum","name":"PointerMode","symbols":["SINGLE","SPREAD","REPLICAS","GONE"]},"doc":"GONE: the slice was split or merged away; its filters have other owners in the same change."},{"name":"shards","type":{"type":"array","items":{"type":"string","brand":"ShardId"}}},{"name":"epoch","type":"long","brand":"Epoch","doc":"The change that gave the slice these shards."}]},{"type":"record","name":"ShardEntry","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"storeKind","type":{"type":"enum","name":"StoreKind","symbols":["KEY_VALUE","TRIE"]}},{"name":"datastoreType","type":"string"},{"name":"instanceId","type":"string"},{"name":"address","type":"string"},{"name":"state","type":{"type":"enum","name":"ShardState","symbols":["READY","DRAINING","GONE"]}},{"name":"epoch","type":"long","brand":"Epoch"}]}]}]},
  Progress: {"type":"record","name":"Progress","namespace":"psm","doc":"What the apply stage reports back to the planner.","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"body","type":[{"type":"record","name":"MoveProgress","fields":[{"name":"moveId","type":"string","brand":"MoveId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"from","type":"string","brand":"ShardId"},{"name":"to","type":"string","brand":"ShardId"},{"name":"state","type":{"type":"enum","name":"MoveState","symbols":["PLANNED","PROVISIONING","COPYING","VERIFYING","VERIFIED","SWITCHED","DRAINING","RETIRED","ABORTED","SHARED"]}},{"name":"paused","type":"boolean"},{"name":"rowsCopied","type":"long"},{"name":"bytesCopied","type":"long"},{"name":"rowsVerified","type":"long"},{"name":"rowsErased","type":"long"},{"name":"etaMs","type":"long","doc":"-1 while unknown."},{"name":"reason","type":"string"}]},{"type":"record","name":"ShardProgress","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"datastoreType","type":"string"},{"name":"state","type":{"type":"enum","name":"ShardProgressState","symbols":["PROVISIONING","READY","RESIZED","RELEASED","FAILED","LOST","FOUND"]}},{"name":"instanceId","type":"string"},{"name":"address","type":"string","doc":"Where readers ask; empty for a store inside this process."},{"name":"tookMs","type":"long"},{"name":"reason","type":"string"},{"name":"foreign","type":"boolean","default":false,"optional":true,"doc":"LOST: a store is there, and it is another fleet's. Settings are wrong, and no data is gone."}]},{"type":"record","name":"SliceProgress","doc":"A split or merge has been carried out; or refused, with the reason.","fields":[{"name":"commandId","type":"string"},{"name":"done","type":"boolean"},{"name":"reason","type":"string"}]},{"type":"record","name":"SliceEntries","doc":"How many live rows a slice holds, reported when it changes by a stated share.","fields":[{"name":"slice","type":"string","brand":"SliceKey"},{"name":"entries","type":"long"},{"name":"bytes","type":"long"}]},{"type":"record","name":"CommandRefused","doc":"A command that its writer had no right to, or that speaks against what is known. Nothing was changed.","fields":[{"name":"commandId","type":"string"},{"name":"constraint","type":"string","doc":"One word of a closed list."},{"name":"term","type":"long","doc":"The highest that the task knows."},{"name":"reason","type":"string"}]},{"type":"record","name":"SliceLeft","doc":"A move has ended without one of its shards, which did not answer. It is told where the slice is once it does, and what it holds of it is erased: then `done`.","fields":[{"name":"shardId","type":"string","brand":"ShardId"},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"livesOn","type":"string","brand":"ShardId"},{"name":"done","type":"boolean"},{"name":"reason","type":"string"}]},{"type":"record","name":"CheckProgress","doc":"How far one partition's part of a check is, and what it has found.","fields":[{"name":"checkId","type":"string"},{"name":"partition","type":"int"},{"name":"state","type":{"type":"enum","name":"CheckState","symbols":["RUNNING","DONE","REFUSED"]}},{"name":"slices","type":"int","doc":"To be looked at, with the searches for stray rows."},{"name":"slicesDone","type":"int"},{"name":"rows","type":"long","doc":"Compared."},{"name":"missing","type":"long"},{"name":"extra","type":"long"},{"name":"different","type":"long"},{"name":"stray","type":"long","doc":"In a shard where their slice is not."},{"name":"mended","type":"long","doc":"Of these, those that are gone."},{"name":"unchecked","type":"long","doc":"Slices that could not be compared; `reason` tells why of the last one."},{"name":"dropped","type":"long","doc":"Long-ended subscriptions that the table no longer has."},{"name":"differences","type":{"type":"array","items":{"type":"record","name":"ListedDifference","fields":[{"name":"kind","type":{"type":"enum","name":"DifferenceKind","symbols":["MISSING","EXTRA","DIFFERENT","STRAY"]}},{"name":"slice","type":"string","brand":"SliceKey"},{"name":"shardId","type":"string","brand":"ShardId"},{"name":"topicFilter","type":"string","doc":"Its beginning."},{"name":"clientId","type":"string","doc":"Its beginning."},{"name":"mended","type":"boolean"}]}},"doc":"The first ones."},{"name":"reason","type":"string"}]},{"type":"record","name":"TableProgress","doc":"Whether the table of subscriptions has every subscription of a partition, so that a lost shard can be rebuilt from it.","fields":[{"name":"partition","type":"int"},{"name":"whole","type":"boolean"}]}]}]},
  RateWindow: {"type":"record","name":"RateWindow","namespace":"psm","doc":"What one source partition saw of one series in one closed window. Windows of one series from several partitions add up.","fields":[{"name":"series","type":"string","brand":"SeriesId"},{"name":"source","type":"int","doc":"The partition that counted it."},{"name":"windowStart","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"windowMs","type":"int"},{"name":"subscribes","type":"long"},{"name":"unsubscribes","type":"long"},{"name":"publishes","type":"long"},{"name":"bytes","type":"long"},{"name":"distinctClients","type":"double","doc":"Estimate (HyperLogLog) of the clients behind the subscription events."},{"name":"lateEvents","type":"long","doc":"Events that came after their window had closed; counted here, in no rate."}]},
  SessionOperation: {"type":"record","name":"SessionOperation","namespace":"psm","doc":"Something that befalls all sessions of one broker: told to each partition by the task that watches the broker, and what each partition has done of it.","fields":[{"name":"operationId","type":"string"},{"name":"brokerId","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"body","type":[{"type":"record","name":"OperationStart","fields":[{"name":"action","type":{"type":"enum","name":"OperationAction","symbols":["LOSE","DISCONNECT","RESTORE"]},"doc":"LOSE: the broker is silent. DISCONNECT: it has been started again. RESTORE: it was silent, and is back as it was."},{"name":"before","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Sessions that were connected later, by the broker's clock, are left alone."}]},{"type":"record","name":"OperationStop","doc":"What is not done yet is left as it is.","fields":[{"name":"reason","type":"string"}]},{"type":"record","name":"OperationProgress","doc":"What one partition has done.","fields":[{"name":"partition","type":"int"},{"name":"action","type":{"type":"enum","name":"OperationProgressAction","symbols":["LOSE","DISCONNECT","RESTORE"]}},{"name":"state","type":{"type":"enum","name":"OperationState","symbols":["RUNNING","DONE","STOPPED"]}},{"name":"sessions","type":"long","doc":"Sessions that were found."},{"name":"ended","type":"long","doc":"Those of them that have ended with it."},{"name":"events","type":"long","doc":"SUBSCRIBEs and UNSUBSCRIBEs that came of it."},{"name":"startedAt","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"reason","type":"string"}]}]}]},
  SessionRecord: {"type":"record","name":"SessionRecord","namespace":"psm","doc":"What a broker tells of the session of one client. Keyed by the client id.","fields":[{"name":"body","type":[{"type":"record","name":"Connected","doc":"The client has connected.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"cleanStart","type":"boolean","doc":"MQTT 5, 3.1.2.4: whatever session there was has ended. MQTT 3.1.1: the clean session flag."},{"name":"sessionExpirySeconds","type":"long","doc":"MQTT 5, 3.1.2.11.2: 0 ends the session with the connection, 4294967295 (0xFFFFFFFF) never. MQTT 3.1.1: 0 of a clean session, else never."},{"name":"sessionEpoch","type":"long","doc":"Which connection of the client this is: grows with each, whatever the broker; at least 1."}]},{"type":"record","name":"Disconnected","doc":"That connection is closed; the session goes on until it expires.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"sessionExpirySeconds","type":"long","default":-1,"doc":"When DISCONNECT changed it (MQTT 5, 3.14.2.2.2); -1: as it was."},{"name":"sessionEpoch","type":"long"}]},{"type":"record","name":"Ended","doc":"The session has ended, with its subscriptions: taken away by a person, or by a rule of the broker's own.","fields":[{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"sessionEpoch","type":"long"}]}]},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]},
  SubscriptionEvent: {"type":"record","name":"SubscriptionEvent","namespace":"psm","fields":[{"name":"action","type":{"type":"enum","name":"Action","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"noLocal","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: what the client publishes itself is not sent to it."},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages keep their RETAIN flag."},{"name":"retainHandling","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.3.1: retained messages are sent at SUBSCRIBE always (0), if the subscription is new (1), never (2)."},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none."},{"name":"sessionEpoch","type":"long","default":0,"optional":true,"doc":"Which connection of the client it came by: grows with each, whatever the broker. 0 where the broker tells of no sessions."},{"name":"bySession","type":"boolean","default":false,"optional":true,"doc":"Written by Foreshard, since a session has ended or is at another broker now. No broker writes it."}]},
  Subscription: {"type":"record","name":"Subscription","namespace":"psm","doc":"What a client is subscribed to: the outcome of all events of one topic filter and client. The key is the filter, NUL, and the client id.","fields":[{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string","doc":"The broker that holds the subscription."},{"name":"qos","type":"int","default":0},{"name":"noLocal","type":"boolean","default":false},{"name":"retainAsPublished","type":"boolean","default":false},{"name":"retainHandling","type":"int","default":0},{"name":"subscriptionIdentifier","type":"int","default":0,"doc":"0: none."},{"name":"sessionEpoch","type":"long","default":0,"doc":"0: the broker sends no session records."},{"name":"incarnation","type":"int","doc":"Which making of the subscriptions topic the offset is of."},{"name":"offset","type":"long","doc":"Of the last event that changed it, in the subscriptions topic."},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"removed","type":"boolean","default":false,"doc":"The subscription has ended; remembered for a time, so that a late event of an earlier session does not bring it back."}]},
  WildcardEvents: {"type":"record","name":"WildcardEvents","namespace":"psm","doc":"Wildcard subscription events that share their first level, in the order of their source partition; one record for each micro-batch of ingest.","fields":[{"name":"firstLevel","type":"string","doc":"The first level when it is literal; '+' or '#' otherwise."},{"name":"events","type":{"type":"array","items":{"type":"record","name":"WildcardEvent","fields":[{"name":"action","type":{"type":"enum","name":"WildcardAction","symbols":["SUBSCRIBE","UNSUBSCRIBE"]}},{"name":"topicFilter","type":"string"},{"name":"clientId","type":"string"},{"name":"brokerId","type":"string"},{"name":"qos","type":"int","default":0},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"offset","type":"long","doc":"Offset in the subscriptions topic. One filter has one source partition, so offsets order its events."},{"name":"incarnation","type":"int","default":-1,"doc":"Which life of the subscriptions topic the offset is of; -1 where an earlier release did not say."},{"name":"noLocal","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: what the client publishes itself is not sent to it."},{"name":"retainAsPublished","type":"boolean","default":false,"optional":true,"doc":"MQTT 5, 3.8.3.1: messages keep their RETAIN flag."},{"name":"retainHandling","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.3.1: retained messages are sent at SUBSCRIBE always (0), if the subscription is new (1), never (2)."},{"name":"subscriptionIdentifier","type":"int","default":0,"optional":true,"doc":"MQTT 5, 3.8.2.1.2: 1 to 268,435,455; 0 for none."},{"name":"sessionEpoch","type":"long","default":0,"optional":true,"doc":"Which connection of the client it came by: grows with each, whatever the broker. 0 where the broker tells of no sessions."}]}}}]},
} as const;

export type RecordName = keyof typeof SCHEMAS;
