// `foreshard accept-loss`: a person's consent that the fleet continues although records of subscriptions or commands
// were lost before they were read. The shards of their partitions may lack what these records said; the affected shards
// are printed here, and the loss is kept as dead letters.

import { settingsOf } from '../app/main.ts';
import type { Config } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { deadLetter } from '../runtime/dead-letter.ts';
import type { Loss, OutRecord } from '../runtime/ports.ts';
import { parseSlice, partitionOfSlice } from '../state/keys.ts';
import type { PointerTable } from '../state/pointer-table.ts';
import { subscriptions } from '../topology/topics.ts';
import { topologyOf } from '../topology/topology.ts';
import type { Output } from './output.ts';
import { type Reading, withLog } from './reading.ts';
import { tableOf } from './views.ts';

export interface AcceptedLoss extends Loss {
  readonly group: string;
  /** Shards that hold the subscriptions of this partition. */
  readonly shards: readonly string[];
}

export async function acceptLoss(config: Config, output: Output): Promise<void> {
  const { groups } = topologyOf(settingsOf(config, readCatalog(config.catalogPath)));
  const accept = async (reading: Reading): Promise<AcceptedLoss[]> => {
    const found: AcceptedLoss[] = [];
    for (const group of groups)
      for (const loss of (await reading.log.acceptLosses?.(group)) ?? [])
        found.push({ ...loss, group: group.name, shards: [] });
    if (found.length === 0) return found;
    const table = await tableOf(reading, config);
    const marked = found.map((loss) => ({ ...loss, shards: shardsOf(table, loss.partition) }));
    await reading.log.append(marked.map((loss) => letterOfLoss(loss, Date.now())));
    return marked;
  };
  const accepted = await withLog(config, accept, { asks: false });
  output.json(accepted);
  if (accepted.length === 0) output.line('No unread record is missing.');
  for (const loss of accepted) output.line(`${lossText(loss)}. This takes effect at the next start.`);
}

/** Shards that the pointer table names for slices of a partition. */
export function shardsOf(table: PointerTable, partition: number): string[] {
  const shards = new Set<string>();
  for (const pointer of table.snapshot().pointers) {
    const slice = parseSlice(pointer.slice);
    if (slice !== undefined && partitionOfSlice(slice, table.partitions) === partition)
      for (const shard of pointer.shards) shards.add(shard);
  }
  return [...shards].sort();
}

function lossText({ group, topic, partition, from, to, shards, wasRead }: AcceptedLoss): string {
  const fate = !wasRead
    ? `group ${group} continues without them`
    : topic === subscriptions.name
      ? 'other records may have taken their offsets: raise FORESHARD_INCARNATION by one, so that the topic is read from its start'
      : `group ${group}, which had read them, continues with the records that are there now`;
  return `${topic}/${partition}: records ${from} to ${to - 1} are gone, and ${fate}; shards to check: ${shards.join(' ') || 'none'}`;
}

/**
 * Keeps the accepted loss among the dead letters, where an operator looks for what was not applied. It holds no record,
 * so it cannot be replayed.
 */
export function letterOfLoss(loss: AcceptedLoss, timestamp: number): OutRecord {
  const headers = { 'foreshard.value-bytes': '0' }; // Not the whole record.
  const record = { offset: loss.from, key: null, value: null, timestamp, headers };
  return deadLetter(record, { code: 'INPUT_TRUNCATED', reason: lossText(loss) }, loss);
}
