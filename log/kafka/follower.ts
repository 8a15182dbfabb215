// Follower: reads a topic outside any group. Caught up by position, not by a last record: transaction markers, compaction
// and empty partitions leave nothing to be seen at the end.

import type { Batch, Follower } from '../../runtime/ports.ts';
import type { Logger } from '../../runtime/telemetry.ts';
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
  readonly name: string;
}

/** Resolves when it is known where the topic ends, so when following has begun. */
export async function follow(following: Following): Promise<Follower> {
  const { cluster, places, from, take, settings, health, logger, name } = following;
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
  caughtUp.catch(() => {}); // Whoever awaits it sees the error; nobody awaiting is not an unhandled rejection.
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
    outOfRange: ({ topic, partition, offset }, start, end) => {
      // Retention overtook a slow reader, or the topic was created anew: a table is complete again from its start on.
      logger.error(
        { topic, partition, offset, start, end },
        'a followed topic lost records; it is read from its start',
      );
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
    logger.error({ name, reason: reasonOf(error) }, 'following a topic ended: its taker failed');
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
