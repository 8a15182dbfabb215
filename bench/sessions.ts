// Sessions: one task's stage with a million clients, two subscriptions each, over LevelDB: how many session and
// subscription records it takes per second, how much memory it uses while clients come, and how long it takes to handle
// the death of a broker with 50,000 of them. The steps run as in a task: the rows that a batch needs are read together,
// changed rows are written together.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { MemoryRow } from '../processors/sessions/rows.ts';
import { sessionRows, sessionWork } from '../processors/sessions/rows.ts';
import { type In, sessionsWith } from '../processors/sessions/sessions.ts';
import { SESSION_DEFAULTS } from '../processors/sessions/settings.ts';
import { NEEDS_NOTHING, type Rows } from '../processors/step.ts';
import { DiskTable } from '../runtime/disk-table.ts';
import { RowTable } from '../runtime/row-table.ts';
import { eventTime } from '../schemas/ids.ts';
import type { ClientEvent, ClientEvents, SessionOperation, SessionRecord } from '../schemas/records.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import type { Change } from '../state/store.ts';
import type { Measurement } from './measurement.ts';

const CLIENTS = Number(process.env.BENCH_CLIENTS ?? 1_000_000);
const BROKERS = 20;
const FILTERS = 2;
const BATCH = 5_000;
const START = 1_760_000_000_000;
const TICK_MS = 200;

export async function sessions(): Promise<Measurement[]> {
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const store = await levelFolder(folder).open('work-0');
  const stage = sessionsWith({ ...SESSION_DEFAULTS, partitions: 1 }, true);
  const rows = new RowTable(sessionWork as never);
  const disk = new DiskTable(sessionRows as never);
  disk.open(store);
  let changelog = 0;

  /** Steps a batch of inputs as a task does; what the stage writes to its own inputs is read back. */
  const take = async (inputs: readonly In[]) => {
    const needed = inputs.map((input) => stage.onDisk.needs(rows as Rows<MemoryRow>, input));
    await disk.read(needed.filter((needs) => needs !== NEEDS_NOTHING));
    const out = inputs.flatMap((input) => stage.step(rows as Rows<MemoryRow>, input, disk as never));
    const changes: Change[] = [];
    rows.drain(changes);
    disk.drain(changes);
    changelog += changes.length;
    if (changes.length > 0) await store.write(changes, { changelog, inputs: {} });
    return out;
  };
  const at = { partition: 0, offset: 0, key: '' };
  const time = (client: number): number => START + Math.floor(client / 10);

  let early = { live: 0, rss: 0 };
  let last = early;
  const began = process.cpuUsage();
  for (let from = 0; from < CLIENTS; from += BATCH) {
    const clients = Array.from({ length: Math.min(BATCH, CLIENTS - from) }, (_, index) => from + index);
    await take(clients.map((client) => ({ ...at, topic: 'sessions', value: connected(client, time(client)) })));
    await take(clients.map((client) => ({ ...at, topic: 'client-subscriptions', value: said(client, time(client)) })));
    if (from <= CLIENTS / 10 && from + BATCH > CLIENTS / 10) early = memory();
  }
  const seconds = cpuSince(began);
  last = memory();

  let eventTimeNow = time(CLIENTS);
  let wallTime = START;
  const tick = async (): Promise<In[]> => {
    wallTime += TICK_MS;
    const value = { eventTime: eventTimeNow, wallTime };
    return (await take([{ ...at, topic: 'clock', value }])).flatMap(heard);
  };
  await tick();
  const operation: SessionOperation = {
    ...{ operationId: 'lose-1-1', brokerId: 'broker-0', at: eventTime(eventTimeNow) },
    body: { kind: 'OperationStart', action: 'LOSE', before: eventTime(eventTimeNow) },
  };
  await take([{ ...at, topic: 'session-operations', value: operation }]);
  const deathBegan = process.cpuUsage();
  let ticks = 0;
  let removed = 0;
  for (let isOver = false; !isOver; ticks++) {
    eventTimeNow += TICK_MS;
    const echoes = await tick();
    removed += echoes.filter(({ topic }) => topic === 'client-subscriptions').length;
    if (echoes.length > 0) await take(echoes);
    isOver = [...rows.entries()].some(([, row]) => (row as MemoryRow & { state?: string }).state === 'DONE');
  }
  const deathSeconds = cpuSince(deathBegan);
  const diskBytes = await sizeOf(join(folder, 'work-0'));
  await store.close();
  await rm(folder, { recursive: true, force: true });

  const plain = { peer: '', peerFigure: null, ratio: null };
  const grownMb = Math.max(0, last.live - early.live) / 1e6;
  const many = `${CLIENTS.toLocaleString('en')} clients, ${FILTERS} subscriptions each`;
  return [
    {
      ...{ name: `sessions: live memory that grew from the first tenth on, ${many}`, figure: grownMb, unit: 'MB' },
      ...{ ...plain, bar: 'below 10 MB', met: grownMb < 10 },
    },
    {
      ...{ name: 'sessions: resident memory after it, LevelDB included', figure: last.rss / 1e6, unit: 'MB' },
      ...{ ...plain, bar: '', met: null },
    },
    {
      ...{
        name: 'sessions: records taken',
        figure: (CLIENTS * (1 + FILTERS)) / seconds,
        unit: 'records a second of CPU',
      },
      ...{ ...plain, bar: '', met: null },
    },
    {
      ...{ name: 'sessions: bytes on disk for each client', figure: diskBytes / CLIENTS, unit: 'bytes' },
      ...{ ...plain, bar: '', met: null },
    },
    {
      ...{ name: `sessions: a broker dies, ${removed} subscriptions removed`, figure: (ticks * TICK_MS) / 1_000 },
      ...{ unit: `s of time, ${deathSeconds.toFixed(1)} s of CPU`, ...plain, bar: '', met: null },
    },
  ];
}

const connected = (client: number, at: number): SessionRecord => ({
  timestamp: eventTime(at),
  body: {
    kind: 'Connected',
    ...{ clientId: `client-${client}`, brokerId: `broker-${client % BROKERS}`, cleanStart: true },
    ...{ sessionExpirySeconds: 0, sessionEpoch: at },
  },
});

const said = (client: number, at: number): ClientEvents => ({
  clientId: `client-${client}`,
  events: Array.from(
    { length: FILTERS },
    (_, filter): ClientEvent => ({
      action: 'SUBSCRIBE',
      ...{ topicFilter: `site-${client % 97}/device-${client}/topic-${filter}`, qos: 1 },
      ...{ brokerId: `broker-${client % BROKERS}`, sessionEpoch: at, timestamp: eventTime(at) },
    }),
  ),
});

/** The inputs that the stage reads back of what it has written. */
function heard(out: { readonly topic: string; readonly value: unknown }): In[] {
  if (out.topic !== 'subscriptions') return [];
  const { clientId, ...event } = out.value as ClientEvent & { clientId: string };
  const value = { clientId, events: [event] };
  return [{ topic: 'client-subscriptions', partition: 0, offset: 0, key: clientId, value }];
}

/** Memory of this process, after a forced garbage collection. */
function memory(): { readonly live: number; readonly rss: number } {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { live: heapUsed + external, rss };
}

function cpuSince(begun: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1e6;
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
