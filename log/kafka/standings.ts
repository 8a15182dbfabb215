// Standings: how far a group has read the partitions that it consumes: the offsets that its tasks committed in their
// transactions (kafka-log.ts F2) and the ends of the partitions, both read from Kafka.

import type { Standing } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { committedIn } from './loss.ts';
import { offsetsOf, type Place } from './reading.ts';

/** A partition by its name in Kafka, with the runner's name of the topic and the task. */
export interface Input extends Place {
  readonly name: string;
  readonly task: Partition;
}

/** Rejects with LOG_UNAVAILABLE when Kafka does not return all of it. */
export async function standingsOf(
  cluster: RawCluster,
  groupId: string,
  inputs: readonly Input[],
): Promise<readonly Standing[]> {
  // Positions before ends: what is consumed in between shows as lag for a moment; a negative lag is never shown.
  const committed = byPlace(await committedIn(cluster, groupId, inputs));
  const fresh = inputs.filter((each) => (committed.get(placeOf(each)) ?? -1) < 0);
  const starts = byPlace(fresh.length === 0 ? [] : await offsetsOf(cluster, fresh, 'start'));
  const ends = byPlace(await offsetsOf(cluster, inputs, 'end'));
  return inputs.map((each) => {
    const place = placeOf(each);
    const end = ends.get(place);
    const position = starts.get(place) ?? committed.get(place);
    if (end === undefined || position === undefined)
      throw new AppError('LOG_UNAVAILABLE', `Kafka did not say how far group ${groupId} is in ${place}`);
    return { topic: each.name, partition: each.partition, task: each.task, committed: position, end };
  });
}

const placeOf = ({ topic, partition }: Place): string => `${topic}/${partition}`;

const byPlace = (found: readonly (Place & { readonly offset: Offset })[]): Map<string, Offset> =>
  new Map(found.map((each) => [placeOf(each), each.offset]));
