// Follower: reads a topic outside any group. Whether it has caught up is decided by position, not by the last record
// seen: transaction markers, compaction and empty partitions may leave no record at the end.

import type { Batch, Follower } from '../../runtime/ports.ts';
import type { Logger } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { Health, RawCluster } from './client.ts';
import { reasonOf } from './failure.ts';
import { offsetsOf, type Place, type ReadingSettings, read } from './reading.ts';

export interface Following {
  readonly cluster: RawCluster;
  readonly places: readonly Place[];
  readonly from: 'earliest' | 'latest';
  readonly take: (batch: Batch) => Promise<void>;
  readonly settings: ReadingSettings;
  readonly health: Health;
  readonly logger: Logger;
  /** The topic, as its readers know it. */
  readonly topic: string;
}

/** Resolves when the end of the topic is known, which is when following begins. */
export async function follow(following: Following): Promise<Follower> {
  const { cluster, places, from, take, settings, health, logger } = following;
  const name = `following ${following.topic}`;
  if (!cluster.isConnected()) await cluster.connect();
  const ends = await offsetsOf(cluster, places, 'end');
  const starts = from === 'latest' ? ends : await offsetsOf(cluster, places, 'start');
  const behind = new Map<number, Offset>(); // Partitions that have not reached their end, and that end.
  for (const { partition, offset } of ends)
    if (offset > starts.find((each) => each.partition === partition)!.offset) behind.set(partition, offset);

  const closing = new AbortController();
  let catchUp = (): void => {};
  let giveUp = (_: unknown): void => {};
  const caughtUp = new Promise<void>((resolve, reject) => {
    catchUp = resolve;
    giveUp = reject;
  });
  caughtUp.catch(() => {}); // Callers may await it or not; without this, its rejection would be unhandled when none does.
  if (behind.size === 0) catchUp();
  const reachUp = (partition: number, next: Offset): void => {
    if (next < (behind.get(partition) ?? 0)) return;
    behind.delete(partition);
    if (behind.size === 0) catchUp();
  };

  const reading = read({
    cluster,
    from: starts,
    take: async (batch) => {
      await take(batch);
      reachUp(batch.partition, batch.nextOffset);
    },
    lost: ({ topic, partition, offset }, { start, end, next }) => {
      // Retention overtook a slow reader, or the log is another one: reading from the start makes a table complete
      // again.
      const what = `partition ${partition} of topic ${topic}, which is followed, lost records: it is read from its start`;
      health.alarm(
        new AppError('INPUT_TRUNCATED', what, { topic, partition, offset, start, end, next }),
        following.topic,
      );
      const goal = behind.get(partition);
      if (goal !== undefined) behind.set(partition, Math.min(goal, end));
      reachUp(partition, start);
      return start;
    },
    signal: closing.signal,
    health,
    name,
    settings,
  });
  reading.catch((error) => {
    giveUp(error);
    if (closing.signal.aborted) return;
    health.ill(name, reasonOf(error));
    logger.error({ name, reason: reasonOf(error) }, 'following a topic ended: its reader failed');
  });
  return {
    caughtUp,
    async close() {
      closing.abort();
      await reading.catch(() => {});
      await cluster.disconnect();
    },
  };
}
