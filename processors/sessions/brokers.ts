// Brokers: which of them have fallen silent, were started again or came back, by their heartbeats; and what befalls their
// sessions, which lie in every partition.
//
// The task to whose partition a broker's heartbeats come decides, and tells each partition, which goes through the sessions
// that it has of that broker: an operation. Each partition says how far it is.
//
//   B1. Nobody is called silent for a time in which this task itself was away, or in which event time leapt.
//   B2. A session that was connected after the moment that an operation is about, by its broker's clock, is left alone: it
//       came after it.
//   B3. A broker that was silent and is back as it was gets its sessions back, the ended ones too while they are remembered.
//       One that was started again has lost its connections.
//   B4. An operation takes a page of sessions when nothing else is waiting to be written: it stops within a page.

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

/** Sessions of one page. */
export const SCAN_ROWS_MAX = 1_024;
/** A heartbeat is worth a write when the broker had been silent for this share of the time. */
const HEARD_SHARE = 8;
/** How long a lost broker is known: what comes back later is new. */
const BROKER_KEPT_MS = 7 * 24 * 3_600_000;
const OPERATION_KEPT_MS = 24 * 3_600_000;
/** Of one partition, with the operations that are kept; brokers beyond are not watched. */
const BROKERS_MAX = 10_000;
/** How often an operation tells how far it is. */
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
  if (startedAt !== 0 && startedAt < known.startedAt) return []; // From before it was started again.
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

/** On each tick. `leapt`: nobody was watching, or time was not what it seemed (B1). */
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

/** What is said of an operation, by the task that watches its broker, by a person, or by this task itself. */
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
  // It says more, and later, than what is still being done of another one.
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

/** The operation whose turn it is: the oldest. */
export const operationAtHand = (rows: Memory): OperationRow | undefined =>
  operationsIn(rows)
    .filter(({ state }) => state === 'RUNNING')
    .sort((a, b) => a.startedAt - b.startedAt || (a.operationId < b.operationId ? -1 : 1))[0];

/** The sessions that it is about. */
export const prefixOf = ({ action, brokerId }: OperationRow): string =>
  action === 'RESTORE' ? lostWith(brokerId) : openOn(brokerId);

/** Goes through the sessions at hand, which `change` writes. */
export function carryOut(
  place: Place,
  operation: OperationRow,
  change: (client: string, session: Session, operation: string) => void,
): void {
  let { sessions, ended, after } = operation;
  if (!place.agenda.scanned[0]!.startsWith(prefixOf(operation))) return; // They were another one's.
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

/** The session as the operation leaves it; `undefined` when it is none of its business. */
function changedBy({ action, brokerId, before }: OperationRow, session: Session): Session | undefined {
  const last = lastOf(session);
  if (last === undefined || last.broker !== brokerId) return undefined;
  if (action === 'RESTORE') return last.lost ? restoreLast(session) : undefined;
  if (last.closedAt !== 0 || last.endedAt !== 0 || last.connectedAt >= before) return undefined; // B2
  return closeLast(session, Math.max(before, last.connectedAt), action === 'LOSE');
}

/** On each tick: what is done is told, now and again what is not; what was done long ago is forgotten. */
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

/** Adds what a pass wrote to the operation that it came of. */
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

/** Writes an operation whose state has changed; what is told of it. */
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

/** The moment tells one from another of its broker, whose name may have characters that no id has. */
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
