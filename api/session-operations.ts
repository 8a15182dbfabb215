// Session operations: the state of operations on all sessions of a broker, combined from what each partition reports.
// Pure.
//
//   O1. The last OPERATIONS_MAX operations are kept, in the order in which they were first seen.
//   O2. An operation is running until every partition has reported that it is done, or stopped.

import type { EventTime, Partition } from '../schemas/ids.ts';
import type { OperationAction, OperationProgress, OperationState, SessionOperation } from '../schemas/records.ts';

/** A fleet whose brokers fall silent once an hour has so many operations in forty days. */
const OPERATIONS_MAX = 1_000;

export interface SessionOperationView {
  readonly operationId: string;
  readonly brokerId: string;
  readonly action: OperationAction;
  readonly state: OperationState;
  readonly startedAt: EventTime;
  readonly partitions: number;
  /** Number of partitions that have nothing left to do. */
  readonly finished: number;
  /** Sessions found, how many of them have ended, and the events written because of it. */
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

  /** Reads one record of the topic, in the order of its partition. */
  take({ operationId, brokerId, at, body }: SessionOperation): void {
    if (body.kind === 'OperationStop') return; // The partitions report its effect.
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
