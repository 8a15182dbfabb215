// The readers of the pointer table in Python and Go beside ours: a made table of everything that a planner does, and
// 1,000 filters.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { randomFrom } from '../../evaluation/random.ts';
import { type Epoch, epoch, type ShardId, type SliceKey, shardId } from '../../schemas/ids.ts';
import type { PointerRecord } from '../../schemas/records.ts';
import { filterHash, groupSlice, parseSlice, partitionOf, pinSlice, spreadSlices } from '../../state/keys.ts';
import { keyOfBody, type Pointer, PointerTable, pointerKey } from '../../state/pointer-table.ts';
import { firstSlices, SliceTree } from '../../state/slice-tree.ts';
import { GO_CLIENT, goToolchain } from '../support/go.ts';
import { plainPython } from '../support/python.ts';
import { tempFolder } from '../support/temp-folder.ts';

const PARTITIONS = 4;
const FILTERS = 1_000;
const SEEDS = process.env.SEED === undefined ? [1, 2, 3] : [Number(process.env.SEED)];
const WORDS = ['a', 'b', 'home', 'ü', '\u{1f600}', '', '$sys', 'kitchen'];
const SHARDS = ['shard-0001', 'shard-0002', 'shard-0003'].map(shardId);

interface LogRecord {
  readonly key: string;
  readonly value: PointerRecord | null;
  readonly offset: number;
}

interface Answers {
  readonly epoch: number;
  readonly slices: readonly string[];
  readonly shards: readonly string[];
  readonly hashes: readonly (readonly [number, number])[];
  readonly resolved: readonly (Pointer | null)[];
  readonly routes: readonly Readonly<Record<string, readonly string[]>>[];
}

interface Reader {
  readonly language: string;
  /** `undefined` where the language is not there. */
  readonly command: readonly string[] | undefined;
}

const folder = await tempFolder();
afterAll(() => folder.remove());

const go = goReader();
const READERS: readonly Reader[] = [
  { language: 'Python', command: await pythonReader() },
  { language: 'Go', command: go },
];

for (const { language, command, seed, name, logOf } of READERS.flatMap((reader) =>
  SEEDS.flatMap((seed) => [
    { ...reader, seed, name: 'the whole topic', logOf: (log: readonly LogRecord[]) => log },
    { ...reader, seed, name: 'the compacted topic', logOf: compacted },
  ]),
))
  test.skipIf(command === undefined)(
    `${language} tells the same of ${FILTERS} filters and topics: ${name}, SEED=${seed}`,
    () => {
      const random = randomFrom(seed);
      const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
      const log = logOf(planned(random, pick));
      // The last part is read as it is written, from the beginning of a change on.
      const epochAt = (index: number): Epoch | undefined => log[index]!.value?.change.epoch;
      let live = Math.floor(log.length * 0.8);
      while (epochAt(live) === undefined || epochAt(live) === epochAt(live - 1)) live++;
      const table = new PointerTable(PARTITIONS, (refusal, key) => expect.fail(`${refusal}: ${key}`));
      for (const [index, { key, value, offset }] of log.entries()) {
        if (index === live) table.reached(offset, offset);
        table.apply(key, value, offset);
      }
      const end = log.at(-1)!.offset + 1;
      table.reached(end, end);

      const topicOf = (): string =>
        Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(WORDS)).join('/') || 'a';
      const filters = Array.from(
        { length: FILTERS },
        () => [filterOf(topicOf(), random), `client-${seed}-${random()}`] as const,
      );
      const topics = Array.from({ length: FILTERS }, (_, turn) => [topicOf(), turn] as const);
      const texts = filters.flat();
      const records = [...log.slice(0, live), 'end', ...log.slice(live), 'end'];
      const answers = asked(command!, { partitions: PARTITIONS, records, filters, topics, texts });

      expect(answers.epoch).toBe(table.epoch);
      expect(answers.slices).toEqual([...table.pointers()].map(({ slice }) => slice as string).sort());
      expect(answers.shards).toEqual([...table.shards()].map((each) => each.shardId as string).sort());
      expect(answers.hashes).toEqual(texts.map((text) => [partitionOf(text, PARTITIONS), filterHash(text)]));
      for (const [i, [filter, client]] of filters.entries())
        expect(answers.resolved[i], `${filter} of ${client}`).toMatchObject(table.resolve(filter, client)!);
      for (const [i, [topic, turn]] of topics.entries()) {
        const stops = table
          .route(topic, turn)
          .map(({ shard, pointers }) => [shard, pointers.map(({ slice }) => slice)]);
        expect(answers.routes[i], topic).toEqual(Object.fromEntries(stops));
      }
    },
  );

for (const seed of SEEDS)
  test.skipIf(go === undefined)(`Go refuses what ours refuses, SEED=${seed}`, () => {
    const random = randomFrom(seed);
    const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
    const log = forged(planned(random, pick), random, pick);
    const end = log.at(-1)!.offset + 1;
    const live = Math.floor(log.length * 0.5);
    let refused = 0;
    const table = new PointerTable(PARTITIONS, () => {
      refused += 1;
    });
    for (const [index, { key, value, offset }] of log.entries()) {
      if (index === live) table.reached(offset, offset);
      table.apply(key, value, offset);
    }
    table.reached(end, end);
    const filters = Array.from(
      { length: FILTERS },
      () => [`${pick(WORDS)}/${pick(WORDS)}`, `client-${random()}`] as const,
    );
    const records = [...log.slice(0, live), 'end', ...log.slice(live), 'end'];
    const answers = asked(go!, { partitions: PARTITIONS, records, filters, topics: [], texts: [] });
    expect(refused).toBeGreaterThan(10);
    expect(answers).toMatchObject({ refused, epoch: table.epoch, position: table.position });
    expect(answers.slices).toEqual([...table.pointers()].map(({ slice }) => slice as string).sort());
    expect(answers.shards).toEqual([...table.shards()].map((each) => each.shardId as string).sort());
    // A topic that forgeries have left both pinned and spread is in no right place.
    const kinds = new Map<string, Set<string>>();
    for (const each of table.pointers()) {
      const slice = parseSlice(each.slice)!;
      if (slice.kind === 'pin' || slice.kind === 'spread')
        kinds.set(
          slice.filter,
          (kinds.get(slice.filter) ?? new Set()).add(slice.kind === 'pin' ? 'pin' : `${slice.of}`),
        );
    }
    for (const [i, [filter, client]] of filters.entries())
      if ((kinds.get(filter)?.size ?? 0) < 2)
        expect(answers.resolved[i], filter).toEqual(table.resolve(filter, client) ?? null);
  });

/** With what others than the planner have written between its changes; each change is followed by a marker. */
function forged(
  log: readonly LogRecord[],
  random: () => number,
  pick: <Item>(items: readonly Item[]) => Item,
): LogRecord[] {
  const all: LogRecord[] = [];
  let offset = 0;
  let now = 0;
  const put = (key: string, value: PointerRecord | null): void => {
    all.push({ key, value, offset: offset++ });
  };
  for (const { key, value } of log) {
    const at = value?.change.epoch ?? now;
    if (at !== now) {
      offset += 1;
      now = at;
      if (random() < 0.3) forge();
    }
    put(key, value);
  }
  return all;

  function forge(): void {
    const change = {
      epoch: epoch(now + pick([-3, 0, 1, 1, 1, 2, 50])),
      ...{ index: 0, count: pick([1, 1, 2]), term: pick([0, 1, 1, 2e9]), planner: pick(['p', 'x']) },
    };
    const slice = pick(['c/0/', 'c/1/0', 'c/2/11', 'c/3/010', 'w/1/', 't/a', 'w/2/home/', 'nonsense']) as SliceKey;
    const mode = pick(['SINGLE', 'GONE'] as const);
    const shards = mode === 'GONE' ? [] : [pick([...SHARDS, shardId('shard-9999')])];
    const body = { kind: 'PointerEntry', slice, mode, shards, epoch: change.epoch } as const;
    if (random() < 0.2) put(pick([pointerKey(slice), 's:shard-0001', 's:nobody']), null);
    else put(random() < 0.1 ? 'p:t/b' : pointerKey(slice), { change, body } as PointerRecord);
  }
}

async function pythonReader(): Promise<readonly string[] | undefined> {
  const python = await plainPython();
  return python === undefined ? undefined : [python, join(import.meta.dirname, 'resolve.py')];
}

function goReader(): readonly string[] | undefined {
  const go = goToolchain();
  if (go === undefined) return undefined;
  const program = join(folder.path, 'resolve');
  go.run(GO_CLIENT, 'build', '-o', program, './internal/resolve');
  return [program];
}

function asked([command, ...args]: readonly string[], question: object): Answers {
  const input = JSON.stringify(question);
  const { stdout, stderr, status } = spawnSync(command!, args, { input, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Answers;
}

/** Changes as a planner writes them: splits, merges, pins, spreads, groups, replicas and moves; keys go after they are GONE. */
function planned(random: () => number, pick: <Item>(items: readonly Item[]) => Item): LogRecord[] {
  const log: LogRecord[] = [];
  const tree = new SliceTree(PARTITIONS, firstSlices(PARTITIONS));
  let now = 0;
  const put = (key: string, value: PointerRecord | null): void => {
    log.push({ key, value, offset: log.length });
  };
  const change = (...bodies: readonly Omit<PointerRecord['body'], 'epoch'>[]): void => {
    now += 1;
    for (const [index, body] of bodies.entries()) {
      const record = {
        change: { epoch: epoch(now), index, count: bodies.length, term: 1, planner: 'p' },
        body: { ...body, epoch: epoch(now) },
      };
      put(keyOfBody(record.body as PointerRecord['body']), record as PointerRecord);
    }
  };
  const on = (slice: SliceKey, shards: readonly ShardId[] = [pick(SHARDS)]) =>
    ({ kind: 'PointerEntry', slice, mode: shards.length > 1 ? 'REPLICAS' : 'SINGLE', shards }) as const;
  const gone = (slice: SliceKey) => ({ kind: 'PointerEntry', slice, mode: 'GONE', shards: [] }) as const;
  const shard = (id: ShardId) =>
    ({
      kind: 'ShardEntry',
      shardId: id,
      storeKind: 'KEY_VALUE',
      datastoreType: 'kv',
      instanceId: id,
      address: '',
      state: 'READY',
    }) as const;
  const replace = (before: readonly SliceKey[], after: readonly SliceKey[]): void => {
    const leaving = before.filter((slice) => !after.includes(slice));
    const coming = after.filter((slice) => !before.includes(slice));
    for (const slice of leaving) tree.remove(slice);
    for (const slice of coming) tree.add(slice);
    change(...leaving.map(gone), ...coming.map((slice) => on(slice)));
    if (random() < 0.3) {
      change(on(pick([...tree.keys()]))); // Keys of the last change stay.
      for (const slice of leaving) if (!tree.has(slice)) put(pointerKey(slice), null);
    }
  };
  change(...SHARDS.map(shard), ...firstSlices(PARTITIONS).map((slice) => on(slice)));
  while (now < 300) {
    const key = pick([...tree.keys()]);
    const slice = parseSlice(key)!;
    const words = Array.from({ length: 1 + Math.floor(random() * 2) }, () => pick(WORDS));
    const kind = random();
    if (kind < 0.3) change(on(key, random() < 0.3 ? SHARDS.slice(0, 2) : [pick(SHARDS)]));
    else if (kind < 0.5 && slice.kind === 'hash') {
      const halves = [`${key}0`, `${key}1`] as SliceKey[];
      if (slice.bits.length < 5) replace([key], halves);
    } else if (kind < 0.6 && slice.kind === 'hash' && slice.bits !== '') {
      const whole = key.slice(0, -1) as SliceKey;
      const halves = [`${whole}0`, `${whole}1`] as SliceKey[];
      if (tree.mergeRefusal(halves, whole) === undefined) replace(halves, [whole]);
    } else if (kind < 0.75) {
      const pin = pinSlice(words.join('/'));
      const from = tree.sliceOf(words.join('/') || 'a', '');
      if (from !== undefined && tree.splitRefusal(from, [from, pin]) === undefined) replace([from], [from, pin]);
    } else if (kind < 0.8 && slice.kind === 'pin') {
      replace([key], spreadSlices(slice.filter, 2 + Math.floor(random() * 3)));
    } else if (kind < 0.85 && slice.kind === 'spread') {
      replace(spreadSlices(slice.filter, slice.of), [pinSlice(slice.filter)]);
    } else if (kind < 0.95) {
      const group = groupSlice(partitionOf(words[0]!, PARTITIONS), `${words.join('/')}/`);
      const from = tree.groupOf(partitionOf(words[0]!, PARTITIONS), `${words.join('/')}/`)!;
      if (tree.splitRefusal(from, [from, group]) === undefined) replace([from], [from, group]);
    } else if (slice.kind === 'group' && slice.prefix !== '') replace([key], []);
  }
  return log;
}

/** Of each key the last record alone. */
function compacted(log: readonly LogRecord[]): LogRecord[] {
  const last = new Map(log.map(({ key, offset }) => [key, offset]));
  return log.filter(({ key, offset }) => last.get(key) === offset);
}

/** The topic itself, or a filter that matches it: with a wildcard, or shared. */
function filterOf(topic: string, random: () => number): string {
  const levels = topic.split('/');
  const at = Math.floor(random() * levels.length);
  const kind = random();
  if (kind < 0.5) return topic;
  if (kind < 0.65) return [...levels.slice(0, at), '#'].join('/');
  if (kind < 0.85) return [...levels.slice(0, at), '+', ...levels.slice(at + 1)].join('/');
  return `$share/g/${topic}`;
}
