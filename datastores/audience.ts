// Audience: who receives a PUBLISH, as far as one shard knows. A broker needs to know which other brokers have a
// subscriber, each once, and one member of each share group: every broker knows its own clients (MQTT 5, 4.8.2 for
// groups).
//
//   A1. For a topic that is spread by client, a shard returns only subscribers of the parts that it is asked for:
//       another part may be on its way to this shard, or may have been left behind there.
//   A2. Members of a share group that are connected come before those that are not; a member without a connection is
//       chosen only when there is no other.

import type { Epoch, SliceKey } from '../schemas/ids.ts';
import { filterHash, isTrieSlice, parseSlice } from '../state/keys.ts';
import { isShared } from '../state/topic-filter.ts';
import type { Tracker } from './answer-cache.ts';
import type {
  Answer,
  AnsweringStore,
  Asked,
  Audience,
  PublishQuestion,
  ShardStore,
  Subscriber,
} from './shard-store.ts';

/** The broker of a subscriber whose session continues without a connection. */
export const NO_BROKER = '';

export type Heard =
  | { readonly kind: 'found'; readonly subscribers: readonly Subscriber[] }
  | { readonly kind: 'moved'; readonly slice: SliceKey; readonly epoch: Epoch };

/** Answers whole questions, as a shard does that is asked over the network. */
export interface QuestionReader {
  audience(question: PublishQuestion, tracker?: Tracker): Promise<Asked>;
  /** All subscribers, or the slice that is not there for this asker. */
  hearers(question: PublishQuestion): Promise<Heard>;
}

/** What looks up: the reading half of a store, and its audiences where the store returns them; or one of its own kind. */
export type ShardReader =
  | (Pick<ShardStore, 'lookup' | 'match'> & Partial<Pick<AnsweringStore, 'audience'>>)
  | QuestionReader;

/** The store's answer: all subscribers, or the first slice that is not there for this asker. */
export async function hearersIn(store: ShardReader, question: PublishQuestion): Promise<Heard> {
  if ('hearers' in store) return store.hearers(question);
  const { topic, slices, epoch } = question;
  const groups = slices.filter(isTrieSlice);
  const concrete = slices.filter((slice) => !isTrieSlice(slice));
  const [exact, matched] = await Promise.all([
    concrete.length > 0 ? store.lookup([topic], epoch) : [],
    groups.length > 0 ? store.match(groups.map((slice) => ({ topic, slice, epoch }))) : [],
  ]);
  const answers: (readonly [slice: SliceKey, answer: Answer])[] = [
    ...exact.map((answer) => [concrete[0]!, ofParts(answer, concrete)] as const),
    ...matched.map((answer, i) => [groups[i]!, answer] as const),
  ];
  let moved: Extract<Heard, { kind: 'moved' }> | undefined;
  for (const [slice, answer] of answers)
    if (answer.kind === 'moved' && (moved === undefined || answer.epoch > moved.epoch))
      moved = { kind: 'moved', slice, epoch: answer.epoch };
  if (moved !== undefined) return moved;
  return { kind: 'found', subscribers: union(answers.map(([, answer]) => answer)) };
}

/** The part of an answer that belongs to these slices (A1). */
export function ofParts(answer: Answer, slices: readonly SliceKey[]): Answer {
  if (answer.kind === 'moved') return answer;
  const parts = slices.flatMap((slice) => {
    const parsed = parseSlice(slice);
    return parsed?.kind === 'spread' ? [parsed] : [];
  });
  if (parts.length === 0) return answer;
  const isAsked = ({ clientId }: Subscriber): boolean => {
    const hash = filterHash(clientId);
    return parts.some(({ of, index }) => hash % of === index);
  };
  return { kind: 'found', subscribers: answer.subscribers.filter(isAsked) };
}

/** The subscribers of all answers, each once for each filter. */
export function union(answers: readonly Answer[]): readonly Subscriber[] {
  const lists = answers.flatMap((answer) => (answer.kind === 'found' ? [answer.subscribers] : []));
  if (lists.length === 1) return lists[0]!;
  const each = new Map<string, Subscriber>();
  for (const list of lists)
    for (const subscriber of list) each.set(`${subscriber.filter}\u0000${subscriber.clientId}`, subscriber);
  return [...each.values()];
}

/** The audience as the store remembers it, or read from its subscribers: then the answer must not be kept. */
export function audienceIn(store: ShardReader, question: PublishQuestion, tracker?: Tracker): Asked | Promise<Asked> {
  return store.audience?.(question, tracker) ?? readAudience(store, question);
}

async function readAudience(store: ShardReader, question: PublishQuestion): Promise<Asked> {
  const heard = await hearersIn(store, question);
  return heard.kind === 'moved' ? heard : { kind: 'audience', audience: audienceOf(heard.subscribers), keepMs: 0 };
}

export function audienceOf(subscribers: readonly Subscriber[]): Audience {
  const brokers = new Set<string>();
  const groups = new Map<string, Subscriber[]>();
  for (const subscriber of subscribers) {
    const { filter, brokerId } = subscriber;
    if (!isShared(filter)) brokers.add(brokerId);
    else if (groups.has(filter)) groups.get(filter)!.push(subscriber);
    else groups.set(filter, [subscriber]);
  }
  const isOnline = ({ brokerId }: Subscriber): boolean => brokerId !== NO_BROKER;
  return {
    brokers: [...brokers],
    groups: [...groups.values()].map((members) => [
      ...members.filter(isOnline),
      ...members.filter((member) => !isOnline(member)),
    ]),
  };
}

/** The group's next member, by turns (A2). */
export function memberAt(group: readonly Subscriber[], turn: number): Subscriber {
  const offline = group.findIndex(({ brokerId }) => brokerId === NO_BROKER);
  const online = offline < 0 ? group.length : offline;
  return group[turn % (online || group.length)]!;
}
