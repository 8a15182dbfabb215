// Lost shards: those whose data this process could not find. Tasks that need such a shard wait, commit nothing and so
// cannot report it themselves. This file reports it: to the planner, to the log, to /readyz and as a gauge.
//
//   X1. A change is reported once; the report to the planner is repeated, with the next effect on the shard, until the
//       log has it.
//   X2. After a start, a shard that is present is reported too: the planner may know of a loss that has been repaired
//       meanwhile.
//   X3. A lost shard that no pointer names any more, because its slices were rebuilt elsewhere, is left out of /readyz and
//       of the gauge, although no effect on it will ever report that it is back.

import type { ShardWatch } from '../datastores/perform.ts';
import type { Codec } from '../schemas/codec.ts';
import { eventTime, type ShardId } from '../schemas/ids.ts';
import type { Progress } from '../schemas/records.ts';
import { progress } from '../topology/topics.ts';
import type { Log } from './ports.ts';
import type { Logger, Meter } from './telemetry.ts';

export interface LostShardsParts {
  readonly log: Pick<Log, 'append'>;
  readonly codec: Pick<Codec, 'encode'>;
  readonly logger: Logger;
  readonly meter: Meter;
  /** Whether the pointer table names the shard, as far as this process has read it; absent where nobody reads it. */
  readonly isNamed?: (shard: ShardId) => boolean;
}

interface Heard {
  readonly state: 'LOST' | 'FOUND';
  readonly reason: string;
  readonly isForeign: boolean;
  readonly isSilent?: boolean;
  told: 'no' | 'under way' | 'yes';
}

export class LostShards implements ShardWatch {
  readonly #parts: LostShardsParts;
  readonly #heard = new Map<ShardId, Heard>();

  constructor(parts: LostShardsParts) {
    this.#parts = parts;
    parts.meter.set('foreshard_shards_lost', 0);
  }

  lost(shard: ShardId, reason: string, isForeign = false): void {
    const before = this.#heard.get(shard);
    if (before?.state !== 'LOST') {
      this.#hear(shard, { state: 'LOST', reason, isForeign, told: 'no' });
      this.#parts.logger.error(
        { shard, reason },
        'a shard has lost its data or belongs to another fleet: the reason says what is wrong',
      );
    }
    this.#tell(shard);
  }

  /** Reports a shard that has been silent for too long (silent-shards.ts). */
  silent(shard: ShardId, reason: string): void {
    if (this.#heard.get(shard)?.state !== 'LOST') {
      this.#hear(shard, { state: 'LOST', reason, isForeign: false, isSilent: true, told: 'no' });
      this.#parts.logger.error({ shard, reason }, 'a shard has not answered for too long, and is taken for lost');
    }
    this.#tell(shard);
  }

  /** Contradicts another process that called the shard lost: it answers here. */
  deny(shard: ShardId): void {
    this.#hear(shard, { state: 'FOUND', reason: '', isForeign: false, told: 'no' });
    this.#tell(shard);
  }

  found(shard: ShardId, afterStart: boolean): void {
    const before = this.#heard.get(shard);
    if (before === undefined ? !afterStart : before.state === 'FOUND' && before.told === 'yes') return;
    if (before?.state !== 'FOUND') this.#hear(shard, { state: 'FOUND', reason: '', isForeign: false, told: 'no' });
    if (before?.state === 'LOST') this.#parts.logger.info({ shard }, 'a lost shard is back');
    this.#tell(shard);
  }

  /** One sentence for the operator about each lost shard (X3). */
  reasons(): string[] {
    const { isNamed = () => true } = this.#parts;
    return [...this.#heard].flatMap(([shard, { state, reason }]) =>
      state === 'LOST' && isNamed(shard) ? [`${shard}: ${reason}`] : [],
    );
  }

  /** Sets the gauge; it falls only when the pointer table changes (X3). */
  report(): void {
    this.#parts.meter.set('foreshard_shards_lost', this.reasons().length);
  }

  #hear(shard: ShardId, heard: Heard): void {
    this.#heard.set(shard, heard);
    this.report();
  }

  /** Sends the report until the log has it (X1). */
  #tell(shard: ShardId): void {
    const heard = this.#heard.get(shard)!;
    if (heard.told !== 'no') return;
    heard.told = 'under way';
    const { state, reason, isForeign, isSilent } = heard;
    const value: Progress = {
      at: eventTime(0),
      body: {
        kind: 'ShardProgress',
        shardId: shard,
        datastoreType: '',
        state,
        instanceId: '',
        address: '',
        tookMs: 0,
        reason,
        ...(isForeign && { foreign: true }),
        ...(isSilent && { silent: true }),
      },
    };
    const record = {
      topic: progress.name,
      partition: 0,
      key: shard,
      value: this.#parts.codec.encode(progress.record!, value),
    };
    this.#parts.log.append([record]).then(
      () => {
        heard.told = 'yes';
      },
      () => {
        heard.told = 'no';
      },
    );
  }
}
