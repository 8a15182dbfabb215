// Pointer resolve: from concrete filters to slices, compared with a plain JS Map from filter to slice. Both get their
// strings as a broker does, decoded from the bytes of a packet.

import { epoch, shardId, sliceKey } from '../schemas/ids.ts';
import { hashSlice, leadingBits, pinSlice } from '../state/keys.ts';
import { type PointerSnapshot, PointerTable } from '../state/pointer-table.ts';
import { firstSlices } from '../state/slice-tree.ts';
import type { Measurement } from './measurement.ts';

const PARTITIONS = 16;
/** Bits of the hash slices: 16 partitions of 512 slices, and the groups, are 8,208 slices. */
const BITS = 9;
const LOOKUPS = 1_000_000;
/** The first pass warms up the compiler; of the others the best counts, since other processes may be running. */
const PASSES = 5;
/** The bar is the Map itself; two readings of the same loop differ by up to a tenth on a shared machine. */
const BAR_SHARE = 0.9;

export interface PointerResolveOptions {
  readonly pins?: number;
}

export async function pointerResolve({ pins = 1_000_000 }: PointerResolveOptions = {}): Promise<Measurement[]> {
  const topics = Array.from({ length: pins }, (_, i) => `fleet/${i % 997}/vehicle/${i}/speed`);
  const table = PointerTable.restore(snapshotOf(topics));
  const map = new Map(topics.map((topic) => [topic, pinSlice(topic)]));
  // A step that is coprime to the number of pins visits all of them, in an order that is bad for caches.
  const pinned = packetsOf(Array.from({ length: LOOKUPS }, (_, i) => topics[(i * 7_919) % pins]!));
  const others = packetsOf(Array.from({ length: LOOKUPS }, (_, i) => `fleet/${i % 997}/sensor/${i}/value`));

  const [mapRate, pinnedRate, otherRate, routeRate] = ratesOf([
    [pinned, (topic) => map.get(topic) !== undefined],
    [pinned, (topic) => table.resolve(topic, 'client-1') !== undefined],
    [others, (topic) => table.resolve(topic, 'client-1') !== undefined],
    [pinned, (topic) => table.route(topic).length > 0],
  ]) as [number, number, number, number];
  const slices = table.size.toLocaleString('en');
  const beside = (name: string, rate: number): Measurement => ({
    name: `pointer resolve, ${name} among ${slices} slices`,
    figure: Math.round(rate),
    unit: 'filters/s',
    peer: 'Map.get of the pinned filter',
    peerFigure: Math.round(mapRate),
    ratio: rate / mapRate,
    bar: `at least ${BAR_SHARE} of the plain Map`,
    met: rate >= mapRate * BAR_SHARE,
  });
  return [
    beside('pinned filters', pinnedRate),
    beside('filters of hash slices', otherRate),
    {
      name: `pointer route of a PUBLISH among ${slices} slices`,
      figure: Math.round(routeRate),
      unit: 'topics/s',
      peer: '',
      peerFigure: null,
      ratio: null,
      bar: '',
      met: null,
    },
  ];
}

/** Topics one after the other in one buffer, as they are read from a socket. */
interface Packets {
  readonly bytes: Buffer;
  readonly ends: Uint32Array;
}

function packetsOf(topics: readonly string[]): Packets {
  const ends = new Uint32Array(topics.length);
  let end = 0;
  for (const [i, topic] of topics.entries()) {
    end += Buffer.byteLength(topic);
    ends[i] = end;
  }
  return { bytes: Buffer.from(topics.join('')), ends };
}

/** Look-ups per second of each contender. They take turns, so that other load on the machine affects all of them. */
function ratesOf(contenders: readonly (readonly [Packets, (topic: string) => boolean])[]): number[] {
  const bestMs = contenders.map(() => Number.POSITIVE_INFINITY);
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [i, [{ bytes, ends }, found]] of contenders.entries()) {
      let hits = 0;
      let from = 0;
      const start = performance.now();
      for (const end of ends) {
        if (found(bytes.toString('latin1', from, end))) hits += 1;
        from = end;
      }
      if (pass > 0) bestMs[i] = Math.min(bestMs[i]!, performance.now() - start);
      if (hits !== ends.length) throw new Error(`${ends.length - hits} look-ups found nothing`);
    }
  }
  return bestMs.map((ms) => (LOOKUPS / ms) * 1_000);
}

function snapshotOf(pinned: readonly string[]): PointerSnapshot {
  const slices = firstSlices(PARTITIONS).filter((slice) => slice.startsWith('w/'));
  for (let partition = 0; partition < PARTITIONS; partition++)
    for (let bits = 0; bits < 2 ** BITS; bits++)
      slices.push(hashSlice(partition, leadingBits(bits << (32 - BITS), BITS)));
  for (const topic of pinned) slices.push(sliceKey(pinSlice(topic)));
  const pointers = slices.map((slice, i) => ({
    slice,
    mode: 'SINGLE' as const,
    shards: [shardId(`shard-${i % 100}`)],
    epoch: epoch(1),
  }));
  return { format: 1, partitions: PARTITIONS, epoch: epoch(1), position: 0, pointers, shards: [] };
}
