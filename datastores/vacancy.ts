// Vacancy: what a store still holds, by its own records. A store holds slices of every partition, so its owner records
// show what no single task can know: whether the whole fleet has finished using it.
//
//   V1. A record that is not `moved` means that a slice is here, or is coming.
//   V2. A live row that is not covered by a `moved` record belongs to some slice, whatever has become of the slice's
//       record.

import type { SliceKey } from '../schemas/ids.ts';
import { groupSlice, hashSlice, isWithin } from '../state/keys.ts';
import type { ShardStore } from './shard-store.ts';

/** What the store still holds, in words; `undefined` when nothing. */
export async function residentOf(
  store: Pick<ShardStore, 'kind' | 'owners' | 'scan'>,
  partitions: number,
): Promise<string | undefined> {
  const moved: SliceKey[] = [];
  for (const { slice, state, epoch } of await store.owners()) {
    if (state !== 'moved') return `${slice} is ${state} here since epoch ${epoch}`; // V1
    moved.push(slice);
  }
  for (let partition = 0; partition < partitions; partition++) {
    const whole = store.kind === 'TRIE' ? groupSlice(partition) : hashSlice(partition);
    if (moved.includes(whole)) continue;
    const except = moved.filter((slice) => isWithin(slice, whole, partitions));
    for (let cursor: string | undefined, done = false; !done; ) {
      const page = await store.scan({ slice: whole, except }, cursor, PAGE_ROWS);
      if (page.rows.some((row) => !row.gone))
        return `subscriptions of ${whole} are here, and no owner record covers them`; // V2
      ({ cursor, done } = page);
    }
  }
  return undefined;
}

const PAGE_ROWS = 1_000;
