// Foreshard for datastores: the contract of a shard's store, and the parts that all stores share: merging rows,
// checking owner records, ordering, weighing and digesting rows. A store of one's own needs no more than this. It is
// finished when it passes test/datastores/shard-store-suite.ts, and is used by passing it in `open` of the embedded
// provisioner.

export { AppError } from '../schemas/errors.ts';
export type { Epoch, EventTime, SliceKey } from '../schemas/ids.ts';
export type { StoreKind } from '../schemas/records.ts';
export type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../state/effects.ts';
export { filterHash, leadingBits, parseSlice, partitionOf } from '../state/keys.ts';
export type { SubscriptionOptions } from '../state/subscription-options.ts';
export { compareUtf8 } from '../state/utf8.ts';
export { isSameRow, lastAt, mergeRows, writeResult } from './merge.ts';
export { OwnerIndex } from './owner-index.ts';
export { cursorAt, placeAt, RowDigest, rowBytes, subscriberOf } from './rows.ts';
export type { Answer, Count, LocalShardStore, Page, RangeDigest, ShardStore, WriteResult } from './shard-store.ts';
export { residentOf } from './vacancy.ts';
