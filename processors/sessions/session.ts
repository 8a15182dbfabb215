// Session: what is known of the connections of one client, and which of its sessions have ended. Pure.
//
// A connection has a number, the session epoch, that is greater than those of the client's earlier connections, at
// whichever broker. A session lasts through several connections; a subscription belongs to the session of the
// connection that made it. So one number says which subscriptions are over: those of connections up to `endedTo`.
//
//   N1. Records of different brokers come in any order: conclusions depend on which records came, not on when. They are
//       drawn anew with each record, from the connections that are kept, and may be reversed.
//   N2. A session ends with a connection when the next one has a clean start, when its expiry is 0, when its time had
//       run out before the next one, or when its broker has reported its end before the next one (MQTT 5, 3.1.2.4,
//       3.1.2.11.2, 3.1.4).
//   N3. Only a few connections are kept. Of dropped ones only the end is remembered, and later records about them are
//       ignored.

import type { SessionRecord } from '../../schemas/records.ts';

/** MQTT 5, 3.1.2.11.2: the session does not expire. */
export const NEVER_SECONDS = 0xffff_ffff;
/** Records of a connection come within seconds; the client may well have had several other connections by then. */
const CONNECTIONS_MAX = 8;

export interface Connection {
  readonly epoch: number;
  readonly broker: string;
  readonly connectedAt: number;
  readonly cleanStart: boolean;
  readonly expirySeconds: number;
  /** 0 while it is open. */
  readonly closedAt: number;
  /** When its broker reported the end of the session; 0 while it has not. */
  readonly endedAt: number;
  /** True when it was closed because its broker is silent: it may be restored. */
  readonly lost: boolean;
}

export interface Session {
  /** In the order of their epochs. */
  readonly connections: readonly Connection[];
  /** Epochs among the connections that were dropped: of the newest, and of the newest whose session has ended. */
  readonly droppedTo: number;
  readonly droppedEndedTo: number;
  /** When the last connection's session expired, by the stage's event time; 0 while it has not. */
  readonly expiredAt: number;
}

export const NO_SESSION: Session = { connections: [], droppedTo: 0, droppedEndedTo: 0, expiredAt: 0 };

/** The last known connection; it has the session while there is one. */
export const lastOf = ({ connections }: Session): Connection | undefined => connections.at(-1);

/** Sessions of connections up to this one have ended. */
export function endedTo(session: Session): number {
  let ended = session.droppedEndedTo;
  for (const [at, connection] of session.connections.entries()) {
    const next = session.connections[at + 1];
    ended = Math.max(ended, endedWith(connection, next, session.expiredAt > 0));
  }
  return ended;
}

/** Whether the session of the last connection is over. */
export function isOver(session: Session): boolean {
  const last = lastOf(session);
  return last !== undefined && endedTo(session) >= last.epoch;
}

/** When the session of a connection ends unless the client connects again; Infinity when never. */
export function endsAt({ endedAt, closedAt, expirySeconds }: Connection): number {
  if (endedAt > 0) return endedAt;
  return closedAt === 0 || expirySeconds >= NEVER_SECONDS ? Number.POSITIVE_INFINITY : closedAt + expirySeconds * 1_000;
}

/**
 * The session after one record of its client; the same object when the record says nothing new. `keptFrom`: see
 * `settle`.
 */
export function takeRecord(session: Session, { body, timestamp }: SessionRecord, keptFrom: number): Session {
  const known = session.connections.find(({ epoch }) => epoch === body.sessionEpoch);
  if (known === undefined && body.sessionEpoch <= session.droppedTo) return session; // N3
  switch (body.kind) {
    case 'Connected': {
      if (known !== undefined && known.connectedAt > 0) return session;
      const { brokerId: broker, cleanStart, sessionExpirySeconds: told } = body;
      // DISCONNECT came first: the expiry that it set stays.
      const expirySeconds = known === undefined || known.expirySeconds >= NEVER_SECONDS ? told : known.expirySeconds;
      const open = { epoch: body.sessionEpoch, closedAt: 0, endedAt: 0, lost: false };
      return put(session, { ...open, ...known, broker, connectedAt: timestamp, cleanStart, expirySeconds }, keptFrom);
    }
    case 'Disconnected': {
      if (known !== undefined && known.closedAt > 0 && !known.lost) return session;
      const before = known ?? unheardOf(body.sessionEpoch, body.brokerId);
      // MQTT 5, 3.14.2.2.2: a session that was to end with the connection cannot be prolonged.
      const isFinal = body.sessionExpirySeconds < 0 || before.expirySeconds === 0;
      const expirySeconds = isFinal ? before.expirySeconds : body.sessionExpirySeconds;
      return put(session, { ...before, expirySeconds, closedAt: timestamp, lost: false }, keptFrom);
    }
    case 'Ended': {
      if (known !== undefined && known.endedAt > 0) return session;
      return put(
        session,
        { ...(known ?? unheardOf(body.sessionEpoch, body.brokerId)), endedAt: timestamp, lost: false },
        keptFrom,
      );
    }
  }
}

/** Closes its last connection because its broker is gone; `lost` while that may turn out to be wrong. */
export function closeLast(session: Session, closedAt: number, lost: boolean): Session {
  const last = lastOf(session)!;
  return { ...session, connections: [...session.connections.slice(0, -1), { ...last, closedAt, lost }] };
}

/** Restores its last connection: the broker is back and has had the connection all the time. */
export function restoreLast(session: Session): Session {
  const last = lastOf(session)!;
  const open = { ...last, closedAt: 0, lost: false };
  return { ...session, expiredAt: 0, connections: [...session.connections.slice(0, -1), open] };
}

/**
 * A connection whose CONNECTED has not come yet, or is no longer kept. Its expiry is unknown, so it does not end the
 * session.
 */
const unheardOf = (epoch: number, broker: string): Connection => ({
  ...{ epoch, broker, connectedAt: 0, cleanStart: false, expirySeconds: NEVER_SECONDS },
  ...{ closedAt: 0, endedAt: 0, lost: false },
});

function put(session: Session, connection: Connection, keptFrom: number): Session {
  const others = session.connections.filter(({ epoch }) => epoch !== connection.epoch);
  const connections = [...others, connection].sort((a, b) => a.epoch - b.epoch);
  const isLast = connections.at(-1) === connection;
  return settle({ ...session, connections, expiredAt: isLast ? 0 : session.expiredAt }, keptFrom);
}

/** N3: drops connections whose successor was reported before `keptFrom`, and the oldest ones beyond CONNECTIONS_MAX. */
function settle(session: Session, keptFrom: number): Session {
  let { connections, droppedTo, droppedEndedTo } = session;
  while (connections.length > 1) {
    const [oldest, next] = connections as [Connection, Connection];
    const { connectedAt, closedAt, endedAt } = next;
    if (connections.length <= CONNECTIONS_MAX && Math.max(connectedAt, closedAt, endedAt) >= keptFrom) break;
    droppedEndedTo = Math.max(droppedEndedTo, endedWith(oldest, next, false));
    droppedTo = oldest.epoch;
    connections = connections.slice(1);
  }
  return { ...session, connections, droppedTo, droppedEndedTo };
}

/** The epoch up to which sessions have ended, judged by one connection (N2). */
function endedWith(connection: Connection, next: Connection | undefined, expired: boolean): number {
  const { epoch, cleanStart, expirySeconds, closedAt, endedAt } = connection;
  const isClosed = next !== undefined || closedAt > 0 || endedAt > 0;
  const isOver =
    (isClosed && expirySeconds === 0) ||
    (next === undefined ? endedAt > 0 || expired : next.cleanStart || endsAt(connection) <= next.connectedAt);
  return isOver ? epoch : cleanStart ? epoch - 1 : 0;
}
