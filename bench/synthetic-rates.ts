// Synthetic rates: minutes of a series with a daily and a weekly season, noise and occasional bursts, from a seed.

import { randomFrom } from '../evaluation/random.ts';

const DAY = 1_440;

/** Rate per second in each of `minutes` minutes. */
export function syntheticRates(minutes: number, seed: number): Float64Array {
  const random = randomFrom(seed);
  const level = 10 * 1.5 ** (10 * random());
  const shift = random() * DAY;
  const noise = 0.05 + 0.3 * random();
  const rates = new Float64Array(minutes);
  let burst = 0;
  for (let minute = 0; minute < minutes; minute++) {
    const wave = 1 + 0.6 * Math.sin((2 * Math.PI * (minute + shift)) / DAY);
    const weekend = Math.floor(minute / DAY) % 7 >= 5 ? 0.6 : 1;
    burst = random() < 1 / 3_000 ? 3 : burst * 0.9;
    rates[minute] = Math.max(0, level * wave * weekend * (1 + noise * (random() + random() - 1)) * (1 + burst));
  }
  return rates;
}
