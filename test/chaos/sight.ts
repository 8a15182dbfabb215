// Sight: what one instance says of itself at a moment, by its metrics and its readiness.

import type { Instance } from '../support/deployment.ts';

export interface Sight {
  readonly name: string;
  /** '' when it is ready. */
  readonly unready: string;
  /** Partitions of the subscriptions whose lag it tells, with that lag. */
  readonly tasks: ReadonlyMap<number, number>;
  readonly spilledRows: number;
  readonly lostShards: number;
  readonly restoredRecords: number;
  /** I15, by group and topic: where what was consumed is not what became of it. */
  readonly unbalanced: readonly string[];
}

/** A busy machine's. */
const ANSWER_MS = 5_000;

/** `undefined` where it does not answer. */
export async function sightOf({ name, address }: Instance): Promise<Sight | undefined> {
  try {
    const asked = (path: string): Promise<Response> =>
      fetch(`${address}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    const [ready, metrics] = await Promise.all([asked('/readyz'), asked('/metrics')]);
    const unready = ready.ok ? '' : await ready.text();
    return { name, unready, ...told(await metrics.text()) };
  } catch {
    return undefined;
  }
}

/** Partitions of the subscriptions that no instance, or more than one, says it has. */
export function unowned(sights: readonly Sight[], partitions: number): number[] {
  return Array.from({ length: partitions }, (_, partition) => partition).filter(
    (partition) => sights.filter(({ tasks }) => tasks.has(partition)).length !== 1,
  );
}

function told(text: string): Omit<Sight, 'name' | 'unready'> {
  const tasks = new Map<number, number>();
  const sums = new Map<string, number>();
  const books = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, metric, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (metric === undefined) continue;
    sums.set(metric, (sums.get(metric) ?? 0) + Number(value));
    const sign = SIGNS.get(metric);
    if (sign !== undefined) {
      const place = `${labelOf(labels, 'group')} ${labelOf(labels, 'topic')}`;
      books.set(place, (books.get(place) ?? 0) + sign * Number(value));
    }
    if (metric === 'foreshard_lag_records' && `${labelOf(labels, 'group')}/${labelOf(labels, 'topic')}` === TASKS)
      tasks.set(Number(labelOf(labels, 'partition')), Number(value));
  }
  return {
    tasks,
    spilledRows: sums.get('foreshard_spilled_rows') ?? 0,
    lostShards: sums.get('foreshard_shards_lost') ?? 0,
    restoredRecords: sums.get('foreshard_restored_records_total') ?? 0,
    unbalanced: [...books].filter(([, sum]) => sum !== 0).map(([place, sum]) => `${place}: ${sum} unaccounted for`),
  };
}

const TASKS = 'work/subscriptions';
const SIGNS: ReadonlyMap<string, number> = new Map([
  ['foreshard_consumed_total', 1],
  ['foreshard_stepped_total', -1],
  ['foreshard_duplicate_total', -1],
  ['foreshard_refused_records_total', -1],
]);

const labelOf = (labels: string, name: string): string => new RegExp(`${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
