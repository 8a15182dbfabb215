// Chaos fleet: three Kafka brokers, a registry, two shard servers, three instances, and a crowd whose brokers subscribe,
// unsubscribe and ask all the time. It knows at each moment what stands still.
//
//   C1. What an instance or a shard server has begun to suffer is told to `down` first: then its silence is no news.
//   C2. An event counts as applied when it is committed, and nothing that was committed by then waits for a shard that is
//       away; that is known while each partition is told of by exactly one of the instances that are up.
//   C3. It is alive again when every instance is ready and has its tasks, no shard is lost and nothing waits for one, every
//       shard that the pointer table names answers, each asking broker got ANSWERS answers in a row, every move that was
//       open then has ended, and every event that was sent is applied.

import { setTimeout as sleep } from 'node:timers/promises';
import type { MoveId, ShardId } from '../../schemas/ids.ts';
import { deadLetters } from '../../topology/topics.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { CROWDED_TYPES, Crowd } from '../support/crowd.ts';
import { Deployment, type Instance, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { type FullCheck, fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';
import { type RealKafkaCluster, startKafkaCluster } from '../support/real-kafka.ts';
import { type RealRegistry, startRegistry } from '../support/real-registry.ts';
import { type Sight, sightOf, unowned } from './sight.ts';

export const SESSION_MS = 10_000;
const PARTITIONS = 4;
const LAG_MS = 3_000;
/** In a row, so that an answer by luck is none (C3). */
const ANSWERS = 10;
const LOOK_MS = 500;
const NAMES = ['one', 'two', 'three'];

export interface Recovery {
  readonly ms: number;
  /** What still stood still when patience ended; empty when all was alive again. */
  readonly standing: readonly string[];
}

interface Parts {
  readonly kafka: RealKafkaCluster;
  readonly registry: RealRegistry;
  readonly deployment: Deployment;
  readonly ledger: EventLedger;
  readonly watch: PlanWatch;
}

export class ChaosFleet {
  readonly kafka: RealKafkaCluster;
  readonly deployment: Deployment;
  readonly ledger: EventLedger;
  readonly watch: PlanWatch;
  readonly crowd: Crowd;
  readonly instances: Instance[] = [];
  /** Names of instances that were stopped, or killed and not yet started again (C1). */
  readonly down = new Set<string>();
  /** Questions without an answer, by the code of the error. */
  readonly unanswered = new Map<string, number>();
  poisonSent = 0;
  /** Places of the records that were refused: each comes once. */
  readonly letters = new Map<string, number>();
  readonly #registry: RealRegistry;
  #brokers: AskingBroker[] = [];
  /** For each broker, how often it had asked when a question was last without an answer. */
  readonly #answeredSince = new Map<AskingBroker, number>();

  private constructor({ kafka, registry, deployment, ledger, watch }: Parts, seed: number, instances: Instance[]) {
    this.kafka = kafka;
    this.#registry = registry;
    this.deployment = deployment;
    this.ledger = ledger;
    this.watch = watch;
    this.instances = instances;
    this.crowd = new Crowd({ ledger, watch, seed, address: () => this.#upAddress(), mayLoseKafka: true });
  }

  /** `undefined` where the services cannot be had; the reason has been told. */
  static async start(seed: number): Promise<ChaosFleet | undefined> {
    const [kafka, registry] = await Promise.all([startKafkaCluster(), startRegistry()]);
    if (kafka === undefined || registry === undefined) {
      await kafka?.stop();
      await registry?.stop();
      return undefined;
    }
    const deployment = await Deployment.start(
      { kafka, registry },
      {
        app: 'chaos',
        settings: {
          partitions: PARTITIONS,
          leafBits: 2,
          concreteType: 'kv',
          trieType: 'trie',
          tickMs: 10_000,
          coolDownMs: 0,
          copyRowsPerSecond: 1_000, // A move lasts some seconds: a fault meets it in any of its states.
          shardsPerHourMax: 1_000,
          brokerSilentMs: 10_000,
          replicationFactor: 3,
          sessionTimeoutMs: SESSION_MS,
        },
        catalog: { types: CROWDED_TYPES },
        shardServers: 2,
      },
    );
    const instances = await Promise.all(NAMES.map((name) => deployment.instance(name)));
    await Promise.all(instances.map((instance) => instance.ready()));
    const ledger = await EventLedger.open(deployment);
    const watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    const fleet = new ChaosFleet({ kafka, registry, deployment, ledger, watch }, seed, instances);
    await fleet.#begin(seed);
    return fleet;
  }

  async #begin(seed: number): Promise<void> {
    const { crowd, deployment, ledger } = this;
    ledger.areInShards = async () => {
      const sights = await this.#sights();
      return sights !== undefined && isAtRest(sights);
    };
    await deployment.log.follow(deadLetters.name, 'earliest', async ({ records }) => {
      for (const { headers = {} } of records) {
        const place = ['topic', 'partition', 'offset'].map((name) => String(headers[`__streams.errors.${name}`]));
        this.letters.set(place.join('/'), (this.letters.get(place.join('/')) ?? 0) + 1);
      }
    });
    await crowd.gather();
    this.#brokers = await Promise.all(
      [0, 1].map((index) =>
        AskingBroker.open(deployment, ledger, {
          brokerId: `broker-${index}`,
          seed: seed + index,
          lagMs: LAG_MS,
          heartbeats: index > 0,
          pauseMs: 20,
          topic: crowd.topics(seed + 10 + index),
        }),
      ),
    );
    crowd.start();
  }

  get asked() {
    return askedBy(this.#brokers);
  }

  /** Questions without an answer so far. */
  get unansweredCount(): number {
    this.#drain();
    return [...this.unanswered.values()].reduce((sum, count) => sum + count, 0);
  }

  /** What the instances that are up say; of those that do not answer nothing. */
  async sights(): Promise<Sight[]> {
    const all = await Promise.all(this.#up.map((instance) => sightOf(instance)));
    return all.filter((sight) => sight !== undefined);
  }

  /** Starts a killed instance again, on its port and folder. */
  async startAgain(instance: Instance): Promise<void> {
    const at = this.instances.indexOf(instance);
    this.instances[at] = await this.deployment.instance(instance.name, instance.port);
    this.down.delete(instance.name);
  }

  /** Shards that the pointer table sends readers to. */
  shardsInUse(): Set<ShardId> {
    return new Set([...this.watch.table.pointers()].flatMap(({ shards }) => shards));
  }

  /** Waits until all is alive again (C3), from now on. */
  async recovered(patienceMs: number): Promise<Recovery> {
    const began = performance.now();
    const moves = this.watch.open;
    let standing: readonly string[];
    do {
      standing = await this.#standing(moves);
      if (standing.length === 0) {
        await this.crowd.pause();
        const left = (): number => began + patienceMs - performance.now();
        while (this.ledger.dueCount < this.ledger.sentCount && left() > 0) await sleep(50);
        const late = this.ledger.sentCount - this.ledger.dueCount;
        if (late > 0) standing = [`${late} events are not applied`, ...(await this.#standing(moves))];
        this.crowd.resume();
        break;
      }
      await sleep(LOOK_MS);
    } while (performance.now() - began < patienceMs);
    return { ms: performance.now() - began, standing };
  }

  /** The linear scan: every row of every shard against every event that was acknowledged. Nobody sends meanwhile. */
  async scan(patienceMs: number): Promise<FullCheck> {
    this.crowd.coolDown();
    await this.crowd.pause();
    await until('every event is applied', () => this.ledger.dueCount === this.ledger.sentCount, patienceMs);
    await until('every move has ended', () => this.watch.open.length === 0, patienceMs);
    return fullCheck(this.deployment, this.watch.table, this.ledger.due);
  }

  /** I15: what instances say of what they consumed, and that each record of poison is one dead letter. */
  async unbalanced(): Promise<string[]> {
    const sights = await this.sights();
    const books = sights.flatMap(({ name, unbalanced }) => unbalanced.map((what) => `${name}: ${what}`));
    const twice = [...this.letters].filter(([, count]) => count > 1).map(([place]) => `${place}: two dead letters`);
    const missing = this.poisonSent - this.letters.size;
    return [...books, ...twice, ...(missing === 0 ? [] : [`${missing} records of poison have no dead letter`])];
  }

  async stop(): Promise<void> {
    for (const instance of this.instances) instance.child.kill('SIGCONT');
    await this.crowd.stop().catch(() => {});
    for (const broker of this.#brokers) await broker.stop().catch(() => {});
    await this.watch.stop().catch(() => {});
    await this.ledger.stop().catch(() => {});
    await this.deployment.stop().catch(() => {});
    await this.kafka.stop();
    await this.#registry.stop();
  }

  get #up(): Instance[] {
    return this.instances.filter(({ name }) => !this.down.has(name));
  }

  #upAddress(): string {
    return (this.#up[0] ?? this.instances[0]!).address;
  }

  /** `undefined` unless each that is up answers. */
  async #sights(): Promise<Sight[] | undefined> {
    const up = this.#up.length;
    const sights = await this.sights();
    return sights.length < up ? undefined : sights;
  }

  async #standing(moves: readonly MoveId[]): Promise<string[]> {
    this.#drain();
    const sights = await this.sights();
    const silent = this.instances.filter(({ name }) => !sights.some((sight) => sight.name === name));
    const open = moves.filter((move) => this.watch.open.includes(move));
    const sum = (of: (sight: Sight) => number): number => sights.reduce((total, sight) => total + of(sight), 0);
    const behind = this.#brokers.filter(
      (broker) => broker.asked.questions - this.#answeredSince.get(broker)! < ANSWERS,
    );
    return [
      ...silent.map(({ name, isRunning }) => `instance ${name} ${isRunning ? 'does not answer' : 'has ended'}`),
      ...sights.filter(({ unready }) => unready !== '').map(({ name, unready }) => `instance ${name}: ${unready}`),
      ...unowned(sights, PARTITIONS).map((partition) => `partition ${partition} is not one instance's`),
      ...(sum(({ spilledRows }) => spilledRows) > 0 ? [`${sum(({ spilledRows }) => spilledRows)} writes wait`] : []),
      ...(sum(({ lostShards }) => lostShards) > 0 ? ['a shard is lost'] : []),
      ...(await this.#silentShards()),
      ...(behind.length > 0 ? [`${behind.length} brokers get no answers`] : []),
      ...open.map((move) => `${move} is ${this.watch.stateOf(move)}`),
    ];
  }

  async #silentShards(): Promise<string[]> {
    const { table } = this.watch;
    const bySlice = new Map(
      [...table.pointers()].flatMap(({ slice, shards }) => shards.map((shard) => [shard, slice])),
    );
    const asked = [...bySlice].map(async ([shard, slice]) => {
      try {
        const store = await this.deployment.provisioner.store(shard, table.shard(shard));
        if (store.kind === 'TRIE') await store.match([{ topic: 'chaos/topic', slice, epoch: table.epoch }]);
        else await store.lookup(['chaos/topic'], table.epoch);
        return [];
      } catch (error) {
        return [`shard ${shard}: ${(error as Error).message}`];
      }
    });
    return (await Promise.all(asked)).flat();
  }

  /** A night's questions without an answer are too many to be kept as they are. */
  #drain(): void {
    for (const broker of this.#brokers) {
      const { asked } = broker;
      if (asked.unanswered.length > 0 || !this.#answeredSince.has(broker))
        this.#answeredSince.set(broker, asked.questions);
      for (const what of asked.unanswered.splice(0)) {
        const code = what.slice(0, what.indexOf(':'));
        this.unanswered.set(code, (this.unanswered.get(code) ?? 0) + 1);
      }
    }
  }
}

/** C2 */
const isAtRest = (sights: readonly Sight[]): boolean =>
  unowned(sights, PARTITIONS).length === 0 &&
  sights.every(({ spilledRows, lostShards }) => spilledRows === 0 && lostShards === 0);
