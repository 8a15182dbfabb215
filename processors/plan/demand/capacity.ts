// Capacity: which shards get too full, and when. The upper quantile of the forecast is held against safe capacity, and
// what is measured now counts as a crossing now: the reactive net under the forecast.

import { type EventTime, eventTime } from '../../../schemas/ids.ts';
import type { Board, BoardShard } from '../cluster/board.ts';
import { overloadDollars } from '../costs/cost.ts';
import { type Outline, riskAt } from './outline.ts';

/** A shard that is, or is forecast to be, above safe capacity. */
export interface Trouble {
  /** When capacity is crossed; now for a measured overload. */
  readonly crossingAt: EventTime;
  readonly measured: boolean;
  readonly peakPerSecond: number;
  /** Safe capacity. */
  readonly capacityPerSecond: number;
  /** Share of the shard that must go, in `dimension`. */
  readonly excess: number;
  readonly dimension: Outline['dimension'];
  readonly utilisation: number;
  /** What doing nothing would cost over the horizon, as expected. */
  readonly overloadDollars: number;
}

/** The shard's trouble, or `undefined` when it stays below safe capacity over the whole horizon. */
export function troubleOf(board: Board, shard: BoardShard): Trouble | undefined {
  const outline = board.outline(shard);
  if (outline.crossingStep < 0) return undefined;
  const { settings, snapshot } = board;
  const bucketMs = settings.horizonMs / settings.horizonSteps;
  const capacityPerSecond = settings.safeUtilisation * shard.type.operationsPerSecond;
  const measured = outline.dimension !== 'operations' || shard.nowPerSecond * shard.calibration > capacityPerSecond;
  const trouble = {
    crossingAt: eventTime(measured ? snapshot.now : Math.floor(snapshot.now + outline.crossingStep * bucketMs)),
    measured,
    peakPerSecond: outline.peakPerSecond,
    capacityPerSecond,
    excess: outline.utilisation - settings.safeUtilisation,
    dimension: outline.dimension,
    utilisation: outline.utilisation,
  };
  return { ...trouble, overloadDollars: expectedOverloadDollars(board, shard, trouble, settings.horizonMs) };
}

/** What the trouble is expected to cost from now until something has taken effect: each bucket by its risk of overload. */
export function expectedOverloadDollars(
  board: Board,
  shard: BoardShard,
  trouble: Pick<Trouble, 'measured' | 'dimension'>,
  untilMs: number,
): number {
  const { horizonMs, horizonSteps } = board.settings;
  const bucketMs = horizonMs / horizonSteps;
  let overloadedMs = 0;
  for (let k = 0; k < horizonSteps && k * bucketMs < untilMs; k++) {
    const certain = trouble.dimension !== 'operations' || (trouble.measured && k === 0);
    overloadedMs += (certain ? 1 : riskAt(shard, k, board.settings)) * Math.min(bucketMs, untilMs - k * bucketMs);
  }
  return overloadDollars(overloadedMs, board.settings);
}

/** Shards in trouble, as measured or by the forecast alone, worst first. */
export function troubledShards(board: Board, measured: boolean): BoardShard[] {
  return [...board.shards.values()]
    .map((shard) => ({ shard, trouble: troubleOf(board, shard) }))
    .filter(({ trouble }) => trouble?.measured === measured)
    .sort((a, b) => b.trouble!.utilisation - a.trouble!.utilisation || (a.shard.id < b.shard.id ? -1 : 1))
    .map(({ shard }) => shard);
}

/** The trouble in words. */
export function troubleText(trouble: Trouble, shard: BoardShard, now: EventTime): string {
  const percent = Math.round(trouble.utilisation * 100);
  if (trouble.dimension !== 'operations') return `${shard.id} is ${percent} % full of ${trouble.dimension}`;
  const when = trouble.measured ? 'now, as measured' : `${soonText(trouble.crossingAt - now)} by the forecast`;
  return `${shard.id} goes above its safe ${Math.round(trouble.capacityPerSecond)} operations/s ${when}, to ${percent} % of its capacity`;
}

const soonText = (ms: number): string => (ms < 60_000 ? 'within a minute' : `in ${Math.round(ms / 60_000)} min`);
