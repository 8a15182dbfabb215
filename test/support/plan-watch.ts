// Plan watch: what the planner decides and what becomes of its moves, as topics tell it, with the pointer table as a reader
// without any lag has it.

import { PointerReader } from '../../broker/pointer-reader.ts';
import { type MoveId, moveId } from '../../schemas/ids.ts';
import type { Decision, MoveProgress, MoveState, Progress } from '../../schemas/records.ts';
import type { PointerTable } from '../../state/pointer-table.ts';
import { decisions, progress } from '../../topology/topics.ts';
import type { Deployment } from './deployment.ts';

export class PlanWatch {
  /** Each decision with what `now` said when it was seen. */
  readonly decisions: (Decision & { readonly seenAt: number })[] = [];
  /** What was told of moves, in order. */
  readonly told: MoveProgress[] = [];
  /** Told of each new state of a move: SWITCHED when the planner has decided it, the others when apply has told them. */
  onState: (move: MoveId, state: MoveState) => void = () => {};
  readonly #pointers: PointerReader;
  readonly #states = new Map<MoveId, MoveState>();
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

  async stop(): Promise<void> {
    for (const each of this.#following) await each.close();
    await this.#pointers.close();
  }
}
