// Brokers: detects by heartbeats which brokers have fallen silent, were restarted or came back, and changes their
// sessions accordingly. The sessions of a broker are in every partition.
//
// The task that gets a broker's heartbeats, by the broker's partition, decides and starts an operation: it tells each
// partition, which goes through its sessions of that broker and reports its progress.
//
//   B1. No broker is called silent because of a time in which this task itself was down, or in which event time leapt.
//   B2. A session that was connected after the moment of an operation, by its broker's clock, is not affected.
//   B3. A broker that was silent and comes back with its connections gets its sessions back, also ended ones while they
//       are remembered. A restarted broker has lost its connections.
//   B4. An operation processes a page of sessions only when no other events are waiting to be written, so that it can
//       be stopped within a page.

import { eventTime } from '../../schemas/ids.ts';
import type { BrokerHeartbeat, OperationAction, SessionOperation, SubscriptionEvent } from '../../schemas/records.ts';
import { filterHash } from '../../state/keys.ts';
import type { Emit } from '../step.ts';
import {
  type Agenda,
  type BrokerRow,
  brokerKey,
  clientIn,
  clientOf,
  lostWith,
  type Memory,
  type OperationRow,
  openOn,
  operationKey,
  type Place,
} from './rows.ts';
import { closeLast, isOver, lastOf, restoreLast, type Session } from './session.ts';
import type { SessionSettings } from './settings.ts';

export type Out = Emit<'subscriptions', SubscriptionEvent> | Emit<'session-operations', SessionOperation>;

/** Most sessions of one page. */
export const SCAN_ROWS_MAX = 1_024;
/** A heartbeat is stored when the broker was silent for this fraction of the time. */
const HEARD_SHARE = 8;
/** How long a lost broker is remembered; one that comes back later counts as new. */
const BROKER_KEPT_MS = 7 * 24 * 3_600_000;
const OPERATION_KEPT_MS = 24 * 3_600_000;
/** In one partition, including brokers whose operations are kept; brokers beyond this number are not watched. */
const BROKERS_MAX = 10_000;
/** How often an operation reports its progress. */
const TELL_MS = 1_000;

export function takeHeartbeat(
  { rows, agenda }: Pick<Place, 'rows' | 'agenda'>,
  beat: BrokerHeartbeat,
  settings: SessionSettings,
): Out[] {
  const key = brokerKey(beat.brokerId);
  const known = rows.get(key);
  const now = agenda.eventTime;
  const startedAt = beat.startedAt ?? 0;
  if (known?.kind !== 'broker') {
    if (rows.size < BROKERS_MAX)
      rows.set(key, {
        kind: 'broker',
        brokerId: beat.brokerId,
        heardAt: now,
        beatAt: beat.timestamp,
        startedAt,
        lostIn: '',
        savedBeatAt: beat.timestamp,
      });
    return [];
  }
  known.heardAt = now;
  known.beatAt = Math.max(known.beatAt, beat.timestamp);
  if (known.beatAt - known.savedBeatAt >= settings.brokerLostMs / HEARD_SHARE) save(rows, known);
  if (startedAt !== 0 && startedAt < known.startedAt) return []; // Sent before the broker was restarted.
  const { lostIn } = known;
  const isSame = startedAt !== 0 && startedAt === known.startedAt;
  const isNew = known.startedAt !== 0 && startedAt > known.startedAt;
  if (lostIn === '' && startedAt <= known.startedAt) return [];
  save(rows, { ...known, startedAt: Math.max(known.startedAt, startedAt), lostIn: '' });
  const out: Out[] = [];
  if (lostIn !== '' && !isSame) out.push(...stopFor(known.brokerId, lostIn, now, settings));
  if (isNew) out.push(...start(known.brokerId, { action: 'DISCONNECT', before: startedAt }, now, settings));
  else if (lostIn !== '' && isSame)
    out.push(...start(known.brokerId, { action: 'RESTORE', before: now }, now, settings));
  return out; // B3
}

/** Called at each tick. `leapt`: the task was down, or event time leapt (B1). */
export function watchBrokers(
  { rows, agenda }: Pick<Place, 'rows' | 'agenda'>,
  leapt: boolean,
  settings: SessionSettings,
): Out[] {
  const out: Out[] = [];
  const now = agenda.eventTime;
  for (const broker of brokersIn(rows)) {
    if (leapt) broker.heardAt = now;
    const silentMs = now - broker.heardAt;
    if (broker.lostIn !== '') {
      if (silentMs > BROKER_KEPT_MS) rows.delete(brokerKey(broker.brokerId));
      continue;
    }
    if (silentMs <= settings.brokerLostMs) continue;
    const before = eventTime(broker.beatAt + settings.brokerLostMs); // B2
    save(rows, { ...broker, lostIn: idOf('LOSE', broker.brokerId, before) });
    out.push(...start(broker.brokerId, { action: 'LOSE', before }, now, settings));
  }
  return out;
}

/**
 * Handles a record about an operation: from the task that watches its broker, from an operator, or from this task
 * itself.
 */
export function takeOperation({ rows, agenda }: Pick<Place, 'rows' | 'agenda'>, said: SessionOperation): Out[] {
  const { body, operationId, brokerId } = said;
  const known = rows.get(operationKey(operationId));
  if (body.kind === 'OperationProgress') return [];
  if (body.kind === 'OperationStop') {
    if (known?.kind !== 'operation' || known.state !== 'RUNNING') return [];
    return [put({ rows, agenda }, { ...known, state: 'STOPPED', reason: body.reason })];
  }
  if (known !== undefined) return [];
  const out: Out[] = [];
  // The new operation is later and replaces the running operations on the same broker.
  for (const other of operationsIn(rows))
    if (other.brokerId === brokerId && other.state === 'RUNNING')
      out.push(put({ rows, agenda }, { ...other, state: 'STOPPED', reason: `${operationId} takes its place` }));
  const counts = { sessions: 0, ended: 0, events: 0 };
  const place = { after: '', scanned: false, since: agenda.eventTime, startedAt: said.at, reason: '' };
  const { action, before } = body;
  const row = {
    kind: 'operation',
    operationId,
    brokerId,
    action,
    before,
    state: 'RUNNING',
    ...place,
    ...counts,
  } as const;
  return [...out, put({ rows, agenda }, row)];
}

/** The operation to be processed: the oldest one. */
export const operationAtHand = (rows: Memory): OperationRow | undefined =>
  operationsIn(rows)
    .filter(({ state }) => state === 'RUNNING')
    .sort((a, b) => a.startedAt - b.startedAt || (a.operationId < b.operationId ? -1 : 1))[0];

/** Prefix of the index rows of the operation's sessions. */
export const prefixOf = ({ action, brokerId }: OperationRow): string =>
  action === 'RESTORE' ? lostWith(brokerId) : openOn(brokerId);

/** Processes the sessions that were read; `change` writes them. */
export function carryOut(
  place: Place,
  operation: OperationRow,
  change: (client: string, session: Session, operation: string) => void,
): void {
  let { sessions, ended, after } = operation;
  if (!place.agenda.scanned[0]!.startsWith(prefixOf(operation))) return; // They were read for another operation.
  for (const key of place.agenda.scanned) {
    after = key;
    const client = clientOf(key);
    const { session } = clientIn(place.disk, client);
    const changed = changedBy(operation, session);
    if (changed === undefined) continue;
    sessions += 1;
    if (isOver(changed)) ended += 1;
    change(client, changed, operation.operationId);
  }
  place.rows.set(operationKey(operation.operationId), { ...operation, sessions, ended, after });
}

/** The session after the operation; `undefined` when it is not affected. */
function changedBy({ action, brokerId, before }: OperationRow, session: Session): Session | undefined {
  const last = lastOf(session);
  if (last === undefined || last.broker !== brokerId) return undefined;
  if (action === 'RESTORE') return last.lost ? restoreLast(session) : undefined;
  if (last.closedAt !== 0 || last.endedAt !== 0 || last.connectedAt >= before) return undefined; // B2
  return closeLast(session, Math.max(before, last.connectedAt), action === 'LOSE');
}

/** Called at each tick: reports finished operations, and now and then the progress of others; forgets old ones. */
export function tellOperations({ rows, agenda }: Pick<Place, 'rows' | 'agenda'>, wallTime: number): Out[] {
  const now = agenda.eventTime;
  const out: Out[] = [];
  const isTime = wallTime - agenda.toldAt >= TELL_MS || wallTime < agenda.toldAt;
  if (isTime) agenda.toldAt = wallTime;
  for (const operation of operationsIn(rows)) {
    if (operation.state !== 'RUNNING') {
      if (now - operation.since > OPERATION_KEPT_MS) rows.delete(operationKey(operation.operationId));
    } else if (operation.scanned && agenda.scanned.length === 0 && agenda.pending === 0) {
      out.push(put({ rows, agenda }, { ...operation, state: 'DONE' }));
    } else if (isTime) out.push(told(operation, agenda));
  }
  return out;
}

/** Adds events written in a client's pass to the operation that caused the pass. */
export function countEvents(rows: Memory, operationId: string, events: number): void {
  const operation = rows.get(operationKey(operationId));
  if (operation?.kind === 'operation' && events > 0)
    rows.set(operationKey(operationId), { ...operation, events: operation.events + events });
}

export function* operationsOf(rows: IterableIterator<readonly [string, unknown]>): Generator<OperationRow> {
  for (const [, row] of rows) if ((row as OperationRow).kind === 'operation') yield row as OperationRow;
}

const operationsIn = (rows: Memory): OperationRow[] => [...operationsOf(rows.entries())];
const brokersIn = (rows: Memory): BrokerRow[] =>
  [...rows.entries()].flatMap(([, row]) => (row.kind === 'broker' ? [row] : []));

function save(rows: Memory, broker: BrokerRow): void {
  broker.savedBeatAt = broker.beatAt;
  rows.set(brokerKey(broker.brokerId), broker);
}

/** Writes an operation whose state has changed; returns the record that reports it. */
function put({ rows, agenda }: Pick<Place, 'rows' | 'agenda'>, operation: OperationRow): Out {
  const row = { ...operation, since: agenda.eventTime };
  rows.set(operationKey(row.operationId), row);
  return told(row, agenda);
}

function told(operation: OperationRow, { eventTime: now, partition }: Agenda): Out {
  const { operationId, brokerId, action, state, sessions, ended, events, reason } = operation;
  const startedAt = eventTime(operation.startedAt);
  const body = {
    kind: 'OperationProgress',
    partition,
    action,
    state,
    sessions,
    ended,
    events,
    startedAt,
    reason,
  } as const;
  const value: SessionOperation = { operationId, brokerId, at: eventTime(now), body };
  return { topic: 'session-operations', key: operationId, value, partition };
}

function start(
  brokerId: string,
  { action, before }: { readonly action: OperationAction; readonly before: number },
  now: number,
  settings: SessionSettings,
): Out[] {
  const operationId = idOf(action, brokerId, before);
  const body = { kind: 'OperationStart', action, before: eventTime(before) } as const;
  return toAll({ operationId, brokerId, at: eventTime(now), body }, settings);
}

/**
 * Contains the time, which distinguishes the operations of one broker, and the broker's name in characters allowed in
 * ids.
 */
const idOf = (action: OperationAction, brokerId: string, before: number): string =>
  `${action.toLowerCase()}-${before}-${filterHash(brokerId).toString(16).padStart(8, '0')}`;

function stopFor(brokerId: string, operationId: string, now: number, settings: SessionSettings): Out[] {
  const body = { kind: 'OperationStop', reason: 'the broker is back' } as const;
  return toAll({ operationId, brokerId, at: eventTime(now), body }, settings);
}

const toAll = (value: SessionOperation, { partitions }: SessionSettings): Out[] =>
  Array.from({ length: partitions }, (_, partition) => ({
    ...{ topic: 'session-operations' as const, key: value.operationId, value, partition },
  }));
