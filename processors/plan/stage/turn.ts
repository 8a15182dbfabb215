// Turn: what the planner changes and publishes while it handles one input. All of it comes from one step call and so is
// in one transaction: a command and the pointer change that it belongs to are both in the log, or neither is.
//
//   U1. Epochs grow by one with each change; every record of a change carries {epoch, index, count}.
//   U2. A command goes to the partition of its slice, or, for a shard, to the partition of the shard's id.
//   U3. Everything published carries the planner's term. The term grows with the first publication after the rows were
//       loaded, in the same transaction, so no two planners that could commit share a term (state/fence.ts).
//   U4. The key of a slice or shard that is GONE is removed from the table a day later, unless it has come back:
//       otherwise the table would keep every pin that ever existed. Epochs grow on regardless, since they belong to the
//       cell. The last change keeps its keys: a reader that finds one removed, whose GONE it never saw, must see that a
//       change is missing.

import { assert } from '../../../schemas/errors.ts';
import { type Epoch, type EventTime, epoch, eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type { Command, Decision, PointerEntry, PointerRecord, ShardEntry } from '../../../schemas/records.ts';
import { TERM_STEP_MAX, type Writer } from '../../../state/fence.ts';
import { parseSlice, partitionOf, partitionOfSlice } from '../../../state/keys.ts';
import { keyOfBody } from '../../../state/pointer-table.ts';
import type { Emit } from '../../step.ts';
import type { Constraint } from '../cluster/actions.ts';
import type { PlanSettings } from '../settings.ts';
import { type CellState, saidId } from './cell-state.ts';
import type { CellRow, GoneRow, ShardRow } from './rows.ts';

export type PlanEmit = Emit<'commands', Command> | Emit<'pointer-table', PointerRecord> | Emit<'decisions', Decision>;

/** A decision as the code that makes it writes it; fields left out do not apply. */
export type DecisionDraft = Pick<Decision, 'kind' | 'subject' | 'reason'> & Partial<Omit<Decision, 'id' | 'at'>>;

export type Unpublished = Omit<PointerEntry, 'epoch'> | Omit<ShardEntry, 'epoch'>;

export class Turn {
  readonly state: CellState;
  readonly cell: CellRow;
  readonly shards: CellState['shards'];
  readonly slices: CellState['slices'];
  readonly moves: CellState['moves'];
  readonly settings: PlanSettings;
  readonly constraints: readonly Constraint[];
  readonly emits: PlanEmit[] = [];

  constructor(state: CellState, settings: PlanSettings, constraints: readonly Constraint[]) {
    this.state = state;
    this.cell = state.cell;
    this.shards = state.shards;
    this.slices = state.slices;
    this.moves = state.moves;
    this.settings = settings;
    this.constraints = constraints;
  }

  /** Stores the cell row; to be called after each change of it. */
  keepCell(): void {
    this.state.keepCell();
  }

  get now(): EventTime {
    return this.cell.now;
  }

  /** Sends a command about a slice (U2); `at` is the epoch that it refers to, by default that of the last change. */
  commandSlice(slice: SliceKey, body: Command['body'], reason: string, at: Epoch = this.cell.epoch): string {
    const parsed = parseSlice(slice);
    assert(parsed !== undefined, `${slice} is not a slice key`);
    return this.#command(slice, partitionOfSlice(parsed, this.settings.partitions), body, reason, at);
  }

  /** Sends a command about a shard (U2). */
  commandShard(shard: ShardId, body: Command['body'], reason: string): string {
    return this.#command(shard, partitionOf(shard, this.settings.partitions), body, reason, this.cell.epoch);
  }

  /** Sends a command that is about more than one slice to the task of a partition. */
  commandPartition(key: string, partition: number, body: Command['body'], reason: string): string {
    return this.#command(key, partition, body, reason, this.cell.epoch);
  }

  /** Publishes one change of the pointer table (U1); returns its epoch. */
  publish(entries: readonly Unpublished[]): Epoch {
    const { gone } = this.state;
    const next = epoch(this.cell.epoch + 1);
    for (const [index, entry] of entries.entries()) {
      const key = keyOfBody(entry);
      const isGone = entry.kind === 'PointerEntry' ? entry.mode === 'GONE' : entry.state === 'GONE';
      if (isGone) gone.put({ kind: 'gone', key, epoch: next, at: this.now });
      else if (gone.has(key)) gone.delete(key);
      this.emits.push({
        topic: 'pointer-table',
        key,
        partition: 0,
        value: {
          change: { epoch: next, index, count: entries.length, ...this.#writer() },
          body: { ...entry, epoch: next },
        },
      });
    }
    this.cell.epoch = next;
    this.keepCell();
    return next;
  }

  /** Removes a key from the pointer table that was marked GONE long ago (U4). */
  removeKey({ key }: GoneRow): void {
    this.state.gone.delete(key);
    this.emits.push({ topic: 'pointer-table', key, partition: 0, value: null });
  }

  /** The id of this cell's last decision. */
  get lastDecision(): string {
    return decisionId(this.cell.nextDecision - 1);
  }

  decide(saying: DecisionDraft): void {
    const id = decisionId(this.cell.nextDecision++);
    this.keepCell();
    const value: Decision = { id, at: this.now, ...UNSAID, ...saying };
    this.emits.push({ topic: 'decisions', key: id, partition: 0, value });
  }

  /**
   * Publishes a refusal, unless the same constraint has refused the same subject recently. True when it was published.
   */
  refuse(subject: string, constraint: string, reason: string, facts: Partial<DecisionDraft> = {}): boolean {
    const { said } = this.state;
    const id = saidId(subject, constraint);
    const before = said.get(id);
    const { now } = this;
    if (before !== undefined && now - before.at < SAID_MS) {
      if (now - before.at > SAID_MS / 2) said.set(id, { kind: 'said', at: now });
      return false;
    }
    said.set(id, { kind: 'said', at: now });
    this.decide({ ...facts, kind: 'REFUSE', subject, constraint, reason });
    return true;
  }

  #command(key: string, partition: number, body: Command['body'], reason: string, at: Epoch): string {
    const id = `command-${String(this.cell.nextCommand++).padStart(6, '0')}`;
    this.keepCell();
    const deadline = eventTime(this.now + DEADLINE_MS);
    const value = { id, epoch: at, reason, deadline, body, ...this.#writer() };
    this.emits.push({ topic: 'commands', key, partition, value });
    return id;
  }

  /** U3 */
  #writer(): Writer {
    if (!this.state.hasSpoken) {
      this.cell.term = (this.cell.term ?? 0) + 1;
      this.state.hasSpoken = true;
      this.keepCell();
    }
    return { term: this.cell.term!, planner: this.settings.planner };
  }

  /** Takes a term above every earlier one, and above `counted` where that is possible (fence.ts F4). */
  newTerm(counted = 0): void {
    const { cell } = this;
    const term = cell.term ?? 0;
    cell.term = counted > term && counted <= term + TERM_STEP_MAX ? counted : term;
    this.state.hasSpoken = false;
    this.keepCell();
  }
}

/** A decision whose fields do not apply unless given. */
export const UNSAID: Omit<Decision, 'id' | 'at' | 'kind' | 'subject' | 'reason'> = {
  constraint: '',
  requestId: '',
  commandIds: [],
  forecastPerSecond: -1,
  capacityPerSecond: -1,
  crossingAt: eventTime(0),
  leadTimeMs: 0,
  dollarsPerHour: 0,
  alternatives: [],
  dollarsOnce: 0,
  promisedDollars: -1,
  realisedDollars: -1,
  expiresAt: eventTime(0),
  steps: [],
  changes: [],
};

const decisionId = (number: number): string => `decision-${String(number).padStart(6, '0')}`;

/** A refusal that has not come up for this long is published again when it does. */
export const SAID_MS = 900_000;
/** By when the effect of a command is wanted, in event time; it is advisory. The time limits of moves are wall time. */
const DEADLINE_MS = 600_000;

/** A shard as the pointer table shows it. */
export const shardEntry = (shard: ShardRow, state: ShardEntry['state']): Omit<ShardEntry, 'epoch'> => ({
  kind: 'ShardEntry',
  shardId: shard.id,
  storeKind: shard.storeKind,
  datastoreType: shard.datastoreType,
  instanceId: shard.instanceId,
  address: shard.address,
  state,
  ...(shard.lost !== undefined && {
    loss: shard.silent ? 'SILENT' : 'LOST',
    rebuiltAt: eventTime(shard.rebuiltAt ?? 0),
  }),
});

export const pointerEntry = (
  slice: SliceKey,
  mode: PointerEntry['mode'],
  shards: readonly ShardId[],
): Omit<PointerEntry, 'epoch'> => ({ kind: 'PointerEntry', slice, mode, shards });
