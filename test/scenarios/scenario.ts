// Scenario: the few words that a golden file describes a situation with, and the result in lines. A line is a verb with
// name=value pairs; minutes count from the beginning.
//
//   settings name=value ...            of the planner
//   forecaster perfect|late|none|broken|noise
//   topics count=N base= peak= ...     N even topics that share a rate (operations per second)
//   topic NAME [writes=yes] ...        one topic, and what is asked of it: look-ups, or changes
//   wildcards base= peak= ...          look-ups in filters that begin with a wildcard
//   group LEVEL [writes=yes] ...       look-ups in, or changes of, filters under one first level
//     shapes: from= to= ramp= (a step, or a slope)   period= (a wave)   hourly=1.1 (growth)   shift= (minutes later)
//     bytes= clients=   of each message, and for each write per second
//   limits TYPE clientsMax= ...        of a type of the catalogue: further fields of it
//   sweep count=N peak= each=          N topics, one after the other, each busy for so many minutes
//   world provisioning= copy= keys=    minutes, seconds, keys of a slice
//   prices at= TYPE=                   dollars an hour from then on
//   soldout TYPE from= to=             shards of that type fail
//   silent broker|apply from= to=      nothing is heard of it
//   hot SHARD from= to= measured=      the store measures itself so full, whatever it is asked
//   answer APPROVE|REJECT at=          a person answers the plan that waits
//   cell NAME                          what follows is of that cell alone; each has a result
//   run 120m

import type { Cell } from '../../evaluation/what-if/cell.ts';
import { type Catalog, catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { cellOf } from '../../processors/plan/stage/cell-state.ts';
import { shardsOf } from '../../processors/plan/stage/views.ts';
import { eventTime, planId, shardId } from '../../schemas/ids.ts';
import type { Decision, PlanVerdict } from '../../schemas/records.ts';
import { CATALOG, T0 } from '../processors/plan/stage-by-hand.ts';
import { type Forecaster, type Result, simulate, type World } from '../processors/plan/world.ts';

const MINUTE = 60_000;
/** Lines of what was done that a result shows. */
const STEPS_MAX = 24;

type Named = Readonly<Record<string, string>>;
type Happening = (cell: Cell, minute: number) => void;
type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Runs the situation; its result in lines, for each of its cells. */
export function resultOf(situation: string): string {
  const [common, ...cells] = situation.split(/^cell (?=\w+$)/m) as [string, ...string[]];
  if (cells.length === 0) return resultOfCell(common);
  const run = situation.split('\n').filter((line) => line.startsWith('run '));
  const sections = cells.map((section) => section.split('\n'));
  return sections
    .map(([name, ...lines]) => `${name}\n${resultOfCell([common, ...lines, ...run].join('\n'))}`)
    .join('\n');
}

function resultOfCell(situation: string): string {
  const world: Mutable<World> & { topics: World['topics'][number][] } = {
    topics: [],
    forecaster: 'perfect',
    heavyPerSecond: 200,
    entriesPerSlice: 10_000,
  };
  const happenings: Happening[] = [];
  let minutes = 0;
  for (const line of situation.split('\n').filter((text) => text !== '' && !text.startsWith('#'))) {
    const [verb, ...rest] = line.split(/ +/) as [string, ...string[]];
    const named: Named = Object.fromEntries(rest.filter((word) => word.includes('=')).map((word) => word.split('=')));
    const [first = ''] = rest;
    if (verb === 'run') minutes = Number.parseInt(first, 10);
    else if (verb === 'forecaster') world.forecaster = first as Forecaster;
    else if (verb === 'settings') world.settings = { ...world.settings, ...settingsOf(named) };
    else if (verb === 'topics') world.topics.push(...evenTopics(named));
    else if (verb === 'topic') world.topics.push({ topic: first, perSecond: shape(named), ...asked(named) });
    else if (verb === 'limits') world.settings = { ...world.settings, catalog: limited(world, first, named) };
    else if (verb === 'sweep') world.topics.push(...sweep(named));
    else if (verb === 'wildcards') world.wildcards = shape(named);
    else if (verb === 'group') world.groups = [...(world.groups ?? []), groupOf(first, named)];
    else if (verb === 'world') Object.assign(world, worldOf(named));
    else if (verb === 'soldout') world.isSoldOut = (type, minute) => type === first && during(named, minute);
    else if (verb === 'silent') world.isSilent = (who, minute) => who === first && during(named, minute);
    else happenings.push(happening(verb, first, named));
  }
  world.meanwhile = (cell, minute) => {
    for (const happen of happenings) happen(cell, minute);
  };
  return linesOf(simulate(world, minutes), world.entriesPerSlice).join('\n');
}

const settingsOf = (named: Named): Record<string, number | string> =>
  Object.fromEntries(
    Object.entries(named).map(([key, value]) => [key, Number.isNaN(Number(value)) ? value : Number(value)]),
  );

function worldOf({ provisioning, copy, keys }: Named): Partial<World> {
  return {
    ...(provisioning === undefined ? {} : { provisioningMs: Number(provisioning) * MINUTE }),
    ...(copy === undefined ? {} : { copyMs: Number(copy) * 1_000 }),
    ...(keys === undefined ? {} : { entriesPerSlice: Number(keys) }),
  };
}

const groupOf = (prefix: string, named: Named): NonNullable<World['groups']>[number] => ({
  prefix,
  signal: named.writes === undefined ? 'PUBLISHES' : 'SUBSCRIPTIONS',
  perSecond: shape(named),
});

function evenTopics(named: Named): World['topics'][number][] {
  const count = Number(named.count);
  const name = named.name ?? 'fleet/device';
  const whole = shape(named);
  return Array.from({ length: count }, (_, i) => ({
    topic: `${name}-${i}`,
    perSecond: (minute: number) => whole(minute) / count,
    ...asked(named),
  }));
}

const asked = ({ writes, bytes, clients }: Named): Omit<World['topics'][number], 'topic' | 'perSecond'> => ({
  writes: writes === 'yes',
  bytes: Number(bytes ?? 0),
  clients: Number(clients ?? 0),
});

/** The catalogue with limits of one type. */
const limited = ({ settings: { catalog = CATALOG } = {} }: Partial<World>, name: string, named: Named): Catalog =>
  catalogOf({
    types: [...catalog.values()].map((type) => (type.name === name ? { ...type, ...settingsOf(named) } : type)),
  });

function sweep(named: Named): World['topics'][number][] {
  const each = Number(named.each);
  const from = Number(named.from ?? 0);
  return Array.from({ length: Number(named.count) }, (_, i) => ({
    topic: `sweep/${i}`,
    perSecond: (minute: number) =>
      minute >= from + i * each && minute < from + (i + 1) * each ? Number(named.peak) : 0,
  }));
}

/** Rate by minute: base, with a peak of `peak` from minute `from` to `to` (ramp of `ramp` minutes), or a wave of a period. */
function shape(named: Named): (minute: number) => number {
  const number = (name: string, fallback: number): number =>
    named[name] === undefined ? fallback : Number(named[name]);
  const base = number('base', 0);
  const peak = number('peak', base);
  const ramp = number('ramp', 0);
  const from = number('from', 0);
  const period = number('period', 0);
  const hourly = number('hourly', 1);
  const shift = number('shift', 0);
  return (at) => {
    const minute = at - shift;
    const grown = hourly ** (minute / 60);
    if (period > 0) return (base + ((peak - base) * (1 - Math.cos((2 * Math.PI * minute) / period))) / 2) * grown;
    const rising = ramp === 0 ? Number(minute >= from) : Math.min(1, Math.max(0, (minute - from) / ramp));
    return (minute >= number('to', Number.POSITIVE_INFINITY) ? base : base + (peak - base) * rising) * grown;
  };
}

const during = ({ from = '0', to = 'Infinity' }: Named, minute: number): boolean =>
  minute >= Number(from) && minute < Number(to);

function happening(verb: string, first: string, named: Named): Happening {
  if (verb === 'prices')
    return (cell, minute) => minute === Number(named.at) && cell.restart({ catalog: priced(named) });
  if (verb === 'hot')
    return (cell, minute) => {
      if (!during(named, minute)) return;
      const none = { memoryBytes: 0, memoryLimitBytes: 0, iops: 0, iopsLimit: 0, entries: 0, lookupP99Ms: 1 };
      const unsaid = { nodesPerLookup: -1, matchesPerLookup: -1 };
      const timestamp = eventTime(T0 + minute * MINUTE);
      const store = { shardId: shardId(first), instanceId: `${first}-instance`, cpu: Number(named.measured) };
      cell.metric({ kind: 'DatastoreMetrics', ...none, ...unsaid, ...store, timestamp });
    };
  if (verb === 'answer')
    return (cell, minute) => {
      if (minute !== Number(named.at)) return;
      const plan = cellOf(cell.rows)?.proposals?.at(-1) ?? planId('none');
      const timestamp = eventTime(T0 + minute * MINUTE);
      cell.metric({
        kind: 'PlanAnswer',
        requestId: `answer-${minute}`,
        planId: plan,
        answer: first as PlanVerdict,
        timestamp,
      });
    };
  throw new Error(`a scenario has no verb "${verb}"`);
}

const priced = (named: Named) =>
  catalogOf({
    types: [...CATALOG.values()].map((type) => ({
      ...type,
      dollarsPerHour: Number(named[type.name] ?? type.dollarsPerHour),
    })),
  });

function linesOf(result: Result, entriesPerSlice: number): string[] {
  const { cell, overloadedMinutes, quietSinceMinute, problems, dollars } = result;
  const count = (kind: Decision['kind']): number => cell.decisions.filter((each) => each.kind === kind).length;
  return [
    `allocated=${count('ALLOCATE')} resized=${count('RESIZE')} retired=${count('RETIRE')} split=${count('SPLIT')} merged=${count('MERGE')} moves=${count('MOVE')} finished=${count('FINISH')} aborted=${count('ABORT')}`,
    `refused: ${refusals(cell)}`,
    `shards at the end: ${shardsOf(cell.rows)
      .map((shard) => `${shard.shardId}(${shard.datastoreType})=${shard.slices}`)
      .join(' ')}`,
    `overloaded minutes=${overloadedMinutes}  quiet since minute ${quietSinceMinute}  shard cost $${dollars.toFixed(2)}`,
    `keys moved in the worst hour: ${worstHour(cell, entriesPerSlice)}${kept(cell)}`,
    `broken invariants: ${problems.join('; ') || 'none'}`,
    ...steps(cell),
    '',
  ];
}

function refusals(cell: Cell): string {
  const refused = new Map<string, number>();
  for (const { kind, constraint } of cell.decisions)
    if (kind === 'REFUSE') refused.set(constraint, (refused.get(constraint) ?? 0) + 1);
  const all = [...refused].sort().map(([name, times]) => `${name}=${times}`);
  return all.join(' ') || 'nothing';
}

/** Share of all keys that moved within an hour, at worst; in brackets what no overload asked for. */
function worstHour(cell: Cell, entriesPerSlice: number): string {
  const { ledger } = cellOf(cell.rows)!;
  const keys = 2 * cell.settings.partitions * entriesPerSlice;
  const worst = (calm: boolean): string => {
    const sums = ledger.map(({ at }) =>
      ledger
        .filter((each) => each.at >= at && each.at < at + 60 * MINUTE && !(calm && each.urgent))
        .reduce((sum, each) => sum + each.keys, 0),
    );
    return `${Math.round((Math.max(0, ...sums) / Math.max(1, keys)) * 100)} %`;
  };
  return `${worst(false)} (calm ${worst(true)})`;
}

function kept(cell: Cell): string {
  const reviews = cell.decisions.filter(({ kind }) => kind === 'REVIEW');
  if (reviews.length === 0) return '';
  const sum = (of: (review: Decision) => number): string => reviews.reduce((all, each) => all + of(each), 0).toFixed(2);
  return `  reviews=${reviews.length} promised $${sum((each) => each.promisedDollars)} kept $${sum((each) => each.realisedDollars)}`;
}

const TOLD: ReadonlySet<Decision['kind']> = new Set([
  'ALLOCATE',
  'RESIZE',
  'RETIRE',
  'SPLIT',
  'MERGE',
  'MOVE',
  'REPLICATE',
  'UNREPLICATE',
  'ABORT',
  'PROPOSE',
  'APPROVE',
  'REJECT',
  'EXPIRE',
]);

/** What was done by the minute; what comes at once and is alike is in one line. */
function steps(cell: Cell): string[] {
  const lines: { minute: number; verb: string; what: string[] }[] = [];
  for (const decision of cell.decisions) {
    if (!TOLD.has(decision.kind)) continue;
    const minute = Math.round((decision.at - T0) / MINUTE);
    const verb = decision.kind.toLowerCase();
    const last = lines.at(-1);
    const what = `${decision.subject}${targetOf(cell, decision)}`;
    if (last?.minute === minute && last.verb === verb) last.what.push(what);
    else lines.push({ minute, verb, what: [what] });
  }
  const shown = lines
    .slice(0, STEPS_MAX)
    .map(({ minute, verb, what }) => `${String(minute).padStart(5)}  ${verb.padEnd(8)}  ${what.join(', ')}`);
  return lines.length > STEPS_MAX ? [...shown, `       and ${lines.length - STEPS_MAX} lines more`] : shown;
}

function targetOf(cell: Cell, { kind, commandIds, steps: planned }: Decision): string {
  if (planned.length > 0) return ` (${planned.join('; ')})`;
  if (kind === 'APPROVE') return '';
  const body = cell.commands.find(({ id }) => commandIds.includes(id))?.body;
  if (body?.kind === 'MoveSlice') return ` ${kind === 'REPLICATE' ? 'on' : 'to'} ${body.to}`;
  if (body?.kind === 'AllocateShard' || body?.kind === 'ResizeShard') return ` (${body.datastoreType})`;
  return '';
}
