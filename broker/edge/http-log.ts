// HTTP log: the log of an embedded process, for a broker beside it: events go to its HTTP API, and the pointer table comes
// from there.
//
//   H1. Records are appended in the order given: one request after the other, each of records of one topic. Records are
//       of the JSON codec.
//   H2. While the process does not answer, following waits and asks again. An append fails with LOG_UNAVAILABLE, and the
//       caller repeats it.
//   H3. A token that is refused ends the first question with UNAUTHORIZED or FORBIDDEN. Later it is a passing trouble: a
//       process may be restarted with another configuration.

import type { Batch, Follower, Log, OutRecord } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';

export interface HttpLogSettings {
  /** `http://host:port` of the process. */
  readonly url: string;
  /** Its admin token, when it has tokens. */
  readonly token?: string;
}

export interface HttpLog extends Pick<Log, 'follow' | 'append' | 'health' | 'close'> {
  /** Partitions of the process's topics. Waits until it answers. */
  partitions(): Promise<number>;
}

interface Page {
  readonly partitions: number;
  readonly records: readonly { readonly offset: number; readonly key: string; readonly value: unknown }[];
  readonly next: number;
  readonly end: number;
  readonly restarts: boolean;
}

/** The route that takes the records of a topic, and what of a record it takes. */
const ROUTES: Readonly<Record<string, { readonly path: string; readonly bodyOf: (value: never) => unknown }>> = {
  subscriptions: { path: '/subscriptions', bodyOf: (value) => value },
  sessions: {
    path: '/sessions',
    bodyOf: ({ body, timestamp }: { readonly body: object; readonly timestamp: number }) => ({ ...body, timestamp }),
  },
  metrics: { path: '/update_metrics', bodyOf: ({ body }: { readonly body: object }) => body },
};

const TIMEOUT_MS = 10_000;
/** As long as the process lets a question wait. */
const WAIT_MS = 3_000;
const AGAIN_AFTER_MS = 500;
/** Records of one request, well below what the API takes (1 MiB). */
const LIST_MAX = 1_000;
const LIST_BYTES_MAX = 512 * 1024;
const REFUSED: ReadonlySet<number> = new Set([401, 403]);

export function httpLog({ url, token }: HttpLogSettings): HttpLog {
  const base = url.replace(/\/+$/, '');
  const closing = new AbortController();
  let trouble: string | undefined;
  /** Why the pointer table is no longer followed: a bug. */
  let ended: string | undefined;

  const asked = async <Body>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Body> => {
    try {
      const response = await fetch(`${base}${path}`, {
        method,
        redirect: 'error',
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      const answer = (await response.json()) as Body & { readonly code?: string; readonly message?: string };
      if (response.ok) {
        trouble = undefined;
        return answer;
      }
      const code = REFUSED.has(response.status)
        ? response.status === 401
          ? 'UNAUTHORIZED'
          : 'FORBIDDEN'
        : 'LOG_UNAVAILABLE';
      throw new AppError(code, `${base}${path} answered ${response.status}: ${answer.message ?? 'no reason'}`);
    } catch (cause) {
      if (closing.signal.aborted) throw new AppError('STOPPED', 'the log is closed');
      const error =
        cause instanceof AppError ? cause : new AppError('LOG_UNAVAILABLE', `${base} cannot be reached`, {}, cause);
      trouble = error.message;
      throw error;
    }
  };

  let isAccepted = false; // H3
  /** H2. */
  const page = async (after: number, waitMs: number): Promise<Page> => {
    for (;;) {
      try {
        const found = await asked<Page>('GET', `/pointers?after=${after}&waitMs=${waitMs}`);
        isAccepted = true;
        return found;
      } catch (error) {
        const mayPass = error instanceof AppError && (isAccepted || error.code === 'LOG_UNAVAILABLE');
        if (!mayPass || closing.signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS).unref());
      }
    }
  };

  return {
    partitions: async () => (await page(0, 0)).partitions,

    async append(records) {
      for (const part of partsOf(records)) {
        const route = ROUTES[part[0]!.topic]!;
        const bodies = part.map(({ value }) => route.bodyOf(JSON.parse(value!.toString('utf8')) as never));
        const { refusals } = await asked<{ readonly refusals: readonly object[] }>('POST', route.path, bodies);
        if (refusals.length > 0)
          throw new AppError('LOG_UNAVAILABLE', `${base}${route.path} refused ${refusals.length} records`, {
            refusals,
          });
      }
    },

    async follow(topic, _from, take): Promise<Follower> {
      if (topic !== 'pointer-table') throw new AppError('CONFIG_INVALID', `${topic} cannot be read over HTTP`);
      let caughtUp = (): void => {};
      const reading = new Promise<void>((resolve) => {
        caughtUp = resolve;
      });
      const first = await page(0, 0);
      void (async () => {
        for (let now = first; ; now = await page(now.next, now.next < now.end ? 0 : WAIT_MS)) {
          if (closing.signal.aborted) return;
          await take(batchOf(topic, now));
          if (now.next >= first.end) caughtUp();
        }
      })().catch((error: unknown) => {
        if (!closing.signal.aborted) ended = error instanceof Error ? error.message : String(error);
      });
      return { caughtUp: reading, close: async () => closing.abort() };
    },

    health() {
      const reason = ended ?? trouble;
      return { ok: reason === undefined, reason: reason ?? '' };
    },

    close: async () => closing.abort(),
  };
}

function batchOf(topic: string, { records, next, end, restarts }: Page): Batch {
  return {
    topic,
    partition: 0,
    records: records.map(({ offset, key, value }) => ({
      ...{ offset, timestamp: 0, headers: undefined, key: Buffer.from(key, 'utf8') },
      value: value === null ? null : Buffer.from(JSON.stringify(value), 'utf8'),
    })),
    nextOffset: next,
    endOffset: end,
    ...(restarts ? { restartsAt: 0 } : {}),
  };
}

/** H1: runs of records of one topic. */
function* partsOf(records: readonly OutRecord[]): Generator<readonly OutRecord[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, { topic, value }] of records.entries()) {
    const size = value!.length + 1;
    if (at > from && (topic !== records[from]!.topic || at - from === LIST_MAX || bytes + size > LIST_BYTES_MAX)) {
      yield records.slice(from, at);
      [from, bytes] = [at, 0];
    }
    bytes += size;
  }
  if (from < records.length) yield records.slice(from);
}
