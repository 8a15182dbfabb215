// Sessions: stores for each client its session and its subscriptions, and makes apply hold the subscriptions of live
// sessions, each under the broker that has its client. When a session ends, expires or is replaced by a clean start,
// its subscriptions are removed; when its client connects to another broker, they move there.
//
//   E1. Everything that follows from a record is written with it in one commit, and events written to `subscriptions`
//       are read back by this stage, in the order in which apply reads them (subscription.ts).
//   E2. Many removals at once are spread over time: a client's subscriptions are gone through page by page, with a
//       limited number of events per second. The rest is on disk, and continues after a start where it was.
//   E3. Memory is bounded by the work under way, not by the number of clients.
//   E4. Events without a session epoch never come here: a broker that does not report sessions is not affected by this
//       stage.
//   E5. Nothing ends by the host's clock. That clock only limits how fast events are written, and advances event time
//       from its last reported value until the fleet reports a later one.

import type { BrokerHeartbeat, ClientEvents, Metric, SessionOperation, SessionRecord } from '../../schemas/records.ts';
import { singleEvents } from '../../state/watermark.ts';
import {
  type Emit,
  type Input,
  NEEDS_NOTHING,
  type Needs,
  NOTHING,
  type OnDisk,
  type Page,
  type Tick,
} from '../step.ts';
import {
  carryOut,
  countEvents,
  type Out,
  operationAtHand,
  prefixOf,
  SCAN_ROWS_MAX,
  takeHeartbeat,
  takeOperation,
  tellOperations,
  watchBrokers,
} from './brokers.ts';
import {
  type Agenda,
  agendaIn,
  agendaOf,
  type ClientRow,
  clientIn,
  clientKey,
  type Disk,
  type DiskRow,
  filterOf,
  keepAgenda,
  type Memory,
  type MemoryRow,
  operationKey,
  type Place,
  putClient,
  putSubscription,
  type SubscriptionRow,
  sessionRows,
  subscriptionIn,
  subscriptionKey,
  subscriptionsOf,
  TIMES,
  timeIn,
  WORK,
  workerOf,
} from './rows.ts';
import { endedTo, endsAt, lastOf, NO_SESSION, type Session, takeRecord } from './session.ts';
import type { SessionSettings } from './settings.ts';
import { correct, isGone, type Standing, takeEvent } from './subscription.ts';

export type In =
  | Input<'sessions', SessionRecord>
  | Input<'client-subscriptions', ClientEvents>
  | Input<'metrics', Metric>
  | Input<'session-operations', SessionOperation>
  | Input<'clock', Tick>;

/** A session record that changed nothing, or came too late; it is counted. */
export interface SessionTally {
  readonly what: 'ignored';
}

const IGNORED = [{ topic: 'tallies', key: '', value: { what: 'ignored' } }] as const;

/** Most rows at one tick; there are five ticks per second. */
const DUE_ROWS_MAX = 512;
const WORKERS_MAX = 1_024;
/** Most subscriptions of a client that are gone through at once. */
const PAGE_ROWS_MAX = 64;
/** After a quiet time, at most the events of this time may be written at once. */
const SAVED_MS = 1_000;
/** Single events: a sender with a wrong clock is one among many. */
const HEARD = singleEvents(100);
/** After this time without a session record there are none left to read. */
const QUIET_MS = 30_000;
/** How often event time is stored. */
const SAVE_MS = 10_000;

export interface SessionStage {
  readonly onDisk: OnDisk<MemoryRow, In, DiskRow>;
  readonly step: (rows: Memory, input: In, disk: Disk) => readonly (Out | Emit<'tallies', SessionTally>)[];
}

/**
 * `byEpoch`: apply keeps a subscription table and orders events by session epoch; without it, stores compare broker
 * ids.
 */
export function sessionsWith(settings: SessionSettings, byEpoch: boolean): SessionStage {
  return {
    onDisk: { table: sessionRows, needs: (rows, input) => needsOf(agendaIn(rows), rows, input) },
    step(rows, input, disk) {
      const agenda = agendaOf(rows);
      agenda.partition = input.partition;
      switch (input.topic) {
        case 'sessions':
          return takeSession(placeAt(input.value.timestamp), input.value);
        case 'client-subscriptions':
          return takeEvents(placeAt(input.value.events[0]?.timestamp ?? 0), input.value, byEpoch);
        case 'metrics':
          return isHeartbeat(input.value.body) ? takeHeartbeat({ rows, agenda }, input.value.body, settings) : NOTHING;
        case 'session-operations':
          return takeOperation({ rows, agenda }, input.value);
        case 'clock':
          return ticked(rows, agenda, disk, input.value, settings);
      }

      function placeAt(timestamp: number): Place {
        return { rows, disk, agenda, settings, now: agenda.eventTime || timestamp };
      }
    },
  };
}

function needsOf(agenda: Agenda, rows: Memory, input: In): Needs {
  switch (input.topic) {
    case 'sessions':
      return { keys: [clientKey(input.value.body.clientId)] };
    case 'client-subscriptions': {
      const { clientId, events } = input.value;
      return { keys: [clientKey(clientId), ...events.map((event) => subscriptionKey(clientId, event.topicFilter))] };
    }
    case 'clock':
      return needsOfTick(agenda, rows);
    default:
      return NEEDS_NOTHING;
  }
}

/** The rows needed by the work under way, and the pages needed next. */
function needsOfTick(agenda: Agenda, rows: Memory): Needs {
  const keys: string[] = [];
  for (const key of agenda.due) {
    const { client, filter } = timeIn(key);
    keys.push(clientKey(client));
    if (filter !== undefined) keys.push(subscriptionKey(client, filter));
  }
  for (const { client } of agenda.working) keys.push(clientKey(client));
  for (const key of agenda.scanned) keys.push(clientKey(filterOf(key)));
  const pages = [timesPage(agenda), workPage(agenda), scanPage(agenda, rows)].filter((page) => page !== undefined);
  return keys.length + pages.length === 0
    ? NEEDS_NOTHING
    : { keys, pages: [...pages, ...agenda.working.map(subscriptionsPage)] };
}

const timesPage = (agenda: Agenda): Page | undefined =>
  agenda.dueFrom <= agenda.eventTime ? { prefix: TIMES, limit: DUE_ROWS_MAX } : undefined;
const workPage = ({ pending, workAfter }: Agenda): Page | undefined =>
  pending === 0 ? undefined : { prefix: WORK, limit: WORKERS_MAX, ...(workAfter !== '' && { after: workAfter }) };
const subscriptionsPage = ({ client, after }: Agenda['working'][number]): Page => ({
  prefix: subscriptionsOf(client),
  limit: PAGE_ROWS_MAX,
  ...(after !== '' && { after }),
});

function scanPage({ pending, scanned }: Agenda, rows: Memory): Page | undefined {
  const operation = operationAtHand(rows);
  if (operation === undefined || operation.scanned || pending > 0 || scanned.length > 0) return undefined;
  const { after } = operation;
  return { prefix: prefixOf(operation), limit: SCAN_ROWS_MAX, ...(after !== '' && { after }) };
}

const isHeartbeat = (body: Metric['body']): body is BrokerHeartbeat => body.kind === 'BrokerHeartbeat';

function takeSession(place: Place, record: SessionRecord): typeof NOTHING | typeof IGNORED {
  place.agenda.heard.hear(record.timestamp, HEARD);
  place.agenda.records += 1;
  const client = record.body.clientId;
  const row = clientIn(place.disk, client);
  const session = takeRecord(row.session, record, place.now - place.settings.sessionMemoryMs);
  if (session === row.session) return IGNORED;
  changeSession(place, client, row, session);
  return NOTHING;
}

/** Writes a client's changed session, and starts a pass over its subscriptions when they are affected. */
function changeSession(place: Place, client: string, row: ClientRow, session: Session, operation = ''): void {
  const [before, after] = [standingOf(row.session), standingOf(session)];
  const isOther = before.endedTo !== after.endedTo || before.holder?.broker !== after.holder?.broker;
  const isToGoThrough = isOther || row.aheadTo > (before.holder?.epoch ?? 0);
  const aheadTo = row.aheadTo > (after.holder?.epoch ?? 0) ? row.aheadTo : 0;
  const pass = isToGoThrough ? { after: '', operation: operation || (row.pass?.operation ?? '') } : row.pass;
  putClient(place, client, row, { ...row, session, aheadTo, ...(pass && { pass }) });
}

function standingOf(session: Session): Standing {
  const last = lastOf(session);
  return { endedTo: endedTo(session), holder: last && { broker: last.broker, epoch: last.epoch } };
}

function takeEvents(place: Place, { clientId: client, events }: ClientEvents, byEpoch: boolean): readonly Out[] {
  const { disk } = place;
  const row = clientIn(disk, client);
  const standing = standingOf(row.session);
  let { subscriptions, aheadTo } = row;
  const out: Out[] = [];
  for (const event of events) {
    const filter = event.topicFilter;
    const before = subscriptionIn(disk, client, filter);
    if (before === undefined) subscriptions += 1;
    if (event.sessionEpoch > (standing.holder?.epoch ?? 0)) aheadTo = Math.max(aheadTo, event.sessionEpoch);
    const heard: SubscriptionRow = { kind: 'subscription', ...takeEvent(before, event, byEpoch) };
    out.push(...putRight(place, { client, filter }, standing, before, heard));
  }
  if (subscriptions !== row.subscriptions || aheadTo !== row.aheadTo)
    putClient(place, client, row, { ...row, subscriptions, aheadTo });
  return out;
}

/** Writes a subscription, and emits the event after which apply holds what it should. */
function putRight(
  place: Place,
  { client, filter }: { readonly client: string; readonly filter: string },
  standing: Standing,
  before: SubscriptionRow | undefined,
  now: SubscriptionRow,
): Out[] {
  const at = { clientId: client, topicFilter: filter, now: place.now };
  const { subscription, event } = correct(now, standing, at);
  const isOver = isGone(subscription, standing);
  const forgetAt = isOver ? subscription.forgetAt || place.now + place.settings.sessionMemoryMs : 0;
  const after: SubscriptionRow = { ...now, ...subscription, forgetAt };
  if (before !== after) putSubscription(place, { client, filter }, before, after);
  return event === undefined ? [] : [{ topic: 'subscriptions', key: filter, value: event }];
}

function ticked(rows: Memory, agenda: Agenda, disk: Disk, tick: Tick, settings: SessionSettings): readonly Out[] {
  const [times, work, scan] = [timesPage(agenda), workPage(agenda), scanPage(agenda, rows)];
  const leapt = tellTime(rows, agenda, tick, settings);
  const place: Place = { rows, disk, agenda, settings, now: agenda.eventTime };
  const out: Out[] = watchBrokers(place, leapt, settings);
  for (const key of agenda.due) lookAgain(place, key);
  agenda.due = [];
  out.push(...goThrough(place));
  const operation = operationAtHand(rows);
  if (operation !== undefined && agenda.scanned.length > 0)
    carryOut(place, operation, (client, session, id) => {
      changeSession(place, client, clientIn(disk, client), session, id);
      if (work === undefined) agenda.working.push({ client, after: '' }); // No other client is waiting: it is processed at once.
    });
  agenda.scanned = [];
  if (times !== undefined) takeTimes(place, times);
  if (work !== undefined && agenda.working.length === 0) takeWork(place, work);
  if (scan !== undefined) takeScan(place, scan);
  out.push(...tellOperations(place, tick.wallTime));
  return out;
}

/**
 * Advances event time (E5). Returns true when the task was down, or event time leapt. After a start, and while session
 * records come, event time does not run ahead of them: many may still be unread, and a session's records must be read
 * before it expires.
 */
function tellTime(rows: Memory, agenda: Agenda, tick: Tick, settings: SessionSettings): boolean {
  const { eventTime, heard } = agenda;
  const isStart = agenda.starts !== (rows.starts ?? 0);
  const passedMs = isStart ? 0 : Math.max(0, tick.wallTime - agenda.wallTime);
  if (isStart || agenda.records !== agenda.recordsSeen) agenda.heardWallTime = tick.wallTime;
  agenda.recordsSeen = agenda.records;
  const quietMs = tick.wallTime - agenda.heardWallTime;
  const followed = eventTime === 0 ? 0 : eventTime + passedMs;
  const told = tick.eventTime > 0 ? tick.eventTime : Math.max(followed, heard.time, 0);
  const isQuiet = eventTime === 0 || quietMs < 0 || quietMs >= QUIET_MS;
  const limit = Math.max(heard.time < 0 ? followed : eventTime, heard.time + quietMs);
  const reached = isQuiet ? told : Math.min(told, limit);
  // A small step back: event time was advanced too far. A large one: a wrong time had been believed.
  const isBehind = reached < eventTime && eventTime - reached <= HEARD.nearMs;
  const now = isBehind ? eventTime : reached;
  const leapt = isStart || Math.abs(now - eventTime) > settings.brokerLostMs / 2;
  const rate = settings.sessionEventsPerSecond / 1_000;
  agenda.tokens = Math.min(Math.max(1, rate * SAVED_MS), agenda.tokens + rate * passedMs);
  agenda.starts = rows.starts ?? 0;
  agenda.eventTime = now;
  agenda.wallTime = tick.wallTime;
  const isKept = agenda.pending > 0 || Number.isFinite(agenda.dueFrom);
  if (isKept && Math.abs(now - agenda.savedAt) >= SAVE_MS) {
    agenda.savedAt = now;
    keepAgenda(rows, agenda);
  }
  return leapt;
}

/** Handles an index row whose time has come: a session that may have expired, or a row that may be forgotten. */
function lookAgain(place: Place, key: string): void {
  const { time, client, filter } = timeIn(key);
  place.disk.delete(key);
  const row = clientIn(place.disk, client);
  if (filter === undefined) lookAtSession(place, client, row);
  else forget(place, { client, filter }, row, time);
}

function lookAtSession(place: Place, client: string, row: ClientRow): void {
  const { now, settings } = place;
  const last = lastOf(row.session);
  if (last === undefined) return;
  if (row.overSince === 0) {
    if (endsAt(last) + settings.sessionGraceMs <= now)
      changeSession(place, client, row, { ...row.session, expiredAt: now });
  } else if (row.overSince + settings.sessionMemoryMs <= now) {
    const isKept = row.subscriptions > 0; // Subscriptions are forgotten separately.
    putClient(place, client, row, isKept ? { ...row, overSince: now } : { ...row, session: NO_SESSION });
  }
}

function forget(
  place: Place,
  { client, filter }: { readonly client: string; readonly filter: string },
  row: ClientRow,
  time: number,
): void {
  if (subscriptionIn(place.disk, client, filter)?.forgetAt !== time) return;
  place.disk.delete(subscriptionKey(client, filter));
  putClient(place, client, row, { ...row, subscriptions: row.subscriptions - 1 });
}

/** Continues with the clients under way, as far as events may be written (E2). */
function goThrough(place: Place): Out[] {
  const { rows, disk, agenda } = place;
  const out: Out[] = [];
  const left: Agenda['working'] = [];
  for (const worker of agenda.working) {
    const row = clientIn(disk, worker.client);
    if (row.pass === undefined || row.pass.after !== worker.after) continue; // The pass was restarted: it is read again.
    if (agenda.tokens < 1) {
      left.push(worker);
      continue;
    }
    const page = disk.page(subscriptionsPage(worker));
    const standing = standingOf(row.session);
    const said = out.length;
    let after = worker.after;
    let isWhole = page.done;
    for (const [key, subscription] of page.rows) {
      if (agenda.tokens < 1) {
        isWhole = false;
        break;
      }
      after = key;
      if (subscription.kind !== 'subscription') continue;
      const events = putRight(
        place,
        { client: worker.client, filter: filterOf(key) },
        standing,
        subscription,
        subscription,
      );
      agenda.tokens -= events.length;
      out.push(...events);
    }
    if (!page.done && page.rows.length === 0) after = page.last ?? after;
    countEvents(rows, row.pass.operation, out.length - said);
    const { pass, ...done } = row;
    putClient(place, worker.client, row, isWhole ? done : { ...done, pass: { ...pass, after } });
    if (!isWhole) left.push({ client: worker.client, after });
  }
  agenda.working = left;
  return out;
}

function takeTimes({ disk, agenda }: Place, page: Page): void {
  const { rows, done } = disk.page(page);
  const keys = rows.map(([key]) => key);
  const first = keys.find((key) => timeIn(key).time > agenda.eventTime);
  agenda.due = first === undefined ? keys : keys.slice(0, keys.indexOf(first));
  if (agenda.due.length > 0) agenda.dueFrom = 0;
  else if (first !== undefined) agenda.dueFrom = timeIn(first).time;
  else agenda.dueFrom = done ? Number.POSITIVE_INFINITY : 0;
}

function takeWork({ rows, disk, agenda }: Place, page: Page): void {
  const found = disk.page(page);
  agenda.working = found.rows.flatMap(([key, row]) =>
    row.kind === 'index' ? [{ client: workerOf(key), after: row.text }] : [],
  );
  agenda.workAfter = found.done ? '' : (found.last ?? '');
  if (found.rows.length === 0 && found.done && page.after === undefined && agenda.pending !== 0) {
    agenda.pending = 0;
    keepAgenda(rows, agenda);
  }
}

function takeScan({ rows, disk, agenda }: Place, page: Page): void {
  const operation = operationAtHand(rows);
  if (operation === undefined || prefixOf(operation) !== page.prefix) return;
  const found = disk.page(page);
  agenda.scanned = found.rows.map(([key]) => key);
  if (found.done) rows.set(operationKey(operation.operationId), { ...operation, scanned: true });
}
