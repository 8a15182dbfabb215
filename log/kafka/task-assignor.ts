// Task assignor: which member works on which task. A pure function of what the members report; the group's leader
// computes it.
//
//   A1. Every task has exactly one member, and members differ by at most one task.
//   A2. A task stays with the member that has it, as far as A1 allows. Otherwise it goes to a member that holds its
//       state from before, or else to the one with the fewest tasks.
//   A3. The same members give the same assignment, in whatever order they come.
//   A4. A task that changes hands is first revoked from its owner, who then commits what it has and joins again; only
//       then is the task given to the other (cooperative rebalancing, KIP-429). Fencing makes an immediate handover
//       safe too, but this way no work is repeated.

import type { Partition } from '../../schemas/ids.ts';

export interface Member {
  readonly id: string;
  /** Address at which it answers queries; '' when it does not. */
  readonly address: string;
  /** Tasks that it works on now. */
  readonly owned: readonly Partition[];
  /** Tasks whose state it holds from an earlier time. */
  readonly held: readonly Partition[];
}

export interface TaskPlan {
  /** By member, the tasks to work on now; a task that must leave its owner first is in no list (A4). */
  readonly tasks: ReadonlyMap<string, readonly Partition[]>;
  /** By task, the address of the member that can answer for it. */
  readonly addresses: readonly string[];
}

export function assignTasks(taskCount: number, members: readonly Member[]): TaskPlan {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1)); // A3
  const owners = ownersOf(taskCount, sorted);
  const targets = targetsOf(taskCount, sorted, owners);
  const tasks = new Map<string, Partition[]>(sorted.map((member) => [member.id, []]));
  const addresses: string[] = [];
  for (let task = 0; task < taskCount; task++) {
    const owner = owners[task];
    const target = targets[task];
    addresses.push((owner ?? target)?.address ?? '');
    if (target === undefined || (owner !== undefined && owner !== target)) continue; // A4
    tasks.get(target.id)!.push(task);
  }
  return { tasks, addresses };
}

/**
 * The present owner of each task. When two members claim it, one has lost it and does not know yet: either is taken,
 * and fencing decides.
 */
function ownersOf(taskCount: number, members: readonly Member[]): (Member | undefined)[] {
  const owners: (Member | undefined)[] = new Array(taskCount).fill(undefined);
  for (const member of members) for (const task of member.owned) if (task < taskCount) owners[task] ??= member;
  return owners;
}

function targetsOf(
  taskCount: number,
  members: readonly Member[],
  owners: readonly (Member | undefined)[],
): (Member | undefined)[] {
  const targets: (Member | undefined)[] = new Array(taskCount).fill(undefined);
  if (members.length === 0) return targets;
  const room = roomOf(taskCount, members, owners);
  const give = (task: Partition, member: Member): void => {
    targets[task] = member;
    room.set(member, room.get(member)! - 1);
  };
  for (let task = 0; task < taskCount; task++) {
    const owner = owners[task];
    if (owner !== undefined && room.get(owner)! > 0) give(task, owner);
  }
  for (let task = 0; task < taskCount; task++) {
    if (targets[task] !== undefined) continue;
    const holder = members.find((member) => member.held.includes(task) && room.get(member)! > 0);
    if (holder !== undefined) give(task, holder);
  }
  for (let task = 0; task < taskCount; task++) {
    if (targets[task] !== undefined) continue;
    give(
      task,
      members.reduce((best, each) => (room.get(each)! > room.get(best)! ? each : best)),
    );
  }
  return targets;
}

/**
 * How many tasks each member may have (A1): the remainder goes to the members that own, then hold, most, so that the
 * fewest tasks move.
 */
function roomOf(
  taskCount: number,
  members: readonly Member[],
  owners: readonly (Member | undefined)[],
): Map<Member, number> {
  const share = Math.floor(taskCount / members.length);
  const odd = taskCount % members.length;
  const ownedBy = (member: Member): number => owners.filter((owner) => owner === member).length;
  const heldBy = (member: Member): number => new Set(member.held.filter((task) => task < taskCount)).size;
  const weights = new Map(members.map((member) => [member, ownedBy(member) * (taskCount + 1) + heldBy(member)]));
  const byWeight = [...members].sort((a, b) => weights.get(b)! - weights.get(a)!); // Stable: ties stay in order of id.
  return new Map(byWeight.map((member, index) => [member, index < odd ? share + 1 : share]));
}
