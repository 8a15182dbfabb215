// Lag judge: asks Kafka where the groups stand, once a second, and each instance what it says of it, and finds out
// afterwards whether that was so.
//
//   J1. Ends of partitions and committed positions only grow. A lag told at a time was looked up within TOLD_WITHIN_MS before
//       it, or before Kafka was last there, so it lies between the end at the earliest less the position at the latest and
//       the other way about.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import type { Deployment, Instance } from './deployment.ts';

interface Place {
  readonly committed: number;
  readonly end: number;
}

interface Look {
  /** What it saw was so at some time in between: long, where Kafka was away meanwhile. */
  readonly began: number;
  readonly ended: number;
  readonly places: ReadonlyMap<string, Place>;
}

interface Told {
  readonly place: string;
  readonly records: number;
}

const LOOK_MS = 1_000;
/** How long a value may be told after it was looked up: the instances' own interval, and a busy machine. */
const TOLD_WITHIN_MS = 10_000;

export class LagJudge {
  readonly #deployment: Deployment;
  readonly #instances: () => readonly Instance[];
  readonly #admin: Admin;
  readonly #looks: Look[] = [];
  readonly #told: (Told & { readonly at: number; readonly by: string })[] = [];
  #isOver = false;
  #watching: Promise<void> = Promise.resolve();

  private constructor(deployment: Deployment, instances: () => readonly Instance[]) {
    this.#deployment = deployment;
    this.#instances = instances;
    this.#admin = new Kafka({
      brokers: [...deployment.config.brokers],
      logLevel: logLevel.NOTHING,
      retry: { retries: 1 },
    }).admin();
  }

  static async open(deployment: Deployment, instances: () => readonly Instance[]): Promise<LagJudge> {
    const judge = new LagJudge(deployment, instances);
    await judge.#admin.connect();
    judge.#watching = judge.#watch();
    return judge;
  }

  /** Asks Kafka; false where it does not answer. */
  async look(): Promise<boolean> {
    try {
      const { applicationId, topicPrefix } = this.#deployment.config;
      const { groups } = await this.#admin.listGroups();
      const ours = groups.filter(({ groupId }) => groupId.startsWith(`${applicationId}-`));
      const began = performance.now();
      const committed = new Map<string, { readonly group: string; readonly offset: number }[]>();
      for (const { groupId } of ours)
        for (const { topic, partitions } of await this.#admin.fetchOffsets({ groupId }))
          for (const { partition, offset } of partitions) {
            const key = `${topic}/${partition}`;
            const group = groupId.slice(applicationId.length + 1);
            committed.set(key, [...(committed.get(key) ?? []), { group, offset: Math.max(0, Number(offset)) }]);
          }
      const places = new Map<string, Place>();
      for (const topic of new Set([...committed.keys()].map((key) => key.slice(0, key.lastIndexOf('/')))))
        for (const { partition, high } of await this.#admin.fetchTopicOffsets(topic))
          for (const { group, offset } of committed.get(`${topic}/${partition}`) ?? [])
            places.set(`${group} ${topic.slice(topicPrefix.length)}/${partition}`, {
              committed: offset,
              end: Number(high),
            });
      this.#looks.push({ began, ended: performance.now(), places });
      return true;
    } catch {
      return false;
    }
  }

  /** What an instance says; nothing where it does not answer. */
  async told(instance: Instance): Promise<Told[]> {
    const answer = await fetch(`${instance.address}/metrics`).catch(() => undefined);
    const told: Told[] = [];
    for (const line of (await answer?.text())?.split('\n') ?? []) {
      if (!line.startsWith('foreshard_lag_records{')) continue;
      const label = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(line)![1]!;
      told.push({
        place: `${label('group')} ${label('topic')}/${label('partition')}`,
        records: Number(line.slice(line.lastIndexOf(' ') + 1)),
      });
    }
    return told;
  }

  /** What was told that cannot have been so (J1). */
  verdict(): { readonly judged: number; readonly untrue: readonly string[] } {
    const untrue: string[] = [];
    let judged = 0;
    for (const { at, by, place, records } of this.#told) {
      const last = this.#looks.findLast((look) => look.ended <= at)?.began ?? 0;
      const before = this.#looks.findLast((look) => look.ended <= last - TOLD_WITHIN_MS)?.places.get(place);
      const after = this.#looks.find((look) => look.began >= at)?.places.get(place);
      if (before === undefined || after === undefined) continue;
      judged++;
      const least = Math.max(0, before.end - after.committed);
      const most = Math.max(0, after.end - before.committed);
      if (records < least || records > most)
        untrue.push(`${by} said ${records} of ${place}, which was between ${least} and ${most}`);
    }
    return { judged, untrue };
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#watching;
    await this.#admin.disconnect();
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      await this.look();
      for (const instance of this.#instances()) {
        const told = await this.told(instance);
        const at = performance.now();
        for (const each of told) this.#told.push({ ...each, at, by: instance.name });
      }
      await sleep(LOOK_MS);
    }
  }
}
