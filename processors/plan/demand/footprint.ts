// Footprint: the memory that a store needs when empty, for each entry and for each byte of its rows, learned by
// comparing the memory that stores measure with what they hold (estimate.ts). It applies to stores that keep entries in
// memory; where entries are on a disk, the bytes of the rows count.
//
//   M1. Before anything is measured, a row is taken to need its own bytes and nothing more.
//   M2. Nothing is learned from an instance whose memory differs from that of its type: it is not the type that the
//       plan assumed.

import type { DatastoreType } from '../cluster/catalog.ts';
import type { Learned } from './coefficients.ts';
import { type Bounds, freshEstimate, learnFrom } from './estimate.ts';

export interface Footprint {
  /** Share of an instance's memory that is taken before the first entry. */
  readonly base: number;
  /** Bytes of memory for each entry, beside those of its row. */
  readonly entry: number;
  /** Bytes of memory for each byte of rows. */
  readonly byte: number;
}

/** The entries of an instance, and their bytes. */
export interface Holding {
  readonly entries: number;
  readonly bytes: number;
}

/** The footprint before anything is measured (M1). */
export const BARE: Footprint = { base: 0, entry: 0, byte: 1 };

/** The footprint by everything learned so far. */
export function footprintOf({ memory }: Learned): Footprint {
  if (memory === undefined) return BARE;
  const [base, entry, byte] = memory.coefficients;
  return { base: base!, entry: entry!, byte: byte! };
}

/** Share of an instance that these entries fill, by their number or their memory, whichever is more. */
export const heldShare = (holding: Holding, type: DatastoreType, footprint: Footprint): number =>
  Math.max(holding.entries / type.entriesMax, baseShare(type, footprint) + takenShare(holding, type, footprint));

/** How many instances of the type these entries fill to `limit`. */
export const instancesHolding = (holding: Holding, type: DatastoreType, footprint: Footprint, limit: number): number =>
  Math.ceil(
    Math.max(
      holding.entries / type.entriesMax / limit,
      takenShare(holding, type, footprint) / (limit - baseShare(type, footprint)),
    ),
  );

/** Share of the disk, or of the memory where there is none, that is taken before the first entry. */
export const baseShare = (type: DatastoreType, { base }: Footprint): number => (type.storageBytes > 0 ? 0 : base);

/** Share of the disk that these entries take, or of the memory where there is none. */
export const takenShare = ({ entries, bytes }: Holding, type: DatastoreType, { entry, byte }: Footprint): number =>
  type.storageBytes > 0 ? bytes / type.storageBytes : (entries * entry + bytes * byte) / type.memoryBytes;

/** Learns from the memory that an instance of the type measures. */
export function learnMemory(
  learned: Learned,
  { entries, bytes }: Holding,
  type: DatastoreType,
  memory: { readonly usedBytes: number; readonly limitBytes: number },
): void {
  const share = memory.usedBytes / memory.limitBytes;
  const other = Math.abs(memory.limitBytes / type.memoryBytes - 1) > SAME_WITHIN; // M2
  if (type.storageBytes > 0 || other || !(share >= 0 && share <= 1)) return;
  const held = [1, entries / type.memoryBytes, bytes / type.memoryBytes];
  if (!held.every((amount) => Number.isFinite(amount) && amount >= 0)) return;
  learned.memory ??= freshEstimate(BOUNDS);
  learnFrom(learned.memory, held, share, BOUNDS);
}

/** In the order of `Footprint`. Rows may be compressed, but a shortage of memory costs more than spare memory. */
const BOUNDS: readonly Bounds[] = [
  { prior: BARE.base, least: 0, most: 0.3, deviation: 0.1 },
  { prior: BARE.entry, least: 0, most: 2_048, deviation: 256 },
  { prior: BARE.byte, least: 0.5, most: 8, deviation: 1 },
];
/** Tolerance: the memory limit is a round number on one side and exact to the byte on the other. */
const SAME_WITHIN = 0.1;
