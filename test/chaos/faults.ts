// Faults: what chaos does to a fleet, one at a time, with a dose each: how often it is drawn beside the others. A fault ends
// with everything started again; what follows is the fleet's own to mend.
//
//   F1. A fault says whether it hit: there was traffic before it, and its effect was seen. One that never hits proves
//       nothing.
//   F2. A fault is cut short, never left half done, when the run is to end.

import { existsSync } from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instance, ShardServer } from '../support/deployment.ts';
import { type ChaosFleet, SESSION_MS } from './chaos-fleet.ts';
import type { Sight } from './sight.ts';

export interface Turn {
  readonly fleet: ChaosFleet;
  /** Uniform in [0, 1), from the seed. */
  readonly random: () => number;
  /** Resolves after that time, or earlier when the run is to end (F2). */
  readonly pause: (ms: number) => Promise<void>;
  /** Counts processes that were ended by SIGKILL; one by default. */
  readonly killed: (count?: number) => void;
}

/** What was done to whom, and whether it hit. */
export interface Struck {
  readonly what: string;
  readonly hit: boolean;
}

export interface Fault {
  readonly name: string;
  readonly dose: number;
  strike(turn: Turn): Promise<Struck>;
}

/** Past the session, and then so long that everybody has forgotten it. */
const ZOMBIE_MS = SESSION_MS + 60_000;
/** Longer than sessions, requests and open transactions last, all together. */
const AWAY_MS = 70_000;
const BROKER_AWAY_MS = 12_000;
const INSTANCE_AWAY_MS = 5_000;
const SHARDS_AWAY_MS = 10_000;
const SHARDS_PAUSED_MS = 20_000;
const POISON_RECORDS = 200;
const SEEN_WITHIN_MS = 30_000;
const LOOK_MS = 200;

export const FAULTS: readonly Fault[] = [
  { name: 'instance killed', dose: 10, strike: (turn) => instanceKilled(turn, noHarm) },
  { name: 'instance paused past its session', dose: 3, strike: instancePaused },
  { name: 'local state deleted', dose: 4, strike: (turn) => instanceKilled(turn, deletedState) },
  { name: 'local state corrupted', dose: 3, strike: (turn) => instanceKilled(turn, corruptedState) },
  { name: 'Kafka broker killed', dose: 4, strike: brokerKilled },
  { name: 'all of Kafka away', dose: 1, strike: kafkaAway },
  { name: 'shard server killed', dose: 6, strike: shardsKilled },
  { name: 'shard server paused', dose: 4, strike: shardsPaused },
  { name: 'shard emptied', dose: 5, strike: shardEmptied },
  { name: 'poison', dose: 5, strike: poison },
  { name: 'replay', dose: 5, strike: replay },
  { name: 'overload', dose: 3, strike: overload },
];

/** An instance dies; what `harm` does to its folder has to be restored from the log. */
async function instanceKilled(
  turn: Turn,
  harm: (turn: Turn, instance: Instance) => Promise<string | undefined>,
): Promise<Struck> {
  const { fleet, pause, killed } = turn;
  const { instance, tasks } = await busyInstance(turn);
  fleet.down.add(instance.name);
  await instance.kill9();
  killed();
  const isDead = instance.child.signalCode === 'SIGKILL';
  const harmed = await harm(turn, instance);
  await pause(turn.random() < 0.5 ? INSTANCE_AWAY_MS : SESSION_MS + INSTANCE_AWAY_MS); // Before its tasks go on, or after.
  await fleet.startAgain(instance);
  const what = `${instance.name}, which had ${tasks} partitions${harmed === undefined ? '' : `; ${harmed}`}`;
  return { what, hit: isDead && tasks > 0 && (harm === noHarm || harmed !== '') };
}

const noHarm = async (): Promise<undefined> => undefined;

async function instancePaused(turn: Turn): Promise<Struck> {
  const { fleet, pause } = turn;
  const { instance, tasks } = await busyInstance(turn);
  fleet.down.add(instance.name);
  instance.child.kill('SIGSTOP');
  const before = fleet.ledger.dueCount;
  await pause(ZOMBIE_MS);
  const taken = sumOf(await fleet.sights(), (sight) => sight.tasks.size);
  const went = fleet.ledger.dueCount - before;
  instance.child.kill('SIGCONT');
  fleet.down.delete(instance.name);
  const what = `${instance.name}, which had ${tasks} partitions; the others had ${taken} and applied ${went} events`;
  return { what, hit: tasks > 0 && went > 0 };
}

async function deletedState({ random }: Turn, instance: Instance): Promise<string> {
  const tasks = await tasksOf(instance);
  const task = tasks[Math.floor(random() * tasks.length)];
  if (task === undefined) return '';
  const all = random() < 0.5;
  await rm(all ? stateOf(instance) : join(stateOf(instance), task), { recursive: true });
  return all ? 'all of its state was deleted' : `${task} was deleted`;
}

/** Some bytes in the middle of the largest file of a task. */
async function corruptedState({ random }: Turn, instance: Instance): Promise<string> {
  const tasks = await tasksOf(instance);
  const task = tasks[Math.floor(random() * tasks.length)];
  if (task === undefined) return '';
  const folder = join(stateOf(instance), task);
  let largest = { name: '', bytes: 0 };
  for (const name of await readdir(folder)) {
    const { size } = await stat(join(folder, name));
    if (size > largest.bytes) largest = { name, bytes: size };
  }
  if (largest.bytes === 0) return '';
  const file = await open(join(folder, largest.name), 'r+');
  const noise = Buffer.from(Array.from({ length: Math.min(64, largest.bytes) }, () => Math.floor(random() * 256)));
  await file.write(noise, 0, noise.length, Math.floor(random() * (largest.bytes - noise.length)));
  await file.close();
  return `${noise.length} bytes of ${task}/${largest.name} were overwritten`;
}

const stateOf = (instance: Instance): string => join(instance.folder, 'state');

const tasksOf = async (instance: Instance): Promise<string[]> =>
  existsSync(stateOf(instance)) ? (await readdir(stateOf(instance))).sort() : [];

async function brokerKilled({ fleet, random, pause, killed }: Turn): Promise<Struck> {
  const { kafka, ledger } = fleet;
  const node = 1 + Math.floor(random() * kafka.brokers.length);
  await kafka.kill9(node);
  killed();
  const before = ledger.sentCount;
  await pause(BROKER_AWAY_MS);
  const sent = ledger.sentCount - before;
  await kafka.restart(node);
  return { what: `broker ${node}; ${sent} events were sent meanwhile`, hit: sent > 0 };
}

async function kafkaAway({ fleet, pause, killed }: Turn): Promise<Struck> {
  const { kafka, crowd } = fleet;
  await crowd.pause();
  await kafka.kill9All();
  killed(kafka.brokers.length);
  const asked = fleet.asked.questions;
  await pause(AWAY_MS);
  const unready = (await fleet.sights()).filter((sight) => sight.unready !== '');
  const questions = fleet.asked.questions - asked;
  await kafka.restartAll();
  crowd.resume();
  const what = `${unready.length} instances said so; ${questions} questions were asked meanwhile`;
  return { what, hit: unready.length > 0 && questions > 0 };
}

async function shardsKilled(turn: Turn): Promise<Struck> {
  const server = await serverInUse(turn);
  await server.kill9();
  turn.killed();
  const seen = await seenAway(turn, SHARDS_AWAY_MS);
  await server.start();
  return { what: `port ${server.port}; ${seen.what}`, hit: seen.hit };
}

async function shardsPaused(turn: Turn): Promise<Struck> {
  const server = await serverInUse(turn);
  server.pause();
  const seen = await seenAway(turn, SHARDS_PAUSED_MS).finally(() => server.resume());
  return { what: `port ${server.port}; ${seen.what}`, hit: seen.hit };
}

/** A shard's folder, or only what is in it; seldom those of all shards of a server. Nobody but the fleet mends it. */
async function shardEmptied(turn: Turn): Promise<Struck> {
  const { fleet, random, pause, killed } = turn;
  const server = await serverInUse(turn);
  const shards = await shardsOf(turn, server);
  const chosen = random() < 0.2 ? shards : [shards[Math.floor(random() * shards.length)]!];
  const rebuiltBefore = rebuilds(fleet);
  await server.kill9();
  killed();
  for (const shard of chosen) {
    const folder = join(server.shards, shard);
    if (random() < 0.5) await rm(folder, { recursive: true, force: true });
    else
      for (const name of await readdir(join(folder, 'data')))
        await rm(join(folder, 'data', name), { recursive: true, force: true });
  }
  await server.start();
  const isSeen = await seen(pause, () => rebuilds(fleet) > rebuiltBefore);
  return { what: `${chosen.join(', ')}; ${rebuilds(fleet) - rebuiltBefore} rebuilds begun`, hit: isSeen };
}

async function poison({ fleet, random, pause }: Turn): Promise<Struck> {
  const before = fleet.letters.size;
  const records = Array.from({ length: POISON_RECORDS }, (_, each) => {
    const noise = Buffer.from(Array.from({ length: 20 }, () => Math.floor(random() * 256)));
    if (each % 3 === 0) return { key: 'chaos/poison', value: null };
    if (each % 3 === 1) return { key: null, value: Buffer.concat([Buffer.from([1]), noise]) };
    return { key: 'chaos/poison', value: Buffer.concat([Buffer.from([1]), noise]) };
  });
  fleet.poisonSent += records.length;
  await fleet.ledger.sendAside(records);
  const isSeen = await seen(pause, () => fleet.letters.size >= before + records.length);
  return { what: `${records.length} records, ${fleet.letters.size - before} dead letters`, hit: isSeen };
}

async function replay({ fleet }: Turn): Promise<Struck> {
  const count = await fleet.crowd.replay();
  return { what: `${count} events`, hit: count > 0 };
}

async function overload({ fleet }: Turn): Promise<Struck> {
  const count = await fleet.crowd.gather();
  const behind = fleet.ledger.sentCount - fleet.ledger.dueCount;
  return { what: `${count} events at once; ${behind} were on their way`, hit: behind > count / 10 };
}

/** One that has tasks, if any has: killing another shows less. */
async function busyInstance({ fleet, random }: Turn): Promise<{ instance: Instance; tasks: number }> {
  const sights = (await fleet.sights()).sort((a, b) => (a.name < b.name ? -1 : 1));
  const busy = sights.filter(({ tasks }) => tasks.size > 0);
  const from = busy.length > 0 ? busy : sights;
  const sight = from[Math.floor(random() * from.length)];
  const instance = fleet.instances.find(({ name }) => name === sight?.name) ?? fleet.instances[0]!;
  return { instance, tasks: sight?.tasks.size ?? 0 };
}

/** One with a shard that readers are sent to. */
async function serverInUse(turn: Turn): Promise<ShardServer> {
  const servers: ShardServer[] = [];
  for (const server of turn.fleet.deployment.shardServers)
    if ((await shardsOf(turn, server)).length > 0) servers.push(server);
  return servers[Math.floor(turn.random() * servers.length)]!;
}

async function shardsOf({ fleet }: Turn, server: ShardServer): Promise<string[]> {
  const used: ReadonlySet<string> = fleet.shardsInUse();
  const names = existsSync(server.shards) ? await readdir(server.shards) : [];
  return names.filter((name) => used.has(name)).sort();
}

/** While shards are away: questions without an answer, or writes that wait. */
async function seenAway({ fleet, pause }: Turn, ms: number): Promise<Struck> {
  const before = fleet.unansweredCount;
  const sent = fleet.ledger.sentCount;
  await pause(ms);
  const spilled = sumOf(await fleet.sights(), ({ spilledRows }) => spilledRows);
  const unanswered = fleet.unansweredCount - before;
  return {
    what: `${unanswered} questions without an answer, ${spilled} writes waited`,
    hit: fleet.ledger.sentCount > sent && unanswered + spilled > 0,
  };
}

/** Slices that are told to be rebuilt, and shards to take a lost one's place. */
const rebuilds = (fleet: ChaosFleet): number =>
  fleet.watch.decisions.filter(({ kind, reason }) => kind !== 'REFUSE' && reason.includes('has lost its data')).length;

async function seen(pause: (ms: number) => Promise<void>, holds: () => boolean): Promise<boolean> {
  for (const deadline = performance.now() + SEEN_WITHIN_MS; performance.now() < deadline; await pause(LOOK_MS))
    if (holds()) return true;
  return holds();
}

const sumOf = (sights: readonly Sight[], of: (sight: Sight) => number): number =>
  sights.reduce((sum, sight) => sum + of(sight), 0);
