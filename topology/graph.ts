// Graph: stages joined into a topology, and the checks that need no broker.
//
//   G1. Every topic that a stage reads is an input of the topology, or emitted by a stage (or by the runner: clock,
//       outcomes, fitted).
//   G2. A table is kept by one stage.
//   G3. Stages of one group agree on partition counts: each task reads its own partition of every topic.
//   G4. A local topic stays inside its stage: a stage that emits requests on one reads the topic of the answers
//       (`effects` and `outcomes`, `fits` and `fitted`).

import type { DiskRows, Emit, Input, OnDisk, Rows, Step, Table } from '../processors/step.ts';
import { AppError } from '../schemas/errors.ts';
import { type AnyTopic, deadLetters, LOCAL, type LocalTopics, type Topic } from './topics.ts';

/** The inputs of a step that reads these topics: a union, discriminated by `topic`. */
export type InputOf<T> = T extends Topic<infer Name, infer Value> ? Input<Name, Value> : never;
/** The emits of a step that writes these topics. */
export type EmitOf<T> = T extends Topic<infer Name, infer Value> ? Emit<Name, Value> : never;

/**
 * Stages of one group share tasks and transactions; its name is part of consumer groups, changelogs, stores and
 * metrics.
 */
export const WORK = { name: 'work', gathers: false } as const;
export const PLAN = { name: 'plan', gathers: true } as const;
const GROUPS = [WORK, PLAN] as const;

export interface Stage {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  readonly reads: readonly AnyTopic[];
  readonly emits: readonly AnyTopic[];
  readonly keeps: Table<unknown> | undefined;
  readonly onDisk: OnDisk<unknown, Input<string, unknown>, unknown> | undefined;
  readonly step: (
    rows: Rows<unknown>,
    input: Input<string, unknown>,
    disk: DiskRows<unknown> | undefined,
  ) => readonly Emit[];
}

/**
 * Declares a stage. It does not compile when the step does not accept every record that it reads, or emits one that it
 * must not.
 */
export function stage<
  const Reads extends readonly AnyTopic[],
  Row,
  const Emits extends readonly AnyTopic[],
  Kept = never,
>(
  name: string,
  parts: {
    /** `WORK` by default. */
    readonly group?: Stage['group'];
    readonly reads: Reads;
    readonly keeps?: Table<Row>;
    readonly onDisk?: OnDisk<Row, InputOf<Reads[number]>, Kept> | undefined;
    readonly emits: Emits;
    readonly step: Step<InputOf<Reads[number]>, Row, EmitOf<Emits[number]>, Kept>;
  },
): Stage {
  return {
    name,
    group: parts.group ?? WORK,
    reads: parts.reads,
    emits: parts.emits,
    keeps: parts.keeps as Table<unknown> | undefined,
    onDisk: parts.onDisk as unknown as Stage['onDisk'],
    step: parts.step as unknown as Stage['step'],
  };
}

/** A group, with its stages, tables and topics. */
export interface Group {
  readonly name: Stage['group']['name'];
  /** True: one task that sees every partition. False: a task for each partition. */
  readonly gathers: boolean;
  readonly stages: readonly Stage[];
  /** Topics its tasks consume from the log. */
  readonly topics: readonly AnyTopic[];
  readonly local: LocalTopics;
}

export interface Topology {
  readonly stages: readonly Stage[];
  readonly groups: readonly Group[];
  /** Every topic of the log that a stage reads or emits. */
  readonly topics: readonly AnyTopic[];
  /** Topics that no stage emits: the inputs of the topology. */
  readonly inputs: readonly AnyTopic[];
  /** The topic of refused records. */
  readonly letters: AnyTopic;
}

/** Joins the stages, in order. Throws TOPOLOGY_INVALID, naming the stage and the rule (G1 to G4). */
export function defineTopology(stages: readonly Stage[], options: { readonly inputs: readonly AnyTopic[] }): Topology {
  const emitted = new Set(stages.flatMap((each) => each.emits.map((topic) => topic.name)));
  const inputs = new Set(options.inputs.map((topic) => topic.name));
  const keepers = new Map<string, string>();
  const names = new Set<string>();
  for (const each of stages) {
    if (names.has(each.name)) fail('two stages have the name', each.name);
    names.add(each.name);
    for (const topic of each.reads) {
      if (isLocal(topic)) continue;
      if (!emitted.has(topic.name) && !inputs.has(topic.name))
        fail(`G1: stage ${each.name} reads a topic that nobody writes:`, topic.name);
    }
    for (const table of [each.keeps?.name, each.onDisk?.table.name]) {
      if (table === undefined) continue;
      const other = keepers.get(table);
      if (other !== undefined) fail(`G2: stages ${other} and ${each.name} keep the same table:`, table);
      keepers.set(table, each.name);
    }
    if (!each.group.gathers) {
      const single = each.reads.find((topic) => topic.partitions === 'one');
      if (single !== undefined)
        fail(`G3: stage ${each.name} has a task for each partition, but this topic has one partition:`, single.name);
    }
    const reads = new Set(each.reads.map((topic) => topic.name));
    for (const { asked, answered } of EXCHANGES)
      if (each.emits.some((topic) => topic.name === asked.name) && !reads.has(answered.name))
        fail(`G4: a stage emits ${asked.name} but does not read ${answered.name}:`, each.name);
  }
  const groups: Group[] = [];
  for (const group of GROUPS) {
    const members = stages.filter((each) => each.group === group);
    if (members.length === 0) continue;
    const topics = logTopics(members.flatMap((each) => each.reads));
    groups.push({ ...group, stages: members, topics, local: LOCAL });
  }
  const topics = logTopics([...options.inputs, ...stages.flatMap((each) => [...each.reads, ...each.emits])]);
  const found = topics.filter((topic) => !emitted.has(topic.name));
  return { stages, groups, topics, inputs: found, letters: deadLetters };
}

function logTopics(topics: readonly AnyTopic[]): AnyTopic[] {
  const byName = new Map<string, AnyTopic>();
  for (const topic of topics) if (!isLocal(topic)) byName.set(topic.name, topic);
  return [...byName.values()];
}

const EXCHANGES = [LOCAL.beforeCommit, LOCAL.beside];
const LOCAL_NAMES = new Set(
  [LOCAL.time, LOCAL.told, ...EXCHANGES.flatMap(({ asked, answered }) => [asked, answered])].map(({ name }) => name),
);
const isLocal = ({ name }: AnyTopic): boolean => LOCAL_NAMES.has(name);

function fail(rule: string, what: string): never {
  throw new AppError('TOPOLOGY_INVALID', `${rule} ${what}`, { what });
}
