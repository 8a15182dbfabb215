// SPAR, sparse periodic auto-regression (Taft et al., P-Store, SIGMOD 2018): the same time on the days before, and the
// distance of the last steps from it. y(t + k) = sum of a_i y(t + k - iT) + sum of b_j (y(t - j) - mean over i of y(t -
// j - iT)). P-Store takes seven days and thirty minutes; ours takes the days that are held, and fits by robust ridge
// regression.

import { direct, type Features } from './direct.ts';

const RECENT = 12;
/** Number of days that each variant reads. */
const DAYS = [1, 3, 7] as const;

const features: Features = {
  name: 'spar',
  variantOf(grid, begin, end) {
    const seasons = (end - begin) / grid.season;
    return seasons >= 9 ? 2 : seasons >= 5 ? 1 : seasons > 1.1 ? 0 : undefined;
  },
  reach: (grid, variant) => DAYS[variant]! * grid.season + RECENT,
  width: (variant) => (DAYS[variant] ?? 7) + RECENT,
  fitEvery: (grid) => grid.season,
  originSize: RECENT,
  fixed: (variant) => ({ from: 0, at: DAYS[variant] ?? 7, count: RECENT }),
  look(reader, { season }, variant, step, origin) {
    const days = DAYS[variant]!;
    for (let j = 0; j < RECENT; j++) {
      let usual = 0;
      for (let i = 1; i <= days; i++) usual += reader.far(step - j - i * season) / days;
      origin[j] = reader.near(step - j) - usual;
    }
  },
  write(reader, { season }, variant, step, ahead, _kept, _origin, into) {
    const days = DAYS[variant]!;
    const newest = step + ahead - season * Math.ceil(ahead / season);
    let mean = 0;
    for (let i = 0; i < days; i++) {
      into[i] = reader.far(newest - i * season);
      mean += into[i]! / days;
    }
    for (let i = 0; i < days; i++) into[i]! -= mean;
    return mean;
  },
};

export const spar = direct(features);
