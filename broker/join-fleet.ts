// Join: one broker's reader, router and producer over ports that somebody has opened.

import type { Clock, Log } from '../runtime/ports.ts';
import type { Codec } from '../schemas/codec.ts';
import { EVENT_PRODUCER_DEFAULTS, EventProducer, type EventProducerSettings } from './event-producer.ts';
import type { Outbox } from './outbox.ts';
import { PointerReader, type PointerReaderSettings } from './pointer-reader.ts';
import { Router, type RouterPorts, type RouterSettings } from './router.ts';

export interface BrokerPorts {
  readonly log: Pick<Log, 'follow' | 'append'>;
  readonly codec: Codec;
  readonly clock: Clock;
  readonly storeOf: RouterPorts['storeOf'];
  /** Where events wait for the log; without one, in memory. Whoever has opened it closes it after the client. */
  readonly outbox?: Outbox;
}

/** Ports that are open, and closed again by whoever has opened them. */
export interface OpenedPorts extends BrokerPorts {
  /**
   * Resolves, once the log answers, with the number of partitions of the subscriptions topic. Throws CONFIG_INVALID when
   * another one was given.
   */
  partitions(): Promise<number>;
  /** Whether the log answers, and if not, why. */
  health(): { readonly ok: boolean; readonly reason: string };
  close(): Promise<void>;
}

export type BrokerSettings = Pick<EventProducerSettings, 'brokerId' | 'partitions'> &
  Partial<EventProducerSettings> &
  Partial<RouterSettings> &
  Pick<PointerReaderSettings, 'snapshot'>;

export interface BrokerClient {
  readonly brokerId: string;
  readonly pointers: PointerReader;
  readonly router: Router;
  readonly events: EventProducer;
  /** Sends what is waiting, then stops following. */
  close(): Promise<void>;
}

/** Joins the fleet as one broker. Resolves when the pointer table is complete, so that the first look-up is right. */
export async function joinFleet(ports: BrokerPorts, settings: BrokerSettings): Promise<BrokerClient> {
  const { log, codec, clock, storeOf, outbox } = ports;
  const pointers = await PointerReader.open({ log, codec, clock }, settings);
  await pointers.ready;
  const router = new Router(
    { pointers, storeOf, now: () => clock.now(), every: (ms, tick) => clock.every(ms, tick) },
    settings,
  );
  const pointerPosition = (): number => pointers.table.position;
  const events = new EventProducer(
    { log, codec, clock, pointerPosition, ...(outbox === undefined ? {} : { outbox }) },
    { ...EVENT_PRODUCER_DEFAULTS, ...settings },
  );
  return {
    brokerId: settings.brokerId,
    pointers,
    router,
    events,
    async close() {
      await events.close();
      await pointers.close();
    },
  };
}
