// Plan watch: what the planner decides and what becomes of its moves, as topics tell it, with the pointer table as a reader
// without any lag has it.

import { PointerReader } from '../../broker/pointer-reader.ts';
import { type MoveId, moveId, shardId } from '../../schemas/ids.ts';
import type { Decision, MoveProgress, MoveState, Progress } from '../../schemas/records.ts';
import type { PointerTable } from '../../state/pointer-table.ts';
import { decisions, progress } from '../../topology/topics.ts';
import type { Deployment } from './deployment.ts';

const BEFORE_SWITCH: ReadonlySet<MoveState> = new Set(['PLANNED', 'PROVISIONING', 'COPYING', 'VERIFYING', 'VERIFIED']);

export class PlanWatch {
  /** Each decision with what `now` said when it was seen. */
  readonly decisions: (Decision & { readonly seenAt: number })[] = [];
  /** What was told of moves, in order. */
  readonly told: MoveProgress[] = [];
  /** Told of each new state of a move: SWITCHED when the planner has decided it, the others when apply has told them. */
  onState: (move: MoveId, state: MoveState) => void = () => {};
  readonly #pointers: PointerReader;
  readonly #states = new Map<MoveId, MoveState>();
  /** What `now` said when a move was first told of. */
  readonly #toldAt = new Map<MoveId, number>();
  readonly #switched = new Set<MoveId>();
  #following: { close(): Promise<void> }[] = [];

  private constructor(pointers: PointerReader) {
    this.#pointers = pointers;
  }

  /** The topics must be there: an instance has to run. */
  static async open(deployment: Deployment, now: () => number = Date.now): Promise<PlanWatch> {
    const pointers = await PointerReader.open(deployment, { partitions: deployment.config.partitions });
    await pointers.ready;
    const watch = new PlanWatch(pointers);
    watch.#following = await Promise.all([
      deployment.observe<Decision>(decisions, (decision) => {
        watch.decisions.push({ ...decision!, seenAt: now() });
        if (decision!.kind !== 'SWITCH') return;
        watch.#switched.add(moveId(decision!.subject));
        watch.onState(moveId(decision!.subject), 'SWITCHED');
      }),
      deployment.observe<Progress>(progress, (told) => {
        const { body } = told!;
        if (body.kind !== 'MoveProgress') return;
        watch.told.push(body);
        if (!watch.#toldAt.has(body.moveId)) watch.#toldAt.set(body.moveId, now());
        const isNew = watch.#states.get(body.moveId) !== body.state;
        watch.#states.set(body.moveId, body.state);
        if (isNew) watch.onState(body.moveId, body.state);
      }),
    ]);
    return watch;
  }

  get table(): PointerTable {
    return this.#pointers.table;
  }

  stateOf(move: MoveId): MoveState | undefined {
    const told = this.#states.get(move);
    return told === 'VERIFIED' && this.#switched.has(move) ? 'SWITCHED' : told;
  }

  get moveCount(): number {
    return this.#states.size;
  }

  /** Moves that were told of and have not ended. */
  get open(): MoveId[] {
    return [...this.#states.keys()].filter((move) => !['RETIRED', 'ABORTED'].includes(this.stateOf(move)!));
  }

  /** What was decided before then and is not done: shards that no reader knows, and moves that no reader is sent after. */
  overdue(time: number): string[] {
    const decided = this.decisions.filter(({ seenAt }) => seenAt < time);
    const allocations = decided.filter(
      ({ kind, subject }) =>
        kind === 'ALLOCATE' &&
        this.table.shard(shardId(subject)) === undefined &&
        !this.decisions.some((other) => other.kind === 'RETIRE' && other.subject === subject),
    );
    const unheard = decided.filter(
      ({ kind, subject }) => kind === 'MOVE' && !this.told.some(({ slice }) => slice === subject),
    );
    const underWay = [...this.#toldAt].filter(
      ([move, toldAt]) => toldAt < time && BEFORE_SWITCH.has(this.stateOf(move)!),
    );
    return [
      ...[...allocations, ...unheard].map(({ kind, subject }) => `${kind} ${subject}`),
      ...underWay.map(([move]) => `${move} ${this.stateOf(move)}`),
    ];
  }

  async stop(): Promise<void> {
    for (const each of this.#following) await each.close();
    await this.#pointers.close();
  }
}
