// Session operations: what befalls the sessions of a broker, put together from what each partition says of it. Pure.
//
//   O1. The last OPERATIONS_MAX operations are kept, in the order in which they were first heard of.
//   O2. An operation is under way until every partition has said that it is done, or stopped.

import type { EventTime, Partition } from '../schemas/ids.ts';
import type { OperationAction, OperationProgress, OperationState, SessionOperation } from '../schemas/records.ts';

/** A fleet whose brokers fall silent every hour needs forty days for so many. */
const OPERATIONS_MAX = 1_000;

export interface SessionOperationView {
  readonly operationId: string;
  readonly brokerId: string;
  readonly action: OperationAction;
  readonly state: OperationState;
  readonly startedAt: EventTime;
  readonly partitions: number;
  /** Partitions that have nothing left to do. */
  readonly finished: number;
  /** Sessions that were found, those of them that have ended, and what was written because of it. */
  readonly sessions: number;
  readonly ended: number;
  readonly events: number;
  /** Why it was stopped; empty when it was not. */
  readonly reason: string;
}

interface Known {
  readonly brokerId: string;
  readonly startedAt: EventTime;
  readonly action: OperationAction;
  readonly partitions: Map<Partition, OperationProgress>;
}

export class SessionOperations {
  readonly #partitions: number;
  readonly #known = new Map<string, Known>();

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  /** Takes one record of the topic, in the order of its partition. */
  take({ operationId, brokerId, at, body }: SessionOperation): void {
    if (body.kind === 'OperationStop') return; // What came of it is said by those who heard it.
    const isProgress = body.kind === 'OperationProgress';
    const known = this.#known.get(operationId) ?? {
      ...{ brokerId, action: body.action, startedAt: isProgress ? body.startedAt : at },
      partitions: new Map<Partition, OperationProgress>(),
    };
    if (isProgress) known.partitions.set(body.partition, body);
    this.#known.set(operationId, known);
    if (this.#known.size > OPERATIONS_MAX) this.#known.delete(this.#known.keys().next().value!); // O1
  }

  has(operationId: string): boolean {
    return this.#known.has(operationId);
  }

  /** Newest first. */
  all(): SessionOperationView[] {
    return [...this.#known]
      .reverse()
      .map(([operationId, known]) => viewOf(operationId, known, this.#partitions))
      .sort((a, b) => b.startedAt - a.startedAt);
  }
}

function viewOf(operationId: string, { partitions: all, ...known }: Known, partitions: number): SessionOperationView {
  const told = [...all.values()];
  const sum = (of: (progress: OperationProgress) => number): number =>
    told.reduce((total, each) => total + of(each), 0);
  const finished = sum(({ state }) => Number(state !== 'RUNNING'));
  const stopped = told.find(({ state }) => state === 'STOPPED');
  return {
    ...{ operationId, ...known, partitions, finished },
    state: finished < partitions ? 'RUNNING' : stopped === undefined ? 'DONE' : 'STOPPED', // O2
    sessions: sum((each) => each.sessions),
    ended: sum((each) => each.ended),
    events: sum((each) => each.events),
    reason: stopped?.reason ?? '',
  };
}
