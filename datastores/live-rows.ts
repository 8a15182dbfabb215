// Live rows: whether a store holds exactly the subscriptions that the subscription table has. Tombstones and remembered
// removals are not compared: they do not affect who is subscribed.

import type { Passage, SliceRange, SubscriptionRow } from '../state/effects.ts';
import { compareVersions } from '../state/effects.ts';
import { isWithin } from '../state/keys.ts';
import { packOptions } from '../state/subscription-options.ts';
import { comparePlaces, placeAt } from './rows.ts';
import type { ShardStore } from './shard-store.ts';

/** Rows of a page beyond the number of wanted rows, to have room for tombstones between them. */
const EXTRA_ROWS = 64;

/** Whether the live rows of the passage's range are exactly those of the passage, and look-ups find them. */
export async function holdsExactly(
  store: Pick<ShardStore, 'owners' | 'scan'>,
  range: SliceRange,
  { rows, after, upTo }: Passage,
  partitions: number,
): Promise<boolean> {
  if (after === undefined && !(await answersFor(store, range, partitions))) return false;
  const last = upTo === undefined ? undefined : placeAt(upTo);
  let equal = 0;
  for (let cursor = after, done = false; !done; ) {
    const page = await store.scan(range, cursor, rows.length - equal + EXTRA_ROWS);
    for (const row of page.rows) {
      const expected = rows[equal];
      if (!row.gone && expected !== undefined && isSameSubscription(row, expected)) equal += 1;
      else if (last !== undefined && comparePlaces(row, last) > 0) return equal === rows.length;
      else if (!row.gone) return false;
    }
    ({ cursor, done } = page);
  }
  return equal === rows.length;
}

/** Whether a subscriber would be served in the same way by both rows. */
export function isSameSubscription(a: SubscriptionRow, b: SubscriptionRow): boolean {
  return (
    a.clientId === b.clientId &&
    a.filter === b.filter &&
    a.brokerId === b.brokerId &&
    a.qos === b.qos &&
    compareVersions(a.version, b.version) === 0 &&
    (a.options === b.options || packOptions(a.options) === packOptions(b.options))
  );
}

/** True when look-ups of the slice are answered, and no old record of a slice carved out of it sends them elsewhere. */
async function answersFor(
  store: Pick<ShardStore, 'owners'>,
  { slice, except }: SliceRange,
  partitions: number,
): Promise<boolean> {
  const records = (await store.owners()).filter((record) => isWithin(record.slice, slice, partitions));
  if (!records.some((record) => record.slice === slice)) return false;
  const isCarvedOut = (key: (typeof records)[number]['slice']): boolean =>
    except.some((left) => isWithin(key, left, partitions));
  return records.every((record) => record.state !== 'moved' || isCarvedOut(record.slice));
}
