// Lag watch: how far each group is behind, on whichever instance. It is computed from what the log reports: the end of
// each partition minus the committed position. The tasks are not asked, since a task that hangs believes that it is at
// the end.
//
//   W1. Lag is the log's end minus the committed position. When the log did not report for UNKNOWN_MS, the lag is
//       unknown, not 0.
//   W2. A partition stands still when it has records to consume and its position has not moved for STILL_MS.

import type { Offset, Partition } from '../schemas/ids.ts';
import type { Group } from '../topology/graph.ts';
import type { Standing } from './ports.ts';

export interface Lag {
  readonly group: Group['name'];
  /** The task that consumes the partition. */
  readonly task: Partition;
  readonly topic: string;
  readonly partition: Partition;
  readonly committed: Offset;
  readonly end: Offset;
  readonly records: number;
  /** Since when the position has not moved although there are records to consume; `undefined` while it moves. */
  readonly standsSince: number | undefined;
}

/** Several polls of the runner: one failed poll has no effect. */
const UNKNOWN_MS = 30_000;
/** Longer than many commits take, and well below the time in which a group notices that a member is gone. */
const STILL_MS = 6_000;

interface Place {
  readonly standing: Standing;
  /** When the position was first seen at this value with records to consume. */
  readonly since: number;
}

export class LagWatch {
  readonly #groups = new Map<Group['name'], { readonly places: ReadonlyMap<string, Place>; readonly at: number }>();

  /** Every partition of a group, as the log reported at time `now`. */
  take(group: Group['name'], standings: readonly Standing[], now: number): void {
    const before = this.#groups.get(group)?.places;
    const places = new Map<string, Place>();
    for (const standing of standings) {
      const key = `${standing.topic}/${standing.partition}`;
      const last = before?.get(key);
      const stood = last !== undefined && behind(last.standing) > 0 && last.standing.committed === standing.committed;
      places.set(key, { standing, since: stood ? last.since : now });
    }
    this.#groups.set(group, { places, at: now });
  }

  /** Every partition whose lag is known (W1). */
  lags(now: number): Lag[] {
    const lags: Lag[] = [];
    for (const [group, { places, at }] of this.#groups) {
      if (now - at > UNKNOWN_MS) continue;
      for (const { standing, since } of places.values()) {
        const standsSince = behind(standing) > 0 && now - since >= STILL_MS ? since : undefined; // W2
        lags.push({ group, ...standing, records: behind(standing), standsSince });
      }
    }
    return lags;
  }

  /** Whether the log has reported on this group lately. */
  knows(group: Group['name'], now: number): boolean {
    const at = this.#groups.get(group)?.at;
    return at !== undefined && now - at <= UNKNOWN_MS;
  }
}

const behind = ({ end, committed }: Standing): number => Math.max(0, end - committed);
