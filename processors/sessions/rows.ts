// Rows of the sessions stage. On disk, in one table; each kind has a prefix of its own, so that it can be read page by
// page:
//
//   c/<client>                    a client: its session, its number of subscriptions, and what is still to be done
//   f/<client>NUL<filter>         a subscription b/<broker>NUL<client>         index: the client's last connection is
//   open, on that broker l/<broker>NUL<client>         index: its last connection was lost with that broker w/<client>
//   index: its subscriptions are to be gone through, beginning with this one x/<time>/<client>             index: its
//   session must be checked at that time: it expires, or may be forgotten x/<time>/<client>NUL<filter>  index: the same
//   for a subscription
//
// In memory are only small rows, whatever the number of clients: brokers whose heartbeats come to this partition,
// operations on their sessions, and the agenda.
//
//   W1. The index rows of a client follow from its row, and are written together with it (`putClient`).
//   W2. Index rows contain no information that is not in the rows of clients and subscriptions.

import { assert } from '../../schemas/errors.ts';
import type { OperationAction, OperationState } from '../../schemas/records.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { Watermark } from '../../state/watermark.ts';
import type { DiskRows, Rows, Table } from '../step.ts';
import { type Connection, endsAt, isOver, lastOf, NO_SESSION, type Session } from './session.ts';
import type { Held, Subscription } from './subscription.ts';

export interface ClientRow {
  readonly kind: 'client';
  readonly session: Session;
  /** Number of rows of its subscriptions. */
  readonly subscriptions: number;
  /** Epoch of the newest connection that a record mentions but that is not known yet; 0 for none. */
  readonly aheadTo: number;
  /** When its session ended; 0 while it has not. */
  readonly overSince: number;
  /** Present while its subscriptions are being gone through. */
  readonly pass?: Pass;
}

export interface Pass {
  /** The last key that was processed; '' for none. */
  readonly after: string;
  /** The operation that caused the pass; '' for none. */
  readonly operation: string;
}

export interface SubscriptionRow extends Subscription {
  readonly kind: 'subscription';
}

/** `text`: the progress of a pass; empty for other index rows. */
export interface IndexRow {
  readonly kind: 'index';
  readonly text: string;
}

export type DiskRow = ClientRow | SubscriptionRow | IndexRow;
export type Disk = DiskRows<DiskRow>;

export interface BrokerRow {
  readonly kind: 'broker';
  readonly brokerId: string;
  /** When the last heartbeat was received, by this task's event time. */
  heardAt: number;
  /** The last heartbeat's own time, and when its broker was started; 0 when not reported. */
  beatAt: number;
  /** `beatAt` as it was when the row was last written. */
  savedBeatAt: number;
  startedAt: number;
  /** The operation that closed its sessions; '' while the broker is alive. */
  lostIn: string;
}

export interface OperationRow {
  readonly kind: 'operation';
  readonly operationId: string;
  readonly brokerId: string;
  readonly action: OperationAction;
  readonly before: number;
  readonly state: OperationState;
  readonly startedAt: number;
  /** The last index row that was processed; '' for none. */
  readonly after: string;
  /** Every session was processed; the resulting events may still be waiting. */
  readonly scanned: boolean;
  readonly sessions: number;
  readonly ended: number;
  readonly events: number;
  readonly reason: string;
  /** When this state began. */
  readonly since: number;
}

/** The work that is planned and under way. Everything except the first three fields is recomputed after a start. */
export class Agenda {
  readonly kind = 'agenda';
  /** Event time, and the host's time at which it was reached. */
  eventTime: number;
  wallTime: number;
  /** Number of clients whose subscriptions are to be gone through. */
  pending: number;
  partition = 0;
  starts = -1;
  savedAt = 0;
  toldAt = 0;
  /** Event time by the session records read, how many there were, and how many at the last tick. */
  readonly heard = new Watermark();
  records = 0;
  recordsSeen = 0;
  /** The host's time of the last tick before which session records came, or of the start. */
  heardWallTime = 0;
  /** Number of events that may be written now. */
  tokens = 0;
  /** No index row `x/` has an earlier time than this. */
  dueFrom = 0;
  /** Keys of index rows `x/` whose time has come. */
  due: string[] = [];
  working: { readonly client: string; readonly after: string }[] = [];
  workAfter = '';
  /** Clients of the broker of the operation under way. */
  scanned: string[] = [];

  constructor(eventTime = 0, wallTime = 0, pending = 0) {
    this.eventTime = eventTime;
    this.wallTime = wallTime;
    this.pending = pending;
  }
}

export type MemoryRow = Agenda | BrokerRow | OperationRow;
export type Memory = Rows<MemoryRow>;

const NUL = '\u0000';
const TIME_DIGITS = 15;
const AGENDA = 'agenda';

export const clientKey = (client: string): string => `c/${client}`;
export const subscriptionsOf = (client: string): string => `f/${client}${NUL}`;
export const subscriptionKey = (client: string, filter: string): string => subscriptionsOf(client) + filter;
export const filterOf = (key: string): string => key.slice(key.indexOf(NUL) + 1);
export const openOn = (broker: string): string => `b/${broker}${NUL}`;
export const lostWith = (broker: string): string => `l/${broker}${NUL}`;
/** The client in the key of an index row `b/` or `l/`. */
export const clientOf = (key: string): string => key.slice(key.indexOf(NUL) + 1);
export const TIMES = 'x/';
export const WORK = 'w/';
export const workerOf = (key: string): string => key.slice(WORK.length);
export const brokerKey = (broker: string): string => `broker/${broker}`;
export const operationKey = (operationId: string): string => `operation/${operationId}`;

const timeKey = (time: number, what: string): string =>
  `${TIMES}${String(Math.ceil(time)).padStart(TIME_DIGITS, '0')}/${what}`;

/** The parts of the key of an index row `x/`. */
export function timeIn(key: string): { readonly time: number; readonly client: string; readonly filter?: string } {
  const at = TIMES.length + TIME_DIGITS;
  const what = key.slice(at + 1);
  const end = what.indexOf(NUL);
  const time = Number(key.slice(TIMES.length, at));
  return end < 0 ? { time, client: what } : { time, client: what.slice(0, end), filter: what.slice(end + 1) };
}

/** The agenda, when there is one; it is not created. */
export function agendaIn(rows: Memory): Agenda {
  const row = rows.get(AGENDA);
  return row?.kind === 'agenda' ? row : new Agenda();
}

export function agendaOf(rows: Memory): Agenda {
  const row = rows.get(AGENDA);
  if (row?.kind === 'agenda') return row;
  const agenda = new Agenda();
  rows.set(AGENDA, agenda);
  return agenda;
}

export const keepAgenda = (rows: Memory, agenda: Agenda): void => rows.set(AGENDA, agenda);

export function clientIn(disk: Disk, client: string): ClientRow {
  const row = disk.get(clientKey(client));
  return row?.kind === 'client' ? row : NEW_CLIENT;
}

const NEW_CLIENT: ClientRow = {
  kind: 'client',
  session: NO_SESSION,
  subscriptions: 0,
  aheadTo: 0,
  overSince: 0,
};

export function subscriptionIn(disk: Disk, client: string, filter: string): SubscriptionRow | undefined {
  const row = disk.get(subscriptionKey(client, filter));
  return row?.kind === 'subscription' ? row : undefined;
}

/** How long ended sessions are kept, and how long an expired session is kept open. */
interface Times {
  readonly sessionGraceMs: number;
  readonly sessionMemoryMs: number;
}

export interface Place {
  readonly rows: Memory;
  readonly disk: Disk;
  readonly agenda: Agenda;
  readonly settings: Times;
  readonly now: number;
}

/** Replaces a client's row, and its index rows (W1). A row without information is removed. */
export function putClient(place: Place, client: string, before: ClientRow, given: ClientRow): void {
  const { rows, disk, agenda, settings, now } = place;
  const overSince = isOver(given.session) ? given.overSince || now : 0;
  const isNothing = given.subscriptions === 0 && given.session.connections.length === 0;
  const { pass: _, ...rest } = given;
  const after: ClientRow = given.subscriptions === 0 ? { ...rest, overSince } : { ...given, overSince };
  const old = before === NEW_CLIENT ? [] : indexOf(client, before, settings);
  const fresh = isNothing ? [] : indexOf(client, after, settings);
  for (const [key] of old) if (!fresh.some(([other]) => other === key)) disk.delete(key);
  for (const [key, text] of fresh) {
    if (old.some(([other, known]) => other === key && known === text)) continue;
    disk.set(key, { kind: 'index', text });
    if (key.startsWith(TIMES)) agenda.dueFrom = Math.min(agenda.dueFrom, timeIn(key).time);
  }
  const pending = Number(!isNothing && after.pass !== undefined) - Number(before.pass !== undefined);
  if (pending !== 0) {
    agenda.pending += pending;
    keepAgenda(rows, agenda);
  }
  if (isNothing) disk.delete(clientKey(client));
  else disk.set(clientKey(client), after);
}

function indexOf(client: string, row: ClientRow, { sessionGraceMs, sessionMemoryMs }: Times): [string, string][] {
  const index: [string, string][] = [];
  const last = lastOf(row.session);
  if (row.pass !== undefined) index.push([WORK + client, row.pass.after]);
  if (last === undefined) return index;
  if (last.lost) index.push([lostWith(last.broker) + client, '']);
  if (row.overSince > 0) index.push([timeKey(row.overSince + sessionMemoryMs, client), '']);
  else if (last.closedAt === 0) index.push([openOn(last.broker) + client, '']);
  else if (Number.isFinite(endsAt(last))) index.push([timeKey(endsAt(last) + sessionGraceMs, client), '']);
  return index;
}

/** Writes a subscription's row, and the index row for the time at which it may be forgotten. */
export function putSubscription(
  { disk, agenda }: Place,
  place: { readonly client: string; readonly filter: string },
  before: SubscriptionRow | undefined,
  after: SubscriptionRow,
): void {
  const { client, filter } = place;
  const what = client + NUL + filter;
  if (before !== undefined && before.forgetAt !== 0 && before.forgetAt !== after.forgetAt)
    disk.delete(timeKey(before.forgetAt, what));
  if (after.forgetAt !== 0 && before?.forgetAt !== after.forgetAt) {
    disk.set(timeKey(after.forgetAt, what), { kind: 'index', text: '' });
    agenda.dueFrom = Math.min(agenda.dueFrom, after.forgetAt);
  }
  disk.set(subscriptionKey(client, filter), after);
}

/** Kept in memory and in the changelog. */
export const sessionWork: Table<MemoryRow> = {
  name: 'session-work',
  encode: (row) => {
    const { kind, eventTime, wallTime, pending } = row as Agenda;
    return Buffer.from(JSON.stringify(kind === 'agenda' ? { kind, eventTime, wallTime, pending } : row), 'utf8');
  },
  decode: (bytes) => {
    const row = JSON.parse(bytes.toString('utf8')) as MemoryRow;
    return row.kind === 'agenda' ? new Agenda(row.eventTime, row.wallTime, row.pending) : row;
  },
};

const CLIENT = 1;
const SUBSCRIPTION = 2;
const INDEX = 3;

/** Kept on disk: rows are compact, since there are many. */
export const sessionRows: Table<DiskRow> = {
  name: 'sessions',
  encode(row) {
    const to = new BinaryWriter(64);
    if (row.kind === 'index') return to.count(INDEX).text(row.text).bytes();
    if (row.kind === 'client') writeClient(to.count(CLIENT), row);
    else writeSubscription(to.count(SUBSCRIPTION), row);
    return to.bytes();
  },
  decode(bytes) {
    const from = new BinaryReader(bytes);
    const kind = from.count();
    if (kind === INDEX) return { kind: 'index', text: from.text() };
    if (kind === CLIENT) return readClient(from);
    assert(kind === SUBSCRIPTION, `no row of sessions is of kind ${kind}`);
    return readSubscription(from);
  },
};

function writeClient(to: BinaryWriter, { session, subscriptions, aheadTo, overSince, pass }: ClientRow): void {
  to.count(subscriptions)
    .count(aheadTo)
    .count(overSince)
    .count(pass === undefined ? 0 : 1);
  if (pass !== undefined) to.text(pass.after).text(pass.operation);
  to.count(session.droppedTo).count(session.droppedEndedTo).count(session.expiredAt);
  to.count(session.connections.length);
  for (const each of session.connections) {
    to.count(each.epoch).text(each.broker).count(each.connectedAt).count(each.expirySeconds);
    to.count(each.closedAt).count(each.endedAt);
    to.count(Number(each.cleanStart) + 2 * Number(each.lost));
  }
}

function readClient(from: BinaryReader): ClientRow {
  const counts = { subscriptions: from.count(), aheadTo: from.count(), overSince: from.count() };
  const pass = from.count() === 0 ? undefined : { after: from.text(), operation: from.text() };
  const session = { droppedTo: from.count(), droppedEndedTo: from.count(), expiredAt: from.count() };
  const connections = Array.from({ length: from.count() }, (): Connection => {
    const [epoch, broker, connectedAt, expirySeconds] = [from.count(), from.text(), from.count(), from.count()];
    const [closedAt, endedAt, bits] = [from.count(), from.count(), from.count()];
    const isSet = { cleanStart: (bits & 1) !== 0, lost: (bits & 2) !== 0 };
    return { epoch, broker, connectedAt, expirySeconds, closedAt, endedAt, ...isSet };
  });
  return { kind: 'client', session: { ...session, connections }, ...counts, ...(pass && { pass }) };
}

const SUBSCRIBED = 1;
const HELD = 2;
/** Flag: what apply holds is the same as what the client said. */
const HELD_AS_SAID = 4;
const ASKED = 8;
const ASKED_HELD = 16;

function writeSubscription(to: BinaryWriter, { said, held, asked, forgetAt }: SubscriptionRow): void {
  const isAsSaid =
    held !== undefined && held.broker === said.broker && held.epoch === said.epoch && held.options === said.options;
  to.count(
    (said.subscribed ? SUBSCRIBED : 0) +
      (held === undefined ? 0 : HELD + (isAsSaid ? HELD_AS_SAID : 0)) +
      (asked === undefined ? 0 : ASKED + (asked.held === undefined ? 0 : ASKED_HELD)),
  );
  to.count(said.epoch).text(said.broker).count(said.options).count(said.at).count(forgetAt);
  if (held !== undefined && !isAsSaid) writeHeld(to, held);
  if (asked !== undefined) to.count(asked.at);
  if (asked?.held !== undefined) writeHeld(to, asked.held);
}

function readSubscription(from: BinaryReader): SubscriptionRow {
  const flags = from.count();
  const subscribed = (flags & SUBSCRIBED) !== 0;
  const said = { subscribed, epoch: from.count(), broker: from.text(), options: from.count(), at: from.count() };
  const forgetAt = from.count();
  const { epoch, broker, options } = said;
  const asSaid = (flags & HELD_AS_SAID) !== 0;
  const held = (flags & HELD) === 0 ? undefined : asSaid ? { epoch, broker, options } : readHeld(from);
  const at = (flags & ASKED) === 0 ? undefined : from.count();
  const askedHeld = (flags & ASKED_HELD) === 0 ? undefined : readHeld(from);
  const asked = at === undefined ? undefined : { at, ...(askedHeld && { held: askedHeld }) };
  return { kind: 'subscription', said, forgetAt, ...(held && { held }), ...(asked && { asked }) };
}

const writeHeld = (to: BinaryWriter, { broker, epoch, options }: Held): BinaryWriter =>
  to.text(broker).count(epoch).count(options);
const readHeld = (from: BinaryReader): Held => ({
  broker: from.text(),
  epoch: from.count(),
  options: from.count(),
});
