// `foreshard export`: writes the live subscriptions of a fleet, from its topic `subscription-table`, to a file or
// standard output.

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Config } from '../config/config.ts';
import { claim } from './files.ts';
import { avroEncoder, eachLive } from './live-subscriptions.ts';
import type { Output } from './output.ts';
import { withLog } from './reading.ts';
import { numberText } from './text.ts';

export interface ExportCommand {
  /** Standard output when absent. */
  readonly file: string | undefined;
  readonly format: 'json' | 'avro';
}

export async function exportSubscriptions(
  { file, format }: ExportCommand,
  config: Config,
  output: Output,
): Promise<void> {
  if (file !== undefined) claim(file);
  const lines = file === undefined ? process.stdout : format === 'json' ? createWriteStream(file) : undefined;
  const avro = lines === undefined ? avroEncoder(file!) : undefined;
  const put = async (stream: NodeJS.WritableStream, value: unknown): Promise<void> => {
    if (!stream.write(value as string)) await once(stream, 'drain');
  };
  const live = await withLog(
    config,
    (reading) =>
      eachLive(reading, async (some) => {
        if (lines !== undefined) return put(lines, some.map((row) => `${JSON.stringify(row)}\n`).join(''));
        for (const row of some) await put(avro!, row);
      }),
    { asks: false },
  );
  if (file === undefined) return;
  const stream = lines ?? avro!;
  stream.end();
  await once(stream, 'finish');
  output.json({ file, format, subscriptions: live });
  output.line(`${numberText(live)} subscriptions are in ${file}.`);
}
