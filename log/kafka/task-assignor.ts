// Task assignor: who works on which task. A pure function of what the members say; the group's leader computes it.
//
//   A1. Every task has exactly one member, and members differ by at most one task.
//   A2. A task stays with the member that has it, as far as A1 allows; else it goes to one that holds its state from
//       before; else to whoever has least.
//   A3. The same members give the same plan, whatever order they come in.
//   A4. A task that changes hands is first taken from its owner, who then commits what it has and joins again; only then
//       is it given to the other (cooperative rebalancing, KIP-429). Fencing makes the rude way safe too; this one repeats
//       no work.

import type { Partition } from '../../schemas/ids.ts';

export interface Member {
  readonly id: string;
  /** Where it answers queries; '' when it does not. */
  readonly address: string;
  /** Tasks that it works on now. */
  readonly owned: readonly Partition[];
  /** Tasks whose state it holds from before. */
  readonly held: readonly Partition[];
}

export interface TaskPlan {
  /** For each member the tasks to work on now; a task that has to leave its owner first is in nobody's list (A4). */
  readonly tasks: ReadonlyMap<string, readonly Partition[]>;
  /** For each task the address of whoever can answer for it. */
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

/** Who works on a task now. When two say so, the one that lost it does not know yet: either will do, fencing decides. */
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

/** How many tasks each may have (A1): the odd ones go to those that have, then hold, most, so that least has to move. */
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
