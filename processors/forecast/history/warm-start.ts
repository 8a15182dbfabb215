// Warm start: for each prefix the series that has been counted longest, from which a new series of the same prefix begins:
// devices of one fleet behave alike long before each has a day of its own.
//
//   L1. The nearest prefix counts first: `t/eu/cam/7` looks under `t/eu/cam/`, then under `t/eu/`.
//   L2. Bounded by the series that there are: two prefixes for each.

import type { SeriesId } from '../../../schemas/ids.ts';

export class WarmStart {
  readonly #byPrefix = new Map<string, SeriesId>();

  /** Takes in a series that has learned enough to teach. */
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

/** All but the last level, and the first one. */
function prefixesOf(series: SeriesId): readonly string[] {
  const nearest = series.slice(0, series.lastIndexOf('/', series.length - 2) + 1);
  const kind = series.indexOf('/') + 1;
  const first = series.slice(0, series.indexOf('/', kind) + 1);
  return first === '' || first === nearest ? [nearest] : [nearest, first];
}
