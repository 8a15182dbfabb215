import { describe, expect, test } from 'vitest';
import { jsonTable, NOTHING } from '../../processors/step.ts';
import type { AppError } from '../../schemas/errors.ts';
import { defineTopology, PLAN, type Stage, stage } from '../../topology/graph.ts';
import {
  type AnyTopic,
  clock,
  commands,
  effects,
  metrics,
  outcomes,
  pointers,
  rates,
  subscriptions,
} from '../../topology/topics.ts';

const silent = () => NOTHING;
const counting = (name: string, table: string): Stage =>
  stage(name, { reads: [subscriptions], keeps: jsonTable(table), emits: [rates], step: silent });

describe('a topology is refused before any broker is asked', () => {
  for (const { name, stages, message } of [
    {
      name: 'when a stage reads a topic that nobody writes',
      stages: [stage('plan', { reads: [rates], emits: [], step: silent })],
      message: 'G1: stage plan reads a topic that nobody writes: rates',
    },
    {
      name: 'when two stages keep one table',
      stages: [counting('first', 'windows'), counting('second', 'windows')],
      message: 'G2: stages first and second keep the same table: windows',
    },
    {
      name: 'when a stage with a task for each partition reads a topic of one partition',
      stages: [
        stage('plan', { reads: [subscriptions], emits: [pointers], step: silent, group: PLAN }),
        stage('apply', { reads: [pointers], emits: [], step: silent }),
      ],
      message: 'G3: stage apply has a task for each partition, but this topic has one partition: pointer-table',
    },
    {
      name: 'when effects are emitted whose outcomes nobody hears',
      stages: [stage('apply', { reads: [subscriptions], emits: [effects], step: silent })],
      message: 'G4: a stage emits effects but does not read outcomes: apply',
    },
    {
      name: 'when two stages have one name',
      stages: [counting('rates', 'a'), counting('rates', 'b')],
      message: 'two stages have the name rates',
    },
  ] as readonly { name: string; stages: Stage[]; message: string }[]) {
    test(name, () => {
      expect(() => defineTopology(stages, { inputs: [subscriptions, metrics] })).toThrow(
        expect.objectContaining({ code: 'TOPOLOGY_INVALID', message }) as AppError,
      );
    });
  }
});

describe('a topology', () => {
  const names = (topics: readonly AnyTopic[]): string[] => topics.map((topic) => topic.name).sort();

  test('groups its stages by their tasks, and local topics never reach the log', () => {
    const topology = defineTopology(
      [
        stage('apply', { reads: [subscriptions, commands, outcomes, clock], emits: [effects], step: silent }),
        stage('plan', { reads: [metrics, clock], emits: [commands, pointers], step: silent, group: PLAN }),
      ],
      { inputs: [subscriptions, metrics] },
    );
    expect(topology.groups.map((group) => [group.name, group.gathers, names(group.topics)])).toEqual([
      ['work', false, ['commands', 'subscriptions']],
      ['plan', true, ['metrics']],
    ]);
    expect(names(topology.topics)).toEqual(['commands', 'metrics', 'pointer-table', 'subscriptions']);
    expect(names(topology.inputs)).toEqual(['metrics', 'subscriptions']);
  });
});
