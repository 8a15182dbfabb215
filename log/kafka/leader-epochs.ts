// Leader epochs: whether the log is still the one that was read (KIP-101, KIP-320). Each batch bears the epoch of the leader
// that wrote it. A leader that lacks records which were read (an unclean election, a disk that lost its last writes) has a
// later epoch, and fills their offsets with others; it can tell where what earlier epochs wrote ends in its log.
//
//   Q1. One epoch's leader gives each offset once: a batch of the epoch that was read last follows what was read.
//   Q2. A batch of another epoch does so if the log's leader has all of the epoch that was read last, up to the position.
//   Q3. Who is asked has to lead under the epoch that Kafka names for the partition, or one who was leader once would tell of a
//       log that nobody reads any more.
//   Q4. The epoch lies with the offsets that a group commits. It counts for the very offset that it was committed with; where
//       it is not known (an earlier release, offsets set by hand) nothing is compared.
// Not told apart: a topic that was created anew and has grown past the position under an epoch of the same number.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { RawCluster } from './client.ts';
import { endOfEpoch, type FetchFrom, NO_EPOCH } from './requests.ts';

/** Where reading goes on, after what was written under `leaderEpoch`. */
export interface ReadPosition extends Omit<FetchFrom, 'currentLeaderEpoch'> {
  /** NO_EPOCH where nothing is known of who wrote what lies before it. */
  readonly leaderEpoch: number;
  /** As in a fetch; absent: under any. */
  readonly currentLeaderEpoch?: number;
}

/** Up to where the log is the one that was read, at most the position; 0 when its leader knows nothing of that epoch. */
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

/** Where to go on from a position that the log does not follow, which holds `start` to `end`; `undefined` when it does. */
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

/** Under which epochs the records of each input were written, from the last commit on. */
export class LeaderEpochs {
  /** For each `topic/partition`: from the record at `from` on it is `epoch`; ascending. */
  readonly #spans = new Map<string, { readonly from: Offset; readonly epoch: number }[]>();

  /** Reading begins, or begins again, at a position. */
  begin(place: string, { offset, leaderEpoch }: Pick<ReadPosition, 'offset' | 'leaderEpoch'>): void {
    this.#spans.set(place, [{ from: offset - 1, epoch: leaderEpoch }]);
  }

  /** What was read from `from` on was written under this epoch. */
  read(place: string, from: Offset, epoch: number): void {
    const spans = this.#spans.get(place) ?? [];
    if (spans.at(-1)?.epoch !== epoch) spans.push({ from, epoch });
    this.#spans.set(place, spans);
  }

  /** The epoch of the last record before `offset`, which is committed now: what was before it is forgotten. */
  commit(place: string, offset: Offset): number {
    const spans = this.#spans.get(place);
    if (spans === undefined) return NO_EPOCH;
    const last = spans.findLastIndex(({ from }) => from < offset);
    spans.splice(0, Math.max(0, last));
    return last < 0 ? NO_EPOCH : spans[0]!.epoch;
  }
}

/** What is kept with a committed offset; `null`, nothing, when it is not known. */
export const textOfEpoch = (epoch: number): string | null => (epoch === NO_EPOCH ? null : `leader epoch ${epoch}`);

export function epochIn(text: string | null): number {
  const found = /(?:^|; )leader epoch (\d+)$/.exec(text ?? '');
  return found === null ? NO_EPOCH : Number(found[1]);
}
