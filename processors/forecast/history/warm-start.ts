// Warm start: for each topic prefix, the series that has been counted longest. A new series of the same prefix starts
// from its state: devices of one fleet behave alike long before each has a day of its own.
//
//   L1. The nearest prefix is used: `t/eu/cam/7` looks under `t/eu/cam/`, then under `t/eu/`.
//   L2. Bounded by the number of series: two prefixes for each.

import type { SeriesId } from '../../../schemas/ids.ts';

export class WarmStart {
  readonly #byPrefix = new Map<string, SeriesId>();

  /** Adds a series that is old enough for others to start from. */
  add(series: SeriesId, isKnown: (series: SeriesId) => boolean): void {
    for (const prefix of prefixesOf(series)) {
      const senior = this.#byPrefix.get(prefix);
      if (senior === undefined || !isKnown(senior)) this.#byPrefix.set(prefix, series);
    }
  }

  of(series: SeriesId): SeriesId | undefined {
    for (const prefix of prefixesOf(series)) {
      const senior = this.#byPrefix.get(prefix);
      if (senior !== undefined && senior !== series) return senior;
    }
    return undefined;
  }

  forget(series: SeriesId): void {
    for (const prefix of prefixesOf(series)) if (this.#byPrefix.get(prefix) === series) this.#byPrefix.delete(prefix);
  }
}

/** The prefixes of a topic: all but the last level, and the first level. */
function prefixesOf(series: SeriesId): readonly string[] {
  const nearest = series.slice(0, series.lastIndexOf('/', series.length - 2) + 1);
  const kind = series.indexOf('/') + 1;
  const first = series.slice(0, series.indexOf('/', kind) + 1);
  return first === '' || first === nearest ? [nearest] : [nearest, first];
}
