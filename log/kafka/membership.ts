// Membership: this instance's tasks in one group. The group's assignment is the wanted state; the running tasks are
// made to match it.
//
//   G1. A task that stays is not disturbed by any number of rebalances.
//   G2. A task that leaves is ended in order first, and only then does the group learn that it is free.
//   G3. A task that comes back while it is still leaving starts again when it has left.

import type { Membership, Standing } from '../../runtime/ports.ts';
import type { Logger } from '../../runtime/telemetry.ts';
import type { Partition } from '../../schemas/ids.ts';
import { type Health, pauseFor, type RawCluster } from './client.ts';
import { type GroupEvents, GroupMember, type GroupSettings } from './group-member.ts';
import type { TaskSession } from './task-session.ts';

export class KafkaMembership implements Membership, GroupEvents {
  readonly done: Promise<void>;
  readonly standings: () => Promise<readonly Standing[]>;
  readonly #cluster: RawCluster;
  readonly #member: GroupMember;
  readonly #lifeOf: (partition: Partition, membership: KafkaMembership) => TaskSession;
  readonly #lives = new Map<Partition, TaskSession>();
  readonly #held: Set<Partition>;
  readonly #leavingGroup = new AbortController();
  readonly #membered: Promise<void>;
  #wanted: ReadonlySet<Partition> = new Set();
  #addresses: readonly string[] = [];
  #leaving: Promise<void> | undefined;
  #finish: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(parts: {
    readonly cluster: RawCluster;
    readonly group: GroupSettings;
    /** Tasks whose state is on this host from an earlier run. */
    readonly held: readonly Partition[];
    readonly lifeOf: (partition: Partition, membership: KafkaMembership) => TaskSession;
    readonly standings: () => Promise<readonly Standing[]>;
    readonly health: Health;
    readonly logger: Logger;
  }) {
    this.#cluster = parts.cluster;
    this.standings = parts.standings;
    this.#lifeOf = parts.lifeOf;
    this.#held = new Set(parts.held);
    this.done = new Promise((resolve, reject) => {
      this.#finish = { resolve, reject };
    });
    this.done.catch(() => {}); // Callers may await it or not; without this, its rejection would be unhandled when none does.
    this.#member = new GroupMember(parts.cluster, parts.group, this, parts.health, parts.logger);
    this.#membered = this.#member.run(this.#leavingGroup.signal);
    this.#membered.catch((error) => this.fail(error));
  }

  ownerOf(partition: Partition): { readonly self: boolean; readonly address: string | undefined } {
    const life = this.#lives.get(partition);
    if (life !== undefined && !life.stopping) return { self: true, address: undefined };
    return { self: false, address: this.#addresses[partition] };
  }

  leave(deadlineMs: number): Promise<void> {
    this.#leaving ??= this.#leave(deadlineMs);
    return this.#leaving;
  }

  /** Ends the membership with an error: its tasks are dropped, and other instances take them over. */
  fail(error: unknown): void {
    this.#finish?.reject(error);
    this.#wanted = new Set();
    for (const life of this.#lives.values()) void life.stop(false);
    this.#leavingGroup.abort();
  }

  confirm(): Promise<boolean> {
    return this.#member.confirm();
  }

  claims(): { readonly owned: readonly Partition[]; readonly held: readonly Partition[] } {
    return { owned: [...this.#lives.keys()], held: [...this.#held] };
  }

  assigned(tasks: readonly Partition[], addresses: readonly string[]): void {
    if (this.#leavingGroup.signal.aborted || this.#leaving !== undefined) return;
    this.#wanted = new Set(tasks);
    this.#addresses = addresses;
    this.#follow(true);
  }

  expelled(): void {
    this.#wanted = new Set();
    this.#addresses = [];
    this.#follow(false);
  }

  /** Starts the tasks that are wanted and not running, and stops those that are running and not wanted. */
  #follow(orderly: boolean): void {
    for (const partition of this.#wanted) {
      if (this.#lives.has(partition)) continue; // G1; or it is still leaving, and starts again after that (G3).
      const life = this.#lifeOf(partition, this);
      this.#lives.set(partition, life);
      this.#held.add(partition);
      life.start();
    }
    for (const [partition, life] of this.#lives) {
      if (this.#wanted.has(partition) || (life.stopping && orderly)) continue;
      void this.#give(partition, life, orderly);
    }
  }

  async #give(partition: Partition, life: TaskSession, orderly: boolean): Promise<void> {
    await life.stop(orderly);
    if (this.#lives.get(partition) !== life) return;
    this.#lives.delete(partition);
    if (this.#leaving !== undefined) return;
    this.#follow(true); // G3
    if (orderly) this.#member.rejoin(); // G2
  }

  async #leave(deadlineMs: number): Promise<void> {
    this.#wanted = new Set();
    const lives = [...this.#lives.values()];
    const late = new AbortController();
    const deadline = pauseFor(deadlineMs, late.signal);
    await Promise.race([Promise.allSettled(lives.map((life) => life.stop(true))), deadline]);
    this.#leavingGroup.abort();
    await Promise.race([Promise.allSettled([this.#membered]), deadline]);
    for (const life of lives) void life.stop(false); // Tasks that have not ended by the deadline commit nothing more.
    late.abort();
    this.#lives.clear();
    await this.#cluster.disconnect();
    this.#finish?.resolve();
  }
}
