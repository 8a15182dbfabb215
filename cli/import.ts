// `foreshard import`: sends the subscriptions of a file, or of another cluster's topic `subscription-table`, to this
// fleet as SUBSCRIBE events.
//
//   I1. Importing a subscription again subscribes it again in the same way: the rows are the same.
//   I2. After each batch that the log has accepted, the position in the file is written beside the file. A run after an
//       interruption continues there, and may repeat its last batch (I1).
//   I3. An entry that is not a subscription is refused with its line and the reason, and the others are imported.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { AppError } from '../schemas/errors.ts';
import type { Subscription, SubscriptionEvent } from '../schemas/records.ts';
import { isHostPort } from '../schemas/setting.ts';
import { partitionOf } from '../state/keys.ts';
import { refuseSubscription } from '../state/validation.ts';
import { subscriptions } from '../topology/topics.ts';
import { attempt } from './files.ts';
import { type Entry, eachLive, entriesOf } from './live-subscriptions.ts';
import type { Output } from './output.ts';
import { type Reading, withLog } from './reading.ts';
import { numberText, plain } from './text.ts';

export interface ImportCommand {
  /** A file, or the bootstrap servers of another Kafka. */
  readonly source: string;
  /** The first line or record to import, counted from 1. */
  readonly from: number | undefined;
  /** Prefix of the other cluster's topics; by default this fleet's. */
  readonly sourcePrefix: string | undefined;
  readonly sourceRegistryUrl: string | undefined;
}

const BATCH_EVENTS = 1_000;
const REFUSALS_TOLD = 100;

/** True when nothing was refused. */
export async function importSubscriptions(
  command: ImportCommand,
  config: Config,
  output: Output,
  now: () => number = Date.now,
): Promise<boolean> {
  const { source } = command;
  const counts = { imported: 0, refused: 0 };
  const isCluster = !existsSync(source) && source.split(',').every(isHostPort);
  await withLog(
    config,
    async (reading) => {
      const sink = new Sink(reading, config.partitions, counts, output);
      if (isCluster) await withLog(otherCluster(command, config), (other) => eachLive(other, (some) => sink.all(some)));
      else await fromFile(command, sink, now);
    },
    { asks: false },
  );
  output.json(counts);
  const refused = counts.refused === 0 ? '' : ` ${numberText(counts.refused)} were refused.`;
  output.line(`${numberText(counts.imported)} subscriptions were sent to ${subscriptions.name}.${refused}`);
  return counts.refused === 0;
}

async function fromFile({ source, from }: ImportCommand, sink: Sink, now: () => number): Promise<void> {
  const first = from ?? positionIn(source);
  let some: Entry[] = [];
  const send = async (): Promise<void> => {
    if (some.length === 0) return;
    await sink.entries(some);
    keepPosition(source, some.at(-1)!.at + 1); // I2
    some = [];
  };
  for await (const entry of entriesOf(source, now)) {
    if (entry.at < first) continue;
    if (some.push(entry) === BATCH_EVENTS) await send();
  }
  await send();
  rmSync(positionFile(source), { force: true });
}

class Sink {
  readonly #reading: Reading;
  readonly #partitions: number;
  readonly #counts: { imported: number; refused: number };
  readonly #output: Output;

  constructor(reading: Reading, partitions: number, counts: { imported: number; refused: number }, output: Output) {
    this.#reading = reading;
    this.#partitions = partitions;
    this.#counts = counts;
    this.#output = output;
  }

  all(rows: readonly Subscription[]): Promise<void> {
    const { imported, refused } = this.#counts;
    return this.entries(rows.map((row, i) => ({ at: imported + refused + i + 1, row })));
  }

  async entries(some: readonly Entry[]): Promise<void> {
    const events = some.flatMap((entry) => {
      const event = 'row' in entry ? eventOf(entry.row) : undefined;
      const problem = 'row' in entry ? this.#refusalOf(event!) : entry.problem;
      if (problem === undefined) return [event!];
      this.#counts.refused += 1;
      if (this.#counts.refused <= REFUSALS_TOLD) this.#output.line(`${entry.at}: ${plain(problem)}`);
      return [];
    });
    const { log, codec } = this.#reading;
    await log.append(
      events.map((event) => ({
        topic: subscriptions.name,
        partition: partitionOf(event.topicFilter, this.#partitions),
        key: event.topicFilter,
        value: codec.encode('SubscriptionEvent', event),
      })),
    );
    const before = this.#counts.imported;
    this.#counts.imported += events.length;
    const told = Math.floor(this.#counts.imported / TOLD_EACH);
    if (told > Math.floor(before / TOLD_EACH)) this.#output.line(`${numberText(told * TOLD_EACH)} sent`);
  }

  #refusalOf(event: SubscriptionEvent): string | undefined {
    const { topicFilter: key } = event;
    const place = { key, partition: partitionOf(key, this.#partitions), partitions: this.#partitions };
    const refusal = refuseSubscription(event, place);
    return refusal === undefined ? undefined : `${refusal.code}: ${refusal.reason}`;
  }
}

const TOLD_EACH = 100_000;

function eventOf({ incarnation: _, offset: __, removed: ___, ...row }: Subscription): SubscriptionEvent {
  return { action: 'SUBSCRIBE', ...row } as SubscriptionEvent;
}

const otherCluster = ({ source, sourcePrefix, sourceRegistryUrl }: ImportCommand, config: Config): Config => ({
  ...config,
  runtime: 'kafka',
  brokers: source.split(','),
  topicPrefix: sourcePrefix ?? config.topicPrefix,
  registryUrl: sourceRegistryUrl ?? config.registryUrl,
});

const positionFile = (source: string): string => `${source}.position`;

/** The position at which an earlier run of this file stopped (I2). */
function positionIn(source: string): number {
  const file = positionFile(source);
  if (!existsSync(file)) return 1;
  const at = Number(readFileSync(file, 'utf8'));
  if (Number.isSafeInteger(at) && at > 0) return at;
  throw new AppError('REQUEST_INVALID', `${file} does not say how far ${source} was imported: name it with --from`, {
    file,
  });
}

function keepPosition(source: string, next: number): void {
  const file = positionFile(source);
  attempt(file, () => {
    writeFileSync(`${file}.new`, `${next}\n`);
    renameSync(`${file}.new`, file);
  });
}
