// Foreshard for brokers: embed this. It tells where each subscription is kept and who receives a PUBLISH, and it reports
// what the broker's clients do. `connect` wires everything from settings; `joinFleet` takes ports of one's own.

export type { Answer, ShardStore, Subscriber } from '../datastores/shard-store.ts';
export { AppError, type ErrorCode } from '../schemas/errors.ts';
export {
  type Pointer,
  type PointerRefusal,
  type PointerSnapshot,
  PointerTable,
  type RouteTarget,
} from '../state/pointer-table.ts';
export type { SubscriptionOptions } from '../state/subscription-options.ts';
export {
  type ConnectedBroker,
  type ConnectOptions,
  connect,
  type EmbeddedFleet,
  type KafkaFleet,
} from './connect.ts';
export {
  type Connection,
  EVENT_PRODUCER_DEFAULTS,
  EventProducer,
  type EventProducerSettings,
  NEVER_SECONDS,
  type SubscriptionDetails,
} from './event-producer.ts';
export type { MissingPart } from './gathering.ts';
export { type BrokerClient, type BrokerPorts, type BrokerSettings, joinFleet } from './join-fleet.ts';
export type { OutboxOptions } from './open-outbox.ts';
export type { Outbox, OutboxEntry } from './outbox.ts';
export { PointerReader, type PointerReaderSettings } from './pointer-reader.ts';
export {
  type Delivery,
  type FilterPlacement,
  ROUTER_DEFAULTS,
  Router,
  type RouterSettings,
  type ShardReader,
} from './router.ts';
