// Golden scenarios of the planner: situation, what we look for, result. A file is a comment, a few lines of situation, a
// line of dashes, and the result. UPDATE_GOLDEN=1 writes results anew; a wrong one we know of is recorded, not hidden.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { shardsOf } from '../../processors/plan/views.ts';
import { type Forecaster, simulate, type World } from '../processors/plan/simulator.ts';

const FOLDER = fileURLToPath(new URL('plan', import.meta.url));

describe('planner scenarios', () => {
  for (const file of readdirSync(FOLDER).sort()) {
    test(file.replace('.txt', ''), () => {
      const path = join(FOLDER, file);
      const [situation, golden] = readFileSync(path, 'utf8').split('\n----\n') as [string, string];
      const result = run(situation);
      if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, `${situation}\n----\n${result}`);
      else expect(result).toBe(golden);
    });
  }
});

function run(situation: string): string {
  const topics: World['topics'][number][] = [];
  let wildcards: World['wildcards'];
  let forecaster: Forecaster = 'perfect';
  let settings: Record<string, number | string> = {};
  let minutes = 0;
  for (const line of situation.split('\n').filter((text) => text !== '' && !text.startsWith('#'))) {
    const [verb, ...rest] = line.split(' ') as [string, ...string[]];
    const named = Object.fromEntries(
      rest.filter((word) => word.includes('=')).map((word) => word.split('=')),
    ) as Record<string, string>;
    if (verb === 'forecaster') forecaster = rest[0] as Forecaster;
    else if (verb === 'settings')
      settings = Object.fromEntries(
        Object.entries(named).map(([key, value]) => [key, Number.isNaN(Number(value)) ? value : Number(value)]),
      );
    else if (verb === 'run') minutes = Number.parseInt(rest[0]!, 10);
    else if (verb === 'wildcards') wildcards = shape(named);
    else if (verb === 'topic') topics.push({ topic: rest[0]!, perSecond: shape(named) });
    else if (verb === 'topics') {
      const count = Number(named.count);
      for (let i = 0; i < count; i++) topics.push({ topic: `fleet/device-${i}`, perSecond: shape(named, count) });
    } else throw new Error(`unknown line: ${line}`);
  }
  const world = {
    topics,
    forecaster,
    heavyPerSecond: 200,
    entriesPerSlice: 10_000,
    settings,
    ...(wildcards === undefined ? {} : { wildcards }),
  };
  return describeResult(simulate(world, minutes));
}

/** Rate by minute: base, with a peak of `peak` from minute `from` to `to` (ramp of `ramp` minutes), or a wave of a period. */
function shape(named: Record<string, string>, share = 1): (minute: number) => number {
  const number = (name: string, fallback: number): number =>
    named[name] === undefined ? fallback : Number(named[name]);
  const base = number('base', 0);
  const peak = number('peak', base);
  const from = number('from', 0);
  const to = number('to', Number.POSITIVE_INFINITY);
  const ramp = number('ramp', 0);
  const period = number('period', 0);
  return (minute) => {
    if (period > 0) return (base + ((peak - base) * (1 - Math.cos((2 * Math.PI * minute) / period))) / 2) / share;
    const rising = ramp === 0 ? Number(minute >= from) : Math.min(1, Math.max(0, (minute - from) / ramp));
    return (minute >= to ? base : base + (peak - base) * rising) / share;
  };
}

function describeResult({
  cell,
  overloadedMinutes,
  quietSinceMinute,
  problems,
  dollars,
}: ReturnType<typeof simulate>): string {
  const count = (kind: string): number => cell.decisions.filter((decision) => decision.kind === kind).length;
  const refused = new Map<string, number>();
  for (const { kind, constraint } of cell.decisions)
    if (kind === 'REFUSE') refused.set(constraint, (refused.get(constraint) ?? 0) + 1);
  const refusals = [...refused]
    .sort()
    .map(([name, times]) => `${name}=${times}`)
    .join(' ');
  return [
    `allocated=${count('ALLOCATE')} resized=${count('RESIZE')} retired=${count('RETIRE')} split=${count('SPLIT')} merged=${count('MERGE')} moves=${count('MOVE')} finished=${count('FINISH')} aborted=${count('ABORT')}`,
    `refused: ${refusals || 'nothing'}`,
    `shards at the end: ${shardsOf(cell.rows)
      .map((shard) => `${shard.shardId}(${shard.datastoreType})=${shard.slices}`)
      .join(' ')}`,
    `overloaded minutes=${overloadedMinutes}  quiet since minute ${quietSinceMinute}  shard cost $${dollars.toFixed(2)}`,
    `broken invariants: ${problems.join('; ') || 'none'}`,
    '',
  ].join('\n');
}
