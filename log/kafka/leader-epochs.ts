// Leader epochs: detect whether a partition's log is still the one that was read (KIP-101, KIP-320). Each batch carries
// the epoch of the leader that wrote it. A leader that lacks records which were read (after an unclean election, or
// when a disk lost its last writes) has a later epoch and gives their offsets to other records. It can tell where the
// records of earlier epochs end in its log.
//
//   Q1. Within one epoch the leader gives each offset once: a batch of the epoch that was read last follows what was
//       read.
//   Q2. A batch of another epoch follows what was read if the leader's log contains all of the epoch that was read
//       last, up to the position.
//   Q3. The broker that is asked must lead under the epoch that Kafka names for the partition. Otherwise a former
//       leader would describe a log that nobody reads any more.
//   Q4. The epoch is stored with the offsets that a group commits. It is valid only for the offset that it was
//       committed with; where it is not known (an earlier release, offsets set by hand) nothing is compared.
// Not detected: a topic that was created anew and has grown past the position under an epoch of the same number.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { endOfEpoch, type FetchFrom, NO_EPOCH } from './requests.ts';

/** A position to read from, and the leader epoch of the records before it. */
export interface ReadPosition extends Omit<FetchFrom, 'currentLeaderEpoch'> {
  /** Epoch of the records before the position; NO_EPOCH when not known. */
  readonly leaderEpoch: number;
  /** As in a fetch; when absent, any leader is asked. */
  readonly currentLeaderEpoch?: number;
}

/**
 * The offset up to which the log is the one that was read, at most the position; 0 when its leader does not know the
 * epoch.
 */
export async function sharedUpTo(
  cluster: RawCluster,
  { topic, partition, offset, leaderEpoch, currentLeaderEpoch = NO_EPOCH }: ReadPosition,
): Promise<Offset> {
  const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  if (nodeId === undefined || nodeId === '-1')
    throw new AppError('LOG_UNAVAILABLE', `partition ${partition} of topic ${topic} has no leader`);
  const asked = { topic, partition, leaderEpoch, currentLeaderEpoch };
  const found = await endOfEpoch(await cluster.findBroker({ nodeId }), asked);
  return found.leaderEpoch === leaderEpoch ? Math.min(offset, found.endOffset) : 0; // Q2
}

/**
 * Where to continue when the log, which holds `start` to `end`, is not the one that was read; `undefined` when it is.
 */
export async function goesOnAt(
  cluster: RawCluster,
  position: ReadPosition,
  { start, end }: { readonly start: Offset; readonly end: Offset },
): Promise<Offset | undefined> {
  if (position.offset < start) return start;
  if (position.leaderEpoch === NO_EPOCH) return position.offset > end ? start : undefined;
  const shared = await sharedUpTo(cluster, position);
  return shared < position.offset ? Math.max(start, shared) : undefined;
}

/** The epochs under which the records of each input were written, from the last commit on. */
export class LeaderEpochs {
  /** By `topic/partition`: records from `from` on have this `epoch`; ascending. */
  readonly #spans = new Map<string, { readonly from: Offset; readonly epoch: number }[]>();

  /** Reading begins, or begins again, at a position. */
  begin(place: string, { offset, leaderEpoch }: Pick<ReadPosition, 'offset' | 'leaderEpoch'>): void {
    this.#spans.set(place, [{ from: offset - 1, epoch: leaderEpoch }]);
  }

  /** Records from `from` on were written under this epoch. */
  read(place: string, from: Offset, epoch: number): void {
    const spans = this.#spans.get(place) ?? [];
    if (spans.at(-1)?.epoch !== epoch) spans.push({ from, epoch });
    this.#spans.set(place, spans);
  }

  /** The epoch of the last record before `offset`, which is being committed; earlier spans are forgotten. */
  commit(place: string, offset: Offset): number {
    const spans = this.#spans.get(place);
    if (spans === undefined) return NO_EPOCH;
    const last = spans.findLastIndex(({ from }) => from < offset);
    spans.splice(0, Math.max(0, last));
    return last < 0 ? NO_EPOCH : spans[0]!.epoch;
  }
}

/** The text stored with a committed offset; `null` when the epoch is not known. */
export const textOfEpoch = (epoch: number): string | null => (epoch === NO_EPOCH ? null : `leader epoch ${epoch}`);

export function epochIn(text: string | null): number {
  const found = /(?:^|; )leader epoch (\d+)$/.exec(text ?? '');
  return found === null ? NO_EPOCH : Number(found[1]);
}
