// The Kafka Streams peer: built from its sources beside this project, and run as a process of its own on the same
// Kafka.

import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CACHE_FOLDER } from '../test/support/kafka-jars.ts';
import { runProcess } from '../test/support/processes.ts';

export const PEER_SOURCES = resolve(import.meta.dirname, '../../shared/peers/kafka-streams');
const BUILT = join(CACHE_FOLDER, 'peers/kafka-streams');

export interface KafkaStreamsPeer {
  /** Writes the events, Zipf over the filters, as Avro behind the Confluent header with this schema id. */
  generate(topic: string, partitions: number, events: number, filters: number, schemaId: number): Promise<void>;
  /**
   * Counts them per filter and 10 s window, with state and changelog; returns events per second from the first to the
   * last commit.
   */
  rates(topic: string, events: number, threads: number, stateDir: string): Promise<number>;
}

/** `undefined` when its sources (a Maven project) are not at PEER_SOURCES. */
export async function kafkaStreamsPeer(brokers: string): Promise<KafkaStreamsPeer | undefined> {
  if (!existsSync(join(PEER_SOURCES, 'pom.xml'))) return undefined;
  if (!existsSync(join(BUILT, 'target/lib'))) {
    await mkdir(BUILT, { recursive: true });
    await cp(PEER_SOURCES, BUILT, { recursive: true });
    await runProcess('mvn', ['-q', '-B', 'package'], BUILT);
  }
  const java = (...args: string[]): Promise<string> =>
    runProcess('java', ['-Xmx2g', '-cp', `${join(BUILT, 'target/classes')}:${join(BUILT, 'target/lib')}/*`, ...args]);
  return {
    async generate(topic, partitions, events, filters, schemaId) {
      await java('peer.Generate', brokers, topic, `${partitions}`, `${events}`, `${filters}`, `${schemaId}`);
    },
    async rates(topic, events, threads, stateDir) {
      const output = await java(
        'peer.Rates',
        brokers,
        topic,
        `${events}`,
        'exactly_once_v2',
        `${threads}`,
        '200',
        stateDir,
      );
      const figure = /events\/s=(\d+)/.exec(output)?.[1];
      if (figure === undefined) throw new Error(`the Kafka Streams peer printed no figure: ${output.slice(-500)}`);
      return Number(figure);
    },
  };
}
