// `foreshard broker`, and `foreshard run --mqtt`: an MQTT broker of the fleet.

import type { Foreshard } from '../app/main.ts';
import { type BrokerClient, type BrokerSettings, joinFleet } from '../broker/join-fleet.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';

/** Joins the fleet of this process as a broker. */
export function joinHere(foreshard: Foreshard, settings: BrokerSettings): Promise<BrokerClient> {
  const { log, codec, provisioner } = foreshard;
  const storeOf: Parameters<typeof joinFleet>[0]['storeOf'] = (shard) => provisioner.store(shard.shardId, shard);
  return joinFleet({ log, codec, clock: systemClock(), storeOf }, settings);
}
