// Round: one planning round of the stage. Takes the snapshot, makes the plan, and carries out what the mode allows.
//
//   O1. Every action and every new refusal is a decision record; a refusal that still stands is not published again.
//   O2. In `observe` nothing is commanded. In `approve` an action is carried out when a person has approved it or has
//       sent a PlanRequest for its topic, or when `approves` returns true; the rest is proposed (proposals.ts).

import { type EventTime, eventTime, type ShardId } from '../../../schemas/ids.ts';
import type { DecisionKind, PlanAnswer, PlanRequest } from '../../../schemas/records.ts';
import { closeAudits, onceDollars, openAudit } from '../audit/benefit-audit.ts';
import { draftOf, draftOfRefusal } from '../audit/decision-draft.ts';
import { type Action, describe, type Refusal, subjectOf } from '../cluster/actions.ts';
import type { Snapshot } from '../cluster/cluster-model.ts';
import type { ClusterShard } from '../cluster/cluster-shard.ts';
import { moveLeadMs } from '../cluster/lead-time.ts';
import { moveDollars } from '../costs/cost.ts';
import { troubleOf, troubleText } from '../demand/capacity.ts';
import { learnCosts } from '../demand/cost-learning.ts';
import { peakOf } from '../demand/demand.ts';
import { type Plan, plan } from '../plan.ts';
import { endReplica, remembered, replicaOf, startMove } from './moves.ts';
import { expireProposal, isApproved, propose, takePlanAnswer } from './proposals.ts';
import type { GoneRow, Spending } from './rows.ts';
import { startChange, startResize, startRetire, startShard } from './shards.ts';
import { type Seen, SURGE_FRESH_MS, snapshotOf } from './snapshot.ts';
import { SAID_MS, type Turn } from './turn.ts';
import { placementsOf } from './views.ts';

/** The planning round of a tick. */
export function planRound(turn: Turn): void {
  const { cell, settings } = turn;
  cell.plannedAt = cell.now;
  cell.requestsThisTick = 0;
  forget(turn);
  turn.keepCell();
  const seen = snapshotOf(turn.state, settings);
  learnCosts(turn, seen.snapshot, seen.reaches);
  closeAudits(turn, seen.snapshot);
  const made = plan(seen.snapshot, turn.constraints);
  count(turn, made);
  const { waiting } = carryOut(turn, made.actions, seen.snapshot, () => false);
  expireProposal(turn);
  if (settings.mode === 'approve') propose(turn, waiting, made, seen.snapshot);
  sayRefusals(turn, made.refusals, seen);
}

/** Handles a person's answer to a proposed plan; approved actions that are still wanted are carried out at once. */
export function takeAnswer(turn: Turn, answer: PlanAnswer): void {
  const approved = takePlanAnswer(turn, answer);
  if (approved === undefined) return;
  const { snapshot } = snapshotOf(turn.state, turn.settings);
  const made = plan(snapshot, turn.constraints);
  const { commandIds } = carryOut(turn, made.actions, snapshot, () => false);
  const begun =
    commandIds.length === 0
      ? 'none of its actions is needed at the moment'
      : `${commandIds.length} commands are under way`;
  turn.decide({
    kind: 'APPROVE',
    subject: approved.id,
    requestId: answer.requestId,
    commandIds,
    reason: `${approved.id} was approved: ${begun}. Its later steps are carried out without asking again.`,
    expiresAt: approved.expiresAt,
  });
}

/** Judges one topic now, acts if needed, and answers with a decision that carries the request's id. */
export function takePlanRequest(turn: Turn, request: PlanRequest): void {
  const { cell, settings } = turn;
  if (remembered(turn, request.requestId)) return;
  const answer = { subject: request.topic, requestId: request.requestId } as const;
  if (!cell.started) {
    turn.decide({ ...answer, kind: 'REFUSE', constraint: 'genesis', reason: 'The first shards are not ready yet.' });
    return;
  }
  if (cell.requestsThisTick >= settings.planRequestsPerTickMax) {
    const reason = `The planner answers at most ${settings.planRequestsPerTickMax} requests in each planning interval; ask again later.`;
    turn.decide({ ...answer, kind: 'REFUSE', constraint: 'requests-per-tick', reason });
    return;
  }
  cell.requestsThisTick++;
  turn.keepCell();
  const { snapshot } = snapshotOf(turn.state, settings);
  const made = plan(snapshot, turn.constraints);
  const shards = new Set(placementsOf(turn.state, settings.partitions, request.topic).map((home) => home.shard));
  const wanted = made.actions.filter((action) => shards.has(action.concerns));
  const { commandIds } = carryOut(turn, wanted, snapshot, () => true);
  const first = wanted[0];
  if (first !== undefined) {
    const kind = decisionKind(first);
    turn.decide({ ...answer, ...draftOf(first), kind, reason: first.reason, commandIds });
    return;
  }
  const refused = made.refusals.find((each) => shards.has(each.subject as ShardId));
  if (refused !== undefined) {
    turn.decide({
      ...answer,
      ...draftOfRefusal(refused),
      kind: 'REFUSE',
      constraint: refused.by,
      reason: refused.reason,
    });
    return;
  }
  keep(turn, made, [...shards], answer);
}

function keep(
  turn: Turn,
  made: Plan,
  shards: readonly ShardId[],
  answer: { subject: string; requestId: string },
): void {
  const { settings } = turn;
  const fullest = shards
    .flatMap((id) => made.cluster.shards.get(id) ?? [])
    .map((shard) => ({ shard, utilisation: made.cluster.rooms.utilisation(shard) }))
    .sort((a, b) => b.utilisation.utilisation - a.utilisation.utilisation)[0];
  if (fullest === undefined) {
    turn.decide({
      ...answer,
      kind: 'KEEP',
      reason: 'No shard holds this topic, or the catalogue does not have its shard’s datastore type.',
    });
    return;
  }
  const { shard, utilisation } = fullest;
  const trouble = troubleOf(made.cluster, shard);
  const distrust = made.cluster.snapshot.distrust;
  const how = distrust === '' ? 'by the forecast' : `as measured (${distrust})`;
  const reason =
    trouble === undefined
      ? `${shard.id} is at most ${Math.round(utilisation.utilisation * 100)} % full within ${settings.horizonMs / 60_000} min, ${how}.`
      : `${troubleText(trouble, shard, turn.now)}; an action against that is already under way.`;
  turn.decide({
    ...answer,
    kind: 'KEEP',
    reason,
    forecastPerSecond: utilisation.peakPerSecond,
    capacityPerSecond: settings.safeUtilisation * shard.type.operationsPerSecond,
    crossingAt: trouble?.crossingAt ?? eventTime(0),
    leadTimeMs: moveLeadMs(biggestBytes(shard), made.cluster.snapshot.measured, settings),
  });
}

function biggestBytes(shard: ClusterShard): number {
  let bytes = 0;
  let peak = -1;
  for (const slice of shard.slices.values()) {
    const own = peakOf(slice.load).perSecond;
    if (own > peak) {
      peak = own;
      bytes = slice.bytes;
    }
  }
  return bytes;
}

/** Commands what the mode allows; the rest is published as a decision, and waits. */
function carryOut(
  turn: Turn,
  actions: readonly Action[],
  snapshot: Snapshot,
  isAsked: (action: Action) => boolean,
): { readonly commandIds: string[]; readonly waiting: Action[] } {
  const { settings } = turn;
  const before = turn.emits.length;
  const waiting: Action[] = [];
  for (const action of actions) {
    const subject = subjectOf(action);
    const approved =
      isAsked(action) || isApproved(turn, action) || (settings.approves?.({ kind: action.kind, subject }) ?? false);
    if (settings.mode === 'auto' || (settings.mode === 'approve' && approved)) {
      command(turn, action, snapshot);
      openAudit(turn, action, snapshot);
    } else {
      waiting.push(action);
      const constraint = settings.mode === 'observe' ? 'observe' : 'approval';
      const what = settings.mode === 'observe' ? 'Not carried out in mode observe' : 'Waits for approval';
      turn.refuse(subject, constraint, `${what}: ${describe(action)}. ${action.reason}`, draftOf(action));
    }
  }
  const commandIds = turn.emits
    .slice(before)
    .flatMap((emit) => (emit.topic === 'commands' && emit.value ? [emit.value.id] : []));
  return { commandIds, waiting };
}

function command(turn: Turn, action: Action, snapshot: Snapshot): void {
  const { shards, slices } = turn;
  const saying = { ...draftOf(action), dollarsOnce: onceDollars(action, snapshot) };
  switch (action.kind) {
    case 'MOVE': {
      const target = shards.get(action.to)!;
      const slice = slices.get(action.slice.slice)!;
      startMove(turn, slice, action.to, action.reason, saying, action);
      const type = turn.settings.catalog.get(target.datastoreType);
      const dollars = type === undefined ? 0 : moveDollars(action.slice.bytes, type);
      spend(turn, { keys: action.slice.entries, urgent: action.urgent, shards: 0, dollars });
      return;
    }
    case 'UNREPLICATE': {
      const slice = slices.get(action.slice.slice)!;
      const shared = replicaOf(turn, slice);
      if (shared !== undefined) endReplica(turn, shared, action.reason, saying);
      return;
    }
    case 'SPLIT':
    case 'MERGE': {
      const keys = (slices: typeof action.before): (typeof action.before)[number]['slice'][] =>
        slices.map((slice) => slice.slice);
      startChange(turn, action.kind, action.shard, keys(action.before), keys(action.after), action.reason, saying);
      return;
    }
    case 'ALLOCATE':
      startShard(turn, action.storeKind, action.type.name, action.reason, saying);
      spend(turn, { keys: 0, urgent: false, shards: 1, dollars: action.type.dollarsPerProvisioning });
      return;
    case 'RESIZE':
      startResize(turn, shards.get(action.shard)!, action.type.name, action.reason, saying);
      spend(turn, { keys: 0, urgent: false, shards: 0, dollars: action.type.dollarsPerProvisioning });
      return;
    case 'RETIRE':
      startRetire(turn, shards.get(action.shard)!, action.reason, saying);
      return;
    case 'WAIT':
  }
}

function spend(turn: Turn, spending: Omit<Spending, 'at'>): void {
  turn.cell.ledger.push({ at: turn.now, ...spending });
  turn.keepCell();
}

function sayRefusals(turn: Turn, refusals: readonly Refusal[], seen: Seen): void {
  for (const each of refusals) turn.refuse(each.subject, each.by, each.reason, draftOfRefusal(each));
  for (const shard of seen.unknownTypes) {
    const type = shard.resizingTo || shard.datastoreType;
    turn.refuse(
      shard.id,
      'catalogue',
      `${shard.id} is not planned: the catalogue does not have its datastore type ${type}.`,
    );
  }
  for (const { id, lost } of seen.lost)
    turn.refuse(id, 'lost', `${id} is not planned, because it has lost its data: ${lost}`);
}

function decisionKind(action: Action): DecisionKind {
  if (action.kind === 'WAIT') return 'KEEP';
  return action.kind === 'MOVE' && action.replicates ? 'REPLICATE' : action.kind;
}

/**
 * Stores what was planned, and counts the plans in a row that found a shard roomy; the count restarts at a plan that
 * did not.
 */
function count(turn: Turn, made: Plan): void {
  const { cell, settings } = turn;
  for (const kind of ['KEY_VALUE', 'TRIE'] as const) {
    const planned = made.fleet[kind];
    if (planned === undefined) cell.planned[kind] = [];
    else cell.planned[kind] = [...cell.planned[kind], planned.capacityPerSecond].slice(-settings.agreeingPlans);
  }
  turn.keepCell();
  const roomy = new Set(made.roomy);
  for (const shard of turn.shards.all()) {
    const roomyPlans = roomy.has(shard.id) ? Math.min(shard.roomyPlans + 1, COUNT_MAX) : 0;
    if (roomyPlans === shard.roomyPlans) continue;
    shard.roomyPlans = roomyPlans;
    turn.shards.put(shard);
  }
}

const COUNT_MAX = 10_000;

/**
 * Drops what is too old to matter: spending, published refusals, surges, series that have ended, keys of removed slices
 * and shards.
 */
function forget(turn: Turn): void {
  const { cell, now, state } = turn;
  cell.ledger = cell.ledger.filter((entry) => now - entry.at < LEDGER_MS);
  for (const [type, until] of Object.entries(cell.avoided)) if (until <= now) delete cell.avoided[type];
  const old = { said: [] as string[], surges: [] as string[], series: [] as string[], gone: [] as GoneRow[] };
  state.each({
    said: ({ at }, id) => now - at > 2 * SAID_MS && old.said.push(id),
    surge: ({ windowStart }, id) => now - windowStart > SURGE_FRESH_MS && old.surges.push(id),
    series: ({ subscriptions, publishes }, id) =>
      now - newest(subscriptions?.madeAt, publishes?.madeAt) > SERIES_MS && old.series.push(id),
    gone: (row) => now - row.at > GONE_KEPT_MS && row.epoch < cell.epoch && old.gone.push(row),
  });
  for (const id of old.said) state.said.delete(id);
  for (const id of old.surges) state.surges.delete(id);
  for (const id of old.series) state.series.delete(id);
  for (const row of old.gone) turn.removeKey(row);
}

/** The churn budget pays off even a slice of all keys within about a day. */
const LEDGER_MS = 86_400_000;
const SERIES_MS = 86_400_000;
/** Readers that are further behind see the removal itself, for as long as the topic keeps its tombstone. */
const GONE_KEPT_MS = 86_400_000;
const newest = (a: EventTime | undefined, b: EventTime | undefined): number => Math.max(a ?? 0, b ?? 0);
