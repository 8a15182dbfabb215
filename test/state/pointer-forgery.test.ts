// What somebody who is no planner writes to the pointer topic changes nothing for a reader, one that follows or one that
// starts from the compacted topic, and is counted by its reason.

import { describe, expect, test } from 'vitest';
import { epoch, type ShardId, sliceKey } from '../../schemas/ids.ts';
import type { PointerMode, PointerRecord } from '../../schemas/records.ts';
import { keyOfBody, PointerTable } from '../../state/pointer-table.ts';
import { firstSlices } from '../../state/slice-tree.ts';

const PARTITIONS = 2;

interface Written {
  readonly offset: number;
  readonly key: string;
  readonly value: PointerRecord | null;
}
interface Change {
  readonly epoch: number;
  readonly term?: number;
  readonly planner?: string;
  readonly index?: number;
  readonly count?: number;
}
type Body = ReturnType<typeof pointer> | ReturnType<typeof shard>;

const pointer = (slice: string, shards: readonly string[], mode: PointerMode = 'SINGLE') => ({
  kind: 'PointerEntry' as const,
  slice: sliceKey(slice),
  mode,
  shards: shards as readonly ShardId[],
});
const shard = (id: string, state: 'READY' | 'GONE' = 'READY') => ({
  kind: 'ShardEntry' as const,
  shardId: id as ShardId,
  storeKind: 'KEY_VALUE' as const,
  datastoreType: 'kv',
  instanceId: `i-${id}`,
  address: '',
  state,
});

/** The topic, with the planner and anybody else writing to it. */
class Topic {
  readonly log: Written[] = [];
  offset = 0;
  epoch = 0;
  term = 3;

  /** What the planner does: one change in one transaction, which ends with a marker of the log's own. */
  change(...bodies: readonly Body[]): void {
    this.epoch += 1;
    for (const [index, body] of bodies.entries())
      this.write({ epoch: this.epoch, term: this.term, planner: 'p', index, count: bodies.length }, body);
    this.offset += 1;
  }

  write(change: Change, body: Body, key?: string): void {
    const full = { index: 0, count: 1, term: 0, planner: '', ...change, epoch: epoch(change.epoch) };
    const value: PointerRecord = { change: full, body: { ...body, epoch: full.epoch } };
    this.log.push({ offset: this.offset++, key: key ?? keyOfBody(value.body), value });
  }

  remove(key: string): void {
    this.log.push({ offset: this.offset++, key, value: null });
  }

  compacted(): readonly Written[] {
    const last = new Map(this.log.map(({ key, offset }) => [key, offset]));
    return this.log.filter(({ key, offset }) => last.get(key) === offset);
  }
}

class Reader {
  readonly refused: string[] = [];
  readonly table = new PointerTable(PARTITIONS, (refusal) => this.refused.push(refusal));
  #at = 0;

  read(topic: Topic, records: readonly Written[] = topic.log): this {
    for (const { key, value, offset } of records) if (offset >= this.#at) this.table.apply(key, value, offset);
    this.#at = topic.offset;
    this.table.reached(topic.offset, topic.offset);
    return this;
  }

  get seen(): unknown {
    const { epoch: at, pointers, shards } = this.table.snapshot();
    return { at, pointers, shards };
  }
}

const begun = (): Topic => {
  const topic = new Topic();
  topic.change(shard('s1'), shard('s2'), ...firstSlices(PARTITIONS).map((slice) => pointer(slice, ['s1'])));
  topic.change(pointer('c/0/', [], 'GONE'), pointer('c/0/0', ['s1']), pointer('c/0/1', ['s1']));
  topic.change(pointer('c/1/', ['s2']));
  return topic;
};

const FORGED: readonly {
  readonly name: string;
  readonly by: (topic: Topic) => void;
  readonly refused: string;
  /** Where the topic is compacted the record before it is gone, and the planner has to say again what it said. */
  readonly damages?: true;
}[] = [
  {
    name: 'an epoch that nobody earned, from somebody who copies the planner’s name',
    by: (t) => t.write({ epoch: 2 ** 50, term: 3, planner: 'p' }, pointer('t/evil', ['s1'])),
    refused: 'epoch-not-earned',
  },
  {
    name: 'no name, as an earlier release writes',
    by: (t) => t.write({ epoch: 4 }, pointer('c/1/', ['s1'])),
    refused: 'no-identity',
    damages: true,
  },
  {
    name: 'a planner of a term that is over',
    by: (t) => t.write({ epoch: 4, term: 2, planner: 'p' }, pointer('c/1/', ['s1'])),
    refused: 'old-term',
    damages: true,
  },
  {
    name: 'another planner in the same term',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'q' }, pointer('c/1/', ['s1'])),
    refused: 'another-planner',
    damages: true,
  },
  {
    name: 'a term that uses them all up',
    by: (t) => t.write({ epoch: 4, term: 2 ** 52, planner: 'p' }, pointer('c/1/', ['s1'])),
    refused: 'implausible-term',
    damages: true,
  },
  {
    name: 'a slice within another',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/0/01', ['s2'])),
    refused: 'cover',
  },
  {
    name: 'a slice around others',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/0/', ['s2'])),
    refused: 'cover',
  },
  {
    name: 'the end of a slice that nobody follows',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/1/', [], 'GONE')),
    refused: 'cover',
    damages: true,
  },
  {
    name: 'the end of a partition’s group',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('w/0/', [], 'GONE')),
    refused: 'cover',
    damages: true,
  },
  {
    name: 'a shard that is not there',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/1/', ['s9'])),
    refused: 'unknown-shard',
    damages: true,
  },
  {
    name: 'the end of a shard that slices are on',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, shard('s2', 'GONE')),
    refused: 'unknown-shard',
    damages: true,
  },
  { name: 'the removal of a slice', by: (t) => t.remove('p:c/1/'), refused: 'removal', damages: true },
  { name: 'the removal of a shard', by: (t) => t.remove('s:s2'), refused: 'removal', damages: true },
  {
    name: 'an epoch that is over',
    by: (t) => t.write({ epoch: 2, term: 3, planner: 'p' }, pointer('c/1/', ['s1'])),
    refused: 'old-epoch',
    damages: true,
  },
  {
    name: 'the last epoch with another value',
    by: (t) => t.write({ epoch: 3, term: 3, planner: 'p' }, pointer('c/1/', ['s1'])),
    refused: 'old-epoch',
    damages: true,
  },
  {
    name: 'a key that is not the body’s',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/1/', ['s1']), 'p:c/0/0'),
    refused: 'malformed',
    damages: true,
  },
  {
    name: 'a slice that is none',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('x', ['s1'])),
    refused: 'malformed',
  },
  {
    name: 'a pointer to no shard',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p' }, pointer('c/1/', [])),
    refused: 'malformed',
    damages: true,
  },
  {
    name: 'an entry behind the last of its change',
    by: (t) => t.write({ epoch: 4, term: 3, planner: 'p', index: 1, count: 1 }, pointer('c/1/', ['s1'])),
    refused: 'malformed',
    damages: true,
  },
];

describe('a pointer topic that anybody may write to', () => {
  for (const { name, by, refused, damages } of FORGED) {
    test(`a reader that follows refuses ${name}, and goes on`, () => {
      const topic = begun();
      const reader = new Reader().read(topic);
      const before = reader.seen;
      by(topic);
      expect(reader.read(topic).seen).toEqual(before);
      expect(reader.refused).toEqual([refused]);
      topic.change(pointer('c/1/', ['s1']));
      reader.read(topic);
      expect(reader.table.epoch).toBe(4);
      expect([...reader.table.pointers()].find(({ slice }) => slice === 'c/1/')?.shards).toEqual(['s1']);
      expect(reader.refused).toEqual([refused]);
    });

    if (damages === undefined)
      test(`a reader that starts from the compacted topic refuses ${name}`, () => {
        const topic = begun();
        const { seen } = new Reader().read(topic);
        by(topic);
        const late = new Reader().read(topic, topic.compacted());
        expect(late.seen).toEqual(seen);
        expect(late.refused).toEqual([refused]);
      });
  }

  test('whoever believed a record that looked right is set right by a new term, below its epoch too', () => {
    const topic = begun();
    const reader = new Reader().read(topic);
    topic.offset += 900; // Of a transaction that was given up: nobody reads them, and epochs fit in between.
    topic.write({ epoch: 700, term: 3, planner: 'p' }, pointer('c/1/', ['s1']));
    expect(reader.read(topic).table.epoch).toBe(700);
    topic.term = 4;
    topic.change(pointer('c/1/', ['s2']));
    for (const each of [reader.read(topic), new Reader().read(topic), new Reader().read(topic, topic.compacted())]) {
      expect(each.table.epoch).toBe(4);
      expect([...each.table.pointers()].find(({ slice }) => slice === 'c/1/')?.shards).toEqual(['s2']);
    }
    topic.change(pointer('c/0/0', ['s2']));
    expect(reader.read(topic).table.epoch).toBe(5);
    expect(reader.refused).toEqual([]);
  });

  test('records from before planners had names are read until the first that has one', () => {
    const topic = new Topic();
    topic.term = 0;
    topic.change(shard('s1'), shard('s2'), ...firstSlices(PARTITIONS).map((slice) => pointer(slice, ['s1'])));
    const reader = new Reader().read(topic);
    expect(reader.table.size).toBe(4);
    topic.term = 1;
    topic.change(pointer('c/1/', ['s2']));
    topic.term = 0;
    topic.change(pointer('c/1/', ['s1']));
    expect(reader.read(topic).table.epoch).toBe(2);
    expect(reader.refused).toEqual(['no-identity']);
  });

  test('a snapshot remembers the term', () => {
    const { table } = new Reader().read(begun());
    const refused: string[] = [];
    const restored = PointerTable.restore(table.snapshot(), (refusal) => refused.push(refusal));
    const topic = begun();
    topic.write({ epoch: 4, term: 2, planner: 'p' }, pointer('c/1/', ['s1']));
    const { key, value, offset } = topic.log.at(-1)!;
    restored.apply(key, value, offset);
    expect(refused).toEqual(['old-term']);
  });

  test('a topic that was made anew begins with whatever epoch its first offset has', () => {
    const topic = new Topic();
    topic.epoch = 4_711;
    topic.change(shard('s1'), ...firstSlices(PARTITIONS).map((slice) => pointer(slice, ['s1'])));
    expect(new Reader().read(topic).table.epoch).toBe(4_712);
  });
});
