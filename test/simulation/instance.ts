// Instance: one simulated Foreshard process: the topology on the runner, with the ports that a process has. What main.ts
// wires from a configuration is wired here from a world.

import { PointerReader } from '../../broker/pointer-reader.ts';
import { effectsOver } from '../../datastores/perform.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { typeNamed } from '../../processors/plan/cluster/catalog.ts';
import { inlineFitter } from '../../runtime/inline-fitter.ts';
import { LostShards } from '../../runtime/lost-shards.ts';
import type { Effects } from '../../runtime/ports.ts';
import { type Running, run } from '../../runtime/runner.ts';
import { type Labels, type Logger, type Meter, silentLogger } from '../../runtime/telemetry.ts';
import type { Codec } from '../../schemas/codec.ts';
import type { StoreFolder } from '../../state/store.ts';
import type { Topology } from '../../topology/graph.ts';
import { APP, type LogMutation, logOf, type SharedLog } from './log.ts';
import type { Process } from './process.ts';
import { CATALOG } from './settings.ts';

export interface InstanceParts {
  readonly process: Process;
  readonly topology: Topology;
  readonly log: SharedLog;
  readonly codec: Codec;
  readonly provisioner: Provisioner;
  readonly stores: StoreFolder;
  readonly partitions: number;
  readonly tickMs: number;
  readonly commitIntervalMs: number;
  readonly commitRecordsMax: number;
  /** Planted bugs. */
  readonly logMutation?: LogMutation;
  readonly effectsMutation?: (effects: Effects) => Effects;
  readonly logger?: Logger;
}

export class Instance {
  readonly process: Process;
  readonly meter = new TallyMeter();
  running: Running | undefined;
  readonly lostShards: LostShards;
  /** The run cannot go on; the error says why. */
  readonly ended: Promise<unknown>;
  #end!: (error: unknown) => void;

  constructor(parts: InstanceParts) {
    this.process = parts.process;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const { process, log: shared, codec, logger = silentLogger } = parts;
    const log = logOf(process, shared, parts.logMutation);
    this.lostShards = new LostShards({ log, codec, logger, meter: this.meter });
    this.#start(parts, log, logger).catch((error) => this.#end(error));
  }

  async #start(parts: InstanceParts, log: ReturnType<typeof logOf>, logger: Logger): Promise<void> {
    const { process, topology, codec, partitions, provisioner, stores } = parts;
    const clock = process.clock();
    let reader: PointerReader | undefined;
    const effects = effectsOver(provisioner, {
      rowsPerWrite: 100,
      partitions,
      kindOf: (type) => typeNamed(CATALOG, type).kind,
      watch: this.lostShards,
      instanceOf: (shard) => reader?.table.shard(shard)?.instanceId,
    });
    const running = await run(
      topology,
      {
        log,
        codec,
        clock,
        logger,
        meter: this.meter,
        stores,
        fitter: inlineFitter,
        effects: parts.effectsMutation?.(effects) ?? effects,
        pointerEpoch: () => (reader?.isReady ? reader.table.epoch : undefined),
      },
      {
        app: APP,
        partitions,
        address: '',
        commitIntervalMs: parts.commitIntervalMs,
        commitRecordsMax: parts.commitRecordsMax,
        effectRetryMs: 100,
        incarnation: 0,
        tickMs: parts.tickMs,
        idleMs: 30_000,
      },
    );
    this.running = running;
    running.done.catch((error: unknown) => this.#end(error));
    reader = await PointerReader.open({ log, codec, clock }, { partitions });
  }
}

/** Sums by name. */
export class TallyMeter implements Meter {
  readonly sums = new Map<string, number>();

  add(name: string, by: number, _labels?: Labels): void {
    this.sums.set(name, (this.sums.get(name) ?? 0) + by);
  }

  set(): void {}
  observe(): void {}
  replace(): void {}

  sum(name: string): number {
    return this.sums.get(name) ?? 0;
  }
}
