// Prediction cache: the last forecast of each series and signal, from the compacted `forecasts` topic, and the choice
// of the one that applies to a topic. Every instance holds it in memory: a topic's own series and those that contain it
// belong to different tasks, so no single owner could choose among them.
//
//   P1. A series is chosen as the rates stage counts: a topic's own, else its leaf; a first level's group, else the
//       rest of its partition. A series that forecasts zero is passed over: it is no longer counted, or has no traffic.
//   P2. Bounded: beyond `forecastsMax` the one that was renewed longest ago is dropped; silent series are renewed
//       seldom.

import type { Partition, SeriesId } from '../schemas/ids.ts';
import type { Forecast, Signal } from '../schemas/records.ts';
import { filterHash, groupSeries, leadingBits, leafSeries, partitionOf, placeOf, topicSeries } from '../state/keys.ts';
import type { TopicForecast } from './views.ts';

/** Settings of the rates stage (RatesSettings). */
export interface SeriesSettings {
  readonly partitions: number;
  readonly leafBits: number;
  /** A topic gets a series of its own from this share of its partition's events and this rate on. */
  readonly heavy: { readonly share: number; readonly perSecond: number };
}

/** Some 6 KiB each. Eight partitions with all their heavy series have 3,000 or so. */
export const FORECASTS_MAX = 20_000;

/** One event a minute: a heavy series has many times more. */
const SILENT_PER_SECOND = 1 / 60;

export class PredictionCache {
  readonly #settings: SeriesSettings;
  readonly #forecastsMax: number;
  /** By the topic's key, `<series>|<signal>`; the one renewed longest ago first. */
  readonly #forecasts = new Map<string, Forecast>();

  constructor(settings: SeriesSettings, forecastsMax = FORECASTS_MAX) {
    this.#settings = settings;
    this.#forecastsMax = forecastsMax;
  }

  get size(): number {
    return this.#forecasts.size;
  }

  /** Takes in one record of the topic; `null` removes its key. */
  take(key: string, forecast: Forecast | null): void {
    this.#forecasts.delete(key);
    if (forecast === null) return;
    this.#forecasts.set(key, forecast);
    if (this.#forecasts.size > this.#forecastsMax) this.#forecasts.delete(this.#forecasts.keys().next().value!); // P2
  }

  /** The forecast for this valid topic or filter; `undefined` when none of its series has one. */
  expected(filter: string, signal: Signal): TopicForecast | undefined {
    const found = this.#seriesOf(filter).flatMap((series) => this.#forecasts.get(`${series}|${signal}`) ?? []);
    const forecast = found.find((each) => peakOf(each) >= SILENT_PER_SECOND) ?? found.at(-1); // P1
    if (forecast === undefined) return undefined;
    const isLeaf = forecast.series.startsWith('c/');
    return { series: forecast.series, share: isLeaf ? this.#largestShare(forecast) : 1, forecast };
  }

  /** The series that may count this filter, the most specific first. */
  #seriesOf(filter: string): readonly SeriesId[] {
    const place = placeOf(filter);
    const partition: Partition = partitionOf(place.routingKey, this.#settings.partitions);
    if (!place.trie)
      return [topicSeries(filter), leafSeries(partition, leadingBits(filterHash(filter), this.#settings.leafBits))];
    if (place.prefix === '') return [groupSeries(partition)];
    return [groupSeries(partition, `${place.routingKey}/`), groupSeries(partition)];
  }

  /**
   * How many filters share a leaf is not known, but a topic with more than `heavy` would have a series of its own.
   * Leaves are divided by hash, so each is taken to be an equal part of its partition.
   */
  #largestShare(leaf: Forecast): number {
    const { leafBits, heavy } = this.#settings;
    return Math.min(1, Math.max(heavy.share * 2 ** leafBits, heavy.perSecond / peakOf(leaf)));
  }
}

/** The highest rate expected: the last measured one, or the median of a coming step. */
function peakOf({ currentPerSecond, levels, quantiles }: Forecast): number {
  const middle = Math.max(
    0,
    levels.findIndex((level) => level >= 0.5),
  );
  let peak = currentPerSecond;
  for (let at = middle; at < quantiles.length && levels.length > 0; at += levels.length)
    peak = Math.max(peak, quantiles[at]!);
  return peak;
}
