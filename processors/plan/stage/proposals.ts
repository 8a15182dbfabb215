// Proposals: plans that wait for a person's approval, in mode `approve`.
//
//   Q1. At most one proposal of a cell is open. It holds every action that the plan wants and nobody has approved yet,
//       with the actions that follow from them, the price, and each shard before and after.
//   Q2. It is replaced when the plan wants an action that is not in it, or when it expires unanswered.
//   Q3. An approval is for actions, not for a state of the cluster: until it expires, each approved action is carried
//       out when a current plan still wants it and every constraint lets it pass. For a move, the slice and the shards
//       that were shown are approved.
//   Q4. A rejected action is not proposed again before the rejection expires.

import { eventTime, type PlanId, planId } from '../../../schemas/ids.ts';
import type { PlanAnswer, ShardChange } from '../../../schemas/records.ts';
import { onceDollars } from '../audit/benefit-audit.ts';
import { draftOf } from '../audit/decision-draft.ts';
import { type Action, describe } from '../cluster/actions.ts';
import { ClusterModel, type Snapshot } from '../cluster/cluster-model.ts';
import type { ClusterShard } from '../cluster/cluster-shard.ts';
import { afterAction, type Plan } from '../plan.ts';
import { remembered } from './moves.ts';
import type { ProposalRow } from './rows.ts';
import type { Turn } from './turn.ts';

/** Most shards and steps shown in a proposal, so that its record stays small; a plan with more says so. */
const SHOWN_MAX = 50;

/** A key for what an action does, by which a later plan recognises it; a waiting move has the key of the move. */
function deedOf(action: Action): string {
  if (action.kind === 'MOVE' || action.kind === 'WAIT')
    return `${action.replicates ? 'replicate' : 'move'} ${action.slice.slice}`;
  const into = action.kind === 'SPLIT' || action.kind === 'MERGE' ? action.after.map(({ slice }) => slice) : [];
  return [describe(action), ...into].join(' ');
}

/** True when a person has approved this action, and the approval has not expired (Q3). */
export const isApproved = (turn: Turn, action: Action): boolean => isAnswered(turn, action, 'APPROVED');

/** On each plan, before anything is proposed: closes a proposal that has expired. */
export function expireProposal(turn: Turn): void {
  const open = openProposal(turn);
  if (open === undefined || turn.now < open.expiresAt) return;
  open.state = 'EXPIRED';
  turn.state.proposals.put(open);
  turn.decide({
    kind: 'EXPIRE',
    subject: open.id,
    reason: `Nobody answered ${open.id} in time, so none of it was carried out. What is still needed is proposed again.`,
  });
}

/** Proposes what the plan wants and nobody has approved (Q1); `wanted` are those of its actions. */
export function propose(turn: Turn, wanted: readonly Action[], plan: Plan, before: Snapshot): void {
  const asked = wanted.filter((action) => !isAnswered(turn, action, 'REJECTED')); // Q4
  if (asked.length === 0) return;
  const open = openProposal(turn);
  if (open !== undefined && asked.every((action) => covers(open, action))) return; // Q2
  const { cell, settings, now } = turn;
  const id = planId(`plan-${String(cell.nextPlan ?? 1).padStart(6, '0')}`);
  cell.nextPlan = (cell.nextPlan ?? 1) + 1;
  if (open !== undefined) replace(turn, open, id);
  const row = proposalOf(id, turn, asked, plan.later, before);
  turn.state.proposals.add(row);
  turn.keepCell();
  turn.decide({
    ...draftOf(asked[0]!),
    kind: 'PROPOSE',
    subject: id,
    reason: `${row.reason} Approve or reject ${id} within ${minutes(settings.approvalMs)}.`,
    dollarsPerHour: row.dollarsPerHour,
    dollarsOnce: row.dollarsOnce,
    promisedDollars: row.promisedDollars,
    expiresAt: eventTime(now + settings.approvalMs),
    steps: row.steps,
    changes: row.changes,
  });
}

/**
 * Handles a person's answer. Returns the proposal when it was approved: the caller then plans at once and publishes the
 * result.
 */
export function takePlanAnswer(turn: Turn, { requestId, planId: id, answer }: PlanAnswer): ProposalRow | undefined {
  if (remembered(turn, requestId)) return undefined;
  const row = turn.state.proposals.get(id);
  const problem = row === undefined ? `there is no plan ${id.slice(0, 64)}` : answerProblem(row, turn);
  if (row === undefined || problem !== undefined) {
    if (row === undefined) turn.cell.ignored.requests++;
    const reason = `Nothing was done: ${problem}. \`foreshard plans\` lists the plans that wait.`;
    turn.decide({ kind: 'REFUSE', subject: row?.id ?? 'plan', constraint: 'request', requestId, reason });
    return undefined;
  }
  row.state = answer === 'APPROVE' ? 'APPROVED' : 'REJECTED';
  row.expiresAt = eventTime(turn.now + turn.settings.approvalMs);
  turn.state.proposals.put(row);
  if (answer === 'APPROVE') return row;
  turn.decide({
    kind: 'REJECT',
    subject: row.id,
    requestId,
    reason: `${row.id} was rejected; what it would have done is not proposed again for ${minutes(turn.settings.approvalMs)}.`,
    expiresAt: row.expiresAt,
  });
  return undefined;
}

function answerProblem(row: ProposalRow, { settings, now, state }: Turn): string | undefined {
  if (settings.mode !== 'approve') return `the mode is ${settings.mode}, in which plans do not wait for approval`;
  if (row.state === 'REPLACED') return `${row.id} was replaced by ${state.proposals.newest?.id}`;
  if (row.state !== 'OPEN') return `${row.id} is ${row.state.toLowerCase()} already`;
  return now >= row.expiresAt ? `${row.id} has expired` : undefined;
}

function isAnswered(turn: Turn, action: Action, state: ProposalRow['state']): boolean {
  return [...turn.state.proposals.kept()].some(
    (row) => row.state === state && turn.now < row.expiresAt && covers(row, action),
  );
}

/** A move may also go to another of the shards that the proposal shows, since room changes by the minute. */
const covers = ({ deeds, changes }: ProposalRow, action: Action): boolean =>
  deeds.includes(deedOf(action)) && (action.kind !== 'MOVE' || changes.some(({ shardId }) => shardId === action.to));

/** Only the newest proposal can be open (Q1). */
function openProposal({ state }: Turn): ProposalRow | undefined {
  const row = state.proposals.newest;
  return row?.state === 'OPEN' ? row : undefined;
}

function replace(turn: Turn, open: ProposalRow, by: PlanId): void {
  open.state = 'REPLACED';
  turn.state.proposals.put(open);
  turn.decide({
    kind: 'EXPIRE',
    subject: open.id,
    constraint: 'replaced',
    reason: `${open.id} is replaced by ${by}, because the current plan wants an action that was not in it.`,
  });
}

function proposalOf(
  id: PlanId,
  { now, settings }: Turn,
  asked: readonly Action[],
  later: readonly Action[],
  before: Snapshot,
): ProposalRow {
  const old = new ClusterModel(before);
  const cluster = new ClusterModel(before);
  const done: Action[] = [];
  for (const action of [...asked, ...later]) {
    if (!isPossible(cluster, action)) continue;
    afterAction(cluster, action);
    done.push(action);
  }
  const first = done[0]!;
  const dollarsPerHour = done.reduce((sum, action) => sum + action.dollarsPerHour, 0);
  const dollarsOnce = done.reduce((sum, action) => sum + onceDollars(action, before), 0);
  const more = done.length > SHOWN_MAX ? [`and ${done.length - SHOWN_MAX} more`] : [];
  const steps = done
    .slice(0, SHOWN_MAX)
    .map((each) => (asked.includes(each) ? describe(each) : `then ${describe(each)}`));
  return {
    kind: 'proposal',
    id,
    madeAt: now,
    expiresAt: eventTime(now + settings.approvalMs),
    state: 'OPEN',
    deeds: done.map(deedOf),
    steps: [...steps, ...more],
    changes: changesBetween(old, cluster).slice(0, SHOWN_MAX),
    reason: `${first.reason} ${done.length === 1 ? '1 action waits' : `${done.length} actions wait`} for approval.`,
    dollarsPerHour,
    dollarsOnce,
    promisedDollars: promisedBy(done),
  };
}

/** An action that follows from another can be shown only when the other is in the proposal. */
function isPossible(cluster: ClusterModel, action: Action): boolean {
  if (action.kind === 'ALLOCATE') return !cluster.shards.has(action.shard);
  if (action.kind === 'RESIZE' || action.kind === 'RETIRE') return cluster.shards.has(action.shard);
  if (action.kind === 'MOVE' || action.kind === 'WAIT')
    return (
      cluster.shards.has(action.to) && (cluster.shards.get(action.slice.shard)?.slices.has(action.slice.slice) ?? false)
    );
  if (action.kind === 'UNREPLICATE')
    return cluster.shards.get(action.slice.shard)?.slices.has(action.slice.slice) ?? false;
  const shard = cluster.shards.get(action.shard);
  return shard !== undefined && action.before.every(({ slice }) => shard.slices.has(slice));
}

/** Actions against the same shortage promise the same saving; each shortage counts once. */
function promisedBy(actions: readonly Action[]): number {
  const byShard = new Map<string, number>();
  for (const { concerns, savesDollars } of actions)
    if (Number.isFinite(savesDollars)) byShard.set(concerns, Math.max(byShard.get(concerns) ?? 0, savesDollars));
  return [...byShard.values()].reduce((sum, dollars) => sum + dollars, 0);
}

/** Shards that differ before and after. */
function changesBetween(before: ClusterModel, after: ClusterModel): ShardChange[] {
  const ids = [...new Set([...before.shards.keys(), ...after.shards.keys()])].sort();
  const side = (cluster: ClusterModel, shard: ClusterShard | undefined) => ({
    type: shard?.type.name ?? '',
    slices: shard?.slices.size ?? 0,
    full: shard === undefined ? 0 : cluster.rooms.utilisation(shard).utilisation,
  });
  return ids.flatMap((shardId) => {
    const old = side(before, before.shards.get(shardId));
    const now = side(after, after.shards.get(shardId));
    if (old.type === now.type && old.slices === now.slices && old.full === now.full) return [];
    return [
      {
        shardId,
        typeBefore: old.type,
        typeAfter: now.type,
        slicesBefore: old.slices,
        slicesAfter: now.slices,
        fullBefore: old.full,
        fullAfter: now.full,
      },
    ];
  });
}

const minutes = (ms: number): string => `${Math.round(ms / 60_000)} min`;
