// `foreshard provision`: what our settings and simple reference policies would have paid for the traces of a
// protocol, and how often they would have had too few shards.
//
//   R1. The same files give the same rows.
//   R2. A file that cannot be written is reported before the forecasts are made, which takes minutes.

import { dirname } from 'node:path';
import { planned, SETTING_NAMES } from '../evaluation/provision/planned.ts';
import { type ProvisionSeries, parseProtocol } from '../evaluation/provision/protocol.ts';
import { REFERENCES } from '../evaluation/provision/references.ts';
import { type Outcome, scoreOf } from '../evaluation/provision/resource.ts';
import {
  meansOf,
  type PolicyMean,
  parseScores,
  rowOf,
  type ScoreRow,
  scoreFile,
} from '../evaluation/provision/scores.ts';
import { claim, textIn, write } from './files.ts';
import type { Output } from './output.ts';
import { casesIn, type SeriesCase } from './protocol-traces.ts';
import { table } from './text.ts';
import { watch } from './watched.ts';

export interface ProvisionCommand {
  readonly protocol: string;
  /** Folder of the traces; by default the protocol file's. */
  readonly traces?: string;
  /** A policy's name, or `all`. */
  readonly policy: string;
  /** File that the rows are written to. */
  readonly out?: string;
  /** File of reference scores, to print beside ours. */
  readonly baselines?: string;
  /** Data sets whose names begin with these are left out of the means. */
  readonly except: readonly string[];
}

const POLICIES: readonly string[] = [...SETTING_NAMES, ...REFERENCES.keys()];

/** The problem with a name that is neither `all` nor a policy's; `undefined` for a valid one. */
export const policyProblem = (name: string): string | undefined =>
  name === 'all' || POLICIES.includes(name) ? undefined : `it must be all, or one of ${POLICIES.join(', ')}`;

type Case = SeriesCase<ProvisionSeries>;

const BAR = '{bar} {percentage} %  {series}';
/** Rows between two updates of the progress bar. */
const BAR_EVERY = 64;

export async function provision(command: ProvisionCommand, output: Output): Promise<void> {
  const { protocol, traces = dirname(protocol) } = command;
  const cases = casesIn(parseProtocol(textIn(protocol, 'PROTOCOL_INVALID'), protocol), traces, protocol);
  const known =
    command.baselines === undefined
      ? []
      : parseScores(textIn(command.baselines, 'PROTOCOL_INVALID'), command.baselines);
  const { out } = command;
  if (out !== undefined) claim(out); // R2
  const rows = await run(cases, command.policy === 'all' ? POLICIES : [command.policy], output);
  if (out !== undefined) write(out, scoreFile(rows));

  const isCounted = ({ dataset }: ScoreRow): boolean => !command.except.some((start) => dataset.startsWith(start));
  const means = meansOf(rows.filter(isCounted));
  const knownMeans = meansOf(known.filter(isCounted));
  output.json({ rows, means, baselines: knownMeans });
  const without = command.except.length === 0 ? '' : `, without ${command.except.join(', ')}`;
  output.line(`${cases.length} series; means over data sets${without}.\n`);
  output.lines(table(meansTable(means, knownMeans)));
  if (known.length > 0) {
    output.line('\nEvery series, beside the reference of the same name where there is one.\n');
    output.lines(table(rowsTable(rows, known)));
  }
  if (command.out !== undefined) output.line(`\n${rows.length} rows in ${command.out}.`);
}

/** Rows by series, and for each series by policy. */
async function run(cases: readonly Case[], policies: readonly string[], output: Output): Promise<ScoreRow[]> {
  const ours = SETTING_NAMES.filter((name) => policies.includes(name));
  const rows: ScoreRow[] = [];
  output.begin(
    cases.reduce((sum, { series }) => sum + series.rows, 0),
    BAR,
    { series: '' },
  );
  let done = 0;
  try {
    for (const { series, values } of cases) {
      const load = { ...series, values };
      const outcomes = new Map<string, Outcome>();
      for (const [name, policy] of REFERENCES)
        if (policies.includes(name) || name === 'oracle') outcomes.set(name, policy(load, series));
      if (ours.length > 0)
        for (const [name, outcome] of await watch(
          planned(load, series, ours),
          (row) => output.progress(done + row, { series: `${series.dataset} ${series.series}` }),
          BAR_EVERY,
        ))
          outcomes.set(name, outcome);
      done += series.rows;
      const oracleHours = scoreOf(load, outcomes.get('oracle')!).shardHours;
      for (const policy of policies)
        rows.push(rowOf(series, policy, scoreOf(load, outcomes.get(policy)!), oracleHours));
    }
  } finally {
    output.end();
  }
  return rows;
}

function meansTable(means: readonly PolicyMean[], known: readonly PolicyMean[]): string[][] {
  const lines = [...means, ...known.filter(({ policy }) => !means.some((mean) => mean.policy === policy))];
  return [
    ['policy', 'shard-hours / oracle', 'short of shards %', 'load lost %', 'shard-hours'],
    ...lines.map(({ policy, vsOracle, underPercent, lostPercent, shardHours }) => [
      policy,
      vsOracle.toFixed(3),
      underPercent.toFixed(2),
      lostPercent.toFixed(2),
      shardHours.toFixed(0),
    ]),
  ];
}

function rowsTable(rows: readonly ScoreRow[], known: readonly ScoreRow[]): string[][] {
  return [
    ['data set', 'series', 'policy', 'shard-hours', 'reference', 'ratio', 'short %', 'reference', 'vs oracle'],
    ...rows.map((row) => {
      const same = known.find(
        ({ dataset, series, policy }) => dataset === row.dataset && series === row.series && policy === row.policy,
      );
      return [
        row.dataset,
        row.series,
        row.policy,
        row.shardHours.toFixed(2),
        same === undefined ? '' : same.shardHours.toFixed(2),
        same === undefined ? '' : (row.shardHours / same.shardHours).toFixed(3),
        row.underPercent.toFixed(3),
        same === undefined ? '' : same.underPercent.toFixed(3),
        row.vsOracle.toFixed(3),
      ];
    }),
  ];
}
