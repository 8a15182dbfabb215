import { describe, expect, test } from 'vitest';
import { epoch, type ShardId, type SliceKey, shardId, sliceKey } from '../../schemas/ids.ts';
import type { PointerMode, PointerRecord } from '../../schemas/records.ts';
import { hashSlice, parseSlice } from '../../state/keys.ts';
import { keyOfBody, PointerTable } from '../../state/pointer-table.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { fc } from '../support/property.ts';

const PARTITIONS = 2;
const RUNS = 500;

interface LogRecord {
  readonly offset: number;
  readonly key: string;
  readonly value: PointerRecord | null;
}

const pointer = (slice: string, mode: PointerMode, shards: readonly string[]) => ({
  kind: 'PointerEntry' as const,
  slice: sliceKey(slice),
  mode,
  shards: shards.map(shardId),
});
const shard = (id: string, state: 'READY' | 'DRAINING' | 'GONE' = 'READY') => ({
  kind: 'ShardEntry' as const,
  shardId: shardId(id),
  storeKind: 'KEY_VALUE' as const,
  datastoreType: 'kv',
  instanceId: `i-${id}`,
  address: `http://${id}`,
  state,
});
type Body = ReturnType<typeof pointer> | ReturnType<typeof shard>;

/** Writes changes as the planner does. */
class Writer {
  readonly log: LogRecord[] = [];
  epoch = 0;
  term = 1;
  offset = 0;

  change(...bodies: readonly Body[]): void {
    this.epoch += 1;
    for (const [index, body] of bodies.entries()) {
      const change = { epoch: epoch(this.epoch), index, count: bodies.length, term: this.term, planner: 'p' };
      this.#put({ change, body: { ...body, epoch: epoch(this.epoch) } });
    }
  }

  /** Epochs pass of which nothing is left: their records were replaced. */
  skip(changes: number): void {
    this.epoch += changes;
    this.offset += changes;
  }

  remove(key: string): void {
    this.log.push({ offset: this.offset++, key, value: null });
  }

  #put(value: PointerRecord): void {
    this.log.push({ offset: this.offset++, key: keyOfBody(value.body), value });
  }
}

const read = (table: PointerTable, records: readonly LogRecord[], end: number): PointerTable => {
  for (const { key, value, offset } of records) table.apply(key, value, offset);
  table.reached(end, end);
  return table;
};
/** A table at the end of the topic, as one that has been running. */
const reading = (log: readonly LogRecord[]): PointerTable => read(new PointerTable(PARTITIONS), log, log.length);

/** What a reader can tell by asking; positions aside. */
const seen = (table: PointerTable): string => {
  const { pointers, shards } = table.snapshot();
  return JSON.stringify([pointers, shards]);
};

const SHARDS = ['s1', 's2', 's3', 's4', 's5'];

const begun = (): Writer => {
  const writer = new Writer();
  writer.change(
    ...SHARDS.map((id) => shard(id)),
    ...firstSlices(PARTITIONS).map((slice) => pointer(slice, 'SINGLE', ['s1'])),
  );
  return writer;
};

describe('pointer table: one change', () => {
  test('nothing of a change is seen before its last record', () => {
    const writer = begun();
    const table = reading(writer.log);
    const start = writer.log.length;
    writer.change(pointer('c/0/', 'GONE', []), pointer('c/0/0', 'SINGLE', ['s1']), pointer('c/0/1', 'SINGLE', ['s2']));
    const before = seen(table);
    for (const { key, value, offset } of writer.log.slice(start, -1)) {
      table.apply(key, value, offset);
      expect(seen(table)).toBe(before);
      expect(table.position).toBe(start);
    }
    const last = writer.log.at(-1)!;
    table.apply(last.key, last.value, last.offset);
    expect(table.epoch).toBe(2);
    expect(table.position).toBe(writer.log.length);
    expect([...table.pointers()].map(({ slice }) => slice)).not.toContain('c/0/');
  });

  test('a change that was seen already changes nothing', () => {
    const writer = begun();
    const table = reading(writer.log);
    const before = seen(table);
    for (const { key, value, offset } of writer.log) table.apply(key, value, offset);
    expect(seen(table)).toBe(before);
    expect(table.epoch).toBe(1);
  });

  test('a change of an older epoch that comes late is ignored', () => {
    const writer = begun();
    const table = reading(writer.log);
    writer.skip(5);
    writer.change(pointer('c/0/', 'SINGLE', ['s2']));
    writer.epoch = 3;
    writer.change(pointer('c/0/', 'SINGLE', ['s1']));
    for (const { key, value, offset } of writer.log) table.apply(key, value, offset);
    table.reached(writer.offset, writer.offset);
    expect(table.resolve([...Array(99).keys()].map(String).find(onPartition0)!, '')?.shards).toEqual(['s2']);
  });

  test('an epoch that was skipped holds later changes back until the end is reached', () => {
    const writer = begun();
    const table = reading(writer.log);
    writer.skip(3);
    writer.change(pointer('c/0/', 'SINGLE', ['s2']));
    const { key, value, offset } = writer.log.at(-1)!;
    table.apply(key, value, offset);
    expect(table.epoch).toBe(1);
    table.reached(offset + 1, offset + 9);
    expect(table.epoch).toBe(1);
    table.reached(offset + 9, offset + 9);
    expect(table.epoch).toBe(5);
    expect(table.position).toBe(offset + 9);
  });

  test('a first load is not seen before the end of the topic', () => {
    const { log } = begun();
    const table = new PointerTable(PARTITIONS);
    for (const { key, value, offset } of log) table.apply(key, value, offset);
    expect(table.size).toBe(0);
    expect(table.position).toBe(0);
    table.reached(log.length, log.length);
    expect(table.size).toBe(4);
  });

  test('a removed key is forgotten', () => {
    const writer = begun();
    writer.change(pointer('c/0/', 'GONE', []), pointer('c/0/0', 'SINGLE', ['s1']), pointer('c/0/1', 'SINGLE', ['s1']));
    writer.remove('p:c/0/');
    writer.change(shard('s2', 'GONE'));
    writer.remove('s:s2');
    const table = reading(writer.log);
    expect([...table.shards()].map((each) => each.shardId)).toEqual(SHARDS.filter((id) => id !== 's2'));
    expect(table.size).toBe(5);
  });
});

const onPartition0 = (filter: string): boolean => reading(begun().log).resolve(filter, '')?.slice === hashSlice(0);

describe('pointer table: routes', () => {
  test('each shard is asked once, with all of its slices', () => {
    const writer = begun();
    writer.change(pointer('t/a/b', 'SINGLE', ['s2']));
    const stops = reading(writer.log).route('a/b');
    expect(stops.map((stop) => stop.shard).sort()).toEqual(['s1', 's2']);
    expect(stops.find((stop) => stop.shard === 's2')?.pointers.map((each) => each.slice)).toEqual(['t/a/b']);
    expect(stops[0]?.entry?.address).toMatch(/^http/);
  });

  test('of replicas the one is asked that is asked anyway', () => {
    const writer = begun();
    writer.change(pointer('t/a/b', 'REPLICAS', ['s2', 's1']));
    expect(
      reading(writer.log)
        .route('a/b')
        .map((stop) => stop.shard),
    ).toEqual(['s1']);
  });

  test('of replicas that nothing else asks, each has its turn', () => {
    const writer = begun();
    writer.change(pointer('t/a/b', 'REPLICAS', ['s2', 's3']));
    const table = reading(writer.log);
    const asked = [0, 1, 2].map((turn) => table.route('a/b', turn).map((stop) => stop.shard));
    expect(asked).toEqual([
      ['s1', 's2'],
      ['s1', 's3'],
      ['s1', 's2'],
    ]);
  });

  test('all shards of a spread pointer are asked', () => {
    const writer = begun();
    writer.change(pointer('t/a/b', 'SPREAD', ['s2', 's3']));
    expect(
      reading(writer.log)
        .route('a/b')
        .map((stop) => stop.shard)
        .sort(),
    ).toEqual(['s1', 's2', 's3']);
  });

  test('every part of a spread topic is asked, and a client has one of them', () => {
    const writer = begun();
    writer.change(pointer('s/0of2/a/b', 'SINGLE', ['s1']), pointer('s/1of2/a/b', 'SINGLE', ['s2']));
    const table = reading(writer.log);
    const asked = table.route('a/b').flatMap((stop) => stop.pointers.map((each) => each.slice));
    expect(asked).toEqual(expect.arrayContaining(['s/0of2/a/b', 's/1of2/a/b']));
    expect(table.resolve('a/b', 'client-1')?.slice).toMatch(/^s\/[01]of2\/a\/b$/);
  });

  test('a table that knows nothing resolves nothing', () => {
    expect(new PointerTable(PARTITIONS).resolve('a', 'c')).toBeUndefined();
    expect(new PointerTable(PARTITIONS).route('a')).toEqual([]);
  });
});

// ---- random tables -------------------------------------------------------------------------------------------------

type Doing = {
  readonly kind: 'move' | 'split' | 'merge' | 'pin' | 'unpin' | 'shard' | 'forget';
  readonly pick: number;
};
const doing: fc.Arbitrary<Doing> = fc.record({
  kind: fc.constantFrom('move', 'split', 'merge', 'pin', 'unpin', 'shard', 'forget'),
  pick: fc.nat(1_000),
});

/** A log of legal changes, and what is seen after each of them, oldest first. */
function written(doings: readonly Doing[]): { log: LogRecord[]; states: string[] } {
  const writer = begun();
  const homes = new Map<SliceKey, ShardId>(firstSlices(PARTITIONS).map((slice) => [slice, shardId('s1')]));
  const gone = new Map<SliceKey, number>(); // The epoch of its GONE: the last change keeps its keys (U4 of turn.ts).
  const states = [seen(new PointerTable(PARTITIONS)), seen(reading(writer.log))];
  const put = (from: readonly SliceKey[], to: readonly SliceKey[], at: ShardId): void => {
    for (const slice of from) homes.delete(slice);
    for (const slice of to) homes.set(slice, at);
    for (const slice of from) gone.set(slice, writer.epoch + 1);
    for (const slice of to) gone.delete(slice);
    const ended = from.filter((slice) => !to.includes(slice));
    writer.change(
      ...to.map((slice) => pointer(slice, 'SINGLE', [at])),
      ...ended.map((slice) => pointer(slice, 'GONE', [])),
    );
  };
  for (const { kind, pick } of doings) {
    const slices = [...homes.keys()];
    const slice = slices[pick % slices.length]!;
    const at = homes.get(slice)!;
    const parsed = parseSlice(slice)!;
    const sibling =
      parsed.kind === 'hash' ? (`${slice.slice(0, -1)}${slice.endsWith('0') ? '1' : '0'}` as SliceKey) : slice;
    if (kind === 'move') put([], [slice], shardId(`s${1 + (pick % 5)}`));
    else if (kind === 'split' && parsed.kind === 'hash' && parsed.bits.length < 4)
      put([slice], [`${slice}0` as SliceKey, `${slice}1` as SliceKey], at);
    else if (kind === 'merge' && parsed.kind === 'hash' && parsed.bits !== '' && homes.has(sibling))
      put([slice, sibling], [slice.slice(0, -1) as SliceKey], at);
    else if (kind === 'pin') put([], [`t/f${pick % 7}` as SliceKey], at);
    else if (kind === 'unpin' && parsed.kind === 'pin') put([slice], [], at);
    else if (kind === 'shard') writer.change(shard(`s${1 + (pick % 5)}`, pick % 3 === 0 ? 'DRAINING' : 'READY'));
    else if (kind === 'forget') {
      const key = [...gone.keys()].find((each) => gone.get(each)! < writer.epoch);
      if (key === undefined) continue;
      gone.delete(key);
      writer.remove(`p:${key}`);
    } else continue;
    states.push(seen(reading(writer.log)));
  }
  return { log: writer.log, states };
}

/** The first offset from `at` on where a change ends: where the topic may have ended once. */
function borderFrom(log: readonly LogRecord[], at: number): number {
  for (let border = at; border < log.length; border++) if ((log[border]!.value?.change.index ?? 0) === 0) return border;
  return log.length;
}

/** The log with only the last record of each key below `upTo`, as a cleaner leaves it. */
function compacted(log: readonly LogRecord[], upTo: number, dropsRemovals: boolean): LogRecord[] {
  const last = new Map(log.map(({ key, offset }) => [key, offset]));
  return log.filter(
    ({ key, offset, value }) => offset >= upTo || (last.get(key) === offset && !(dropsRemovals && value === null)),
  );
}

describe('pointer table: random changes', () => {
  const history = fc.record({
    doings: fc.array(doing, { maxLength: 60 }),
    cut: fc.nat(1_000),
    switchAt: fc.nat(1_000),
    batches: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 20 }),
    repeats: fc.array(fc.nat(1_000), { maxLength: 5 }),
  });

  /** Of a split nothing is left but the removal of what was split: its halves have moved since. */
  const REMOVED_BEFORE_ITS_SUCCESSORS = {
    doings: (['move', 'split', 'move', 'forget', 'move', 'move'] as const).map((kind, i) => ({
      kind,
      pick: [0, 0, 3, 0, 3, 4][i]!,
    })),
    cut: 17,
    switchAt: 9,
    batches: [1],
    repeats: [],
  };

  test('I11: the compacted log leads to the same table as the full one, from the beginning and from any point', () => {
    fc.assert(
      fc.property(history, ({ doings, cut, switchAt }) => {
        const { log, states } = written(doings);
        const upTo = cut % (log.length + 1);
        expect(seen(reading(compacted(log, upTo, true)))).toBe(states.at(-1));
        const from = borderFrom(log, switchAt % (log.length + 1));
        const table = read(new PointerTable(PARTITIONS), log.slice(0, from), from);
        // Removals are kept longer than any reader stays away (delete.retention.ms).
        read(
          table,
          compacted(log, upTo, false).filter(({ offset }) => offset >= from),
          log.length,
        );
        expect(seen(table)).toBe(states.at(-1));
      }),
      { numRuns: RUNS, examples: [[REMOVED_BEFORE_ITS_SUCCESSORS]] },
    );
  });

  test('I10: whatever the batches, compaction and repetitions, every table seen is one that was published', () => {
    fc.assert(
      fc.property(history, ({ doings, cut, switchAt, batches, repeats }) => {
        const { log, states } = written(doings);
        const published = new Set(states);
        const from = switchAt % (log.length + 1);
        const records = [
          ...log.slice(0, from),
          ...compacted(log, cut % (log.length + 1), false).filter(({ offset }) => offset >= from),
        ];
        const table = new PointerTable(PARTITIONS);
        let at = 0;
        let epochBefore = 0;
        for (let turn = 0; at < records.length; turn++) {
          const batch = records.slice(at, at + batches[turn % batches.length]!);
          at += batch.length;
          const next = at < records.length ? records[at]!.offset : log.length;
          for (const { key, value, offset } of batch) {
            table.apply(key, value, offset);
            expect(published).toContain(seen(table));
          }
          const isReplay = repeats.includes(turn);
          if (isReplay) for (const { key, value, offset } of batch) table.apply(key, value, offset);
          table.reached(next, log.length);
          expect(published).toContain(seen(table));
          expect(table.epoch).toBeGreaterThanOrEqual(epochBefore);
          epochBefore = table.epoch;
        }
        expect(seen(table)).toBe(states.at(-1));
      }),
      { numRuns: RUNS },
    );
  });

  test('a snapshot that is taken before the first load is over refuses nothing of an earlier term', () => {
    const writer = new Writer();
    writer.change(shard('s1'), ...firstSlices(PARTITIONS).map((slice) => pointer(slice, 'SINGLE', ['s1'])));
    writer.term = 2;
    writer.change(shard('s2'));
    const table = new PointerTable(PARTITIONS);
    for (const { key, value, offset } of writer.log) table.apply(key, value, offset);
    expect(table.epoch).toBe(0); // The end of the topic has not been reached.
    const refused: string[] = [];
    const restored = PointerTable.restore(table.snapshot(), (refusal) => refused.push(refusal));
    read(restored, writer.log, writer.log.length);
    expect(refused).toEqual([]);
    expect(seen(restored)).toBe(seen(reading(writer.log)));
  });

  test('a snapshot and the rest of the log lead to the same table', () => {
    fc.assert(
      fc.property(history, ({ doings, switchAt }) => {
        const { log, states } = written(doings);
        const from = switchAt % (log.length + 1);
        const table = new PointerTable(PARTITIONS);
        for (const { key, value, offset } of log.slice(0, from)) table.apply(key, value, offset);
        const restored = PointerTable.restore(JSON.parse(JSON.stringify(table.snapshot())));
        expect(seen(restored)).toBe(seen(table));
        read(
          restored,
          log.filter(({ offset }) => offset >= restored.position),
          log.length,
        );
        expect(seen(restored)).toBe(states.at(-1));
        expect(restored.position).toBe(log.length);
      }),
      { numRuns: RUNS },
    );
  });
});
