// Aedes broker: Aedes on a port, over a client of the fleet.
//
//   B1. Each start is another broker to Aedes: messages and wills of an earlier one are told apart from those of now.
//       To the fleet it is the same broker, whose earlier connections have ended.
//   B2. `close` resolves when every connection has been closed and reported.

import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Aedes, type AedesOptions } from 'aedes';
import { AppError } from '../../../schemas/errors.ts';
import type { BrokerClient } from '../../join-fleet.ts';
import type { Peers } from '../exchange.ts';
import { FleetLink } from '../fleet-link.ts';
import type { SessionStore } from '../session-store.ts';
import { emitter, type ForwardingCounts } from './aedes-emitter.ts';
import { persistence } from './aedes-persistence.ts';

export interface MqttBrokerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Where sessions and messages are kept; by default in memory. */
  readonly store?: SessionStore;
  readonly peers?: Peers;
  /** What every client has to name; without it, any client may connect. */
  readonly login?: { readonly username: string; readonly password: string };
  /** Told of a client's failure, or of a report that failed; the client has been disconnected. */
  readonly clientFailed?: (clientId: string, error: unknown) => void;
  /** Aedes's own options. */
  readonly aedes?: AedesOptions;
}

export interface MqttBroker {
  readonly aedes: Aedes;
  readonly port: number;
  readonly counts: ForwardingCounts;
  close(): Promise<void>;
}

/** Resolves when clients can connect. Throws CONFIG_INVALID when the port cannot be had. */
export async function mqttBroker(client: BrokerClient, options: MqttBrokerOptions): Promise<MqttBroker> {
  const { host, port, store, peers, login, clientFailed = () => {} } = options;
  const mq = emitter(client, peers === undefined ? {} : { peers });
  const aedes = await Aedes.createBroker({
    id: `${client.brokerId.replaceAll(/[/+#]/g, '_')}.${randomUUID()}`, // B1
    persistence: persistence(client, { onReportFailed: clientFailed, ...(store === undefined ? {} : { store }) }),
    mq,
    ...(login === undefined ? {} : { authenticate: allowing(login) }),
    ...options.aedes,
  });
  aedes.on('clientError', ({ id }, error) => clientFailed(id, error));
  await mq.ready.catch(async (error: unknown) => {
    await closed(aedes);
    throw error;
  });
  const server = createServer(aedes.handle);
  server.listen(port, host);
  await once(server, 'listening').catch(async (cause: NodeJS.ErrnoException) => {
    await closed(aedes);
    const { code } = cause;
    throw new AppError('CONFIG_INVALID', `MQTT cannot listen on ${host}:${port}: ${code}`, { code }, cause);
  });
  return {
    aedes,
    port: (server.address() as AddressInfo).port,
    counts: mq.counts,
    async close() {
      const ended = new Promise<void>((resolve) => server.close(() => resolve()));
      await closed(aedes);
      await ended; // B2
      await FleetLink.of(client).reported;
    },
  };
}

const closed = (aedes: Aedes): Promise<void> => new Promise((resolve) => aedes.close(() => resolve()));

const allowing =
  (login: { readonly username: string; readonly password: string }): NonNullable<AedesOptions['authenticate']> =>
  (_client, username = '', password = Buffer.alloc(0), done) => {
    // Both are always compared, so that timing reveals nothing.
    const isName = isSame(username, login.username);
    const isPassword = isSame(password, login.password);
    done(null, isName && isPassword);
  };

const isSame = (a: string | Buffer, b: string): boolean => timingSafeEqual(hashOf(a), hashOf(b));
const hashOf = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest();
