// Periodicity: the seasons of a series, found as in AUTOPERIOD (Vlachos, Yu and Castelli, 2005): the spectrum proposes
// periods and the autocorrelation confirms them. Known seasons, those of the clock, need no proposal and are confirmed
// the same way.
//
//   S1. The null hypothesis of the spectrum is red noise: the lag-one correlation is removed first, as in Schulz and
//       Mudelsee (2002), and a peak then has to pass Fisher's g test (1929), the largest first (Whittle, 1952).
//   S2. A season is confirmed when the movements repeat, not the level: the level of a random walk resembles anything.
//   S3. The shortest season is found first, and its shape is removed before a longer one is looked for: a day that
//       repeats is not reported as a week. A harmonic of a longer season is not a season.

export interface Season {
  /** Length, in values. */
  readonly steps: number;
  /** Correlation of the movements with those one season later, -1 to 1. */
  readonly correlation: number;
}

/** Lengths within this share of each other are one season: a spectrum of a few cycles is no more precise. */
export const SAME_SHARE = 0.06;

export interface Periodicity {
  /** The shortest first. */
  readonly seasons: readonly Season[];
  /** For each value, the part that the seasons explain, and the part that neither they nor a straight line explain. */
  readonly shape: Float64Array;
  readonly rest: Float64Array;
}

/** A cycle of fewer than four values is noise. A known season must be seen twice, an unknown one three times. */
const PERIOD_MIN = 4;
const CYCLES_MIN_KNOWN = 2;
const CYCLES_MIN = 3;
/** Probability that noise alone has such a peak somewhere in its spectrum. */
const PEAK_CHANCE_MAX = 0.01;
const PEAKS_MAX = 8;
/** A period that does not divide the length has side peaks within this many cycles of its own. */
const SIDE_CYCLES = 2.5;
/** A season with a lower correlation, or with smaller movements in logs, is of no use. */
const CORRELATION_MIN = 0.35;
const MOVE_MIN = 0.005;
/** How many standard deviations above chance the correlation must be; more for a period that was searched for. */
const DEVIATIONS_KNOWN = 3;
const DEVIATIONS = 4.5;
/** Movements compared in one cycle: with more cycles the blocks may be coarser, and then hold less noise. */
const MOVES = 60;
const MOVES_OF_CYCLE_MIN = 8;
/** At most this many movements are compared; with more the correlation hardly changes. */
const MOVES_MAX = 1_000;
/** The usual movement is taken from this many. */
const SAMPLED = 256;
/** One movement counts for at most this many usual ones: two bursts are no season. */
const CLIP = 4.5;
/** A season is a harmonic of one that is this many times as long when the longer one repeats better by this margin. */
const MULTIPLES = [2, 3, 4] as const;
const HARMONIC_MARGIN = 0.07;

/** Seasons of `values`, logarithms of rates; `known` are lengths to expect. */
export function periodicityOf(values: Float64Array, known: readonly number[]): Periodicity {
  const rest = detrended(values);
  const shape = new Float64Array(values.length);
  const seasons: Season[] = [];
  for (const period of candidatesOf(rest, known)) {
    const sums = sumsOf(rest);
    const block = blockOf(period, values.length);
    const { correlation, deviation } = repeats(sums, period, block);
    const isKnown = known.includes(period);
    const least = Math.max(CORRELATION_MIN, deviation * (isKnown ? DEVIATIONS_KNOWN : DEVIATIONS));
    if (!(correlation >= least)) continue;
    const isHarmonic = MULTIPLES.some(
      (multiple) =>
        multiple * period * CYCLES_MIN_KNOWN <= values.length &&
        repeats(sums, multiple * period, block).correlation > correlation + HARMONIC_MARGIN,
    );
    if (!isKnown && isHarmonic) continue; // S3
    seasons.push({ steps: period, correlation });
    takeOut(rest, period, shape);
  }
  return { seasons, shape, rest };
}

/** The values less the straight line through them. */
function detrended(values: Float64Array): Float64Array {
  const middle = (values.length - 1) / 2;
  let mean = 0;
  for (const value of values) mean += value / values.length;
  let products = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    products += (i - middle) * (values[i]! - mean);
    squares += (i - middle) ** 2;
  }
  const slope = squares > 0 ? products / squares : 0;
  return values.map((value, i) => value - mean - slope * (i - middle));
}

/** Periods to try, ascending: the known ones, and those of the spectrum that are not among them. */
function candidatesOf(values: Float64Array, known: readonly number[]): number[] {
  const found = known.filter((period) => period >= PERIOD_MIN && period * CYCLES_MIN_KNOWN <= values.length);
  for (const peak of peaksOf(values)) {
    const whole = known.find(
      (period) => isSame(peak * Math.round(period / peak), period) && period <= MULTIPLES.at(-1)! * peak,
    );
    // A peak near a whole fraction of a known length is set to that fraction, so that it is recognised as a harmonic.
    const period = whole === undefined ? peak : Math.round(whole / Math.round(whole / peak));
    if (!found.some((other) => isSame(period, other) || isSide(period, other, values.length))) found.push(period);
  }
  return found.sort((a, b) => a - b);
}

const isSide = (period: number, other: number, count: number): boolean =>
  Math.abs(count / period - count / other) < SIDE_CYCLES;

const isSame = (period: number, other: number): boolean => Math.abs(period - other) < SAME_SHARE * other;

/** Periods of the significant peaks, the strongest first (S1). */
function peaksOf(values: Float64Array): number[] {
  const count = values.length;
  if (count < CYCLES_MIN * PERIOD_MIN) return [];
  const power = powerOf(whitened(values));
  const size = 2 * power.length;
  let total = 0;
  for (let bin = 1; bin < power.length; bin++) total += power[bin]!;
  if (!(total > 0)) return [];
  const tops: number[] = [];
  for (let bin = 1; bin < power.length - 1; bin++)
    if (power[bin]! >= power[bin - 1]! && power[bin]! > power[bin + 1]!) tops.push(bin);
  tops.sort((a, b) => power[b]! - power[a]!);
  const periods: number[] = [];
  // Padding has made more bins than there are independent ones.
  const independent = count >> 1;
  for (const bin of tops.slice(0, PEAKS_MAX)) {
    const share = (power[bin]! / total) * (power.length / independent);
    if (independent * (1 - Math.min(1, share)) ** (independent - 1) > PEAK_CHANCE_MAX) break;
    total -= power[bin]!;
    const longest = Math.min(size / (bin - 0.7), count / CYCLES_MIN);
    const period = bestLag(values, Math.max(PERIOD_MIN, size / (bin + 0.7)), longest);
    if (period > 0) periods.push(period);
  }
  return periods;
}

function whitened(values: Float64Array): Float64Array {
  let products = 0;
  let squares = 0;
  for (let i = 1; i < values.length; i++) {
    products += values[i]! * values[i - 1]!;
    squares += values[i - 1]! ** 2;
  }
  const kept = squares > 0 ? Math.min(Math.max(products / squares, 0), 1) : 0;
  return values.map((value, i) => (i === 0 ? 0 : value - kept * values[i - 1]!));
}

/** The lag between `from` and `to` with the highest autocorrelation; long lags are tried in strides. 0 for none. */
function bestLag(values: Float64Array, from: number, to: number): number {
  const stride = Math.max(1, Math.floor(from / 64));
  let best = 0;
  let most = 0;
  for (let lag = Math.round(from); lag <= to; lag += stride) {
    let products = 0;
    let squares = 0;
    for (let i = lag; i < values.length; i += stride) {
      products += values[i]! * values[i - lag]!;
      squares += values[i]! ** 2 + values[i - lag]! ** 2;
    }
    const likeness = squares > 0 ? (2 * products) / squares : 0;
    if (likeness > most) {
      most = likeness;
      best = lag;
    }
  }
  return best;
}

const blockOf = (period: number, count: number): number => {
  const ofCycle = Math.max(MOVES_OF_CYCLE_MIN, MOVES / Math.max(1, count / period - 1));
  return Math.max(1, Math.floor(period / ofCycle));
};

/**
 * S2: the correlation of the movements between blocks with those one period later, and the standard deviation it would
 * have in noise.
 */
function repeats(sums: Float64Array, period: number, block: number): { correlation: number; deviation: number } {
  const length = sums.length - 1 - period;
  const stride = Math.max(block, Math.ceil(length / MOVES_MAX));
  const moves = Math.max(0, Math.floor((length - 2 * block) / stride) + 1);
  const earlier = new Float64Array(moves);
  const later = new Float64Array(moves);
  for (let i = 0; i < moves; i++) {
    earlier[i] = moveAt(sums, i * stride, period, block);
    later[i] = moveAt(sums, i * stride + period, period, block);
  }
  const most = clipOf(earlier);
  let products = 0;
  let squaresEarlier = 0;
  let squaresLater = 0;
  let fourths = 0;
  for (let i = 0; i < moves; i++) {
    const from = Math.min(Math.max(earlier[i]!, -most), most);
    const to = Math.min(Math.max(later[i]!, -most), most);
    products += from * to;
    squaresEarlier += from * from;
    squaresLater += to * to;
    fourths += from ** 4;
  }
  const square = Math.sqrt(squaresEarlier * squaresLater);
  if (!(square > MOVE_MIN ** 2 * moves)) return { correlation: 0, deviation: 1 };
  // A few large movements among many small ones count as no more samples than there are large ones.
  const worth = Math.min(moves, (3 * squaresEarlier ** 2) / fourths);
  return { correlation: products / square, deviation: 1 / Math.sqrt(worth) };
}

/**
 * The movement from one block to the next, less its share of the change over the period around it: growth is no season.
 */
function moveAt(sums: Float64Array, at: number, period: number, block: number): number {
  const last = sums.length - 1 - block;
  const from = Math.min(Math.max(0, at + block - (period >> 1)), last - period);
  const drift = sums[from + period + block]! - sums[from + period]! - sums[from + block]! + sums[from]!;
  return (sums[at + 2 * block]! - 2 * sums[at + block]! + sums[at]! - (drift * block) / period) / block;
}

function clipOf(moves: Float64Array): number {
  const stride = Math.max(1, Math.ceil(moves.length / SAMPLED));
  const sizes = new Float64Array(Math.ceil(moves.length / stride));
  for (let i = 0; i < sizes.length; i++) sizes[i] = Math.abs(moves[i * stride]!);
  const usual = sizes.sort()[sizes.length >> 1] ?? 0;
  // When most movements are zero there is no usual one: the others are not clipped.
  return usual > 0 ? CLIP * usual : Number.POSITIVE_INFINITY;
}

/** Subtracts the mean cycle from `rest` and adds it to `shape`. */
function takeOut(rest: Float64Array, period: number, shape: Float64Array): void {
  for (let phase = 0; phase < period; phase++) {
    let sum = 0;
    let count = 0;
    for (let i = phase; i < rest.length; i += period, count++) sum += rest[i]!;
    for (let i = phase; i < rest.length; i += period) {
      rest[i]! -= sum / count;
      shape[i]! += sum / count;
    }
  }
}

function sumsOf(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length + 1);
  for (let i = 0; i < values.length; i++) sums[i + 1] = sums[i]! + values[i]!;
  return sums;
}

/** The periodogram up to half the sampling rate, by the fast Fourier transform of Cooley and Tukey (1965), padded with zeros. */
function powerOf(values: Float64Array): Float64Array {
  const size = 2 ** Math.ceil(Math.log2(Math.max(4, values.length)));
  const bits = Math.log2(size);
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  for (let i = 0, reversed = 0; i < size; i++) {
    real[reversed] = values[i] ?? 0;
    let bit = size >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed |= bit;
  }
  const cosines = Float64Array.from({ length: size >> 1 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sines = Float64Array.from({ length: size >> 1 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
  for (let level = 1; level <= bits; level++) {
    const half = 2 ** (level - 1);
    const turn = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half)
      for (let k = 0; k < half; k++) {
        const [low, high] = [start + k, start + k + half];
        const [cosine, sine] = [cosines[k * turn]!, sines[k * turn]!];
        const re = real[high]! * cosine - imaginary[high]! * sine;
        const im = real[high]! * sine + imaginary[high]! * cosine;
        real[high] = real[low]! - re;
        imaginary[high] = imaginary[low]! - im;
        real[low]! += re;
        imaginary[low]! += im;
      }
  }
  const power = new Float64Array(size >> 1);
  for (let bin = 1; bin < power.length; bin++) power[bin] = real[bin]! ** 2 + imaginary[bin]! ** 2;
  return power;
}
