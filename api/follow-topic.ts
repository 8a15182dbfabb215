// Follow topic: reads a whole topic outside any consumer group, to answer questions about its contents.
//
//   W1. No record of another process can end the reading: one that cannot be decoded is skipped.
//   W2. While the schema registry does not answer, the reader waits, and loses nothing.

import type { Clock, Log, RawRecord } from '../runtime/ports.ts';
import { preparePatiently } from '../runtime/registry-patience.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { Offset } from '../schemas/ids.ts';
import type { Topic } from '../topology/topics.ts';

export interface Followed {
  /** Resolves when everything that was in the topic at the start of following has been taken. */
  readonly caughtUp: boolean;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface Taker<Value> {
  /** One record, in the order of its partition; `null` removes its key. */
  take(key: string, value: Value | null, offset: Offset): void;
  /** Everything below `next` of a partition has been taken; the partition ended at `end` when it was read. */
  reached?(next: Offset, end: Offset): void;
}

/** Resolves when following has begun, with the earliest record. */
export async function followTopic<Value>(
  { log, codec, clock }: { readonly log: Log; readonly codec: Codec; readonly clock: Clock },
  topic: Topic<string, Value>,
  taker: Taker<Value>,
): Promise<Followed> {
  const record = topic.record!;
  let closed = false;
  let caughtUp = false;
  const waiting = { codec, clock, isOver: () => closed };
  const follower = await log.follow(topic.name, 'earliest', async (batch) => {
    const values = batch.records.map(({ value }) => value);
    if (!(await preparePatiently(waiting, record, values))) return; // W2
    for (const each of batch.records) {
      const value = decoded(each);
      if (each.key !== null && value !== undefined) taker.take(each.key.toString('utf8'), value, each.offset);
    }
    taker.reached?.(batch.nextOffset, batch.endOffset);
  });
  follower.caughtUp.then(
    () => {
      caughtUp = true;
    },
    () => {}, // Closed before, or ended: the log's health tells of it.
  );
  return {
    get caughtUp() {
      return caughtUp;
    },
    close() {
      closed = true;
      return follower.close();
    },
  };

  /** `undefined` for what no codec of ours wrote (W1). */
  function decoded({ value }: RawRecord): Value | null | undefined {
    if (value === null) return null;
    try {
      return codec.decode(record, value) as Value;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return undefined;
    }
  }
}
