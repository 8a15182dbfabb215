// Loss: an operator's consent that a group continues without records that are lost. It is stored with the group's
// committed offsets in Kafka, which every instance can read and nobody writes while the group is stopped.
//
//   O1. The consent is for one loss: it names the lost position, and is valid for no other.
//   O2. It is used once: the next commit of the task overwrites it with its own offsets.
//   O3. It keeps the leader epoch that was stored there, by which the next start finds the loss again.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { troubleOf } from './failure.ts';
import { epochIn, goesOnAt, textOfEpoch } from './leader-epochs.ts';
import type { Place, Position } from './reading.ts';

const WORD = 'foreshard: loss accepted at ';

/** Whether an operator has accepted the loss of what followed the position, by the metadata committed with it. */
export const acceptedLoss = ({ offset, metadata }: Pick<Committed, 'offset' | 'metadata'>): boolean =>
  metadata?.split('; ')[0] === `${WORD}${offset}`; // O1

export interface Committed extends Position {
  readonly metadata: string | null;
  /** The leader epoch of the records before the position. */
  readonly leaderEpoch: number;
}

/** The committed offsets of a group; -1 where it has committed nothing. */
export async function committedIn(
  cluster: RawCluster,
  groupId: string,
  places: readonly Place[],
): Promise<readonly Committed[]> {
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  const topics = [...new Set(places.map(({ topic }) => topic))].map((topic) => ({
    topic,
    partitions: places.filter((each) => each.topic === topic).map(({ partition }) => ({ partition })),
  }));
  const { responses } = await coordinator.offsetFetch({ groupId, topics });
  return responses.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset, metadata }) => ({
      topic,
      partition,
      offset: Number(offset),
      metadata,
      leaderEpoch: epochIn(metadata),
    })),
  );
}

/**
 * Finds which of these places have lost records, with the old and the new position, and stores the consent for each.
 */
export async function acceptLosses(
  cluster: RawCluster,
  groupId: string,
  places: readonly (Place & { readonly start: Offset; readonly end: Offset })[],
): Promise<readonly (Position & { readonly next: Offset })[]> {
  const committed = await committedIn(cluster, groupId, places);
  const losses: (Position & { readonly next: Offset; readonly metadata: string })[] = [];
  for (const { topic, partition, start, end } of places) {
    const found = committed.find((each) => each.topic === topic && each.partition === partition);
    if (found === undefined || found.offset < 0) continue;
    const next = await goesOnAt(cluster, found, { start, end });
    if (next === undefined) continue;
    const epoch = textOfEpoch(found.leaderEpoch);
    const metadata = `${WORD}${found.offset}${epoch === null ? '' : `; ${epoch}`}`; // O3
    losses.push({ topic, partition, offset: found.offset, next, metadata });
  }
  if (losses.length === 0) return losses;
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  const topics = losses.map(({ topic, partition, offset, metadata }) => ({
    topic,
    partitions: [{ partition, offset: String(offset), metadata }],
  }));
  try {
    // Not as a member: Kafka accepts such a commit while the group has no members.
    await coordinator.offsetCommit({ groupId, groupGenerationId: -1, memberId: '', topics });
  } catch (error) {
    if (troubleOf(error) !== 'expelled' && troubleOf(error) !== 'rebalancing') throw error;
    throw new AppError('REQUEST_INVALID', `group ${groupId} is running: stop every instance first`, { groupId }, error);
  }
  return losses.map(({ topic, partition, offset, next }) => ({ topic, partition, offset, next }));
}
