// `npm run bench -- NAME [--json]`: runs one measurement, or all of them by name when none is given.
// Each prints one line: name, figure, unit, peer, its figure, ratio, bar, met. A bar that is missed makes the exit code 1.

import type { Measurement } from './measurement.ts';

const BENCHES: Readonly<Record<string, () => Promise<readonly Measurement[]>>> = {
  ingest: async () => (await import('./ingest.ts')).ingest(),
  'ingest-embedded': async () => (await import('./ingest.ts')).ingestEmbedded(),
  restore: async () => (await import('./restore.ts')).restore(),
  'look-ups': async () => (await import('./look-ups.ts')).lookUps(),
  memory: async () => (await import('./memory.ts')).memory(),
  sessions: async () => (await import('./sessions.ts')).sessions(),
  'topic-match': async () => (await import('./topic-match.ts')).topicMatch(),
  'pointer-resolve': async () => (await import('./pointer-resolve.ts')).pointerResolve(),
  rates: async () => (await import('./rates-step.ts')).ratesStep(),
  forecast: async () => (await import('./forecast.ts')).forecast(),
  'forecast-million': async () => (await import('./forecast-million.ts')).forecastMillion(),
  plan: async () => (await import('./plan.ts')).planning(),
  rebuild: async () => (await import('./rebuild.ts')).rebuild(),
  'shard-stores': async () => (await import('./shard-stores.ts')).shardStores(),
  'subscription-table': async () => (await import('./subscription-table.ts')).subscriptionTableCost(),
};

const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const json = process.argv.includes('--json');
const unknown = names.find((name) => BENCHES[name] === undefined);
if (names.length === 0 || unknown !== undefined) {
  console.error(
    `${unknown === undefined ? 'name a bench' : `no bench is called ${unknown}`}; there are: ${Object.keys(BENCHES).join(', ')}`,
  );
  process.exit(2);
}
let missed = 0;
for (const name of names) {
  for (const measurement of await measured(name)) {
    console.log(json ? JSON.stringify(measurement) : inWords(measurement));
    if (measurement.met === false) missed++;
  }
}
process.exit(missed === 0 ? 0 : 1);

/** Runs one benchmark. When it cannot run, prints one line with the reason and no stack. */
async function measured(name: string): Promise<readonly Measurement[]> {
  try {
    return await BENCHES[name]!();
  } catch (error) {
    console.error(`${name} could not be measured: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}

function inWords({ name, figure, unit, peer, peerFigure, ratio, bar, met }: Measurement): string {
  const beside = peerFigure === null ? '' : `; ${peer}: ${rounded(peerFigure)} ${unit}; ratio ${rounded(ratio ?? 0)}`;
  const verdict = met === null ? '' : met ? ' (met)' : ' (NOT met)';
  return `${name}: ${rounded(figure)} ${unit}${beside}${bar === '' ? '' : `; bar: ${bar}${verdict}`}`;
}

function rounded(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4)));
}
