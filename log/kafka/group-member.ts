// Group member: one instance's membership in a Kafka consumer group, by the classic protocol (join, sync, heartbeat,
// leave). It receives tasks; others do the reading. Heartbeats continue whatever its tasks do.
//
//   M1. `assigned` and `expelled` are called one after another, in the order of the group's generations.
//   M2. While Kafka cannot be reached the member keeps its tasks: an instance that gets them meanwhile fences this one.

import kafkajs from 'kafkajs';
import type { Logger } from '../../runtime/telemetry.ts';
import type { Partition } from '../../schemas/ids.ts';
import {
  backoffMs,
  type Health,
  type MemberState,
  pauseFor,
  type RawBroker,
  type RawCluster,
  refresh,
} from './client.ts';
import { reasonOf, troubleOf } from './failure.ts';
import { assignTasks, type Member } from './task-assignor.ts';

export interface GroupSettings {
  readonly groupId: string;
  readonly taskCount: number;
  readonly address: string;
  /** Topics in Kafka that the group consumes, and the task of each of their partitions: for tools that show lag. */
  readonly topics: readonly string[];
  readonly partitionsOf: (task: Partition) => Readonly<Record<string, Partition[]>>;
  /** A member that sends no heartbeat for this long is expelled. */
  readonly sessionTimeoutMs: number;
  readonly heartbeatMs: number;
  /** How long the other members wait for one to join again. */
  readonly rebalanceTimeoutMs: number;
}

export interface GroupEvents {
  /** The tasks that this member works on now, and those whose state it holds. */
  claims(): { readonly owned: readonly Partition[]; readonly held: readonly Partition[] };
  /** The tasks to work on from now on, and the address of each task's instance. */
  assigned(tasks: readonly Partition[], addresses: readonly string[]): void;
  /** The group has continued without us: others may have our tasks. */
  expelled(): void;
}

// A CommonJS module: Node does not find this name as an export.
const { AssignerProtocol } = kafkajs;

/**
 * All members of a group use the same protocol; a change of its meaning needs a new name, and then both names are
 * offered.
 */
const PROTOCOL = 'foreshard-tasks-1';
const CONSUMER_PROTOCOL_VERSION = 0;

export class GroupMember {
  readonly #cluster: RawCluster;
  readonly #settings: GroupSettings;
  readonly #events: GroupEvents;
  readonly #health: Health;
  readonly #logger: Logger;
  #coordinator: RawBroker | undefined;
  #memberId = '';
  #generation = -1;
  #rejoin = new AbortController();

  constructor(cluster: RawCluster, settings: GroupSettings, events: GroupEvents, health: Health, logger: Logger) {
    this.#cluster = cluster;
    this.#settings = settings;
    this.#events = events;
    this.#health = health;
    this.#logger = logger;
  }

  /** Is a member until the signal aborts, then leaves the group. */
  async run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; ) {
      try {
        await this.#join();
        this.#health.well(this.#name);
        attempt = 0;
        await this.#beat(signal);
      } catch (error) {
        if (signal.aborted) break;
        const trouble = troubleOf(error);
        if (trouble === 'expelled') this.#beExpelled(error);
        if (trouble === 'expelled' || trouble === 'rebalancing') continue;
        await this.#recover(error, attempt++, signal);
      }
    }
    await this.#leave();
  }

  /** Asks for a new assignment: a task that had to be given up has ended. */
  rejoin(): void {
    this.#rejoin.abort();
  }

  /**
   * Whether the group still counts us as a member; if not, `expelled` will follow. Rejects when the group cannot be
   * asked.
   */
  async confirm(): Promise<boolean> {
    try {
      await this.#heartbeat();
      return true;
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble === 'rebalancing') return true;
      if (trouble !== 'expelled') throw error;
      this.rejoin();
      return false;
    }
  }

  get #name(): string {
    return `group ${this.#settings.groupId}`;
  }

  async #join(): Promise<void> {
    const { groupId, sessionTimeoutMs, rebalanceTimeoutMs, topics, address } = this.#settings;
    this.#rejoin = new AbortController();
    if (!this.#cluster.isConnected()) await this.#cluster.connect();
    await this.#cluster.addMultipleTargetTopics([...topics]);
    this.#coordinator = await this.#cluster.findGroupCoordinator({ groupId });
    const userData = Buffer.from(JSON.stringify({ address, ...this.#events.claims() }));
    const metadata = AssignerProtocol.MemberMetadata.encode({
      version: CONSUMER_PROTOCOL_VERSION,
      topics: [...topics],
      userData,
    });
    const joined = await this.#coordinator.joinGroup({
      groupId,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: rebalanceTimeoutMs,
      memberId: this.#memberId,
      groupProtocols: [{ name: PROTOCOL, metadata }],
    });
    this.#memberId = joined.memberId;
    this.#generation = joined.generationId;
    const { memberAssignment } = await this.#coordinator.syncGroup({
      groupId,
      generationId: joined.generationId,
      memberId: joined.memberId,
      groupAssignment: joined.leaderId === joined.memberId ? this.#plan(joined.members) : [],
    });
    const decoded = AssignerProtocol.MemberAssignment.decode(memberAssignment);
    if (decoded === null) return;
    const { tasks, addresses } = JSON.parse(decoded.userData.toString('utf8')) as AssignmentData;
    this.#logger.info({ group: groupId, generation: joined.generationId, tasks }, 'the group has assigned its tasks');
    this.#events.assigned(tasks, addresses); // M1
  }

  #plan(states: readonly MemberState[]): { memberId: string; memberAssignment: Buffer }[] {
    const { taskCount, partitionsOf } = this.#settings;
    const plan = assignTasks(taskCount, states.map(memberOf));
    return [...plan.tasks].map(([memberId, tasks]) => {
      const assignment: Record<string, Partition[]> = {};
      for (const task of tasks)
        for (const [topic, partitions] of Object.entries(partitionsOf(task)))
          assignment[topic] = [...(assignment[topic] ?? []), ...partitions];
      const data: AssignmentData = { tasks, addresses: plan.addresses };
      const userData = Buffer.from(JSON.stringify(data));
      return {
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: CONSUMER_PROTOCOL_VERSION,
          assignment,
          userData,
        }),
      };
    });
  }

  /** Sends heartbeats until the group has to be joined again. */
  async #beat(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; ) {
      const rejoin = this.#rejoin.signal;
      if (rejoin.aborted) return;
      await firstOf(pauseFor(this.#settings.heartbeatMs, rejoin), signal);
      if (rejoin.aborted || signal.aborted) return;
      try {
        await this.#heartbeat();
        this.#health.well(this.#name);
        attempt = 0;
      } catch (error) {
        const trouble = troubleOf(error);
        if (trouble === 'expelled' || trouble === 'rebalancing') throw error;
        await this.#recover(error, attempt++, signal); // M2
      }
    }
  }

  async #heartbeat(): Promise<void> {
    const { groupId } = this.#settings;
    this.#coordinator ??= await this.#cluster.findGroupCoordinator({ groupId });
    await this.#coordinator.heartbeat({ groupId, groupGenerationId: this.#generation, memberId: this.#memberId });
  }

  async #recover(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    this.#coordinator = undefined;
    this.#health.ill(this.#name, reasonOf(error));
    await refresh(this.#cluster, error);
    await pauseFor(backoffMs(attempt), signal);
  }

  #beExpelled(error: unknown): void {
    this.#logger.warn(
      { group: this.#settings.groupId, reason: reasonOf(error) },
      'the group went on without this instance, which joins again; its tasks start from their last commits',
    );
    this.#memberId = '';
    this.#events.expelled();
  }

  async #leave(): Promise<void> {
    if (this.#memberId === '') return;
    try {
      await this.#coordinator?.leaveGroup({ groupId: this.#settings.groupId, memberId: this.#memberId });
    } catch (error) {
      this.#logger.debug({ reason: reasonOf(error) }, 'the group was not told; it finds out by the session timeout');
    }
    this.#memberId = '';
    this.#health.well(this.#name);
  }
}

interface AssignmentData {
  readonly tasks: readonly Partition[];
  readonly addresses: readonly string[];
}

function memberOf({ memberId, memberMetadata }: MemberState): Member {
  const { userData } = AssignerProtocol.MemberMetadata.decode(memberMetadata)!;
  const { address, owned, held } = JSON.parse(userData.toString('utf8')) as Omit<Member, 'id'>;
  return { id: memberId, address, owned, held };
}

/** Resolves with the promise, or when the signal aborts. */
async function firstOf(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let stop = (): void => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener('abort', stop, { once: true });
  });
  await Promise.race([promise, aborted]);
  signal.removeEventListener('abort', stop);
}
