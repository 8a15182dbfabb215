// `foreshard dead-letters`: records that were refused, why, and how they get back to where they came from once the reason
// is gone. A letter is named by its offset in the dead-letters topic.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { Config } from '../config.ts';
import type { OutRecord, RawRecord } from '../ports.ts';
import { deadLetters } from '../topics.ts';
import type { Output } from './output.ts';
import { readRaw, withLog } from './reading.ts';
import { instantText, plain, table } from './text.ts';

export interface Letter {
  readonly number: Offset;
  readonly code: string;
  readonly reason: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: Offset;
  readonly timestamp: number;
  readonly key: string | null;
  readonly sizeBytes: number;
}

export async function listLetters(config: Config, output: Output): Promise<void> {
  const letters = (await lettersIn(config)).map(letterOf);
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

export async function showLetter(config: Config, number: Offset, output: Output): Promise<void> {
  const record = numbered(await lettersIn(config), number);
  const letter = letterOf(record);
  output.json({ ...letter, valueBase64: record.value?.toString('base64') ?? null });
  output.lines([
    `${letter.code}: ${plain(letter.reason)}`,
    `from ${letter.topic}, partition ${letter.partition}, offset ${letter.offset}, at ${instantText(letter.timestamp)}`,
    `key: ${plain(letter.key ?? '(none)')}`,
    `value, ${letter.sizeBytes} bytes${record.value === null ? '' : ':'}`,
    ...hexLines(record.value ?? Buffer.alloc(0)),
  ]);
}

/** Appends the original records to their topics again. */
export async function replayLetters(config: Config, numbers: readonly Offset[], output: Output): Promise<void> {
  const replayed = await withLog(config, async ({ log }) => {
    const letters: RawRecord[] = [];
    await readRaw(log, deadLetters, async (records) => {
      letters.push(...records);
    });
    const records = numbers.map((number) => originalOf(numbered(letters, number)));
    await log.append(records);
    return records;
  });
  output.json({ replayed: replayed.map(({ topic, partition }) => ({ topic, partition })) });
  output.line(`${replayed.length} records were appended to where they came from.`);
}

/** The record as it was before it was refused. Throws REQUEST_INVALID when not all of it was kept. */
export function originalOf(record: RawRecord): OutRecord {
  const { number, topic, partition } = letterOf(record);
  const kept = Object.entries(record.headers ?? {}).filter(([name]) => !isOurs(name));
  if (topic === '' || header(record, 'foreshard.value-bytes') !== '')
    throw new AppError('REQUEST_INVALID', `letter ${number} does not hold the whole record: it cannot be replayed`, {
      number,
    });
  return { topic, partition, key: record.key, value: record.value, headers: Object.fromEntries(kept) };
}

export function letterOf(record: RawRecord): Letter {
  return {
    number: record.offset,
    code: header(record, 'foreshard.code'),
    reason: header(record, '__streams.errors.message'),
    topic: header(record, '__streams.errors.topic'),
    partition: Number(header(record, '__streams.errors.partition')),
    offset: Number(header(record, '__streams.errors.offset')),
    timestamp: Number(header(record, 'foreshard.timestamp')),
    key: record.key?.toString('utf8') ?? null,
    sizeBytes: record.value?.length ?? 0,
  };
}

async function lettersIn(config: Config): Promise<RawRecord[]> {
  return withLog(config, async ({ log }) => {
    const letters: RawRecord[] = [];
    await readRaw(log, deadLetters, async (records) => {
      letters.push(...records);
    });
    return letters;
  });
}

function numbered(letters: readonly RawRecord[], number: Offset): RawRecord {
  const found = letters.find(({ offset }) => offset === number);
  if (found === undefined) throw new AppError('NOT_FOUND', `there is no dead letter ${number}`, { number });
  return found;
}

const isOurs = (name: string): boolean => name.startsWith('__streams.errors.') || name.startsWith('foreshard.');
const header = (record: RawRecord, name: string): string => {
  const value = record.headers?.[name];
  return value === undefined ? '' : String(Array.isArray(value) ? value[0] : value);
};

const HEX_BYTES_MAX = 512;

/** The head of the bytes, sixteen in a line, with what of it is ASCII beside. */
function hexLines(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, HEX_BYTES_MAX); at += 16) {
    const row = bytes.subarray(at, Math.min(at + 16, HEX_BYTES_MAX));
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`  ${at.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  if (bytes.length > HEX_BYTES_MAX) lines.push(`  … and ${bytes.length - HEX_BYTES_MAX} bytes more`);
  return lines;
}
