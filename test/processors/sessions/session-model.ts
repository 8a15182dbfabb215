// What MQTT says of sessions, word for word and without any thought of records, partitions or lateness: the connections of
// one client in the order in which they were made, and what is left of its subscriptions in the end.

export interface Word {
  readonly action: 'SUBSCRIBE' | 'UNSUBSCRIBE';
  readonly filter: string;
  readonly qos: number;
}

export interface Connection {
  readonly broker: string;
  readonly at: number;
  readonly cleanStart: boolean;
  readonly expirySeconds: number;
  readonly words: readonly Word[];
  /** How it came to its end; `undefined`: it was not seen to. */
  readonly end?:
    | { readonly is: 'disconnect'; readonly at: number; readonly expirySeconds?: number }
    | { readonly is: 'ended'; readonly at: number };
}

export interface Left {
  readonly brokerId: string;
  readonly qos: number;
}

const NEVER = 0xffff_ffff;

/** At `now`: filter to the broker that has the client, or had it last. */
export function whatIsLeft(connections: readonly Connection[], now: number): Map<string, Left> {
  let subscriptions = new Map<string, number>();
  let broker = '';
  let endsAt = 0; // Of the session: there is none at first.
  for (const [index, connection] of connections.entries()) {
    const isThere = endsAt > connection.at;
    if (connection.cleanStart || !isThere) subscriptions = new Map();
    broker = connection.broker;
    for (const { action, filter, qos } of connection.words) {
      if (action === 'SUBSCRIBE') subscriptions.set(filter, qos);
      else subscriptions.delete(filter);
    }
    let { expirySeconds } = connection;
    const { end } = connection;
    // A client that was asked to end its session with the connection cannot change its mind (3.14.2.2.2).
    if (end?.is === 'disconnect' && expirySeconds !== 0) expirySeconds = end.expirySeconds ?? expirySeconds;
    const next = connections[index + 1];
    const closedAt = Math.min(end?.at ?? Number.POSITIVE_INFINITY, next?.at ?? Number.POSITIVE_INFINITY);
    if (end?.is === 'ended' && end.at <= closedAt) endsAt = end.at;
    else endsAt = expirySeconds === NEVER ? Number.POSITIVE_INFINITY : closedAt + expirySeconds * 1_000;
    // While it is connected, or taken over from there, nothing runs out.
    if (next !== undefined && next.at <= closedAt && expirySeconds > 0) endsAt = Number.POSITIVE_INFINITY;
  }
  if (endsAt <= now) return new Map();
  return new Map([...subscriptions].map(([filter, qos]) => [filter, { brokerId: broker, qos }]));
}
