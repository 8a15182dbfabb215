// `foreshard dead-letters`: lists the records that were refused, with the reasons, and appends them to their topics
// again once the reason is gone. A letter is named by its offset in the dead-letters topic.

import { HEAD_BYTES_MAX, LETTERS_MAX } from '../api/letter-ring.ts';
import type { LetterPage, LetterView } from '../api/views.ts';
import type { Config } from '../config/config.ts';
import { headerOf, type Letter, letterOf } from '../runtime/dead-letter.ts';
import type { OutRecord, RawRecord } from '../runtime/ports.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { deadLetters, subscriptions } from '../topology/topics.ts';
import type { Output } from './output.ts';
import { ask, type Reading, readRaw, withLog } from './reading.ts';
import { instantText, plain, table } from './text.ts';
import type { Source } from './views.ts';

/** Lists all letters, or, from a running process, the last ones that it keeps. */
export async function listLetters(source: Source, output: Output): Promise<void> {
  const letters =
    source.url === undefined
      ? (await lettersIn(source.config)).map(letterOf)
      : (await lettersAt(source, `limit=${LETTERS_MAX}`)).map(({ headBase64: _, ...letter }) => letter).reverse();
  output.json(letters);
  if (letters.length === 0) output.line('No record was refused.');
  else
    output.lines(
      table([
        ['number', 'at', 'code', 'from', 'key', 'bytes'],
        ...letters.map((letter) => [
          String(letter.number),
          instantText(letter.timestamp),
          letter.code,
          `${letter.topic}/${letter.partition}@${letter.offset}`,
          plain(letter.key ?? '').slice(0, 60),
          String(letter.sizeBytes),
        ]),
      ]),
    );
}

/** Shows one letter with its bytes; a running process returns only the first of them. */
export async function showLetter(source: Source, number: Offset, output: Output): Promise<void> {
  if (source.url === undefined) {
    const record = numbered(await lettersIn(source.config), number);
    const letter = letterOf(record);
    output.json({ ...letter, valueBase64: record.value?.toString('base64') ?? null });
    output.lines(letterLines(letter, record.value));
    return;
  }
  const [letter] = await lettersAt(source, `limit=1&cursor=${number + 1}`);
  if (letter?.number !== number)
    throw new AppError('NOT_FOUND', `there is no dead letter ${number} among the last that this process keeps`, {
      number,
    });
  output.json(letter);
  output.lines(letterLines(letter, letter.headBase64 === null ? null : Buffer.from(letter.headBase64, 'base64')));
}

async function lettersAt({ config, url }: Source, query: string): Promise<readonly LetterView[]> {
  const page = await ask(url!, `/dead-letters?${query}`, config.httpReadToken.reveal());
  return (page as LetterPage).letters;
}

/** `head`: the value's bytes, or the first of them. */
const letterLines = (letter: Letter, head: Buffer | null): string[] => [
  `${letter.code}: ${plain(letter.reason)}`,
  `from ${letter.topic}, partition ${letter.partition}, offset ${letter.offset}, at ${instantText(letter.timestamp)}`,
  `key: ${plain(letter.key ?? '(none)')}`,
  `value, ${letter.sizeBytes} bytes${head === null ? '' : ':'}`,
  ...hexLines(head ?? Buffer.alloc(0), letter.sizeBytes),
];

/** Appends the original records to their topics again, except subscription events that a later event has overtaken. */
export async function replayLetters(config: Config, numbers: readonly Offset[], output: Output): Promise<void> {
  const read = async (reading: Reading) => {
    const letters: RawRecord[] = [];
    await readRaw(reading.log, deadLetters, async (records) => {
      letters.push(...records);
    });
    const chosen = numbers.map((number) => numbered(letters, number));
    const originals = chosen.map((letter) => ({ number: letter.offset, ...originalOf(letter) }));
    const late = await overtaken(reading, chosen);
    const appended = originals.filter(({ number }) => !late.has(number));
    await reading.log.append(appended.map(({ number: _, ...record }) => record));
    return { replayed: appended.map(({ topic, partition }) => ({ topic, partition })), skipped: [...late] };
  };
  const { replayed, skipped } = await withLog(config, read, { asks: false });
  output.json({ replayed, skipped });
  output.line(`${replayed.length} records were appended to where they came from.`);
  if (skipped.length > 0)
    output.line(
      `Left out: ${skipped.join(', ')}. The same client has changed the same subscription since, or later events are no longer kept, so that this cannot be checked.`,
    );
}

/**
 * The numbers of the letters whose client has changed the same subscription since, or for which this can no longer be
 * checked. If they were appended now they would count as the newest event, and could bring back a removed subscription.
 */
export async function overtaken({ log, codec }: Reading, letters: readonly RawRecord[]): Promise<Set<Offset>> {
  const refused = new Map<
    string,
    { readonly number: Offset; readonly partition: Partition; readonly offset: Offset }[]
  >();
  for (const record of letters) {
    const { number, topic, partition, offset } = letterOf(record);
    const event = topic === subscriptions.name ? await eventIn(codec, record) : undefined;
    if (event === undefined) continue; // No other record can bring a subscription back.
    refused.set(keyOf(event), [...(refused.get(keyOf(event)) ?? []), { number, partition, offset }]);
  }
  const late = new Set<Offset>();
  if (refused.size === 0) return late;
  const filters = new Set([...refused.keys()].map((key) => key.slice(key.indexOf(' ') + 1)));
  const firsts = new Map<Partition, Offset>();
  const follower = await log.follow(subscriptions.name, 'earliest', async ({ partition, records }) => {
    if (records.length > 0 && !firsts.has(partition)) firsts.set(partition, records[0]!.offset);
    for (const record of records) {
      if (!filters.has(record.key?.toString('utf8') ?? '')) continue;
      const event = await eventIn(codec, record);
      for (const { number, offset } of (event && refused.get(keyOf(event))) ?? [])
        if (record.offset > offset) late.add(number);
    }
  });
  await follower.caughtUp;
  await follower.close();
  for (const { number, partition, offset } of [...refused.values()].flat())
    if ((firsts.get(partition) ?? Number.POSITIVE_INFINITY) > offset) late.add(number);
  return late;
}

/** Key of a filter and a client, in hexadecimal, since a client id may contain any character. */
const keyOf = ({ topicFilter, clientId }: SubscriptionEvent): string =>
  `${Buffer.from(clientId).toString('hex')} ${topicFilter}`;

/** `undefined` for a record that cannot be read as an event. */
async function eventIn(codec: Codec, { value }: RawRecord): Promise<SubscriptionEvent | undefined> {
  if (value === null) return undefined;
  try {
    await codec.prepare(subscriptions.record!, [value]);
    return codec.decode(subscriptions.record!, value) as SubscriptionEvent;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return undefined;
  }
}

/** The record as it was before it was refused. Throws REQUEST_INVALID when not all of it was kept. */
export function originalOf(record: RawRecord): OutRecord {
  const { number, topic, partition } = letterOf(record);
  const kept = Object.entries(record.headers ?? {}).filter(([name]) => !isOurs(name));
  if (topic === '' || headerOf(record, 'foreshard.value-bytes') !== '')
    throw new AppError('REQUEST_INVALID', `letter ${number} does not hold the whole record: it cannot be replayed`, {
      number,
    });
  return { topic, partition, key: record.key, value: record.value, headers: Object.fromEntries(kept) };
}

async function lettersIn(config: Config): Promise<RawRecord[]> {
  const read = async ({ log }: Reading): Promise<RawRecord[]> => {
    const letters: RawRecord[] = [];
    await readRaw(log, deadLetters, async (records) => {
      letters.push(...records);
    });
    return letters;
  };
  return withLog(config, read);
}

function numbered(letters: readonly RawRecord[], number: Offset): RawRecord {
  const found = letters.find(({ offset }) => offset === number);
  if (found === undefined) throw new AppError('NOT_FOUND', `there is no dead letter ${number}`, { number });
  return found;
}

const isOurs = (name: string): boolean => name.startsWith('__streams.errors.') || name.startsWith('foreshard.');
/** The first bytes, sixteen to a line, with their ASCII characters beside them. */
function hexLines(bytes: Buffer, sizeBytes: number): string[] {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, HEAD_BYTES_MAX); at += 16) {
    const row = bytes.subarray(at, Math.min(at + 16, HEAD_BYTES_MAX));
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`  ${at.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  if (sizeBytes > HEAD_BYTES_MAX) lines.push(`  … and ${sizeBytes - HEAD_BYTES_MAX} bytes more`);
  return lines;
}
