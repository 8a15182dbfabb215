// Standings: where a group stands in the partitions that it consumes, by the offsets that its tasks have committed in their
// transactions (F2 of kafka-log.ts) and the ends of the partitions, both asked of Kafka.

import type { Standing } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { committedIn } from './loss.ts';
import { offsetsOf, type Place } from './reading.ts';

/** A partition, by its name in Kafka, with the topic's name that the runner knows and its task. */
export interface Input extends Place {
  readonly name: string;
  readonly task: Partition;
}

/** Rejects with LOG_UNAVAILABLE when Kafka does not tell all of it. */
export async function standingsOf(
  cluster: RawCluster,
  groupId: string,
  inputs: readonly Input[],
): Promise<readonly Standing[]> {
  // Positions before ends: what is consumed meanwhile shows as lag for a moment, never the other way about.
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
