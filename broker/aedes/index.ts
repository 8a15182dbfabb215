// Foreshard for Aedes: the two parts that an Aedes broker takes from outside, over a client of the fleet.
//
//     const client = await connect({ … });
//     const aedes = await Aedes.createBroker({ persistence: persistence(client), mq: emitter(client) });

export { type MqttBroker, type MqttBrokerOptions, mqttBroker } from './edge/aedes-broker.ts';
export { type EmitterOptions, emitter, type FleetEmitter, type ForwardingCounts } from './edge/aedes-emitter.ts';
export { type AedesPersistence, type PersistenceOptions, persistence } from './edge/aedes-persistence.ts';
export { type LevelJournal, levelJournal } from './edge/level-journal.ts';
export { LocalExchange, NO_PEERS, type Peers } from './exchange.ts';
export type { ReportFailed } from './fleet-link.ts';
export { LogExchange, MESSAGES_TOPIC, messagesTopic } from './log-exchange.ts';
export { type Journal, MESSAGES_MAX, NO_JOURNAL, SessionStore } from './session-store.ts';
