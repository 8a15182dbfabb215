// Reading: reads topics from beginning to end, for commands that only look; and sends requests to a running
// process over HTTP.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import type { Log, RawRecord } from '../runtime/ports.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError, type ErrorCode } from '../schemas/errors.ts';
import type { Offset } from '../schemas/ids.ts';
import type { AnyTopic, Topic } from '../topology/topics.ts';

export interface Reading {
  readonly log: Log;
  readonly codec: Codec;
}

/**
 * Opens the log that the configuration names, passes it on, and closes it again. `asks`: the command has the option
 * --url.
 */
export async function withLog<Result>(
  config: Config,
  use: (reading: Reading) => Promise<Result>,
  { asks = true } = {},
): Promise<Result> {
  if (config.runtime === 'embedded' && !existsSync(join(config.dataDir, 'log')))
    throw new AppError(
      'NOT_FOUND',
      `there is no log in ${config.dataDir}: name the folder with --data-dir${asks ? ', or ask a running process with --url' : ''}`,
      {
        dataDir: config.dataDir,
      },
    );
  const { codecOf, openLog } = await import('../app/main.ts'); // Loads the Kafka client, which a request over HTTP does not need.
  const codec = await codecOf(config);
  const log = await openLog(config, silentLogger, systemClock()).catch((error: unknown) => {
    throw config.runtime === 'embedded' && error instanceof AppError && error.code === 'LOG_UNAVAILABLE'
      ? heldBack(config, asks, error)
      : error;
  });
  try {
    return await use({ log, codec });
  } finally {
    await log.close();
  }
}

const heldBack = (config: Config, asks: boolean, cause: AppError): AppError =>
  new AppError(
    'LOG_UNAVAILABLE',
    `the log in ${config.dataDir} cannot be opened: an embedded log has one process at a time. ${asks ? `If that process runs, ask it: --url http://127.0.0.1:${config.httpPort}` : 'If that process runs, stop it first'}`,
    { dataDir: config.dataDir },
    cause,
  );

export interface Entry<Value> {
  readonly key: string;
  readonly value: Value | null;
  readonly offset: Offset;
}

/** Every record that is in the topic now, decoded, in the order of its partitions. */
export async function readTopic<Value>({ log, codec }: Reading, topic: Topic<string, Value>): Promise<Entry<Value>[]> {
  const entries: Entry<Value>[] = [];
  await readRaw(log, topic, async (records) => {
    await codec.prepare(
      topic.record!,
      records.map(({ value }) => value),
    );
    for (const { key, value, offset } of records)
      entries.push({
        key: key?.toString('utf8') ?? '',
        value: value === null ? null : (codec.decode(topic.record!, value) as Value),
        offset,
      });
  });
  return entries;
}

/** Every record that is in the topic now, undecoded. */
export async function readRaw(
  log: Log,
  topic: AnyTopic,
  take: (records: readonly RawRecord[]) => Promise<void>,
): Promise<void> {
  const follower = await log.follow(topic.name, 'earliest', (batch) => take(batch.records));
  await follower.caughtUp;
  await follower.close();
}

const ANSWER_MS = 10_000;

/**
 * A running process's answer to a GET, or to a POST when there is a body. Throws OWNER_UNREACHABLE, or the code that it
 * answers with.
 */
export async function ask(url: string, path: string, token: string, body?: unknown): Promise<unknown> {
  const base = /^https?:\/\//i.test(url) ? url : `http://${url}`;
  let response: Response;
  try {
    response = await fetch(`${base.replace(/\/+$/, '')}${path}`, {
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      headers: {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch (cause) {
    throw new AppError('OWNER_UNREACHABLE', `${url} does not answer: is a process running there?`, { url }, cause);
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok) return answer;
  const { code, message } = (answer ?? {}) as { readonly code?: ErrorCode; readonly message?: string };
  throw new AppError(
    code ?? 'OWNER_UNREACHABLE',
    `${url} answered ${response.status}: ${message ?? 'without a reason'}`,
    {
      status: response.status,
    },
  );
}
