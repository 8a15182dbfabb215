// Rates: counts subscription events and traffic in one window for each series (state/keys.ts defines the series).
//
//   R1. A window closes once: at the first event past its end and grace, or at a tick of an idle lane.
//   R2. A late event is counted in `lateEvents` of its series' next window; it never reopens a closed one.
//   R3. One event from the future closes no window: it counts at the current event time, until enough in a row agree
//       (watermark.ts W2).
//   R4. An empty window emits nothing: a missing window is a zero.
//   R5. Trie filters are counted where their trie is kept, from `wildcard-subscriptions`; all other filters from
//       `subscriptions`. No event is counted in two series, except a heavy topic's, which also counts in its leaf.
//   R6. The row is stored with the input offsets, so a replay counts nothing twice.
//
// Hot path: the row is one mutable object for each task, changed in place, without an allocation for each event. The
// slow plain version is the oracle in test/processors/rates; bench/rates-step.ts measures the speed.

import { AppError } from '../../schemas/errors.ts';
import type { Metric, RateWindow, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { isTrieFilter } from '../../state/keys.ts';
import { type Emit, type Input, NOTHING, type Rows, type Step, type Table, type Tick } from '../step.ts';
import { PartitionWindows, type Shape } from './partition-windows.ts';
import type { RatesSettings } from './settings.ts';

export type Row = PartitionWindows;

export const windows: Table<Row> = {
  name: 'windows',
  encode(row) {
    const to = new BinaryWriter(16_384).count(FORMAT);
    row.write(to);
    return to.bytes();
  },
  decode(bytes) {
    const from = new BinaryReader(bytes);
    const format = from.count();
    if (format !== FORMAT)
      throw new AppError('STORE_FORMAT', `rates rows of format ${format} cannot be read`, { format });
    return PartitionWindows.read(from);
  },
};

export function countRates(
  settings: RatesSettings,
): Step<
  | Input<'subscriptions', SubscriptionEvent>
  | Input<'wildcard-subscriptions', WildcardEvents>
  | Input<'metrics', Metric>
  | Input<'clock', Tick>,
  Row,
  Emit<'rates', RateWindow>
> {
  const closed: RateWindow[] = [];
  return (rows, input) => {
    if (input.topic === 'subscriptions') {
      if (isTrieFilter(input.value.topicFilter)) return NOTHING; // R5
      const row = rowOf(rows, input.partition, settings);
      row.concrete(input.value, settings, closed);
      rows.set(ROW, row);
    } else if (input.topic === 'wildcard-subscriptions') {
      const row = rowOf(rows, input.partition, settings);
      for (const event of input.value.events) row.wildcard(input.value.firstLevel, event, settings, closed);
      rows.set(ROW, row);
    } else if (input.topic === 'metrics') {
      if (input.value.body.kind !== 'TopicTraffic') return NOTHING;
      const row = rowOf(rows, input.partition, settings);
      row.traffic(input.value.body, settings, closed);
      rows.set(ROW, row);
    } else {
      const row = rows.get(ROW);
      if (row?.tick(input.value.eventTime, settings, closed)) rows.set(ROW, row);
    }
    return closed.length === 0 ? NOTHING : closed.splice(0).map(emitted);
  };
}

/** Key of the only row of a task. */
const ROW = 'windows';
const FORMAT = 1;

function rowOf(rows: Rows<Row>, partition: number, settings: RatesSettings): Row {
  const row = rows.get(ROW);
  if (row !== undefined && sameShape(row.shape, settings)) return row;
  const { partitions, leafBits, heavyTopics, heavyGroups } = settings;
  const fresh = new PartitionWindows(partition, { partitions, leafBits, heavyTopics, heavyGroups });
  if (row !== undefined) Object.assign(fresh.lanes, row.lanes); // R1: closed windows stay closed.
  return fresh;
}

const sameShape = (a: Shape, b: Shape): boolean =>
  a.leafBits === b.leafBits &&
  a.partitions === b.partitions &&
  a.heavyTopics === b.heavyTopics &&
  a.heavyGroups === b.heavyGroups;

const emitted = (value: RateWindow): Emit<'rates', RateWindow> => ({ topic: 'rates', key: value.series, value });
