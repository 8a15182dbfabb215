import { beforeEach, describe, expect, test } from 'vitest';
import { LostShards } from '../../runtime/lost-shards.ts';
import type { OutRecord } from '../../runtime/ports.ts';
import type { Meter } from '../../runtime/telemetry.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { shardId } from '../../schemas/ids.ts';
import { CountingMeter } from '../support/drive.ts';

const SHARD = shardId('shard-0001');

describe('a shard whose data is gone', () => {
  const logged: string[] = [];
  const told: string[] = [];
  let isAway = false;
  let isNamed = true;
  let gauge: number | undefined;
  let meter: Meter;
  let shards: LostShards;
  const append = async (records: readonly OutRecord[]): Promise<void> => {
    if (isAway) throw new Error('the log is away');
    for (const { topic, key, value } of records) {
      const { body } = jsonCodec.decode('Progress', value!) as { body: { state: string; reason: string } };
      told.push(`${topic} ${key} ${body.state} ${body.reason}`.trim());
    }
  };
  const note = (level: string) => (facts: object, message: string) =>
    logged.push(`${level} ${JSON.stringify(facts)} ${message}`);
  beforeEach(() => {
    logged.length = 0;
    told.length = 0;
    isAway = false;
    isNamed = true;
    meter = Object.assign(new CountingMeter(), {
      set(_name: string, value: number) {
        gauge = value;
      },
    });
    const logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
    shards = new LostShards({ log: { append }, codec: jsonCodec, logger, meter, isNamed: () => isNamed });
  });
  const passed = () => new Promise((resolve) => setImmediate(resolve));

  test('is told once to the planner, the log and the operator, and so is its coming back', async () => {
    for (let i = 0; i < 3; i++) {
      shards.lost(SHARD, 'it is empty');
      await passed();
    }
    expect(told).toEqual(['progress shard-0001 LOST it is empty']);
    expect(logged).toEqual([expect.stringMatching(/^error .*shard-0001.*it is empty.* a shard has lost its data/)]);
    expect(shards.reasons()).toEqual(['shard-0001: it is empty']);
    for (let i = 0; i < 3; i++) {
      shards.found(SHARD, false);
      await passed();
    }
    expect(told.slice(1)).toEqual(['progress shard-0001 FOUND']);
    expect(logged).toHaveLength(2);
    expect(shards.reasons()).toEqual([]);
  });

  test('holds nobody up once no pointer names it: what it held is elsewhere', () => {
    shards.lost(SHARD, 'it is empty');
    expect(shards.reasons()).toHaveLength(1);
    isNamed = false;
    shards.report();
    expect(shards.reasons()).toEqual([]);
    expect(gauge).toBe(0);
    isNamed = true;
    shards.report();
    expect(gauge).toBe(1);
  });

  test('is told until the log has it', async () => {
    isAway = true;
    shards.lost(SHARD, 'it is empty');
    await passed();
    expect(told).toEqual([]);
    isAway = false;
    shards.lost(SHARD, 'it is empty');
    await passed();
    expect(told).toEqual(['progress shard-0001 LOST it is empty']);
    expect(logged).toHaveLength(1);
  });

  test('a shard that is there is told of after a start alone: the planner may believe it lost', async () => {
    shards.found(SHARD, false);
    await passed();
    expect(told).toEqual([]);
    shards.found(SHARD, true);
    shards.found(SHARD, true);
    await passed();
    expect(told).toEqual(['progress shard-0001 FOUND']);
    expect(logged).toEqual([]);
  });
});
