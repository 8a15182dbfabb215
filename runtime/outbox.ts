// Outbox: the records that a task's stages have emitted, and its dead letters, until the next commit writes them.

import type { Emit } from '../processors/step.ts';
import type { Codec } from '../schemas/codec.ts';
import { assert } from '../schemas/errors.ts';
import { partitionOf } from '../state/keys.ts';
import type { Group } from '../topology/graph.ts';
import type { AnyTopic } from '../topology/topics.ts';
import type { OutRecord } from './ports.ts';

export interface OutboxParts {
  readonly group: Group;
  readonly partitions: number;
  readonly codec: Codec;
  /** Called with the event time that an emitted value reports. */
  readonly proved: (eventTime: number) => void;
}

/** 256 KiB: joined records stay well below Kafka's limit of 1 MiB for a record. */
const JOINED_BYTES_MAX = 1 << 18;

export class Outbox {
  readonly #parts: OutboxParts;
  readonly #topics = new Map<string, AnyTopic>();
  #emits: Emit[] = [];
  #letters: OutRecord[] = [];

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    for (const { emits } of parts.group.stages) for (const topic of emits) this.#topics.set(topic.name, topic);
  }

  get emits(): readonly Emit[] {
    return this.#emits;
  }

  get letters(): readonly OutRecord[] {
    return this.#letters;
  }

  get isEmpty(): boolean {
    return this.#emits.length === 0 && this.#letters.length === 0;
  }

  /** A topic that a stage of the group declares. */
  topicOf(name: string): AnyTopic {
    const topic = this.#topics.get(name);
    assert(
      topic !== undefined,
      `a stage of group ${this.#parts.group.name} emitted to ${name}, which it does not declare`,
    );
    return topic;
  }

  add(emit: Emit): void {
    this.#emits.push(emit);
  }

  /** Adds a dead letter. */
  addLetter(letter: OutRecord): void {
    this.#letters.push(letter);
  }

  /** All records, as the log takes them. */
  records(): OutRecord[] {
    return [...this.#encodeEmits(), ...this.#letters];
  }

  clear(): void {
    this.#emits = [];
    this.#letters = [];
  }

  *#encodeEmits(): Generator<OutRecord> {
    const merged = new Map<string, Emit[]>();
    for (const emit of this.#emits) {
      const topic = this.topicOf(emit.topic);
      if (topic.merge === undefined) {
        yield this.#encoded(topic, emit, emit.value);
        continue;
      }
      const key = `${emit.topic} ${emit.key}`;
      const together = merged.get(key);
      if (together === undefined) merged.set(key, [emit]);
      else together.push(emit);
    }
    for (const together of merged.values()) yield* this.#joined(this.topicOf(together[0]!.topic), together);
  }

  /** Joins all these emits into one record, or, when that would be too large, each half of them. */
  *#joined(topic: AnyTopic, emits: readonly Emit[]): Generator<OutRecord> {
    const record = this.#encoded(topic, emits[0]!, topic.merge!(emits.map((emit) => emit.value)));
    if (emits.length === 1 || (record.value?.length ?? 0) <= JOINED_BYTES_MAX) {
      yield record;
      return;
    }
    const half = emits.length >> 1;
    yield* this.#joined(topic, emits.slice(0, half));
    yield* this.#joined(topic, emits.slice(half));
  }

  #encoded(topic: AnyTopic, emit: Emit, value: unknown): OutRecord {
    if (topic.timeOf !== undefined && value !== null) this.#parts.proved(topic.timeOf(value));
    const partitions = topic.partitions === 'one' ? 1 : this.#parts.partitions;
    return {
      topic: topic.name,
      partition: emit.partition ?? (partitions === 1 ? 0 : partitionOf(emit.key, partitions)),
      key: emit.key,
      value: value === null ? null : this.#parts.codec.encode(topic.record!, value),
    };
  }
}
