// Loss: a person's word that a group may go on without records that are gone. It lies with the offsets that the group has
// committed in Kafka, since these are told to everybody and are written by nobody while the group stands still.
//
//   O1. The word is for one loss: it names the position that was lost, and holds for no other.
//   O2. It is used once: the next commit of the task writes its own offsets over it.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { troubleOf } from './failure.ts';
import type { Place, Position } from './reading.ts';

const WORD = 'foreshard: loss accepted at ';

/** Whether a person has accepted that the group lost what followed `lost`. */
export async function acceptedLoss(cluster: RawCluster, groupId: string, place: Place, lost: Offset): Promise<boolean> {
  return (await committedIn(cluster, groupId, [place])).some(({ metadata }) => metadata === `${WORD}${lost}`); // O1
}

/** Of these places, those whose records the group has lost, with where it stood; the word is given for each. */
export async function acceptLosses(
  cluster: RawCluster,
  groupId: string,
  starts: readonly Position[],
): Promise<readonly (Position & { readonly start: Offset })[]> {
  const committed = await committedIn(cluster, groupId, starts);
  const losses = starts.flatMap(({ topic, partition, offset: start }) => {
    const found = committed.find((each) => each.topic === topic && each.partition === partition);
    return found === undefined || found.offset < 0 || found.offset >= start
      ? []
      : [{ topic, partition, offset: found.offset, start }];
  });
  if (losses.length === 0) return losses;
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  const topics = losses.map(({ topic, partition, offset }) => ({
    topic,
    partitions: [{ partition, offset: String(offset), metadata: `${WORD}${offset}` }],
  }));
  try {
    // As nobody's member: Kafka takes it while the group has none.
    await coordinator.offsetCommit({ groupId, groupGenerationId: -1, memberId: '', topics });
  } catch (error) {
    if (troubleOf(error) !== 'expelled' && troubleOf(error) !== 'rebalancing') throw error;
    throw new AppError('REQUEST_INVALID', `group ${groupId} is at work: stop every instance first`, { groupId }, error);
  }
  return losses;
}

async function committedIn(cluster: RawCluster, groupId: string, places: readonly Place[]) {
  const coordinator = await cluster.findGroupCoordinator({ groupId });
  const topics = places.map(({ topic, partition }) => ({ topic, partitions: [{ partition }] }));
  const { responses } = await coordinator.offsetFetch({ groupId, topics });
  return responses.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset, metadata }) => ({ topic, partition, offset: Number(offset), metadata })),
  );
}
