// A task that is paused before it performs its effects, and wakes when its successor is further. Real stores of both kinds.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver } from '../../../datastores/perform.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { APPLY_DEFAULTS, carryOut, partitionStates, type Row } from '../../../processors/apply/apply.ts';
import { epoch, eventTime, moveId, type ShardId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command, Progress, SteerAction } from '../../../schemas/records.ts';
import type { Effect } from '../../../state/effects.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const FILTERS = ['a', 'b', 'c', 'd', 'e'];
const kindOf = (type: string) => (type === 'trie' ? ('TRIE' as const) : ('KEY_VALUE' as const));

for (const { type, slice, suffix, from, to } of [
  { type: 'kv', slice: 'c/0/', suffix: '', from: shardId('shard-0001'), to: shardId('shard-0003') },
  { type: 'trie', slice: 'w/0/', suffix: '/+', from: shardId('shard-0002'), to: shardId('shard-0003') },
])
  describe(`apply: late effects of a former owner on a ${type} shard`, () => {
    let folder: TempFolder;
    let shards: Provisioner;
    let task: Task;
    beforeEach(async () => {
      folder = await tempFolder();
      shards = localShards(folder.path, 1);
      task = new Task(shards);
      await task.take(task.tick());
      await task.take(task.command(1, { kind: 'AllocateShard', shardId: to, datastoreType: type }));
      for (const filter of FILTERS) {
        const topicFilter = filter + suffix;
        const event = {
          action: 'SUBSCRIBE',
          topicFilter,
          clientId: 'c',
          brokerId: 'b',
          qos: 0,
          timestamp: eventTime(1),
        };
        if (type === 'kv') await task.take({ topic: 'subscriptions', value: event });
        else {
          const events = [{ ...event, offset: 1, incarnation: -1 }];
          await task.take({ topic: 'wildcard-subscriptions', value: { firstLevel: filter, events } });
        }
      }
    });
    afterEach(async () => {
      await shards.close();
      await folder.remove();
    });

    const begun = (id: string, source: ShardId, target: ShardId, at: number) =>
      task.command(at, {
        kind: 'MoveSlice',
        moveId: moveId(id),
        slice: sliceKey(slice),
        from: source,
        to: target,
        rowsPerSecond: 0,
      });
    const steered = (id: string, at: number, action: SteerAction) =>
      task.command(at, {
        kind: 'SteerMove',
        moveId: moveId(id),
        slice: sliceKey(slice),
        action,
        rowsPerSecond: 0,
      });
    const ticks = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) await task.take(task.tick());
    };
    const found = async (shard: ShardId, at: number): Promise<number> => {
      const filters = FILTERS.map((filter) => filter + suffix);
      const answers = await (await shards.store(shard)).lookup(filters, epoch(at));
      return answers.filter((answer) => answer.kind === 'found' && answer.subscribers.length === 1).length;
    };
    /** A verified move, once what was held back has had its effect, is switched, and the shard answers with every row. */
    const expectAllAfterSwitch = async (id: string, at: number, shard: ShardId): Promise<void> => {
      expect(task.state).toBe('VERIFIED');
      await task.wake();
      await task.take(steered(id, at, 'SWITCH'));
      expect(await found(shard, at)).toBe(FILTERS.length);
    };
    const isErasing = (effects: readonly Effect[]): boolean => effects.some(({ kind }) => kind === 'erase');

    for (const start of ['goes on', 'starts anew'] as const)
      test(`an emptying of the target takes nothing that a successor, who ${start}, has verified`, async () => {
        task.keeps = isErasing;
        await task.take(begun('m', from, to, 1));
        await ticks(1);
        if (start === 'starts anew') task.restart();
        await ticks(8);
        await expectAllAfterSwitch('m', 2, to);
      });

    test('an end of a move takes nothing from the one that brings the slice back', async () => {
      await task.take(begun('away', from, to, 1));
      await ticks(8);
      await task.take(steered('away', 2, 'SWITCH'));
      await ticks(2);
      task.keeps = isErasing;
      await task.take(steered('away', 2, 'RETIRE'), task.tick());
      await ticks(3);
      await task.take(begun('back', to, from, 2));
      await ticks(8);
      await expectAllAfterSwitch('back', 3, from);
    });

    test('nor does a move that the former owner alone has given up', async () => {
      await task.take(begun('m', from, to, 1));
      await ticks(2);
      task.keeps = isErasing;
      const before = task.copy();
      task.pauses = true;
      await task.take(steered('m', 1, 'ABORT'), task.tick()); // Never committed: the successor knows nothing of it.
      task.pauses = false;
      task.restart(before);
      await ticks(8);
      await expectAllAfterSwitch('m', 2, to);
    });

    test('nor does one that was given up by a start that died before it could commit anything', async () => {
      await task.take(begun('m', from, to, 1));
      await ticks(2);
      const before = task.copy();
      task.restart(before);
      await ticks(1);
      task.keeps = isErasing;
      task.pauses = true;
      await task.take(steered('m', 1, 'ABORT'), task.tick());
      task.pauses = false;
      task.restart(before);
      await ticks(8);
      await expectAllAfterSwitch('m', 2, to);
    });
  });

class Task {
  /** Which effects the former owner was about to perform. */
  keeps: (effects: readonly Effect[]) => boolean = () => false;
  /** The former owner is paused at that moment; else the same rows go on as its successor. */
  pauses = false;
  state = '';
  #kept: readonly Effect[] | undefined;
  #starts = 1;
  #rows = Object.assign(new Map<string, Row>(), { starts: 1 });
  #step = carryOut({
    ...APPLY_DEFAULTS,
    partitions: 1,
    incarnation: 0,
    genesis: { concreteType: 'kv', trieType: 'trie' },
  });
  readonly #effects: ReturnType<typeof effectsOver>;
  #offset = 0;
  #wallTime = 1_000_000;

  constructor(shards: Provisioner) {
    this.#effects = effectsOver(shards, { rowsPerWrite: 100, partitions: 1, kindOf });
  }

  tick(): object {
    this.#wallTime += 1_000;
    return { topic: 'clock', value: { eventTime: 0, wallTime: this.#wallTime } };
  }

  command(at: number, body: Command['body']): object {
    const id = `command-${this.#offset}`;
    const value = { id, epoch: epoch(at), reason: '', deadline: eventTime(0), term: 1, planner: 'p', body };
    return { topic: 'commands', value };
  }

  /** One batch: all inputs are stepped, then all that they ask for is performed. */
  async take(...inputs: readonly object[]): Promise<void> {
    let pending: Effect[] = [];
    const step = (input: object): void => {
      const given = { partition: 0, key: '', offset: this.#offset++, ...input };
      for (const { topic, value } of this.#step(this.#rows, given as never)) {
        if (topic === 'effects') pending.push(value as Effect);
        else this.#heard((value as Progress).body);
      }
    };
    inputs.forEach(step);
    if (this.#kept === undefined && this.keeps(pending)) this.#kept = pending;
    if (this.pauses) return;
    while (pending.length > 0) {
      const some = pending;
      pending = [];
      for (const value of await this.#effects.perform(some)) step({ topic: 'outcomes', value });
    }
  }

  async wake(): Promise<void> {
    expect(this.#kept).toBeDefined();
    await this.#effects.perform(this.#kept!);
  }

  copy(): Map<string, Row> {
    return new Map([...this.#rows].map(([key, row]) => [key, partitionStates.decode(partitionStates.encode(row))]));
  }

  /** The rows as they were last committed; each start has a number of its own (task.ts K10). */
  restart(rows = this.copy()): void {
    const again = new Map([...rows].map(([key, row]) => [key, partitionStates.decode(partitionStates.encode(row))]));
    this.#rows = Object.assign(again, { starts: ++this.#starts });
  }

  #heard(body: Progress['body']): void {
    if (body.kind === 'MoveProgress') this.state = body.state;
  }
}
