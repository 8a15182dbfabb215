// `foreshard what-if`: what a fleet whose load follows your traces would cost under the planner, under policies that anybody
// could run, and under a planner that knew the future.
//
//   R1. Same files, same seed, same result.
//   R2. What cannot be read or written is told before anything is run, which takes minutes.

import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { svgOf } from '../evaluation/edge/svg.ts';
import { parseTrace, type Trace } from '../evaluation/trace.ts';
import { lastMinutes, minutesIn, type Played } from '../evaluation/what-if/minutes.ts';
import { whatIfPicture } from '../evaluation/what-if/picture.ts';
import { minutesOf, POLICIES, SETTLE_MINUTES, type WhatIfResult, whatIf } from '../evaluation/what-if/run.ts';
import { PLAN_DEFAULTS } from '../processors/plan/settings.ts';
import { AppError } from '../schemas/errors.ts';
import { claim, reading, textIn, write } from './files.ts';
import type { Output } from './output.ts';
import { dollarsText, numberText, table } from './text.ts';
import { watch } from './watched.ts';

export interface WhatIfCommand {
  /** A trace, or a folder of traces. */
  readonly traces: string;
  /** '' for the example. */
  readonly catalog: string;
  /** A policy's name, or `all`. */
  readonly policy: string;
  readonly seed: number;
  /** Paid for: the last ones of the traces. */
  readonly hours: number;
  /** Files whose names begin so are left out. */
  readonly except: readonly string[];
  readonly out?: string;
  readonly svg?: string;
}

/** Hours before the run that forecasts learn from, when the traces have them: the days that a daily wave needs to show. */
const LEARN_HOURS = 96;
const BAR = '{bar} {percentage} %  {policy}';
/** Minutes between two looks at the bar. */
const BAR_EVERY = 16;

/** What is wrong with a name that is neither `all` nor a policy's. */
export const whatIfPolicyProblem = (name: string): string | undefined =>
  name === 'all' || POLICIES.includes(name) ? undefined : `it must be all, or one of ${POLICIES.join(', ')}`;

export async function runWhatIf(command: WhatIfCommand, output: Output): Promise<void> {
  const catalog = readCatalog(command.catalog);
  const { played, learnMinutes, skipped } = playedOf(command);
  const files = [command.out, command.svg].filter((file) => file !== undefined);
  for (const file of files) claim(file); // R2
  const policies = command.policy === 'all' ? POLICIES : [command.policy];
  const run = { played, learnMinutes, catalog, seed: command.seed, policies };
  output.begin(minutesOf(run), BAR, { policy: '' });
  let result: WhatIfResult;
  try {
    result = await watch(whatIf(run), ({ done, policy }) => output.progress(done, { policy }), BAR_EVERY);
  } finally {
    output.end();
  }
  const rows = result.results.map(({ policy, score }) => ({ policy, ...score }));
  const { out, svg } = command;
  if (out !== undefined) write(out, csvOf(rows));
  if (svg !== undefined) write(svg, await svgOf(whatIfPicture(result, basename(command.traces))));
  const { series, topics, entries } = result;
  const learnHours = learnMinutes / 60;
  output.json({ seed: command.seed, hours: command.hours, learnHours, series, topics, entries, policies: rows });
  output.line(
    `${series} series as ${numberText(topics)} topics with ${numberText(entries)} subscriptions, ${command.hours} hours after ${numberText(learnHours, 1)} to learn from; a shard above its capacity costs ${dollarsText(PLAN_DEFAULTS.dollarsPerOverloadedHour)} an hour.\n`,
  );
  if (skipped.length > 0) output.line(`Not traces, and left out: ${skipped.join(', ')}.\n`);
  output.lines(table(rowsTable(rows)));
  for (const file of files) output.line(`\nWritten: ${file}`);
}

type Row = { readonly policy: string } & WhatIfResult['results'][0]['score'];

const rowsTable = (rows: readonly Row[]): string[][] => [
  [
    'policy',
    'dollars',
    'running',
    'provisioning',
    'moving',
    'violations',
    'above capacity s',
    'moves',
    'keys moved %/h',
    'peak to mean',
    'shard-hours',
    'shards at most',
  ],
  ...rows.map((row) => [
    row.policy,
    ...[row.dollars, row.runningDollars, row.provisioningDollars, row.movingDollars, row.violationDollars].map(
      dollarsText,
    ),
    numberText(row.violationSeconds),
    numberText(row.moves),
    row.churnPercent.toFixed(2),
    row.peakToMean.toFixed(2),
    row.shardHours.toFixed(1),
    numberText(row.shardsMax),
  ]),
];

function csvOf(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0]!);
  return `${[columns, ...rows.map((row) => Object.values(row))].map((cells) => cells.join(',')).join('\n')}\n`;
}

/** Every series of the traces, cut to the minutes that all of them have. */
function playedOf({ traces, except, hours }: WhatIfCommand): {
  readonly played: Played[];
  readonly learnMinutes: number;
  readonly skipped: readonly string[];
} {
  const { read, skipped } = tracesIn(traces, except);
  const runMinutes = hours * 60;
  let minutes = runMinutes + LEARN_HOURS * 60;
  for (const { file, trace } of read) {
    const has = minutesIn(trace.seconds.length, trace.stepSeconds);
    if (has < runMinutes + SETTLE_MINUTES)
      throw new AppError(
        'TRACE_INVALID',
        `${file}, line ${trace.seconds.length + 1}: the trace ends after ${numberText(has / 60, 1)} hours; ${hours} hours and ${SETTLE_MINUTES / 60} before them to settle need more, so give fewer --hours`,
        { file, line: trace.seconds.length + 1 },
      );
    minutes = Math.min(minutes, has);
  }
  const played = read.flatMap(({ file, trace }) =>
    trace.series.map((series, column) => ({
      name: `${basename(file, '.csv')}.${series}`,
      perMinute: lastMinutes(trace.values[column]!, trace.stepSeconds, minutes),
    })),
  );
  return { played, learnMinutes: minutes - runMinutes, skipped };
}

interface ReadTrace {
  readonly file: string;
  readonly trace: Trace;
}

/** The trace, or those in the folder: files that begin as one. */
function tracesIn(path: string, except: readonly string[]): { read: ReadTrace[]; skipped: string[] } {
  const traceOf = (file: string): ReadTrace => ({ file, trace: parseTrace(textIn(file, 'TRACE_INVALID'), file) });
  if (!isFolder(path)) return { read: [traceOf(path)], skipped: [] };
  const names = readdirSync(path)
    .filter((name) => name.endsWith('.csv') && !except.some((start) => name.startsWith(start)))
    .sort();
  const isTrace = (name: string): boolean => /^t\s*,/.test(textIn(join(path, name), 'TRACE_INVALID'));
  const found = names.filter(isTrace);
  if (found.length === 0)
    throw new AppError('TRACE_INVALID', `${path} has no trace: no .csv file in it begins with t,<series>`, { path });
  return {
    read: found.map((name) => traceOf(join(path, name))),
    skipped: names.filter((name) => !found.includes(name)),
  };
}

const isFolder = (path: string): boolean => reading(path, 'TRACE_INVALID', () => statSync(path).isDirectory());
