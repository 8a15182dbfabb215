// Demo summary: turns decisions, actions and measurements into what people want to know: was the load foreseen, was the
// new shard ready in time, what did it move and cost, and was any subscriber missed. Pure.

import { type Catalog, typeNamed } from '../../processors/plan/cluster/catalog.ts';
import type { ShardId } from '../../schemas/ids.ts';
import type { Decision, MoveProgress, Progress, ShardProgress, StoreKind } from '../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { type PolicyCost, REACTIVE_DEFAULTS, reactive, staticPeak } from '../compare.ts';
import type { Counterfactual, Minute } from '../load-ledger.ts';
import type { ProbeCounts } from '../readers.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const GIB = 1024 ** 3;

/** A decision to allocate, and what would have happened without it. */
export interface Story {
  readonly decision: Decision;
  readonly counterfactual: Counterfactual;
}

export interface DemoFacts {
  readonly startAt: number;
  readonly endAt: number;
  readonly catalog: Catalog;
  readonly genesis: { readonly concreteType: string; readonly trieType: string };
  readonly safeUtilisation: number;
  readonly decisions: readonly Decision[];
  readonly stories: readonly Story[];
  readonly progress: readonly Progress[];
  readonly minutes: readonly Minute[];
  readonly probes: ProbeCounts;
  readonly finalCheck: FinalCheck;
  readonly liveSubscriptions: number;
  readonly events: number;
  readonly messages: number;
}

export interface FinalCheck {
  readonly liveChecked: number;
  readonly removedChecked: number;
  readonly misses: number;
  readonly ghosts: number;
}

export interface AllocationSummary {
  readonly shard: string;
  readonly relieves: string | undefined;
  readonly decidedAt: number;
  /** The planner's reason for it. */
  readonly reason: string;
  readonly foreseen: boolean;
  readonly forecastCrossingAt: number;
  /**
   * When the relieved shard would have gone above safe capacity without the decision; `undefined`: it would not have.
   */
  readonly crossingAt: number | undefined;
  readonly forecastPerSecond: number;
  /** The highest load of a minute that would have come within the lead time and a tick after the decision. */
  readonly camePerSecond: number;
  readonly safePerSecond: number;
  readonly readyAt: number | undefined;
  /** When the first slice was served by the new shard. */
  readonly switchedAt: number | undefined;
  /** Crossing minus switch: above zero is in time. */
  readonly marginMinutes: number | undefined;
}

export interface DemoSummary {
  readonly hours: number;
  readonly events: number;
  readonly messages: number;
  readonly liveSubscriptions: number;
  readonly decisions: Readonly<Record<string, number>>;
  readonly allocations: readonly AllocationSummary[];
  readonly moves: {
    readonly finished: number;
    readonly aborted: number;
    readonly rows: number;
    readonly bytes: number;
    /** Rows moved for each hundred that are live at the end. */
    readonly churnPercent: number;
  };
  readonly cost: Readonly<Record<'foreshard' | 'staticPeak' | 'reactive', PolicyCost>>;
  readonly check: ProbeCounts & { readonly final: FinalCheck };
}

export function summaryOf(facts: DemoFacts): DemoSummary {
  const decisions: Record<string, number> = {};
  for (const { kind } of facts.decisions) decisions[kind] = (decisions[kind] ?? 0) + 1;
  const moves = lastOfEachMove(facts.progress);
  const finished = moves.filter(({ state }) => state === 'RETIRED');
  const rows = finished.reduce((sum, move) => sum + move.rowsCopied, 0);
  return {
    hours: (facts.endAt - facts.startAt) / HOUR_MS,
    events: facts.events,
    messages: facts.messages,
    liveSubscriptions: facts.liveSubscriptions,
    decisions,
    allocations: facts.stories.map((story) => allocationOf(story, facts)),
    moves: {
      finished: finished.length,
      aborted: moves.filter(({ state }) => state === 'ABORTED').length,
      rows,
      bytes: finished.reduce((sum, move) => sum + move.bytesCopied, 0),
      churnPercent: facts.liveSubscriptions === 0 ? 0 : (100 * rows) / facts.liveSubscriptions,
    },
    cost: { foreshard: costOfForeshard(facts), ...costOfOthers(facts) },
    check: { ...facts.probes, final: facts.finalCheck },
  };
}

/** True when no subscriber was missed, no removed one came back, and every question was answered. */
export const isSound = ({ check }: DemoSummary): boolean =>
  check.misses + check.ghosts + check.unanswered + check.final.misses + check.final.ghosts === 0;

function allocationOf({ decision, counterfactual }: Story, facts: DemoFacts): AllocationSummary {
  const shard = decision.subject as ShardId;
  const move = facts.progress
    .map(({ body }) => body)
    .find((body): body is MoveProgress => body.kind === 'MoveProgress' && body.to === shard);
  const safePerSecond = decision.capacityPerSecond;
  const source = move?.from;
  const crossingAt =
    source === undefined ? undefined : crossingOf(source, safePerSecond, counterfactual, facts.minutes);
  const switchedAt = timeOf(
    facts,
    (body) => body.kind === 'MoveProgress' && body.to === shard && body.state === 'SWITCHED',
  );
  const within = counterfactual.startAt + decision.leadTimeMs + 2 * MINUTE_MS;
  const came = counterfactual.minutes.filter(({ startAt }) => startAt <= within);
  return {
    shard,
    relieves: source,
    decidedAt: decision.at,
    reason: decision.reason,
    foreseen: crossingAt === undefined || decision.at < crossingAt,
    forecastCrossingAt: decision.crossingAt,
    crossingAt,
    forecastPerSecond: decision.forecastPerSecond,
    camePerSecond: source === undefined ? 0 : Math.max(0, ...came.map(({ byShard }) => byShard.get(source) ?? 0)),
    safePerSecond,
    readyAt: timeOf(facts, (body) => body.kind === 'ShardProgress' && body.shardId === shard && body.state === 'READY'),
    switchedAt,
    marginMinutes:
      crossingAt === undefined || switchedAt === undefined ? undefined : (crossingAt - switchedAt) / MINUTE_MS,
  };
}

/** The first minute above safe capacity; for a shard that was above it already, when that began. */
function crossingOf(
  shard: ShardId,
  safePerSecond: number,
  { startAt, minutes }: Counterfactual,
  before: readonly Minute[],
): number | undefined {
  const isAbove = (minute: { readonly byShard: ReadonlyMap<ShardId, number> }): boolean =>
    (minute.byShard.get(shard) ?? 0) > safePerSecond;
  let since: number | undefined;
  for (const minute of before) {
    if (minute.startAt >= startAt) break;
    since = isAbove(minute) ? (since ?? minute.startAt) : undefined;
  }
  return since ?? minutes.find(isAbove)?.startAt;
}

const timeOf = (facts: DemoFacts, wanted: (body: Progress['body']) => boolean): number | undefined =>
  facts.progress.find(({ body }) => wanted(body))?.at;

function lastOfEachMove(progress: readonly Progress[]): MoveProgress[] {
  const last = new Map<string, MoveProgress>();
  for (const { body } of progress) if (body.kind === 'MoveProgress') last.set(body.moveId, body);
  return [...last.values()];
}

/** The cost of each shard from when it was ordered until it was released, and of every byte that was moved. */
function costOfForeshard(facts: DemoFacts): PolicyCost {
  const lives = new Map<string, { readonly type: string; readonly from: number; to: number }>();
  lives.set(FIRST_CONCRETE_SHARD, { type: facts.genesis.concreteType, from: facts.startAt, to: facts.endAt });
  lives.set(FIRST_TRIE_SHARD, { type: facts.genesis.trieType, from: facts.startAt, to: facts.endAt });
  const shardProgress = facts.progress.flatMap(({ at, body }) =>
    body.kind === 'ShardProgress' ? [{ at, body: body as ShardProgress }] : [],
  );
  for (const { decision } of facts.stories) {
    const type = shardProgress.find(({ body }) => body.shardId === decision.subject)?.body.datastoreType;
    if (type !== undefined) lives.set(decision.subject, { type, from: decision.at, to: facts.endAt });
  }
  for (const { at, body } of shardProgress) {
    const life = lives.get(body.shardId);
    if (life !== undefined && body.state === 'RELEASED') life.to = Math.min(life.to, at);
  }
  let dollars = 0;
  for (const { type: name, from, to } of lives.values()) {
    const type = typeNamed(facts.catalog, name);
    dollars += type.dollarsPerProvisioning + (type.dollarsPerHour * Math.max(0, to - from)) / HOUR_MS;
  }
  for (const move of lastOfEachMove(facts.progress)) {
    const type = typeNamed(facts.catalog, lives.get(move.to)?.type ?? facts.genesis.concreteType);
    dollars += (move.bytesCopied / GIB) * type.dollarsPerGibMoved;
  }
  const isOverloaded = ({ byShard }: Minute): boolean =>
    [...byShard].some(([shard, load]) => {
      const life = lives.get(shard);
      return (
        life !== undefined && load > facts.safeUtilisation * typeNamed(facts.catalog, life.type).operationsPerSecond
      );
    });
  return {
    dollars,
    overloadedMinutes: facts.minutes.filter(isOverloaded).length,
    shardsMax: mostAtOnce([...lives.values()]),
  };
}

function costOfOthers(facts: DemoFacts): { readonly staticPeak: PolicyCost; readonly reactive: PolicyCost } {
  const loadOf = (kind: StoreKind, type: string) => ({
    type: typeNamed(facts.catalog, type),
    perMinute: facts.minutes.map(({ byKind }) => byKind[kind]),
  });
  const loads = [loadOf('KEY_VALUE', facts.genesis.concreteType), loadOf('TRIE', facts.genesis.trieType)];
  const settings = { ...REACTIVE_DEFAULTS, safeUtilisation: facts.safeUtilisation };
  return {
    staticPeak: together(loads.map((load) => staticPeak(load, facts.safeUtilisation))),
    reactive: together(loads.map((load) => reactive(load, settings))),
  };
}

const together = (costs: readonly PolicyCost[]): PolicyCost => ({
  dollars: costs.reduce((sum, { dollars }) => sum + dollars, 0),
  overloadedMinutes: costs.reduce((sum, { overloadedMinutes }) => sum + overloadedMinutes, 0),
  shardsMax: costs.reduce((sum, { shardsMax }) => sum + shardsMax, 0),
});

function mostAtOnce(lives: readonly { readonly from: number; readonly to: number }[]): number {
  return Math.max(...lives.map(({ from }) => lives.filter((other) => other.from <= from && other.to > from).length));
}
