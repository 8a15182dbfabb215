// Axis: where the ticks of a picture stand and what they say: values at round numbers, times at round times of the clock.

export interface Tick {
  readonly at: number;
  readonly label: string;
}

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;
/** Between two ticks, in seconds. */
const TIME_STEPS = [
  1,
  5,
  15,
  30,
  MINUTE,
  5 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  28 * DAY,
  91 * DAY,
  364 * DAY,
];
/** Times before 1971 count from the trace's beginning: it has no clock. */
const CLOCK_FROM = 365 * DAY;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Round times from `from` to `to`, in Unix seconds (UTC), at most `stepsMax` steps from the first to the last. */
export function timeTicks(from: number, to: number, stepsMax: number): Tick[] {
  const step = TIME_STEPS.find((each) => (to - from) / each <= stepsMax) ?? TIME_STEPS.at(-1)!;
  const ticks: Tick[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step)
    ticks.push({ at, label: step >= DAY || at % DAY === 0 ? dayText(at) : clockText(at) });
  return ticks;
}

/** `3 Jul`, or `day 12` without a clock. */
export function dayText(seconds: number): string {
  if (seconds < CLOCK_FROM) return `day ${Math.floor(seconds / DAY) + 1}`;
  const date = new Date(seconds * 1000);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

/** `06:00`. */
export const clockText = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(11, 16);

/** `5 min`. */
export function durationText(seconds: number): string {
  for (const [unit, name] of [
    [DAY, 'd'],
    [HOUR, 'h'],
    [MINUTE, 'min'],
  ] as const)
    if (seconds >= unit && seconds % (unit / 2) === 0) return `${seconds / unit} ${name}`;
  return `${seconds} s`;
}

/** Three to seven round numbers from 0 up to `top`. */
export function valueTicks(top: number): Tick[] {
  const rough = top / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((each) => each * magnitude >= rough)! * magnitude;
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, index) => tick(index * step));
}

/** 0 and the powers of ten up to `top`, from what is worth telling from 0 on. */
export function logTicks(unit: number, top: number): Tick[] {
  const ticks = [tick(0)];
  for (let value = 10 ** Math.ceil(Math.log10(unit)); value <= top; value *= 10) ticks.push(tick(value));
  return ticks;
}

const tick = (at: number): Tick => ({ at, label: valueText(at) });

/** `1.2k`, `35M`. */
function valueText(value: number): string {
  for (const [unit, name] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const)
    if (value >= unit) return `${Number((value / unit).toPrecision(3))}${name}`;
  return String(Number(value.toPrecision(3)));
}
