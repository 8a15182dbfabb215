// `foreshard pointers`, `shards`, `moves`, `explain`: what is known of a fleet, from its topics or a running process.

import type { MoveView, ShardView, TopicPlace } from '../api/views.ts';
import type { Config } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { AppError } from '../schemas/errors.ts';
import type { Decision, MoveProgress } from '../schemas/records.ts';
import { parseSlice, placeOf } from '../state/keys.ts';
import { PointerTable } from '../state/pointer-table.ts';
import { filterProblem } from '../state/topic-filter.ts';
import { decisions, pointers, progress } from '../topology/topics.ts';
import {
  askedFor,
  decisionsAbout,
  explanationLines,
  nothingText,
  placeLine,
  slicesAround,
  slicesIn,
  subjectsOf,
} from './explain.ts';
import type { Output } from './output.ts';
import { ask, type Reading, readTopic, withLog } from './reading.ts';
import { bytesText, instantText, numberText, plain, table } from './text.ts';

/** Where to ask: a running process when `url` is given, else the topics. */
export interface Source {
  readonly config: Config;
  readonly url: string | undefined;
}

const asked = <Answer>({ config, url }: Source, path: string): Promise<Answer> =>
  ask(url!, path, config.httpReadToken.reveal()) as Promise<Answer>;

/** The whole table, or where one topic or filter is. */
export async function showPointers(source: Source, filter: string | undefined, output: Output): Promise<void> {
  if (filter !== undefined) return showPlace(source, filter, output);
  if (source.url !== undefined)
    throw new AppError('REQUEST_INVALID', 'a running process answers for one topic at a time: add --topic or --filter');
  const whole = (await withLog(source.config, (reading) => tableOf(reading, source.config))).snapshot();
  output.json(whole);
  output.lines([
    `epoch ${whole.epoch}, offset ${whole.position}: ${whole.pointers.length} slices on ${whole.shards.length} shards`,
    '',
    ...table([
      ['slice', 'mode', 'shards', 'epoch'],
      ...whole.pointers.map(({ slice, mode, shards, epoch }) => [plain(slice), mode, shards.join(' '), String(epoch)]),
    ]),
    '',
    ...table([
      ['shard', 'state', 'type', 'instance', 'address', 'epoch'],
      ...whole.shards.map((each) => [
        each.shardId,
        each.state,
        each.datastoreType,
        plain(each.instanceId),
        each.address === '' ? 'in the process' : plain(each.address),
        String(each.epoch),
      ]),
    ]),
  ]);
}

async function showPlace(source: Source, filter: string, output: Output): Promise<void> {
  const problem = filterProblem(filter);
  if (problem !== undefined) throw new AppError('FILTER_INVALID', problem);
  const place =
    source.url === undefined
      ? placeIn(await withLog(source.config, (reading) => tableOf(reading, source.config)), filter)
      : await asked<
          Pick<TopicPlace, 'slice' | 'mode' | 'epoch' | 'publishAsks'> & { shards: readonly { shardId: string }[] }
        >(source, `/get_shard_id?topic=${encodeURIComponent(filter)}`);
  output.json({ filter, ...place });
  output.lines([
    `${plain(filter)} is in slice ${plain(place.slice)}, ${place.mode} on ${place.shards.map(({ shardId }) => shardId).join(', ')} since epoch ${place.epoch}.`,
    ...(place.publishAsks.length === 0 ? [] : [`A message to it asks ${place.publishAsks.join(', ')}.`]),
  ]);
}

function placeIn(pointerTable: PointerTable, filter: string) {
  const pointer = pointerTable.resolve(filter, '');
  if (pointer === undefined) throw new AppError('NOT_FOUND', 'the pointer table has no entry for this topic yet');
  const { slice, mode, shards, epoch } = pointer;
  const publishAsks = placeOf(filter).trie ? [] : pointerTable.route(filter).map((stop) => stop.shard);
  return { slice, mode, epoch, shards: shards.map((shardId) => ({ shardId })), publishAsks };
}

export async function showShards(source: Source, output: Output): Promise<void> {
  if (source.url !== undefined) {
    const { shards } = await asked<{ readonly shards: readonly ShardView[] }>(source, '/shards');
    output.json(shards);
    const catalog = readCatalog(source.config.catalogPath);
    output.lines(
      table([
        ['shard', 'state', 'type', 'slices', 'entries', 'of its most', 'size', 'in use'],
        ...shards.map((each) => [
          each.shardId,
          each.state,
          each.datastoreType,
          String(each.slices),
          numberText(each.entries),
          shareText(each.entries, catalog.get(each.datastoreType)?.entriesMax),
          bytesText(each.bytes),
          each.utilisation < 0 ? '' : shareText(each.utilisation, 1),
        ]),
      ]),
    );
    if (shards.every(({ utilisation }) => utilisation < 0))
      output.line('\nNo store has reported how busy it is (DatastoreMetrics): only counts are known.');
    return;
  }
  const whole = (await withLog(source.config, (reading) => tableOf(reading, source.config))).snapshot();
  const rows = whole.shards.map((shard) => ({
    ...shard,
    slices: whole.pointers.filter((pointer) => pointer.shards.includes(shard.shardId)).length,
  }));
  output.json(rows);
  output.lines(
    table([
      ['shard', 'state', 'type', 'slices'],
      ...rows.map((each) => [each.shardId, each.state, each.datastoreType, String(each.slices)]),
    ]),
  );
}

const shareText = (part: number, whole: number | undefined): string =>
  whole === undefined || whole <= 0 ? '' : `${numberText((100 * part) / whole, 1)} %`;

export async function showMoves(source: Source, output: Output): Promise<void> {
  const moves =
    source.url !== undefined
      ? (await asked<{ readonly moves: readonly MoveView[] }>(source, '/moves')).moves.map((move) => ({
          ...move,
          at: move.endedAt === 0 ? move.startedAt : move.endedAt,
        }))
      : await withLog(source.config, movesOf);
  output.json(moves);
  if (moves.length === 0) output.line('No moves.');
  else
    output.lines(
      table([
        ['at', 'move', 'state', 'slice', 'from', 'to', 'rows', 'copied'],
        ...moves.map((each) => [
          each.at > 0 ? instantText(each.at) : 'not known yet',
          each.moveId,
          each.paused ? `${each.state} (paused)` : each.state,
          plain(each.slice),
          each.from,
          each.to,
          numberText(each.rowsCopied),
          bytesText(each.bytesCopied),
        ]),
      ]),
    );
}

/** What was decided about something, newest first; at most `limit` decisions in words, all of them as JSON. */
export async function explain(source: Source, wanted: string, limit: number, output: Output): Promise<void> {
  const known =
    source.url === undefined
      ? await withLog(source.config, async (reading) => {
          const all = (await readTopic(reading, decisions)).flatMap(({ value }) => value ?? []);
          const table = await tableOf(reading, source.config);
          const asked = askedFor(wanted, all, table);
          return { all, asked, subjects: subjectsOf(wanted, asked, table) };
        })
      : await decisionsAskedFor(source, wanted);
  const about = decisionsAbout(wanted, known.subjects, known.all);
  if (about.length === 0)
    throw new AppError('NOT_FOUND', nothingText(wanted, known.asked, slicesIn(known.subjects)), { wanted });
  output.json(about);
  if (known.asked === 'topic' && slicesIn(known.subjects).length > 0)
    output.lines([placeLine(wanted, known.subjects), '']);
  for (const decision of about.slice(0, limit)) output.lines([...explanationLines(decision), '']);
  if (about.length > limit)
    output.line(`Older ones, not shown: ${about.length - limit}. --limit ${about.length} shows all.`);
}

async function decisionsAskedFor(source: Source, wanted: string) {
  const all = await allDecisions(source);
  const what = askedFor(wanted, all, undefined);
  return {
    all,
    asked: what,
    subjects: what === 'topic' ? await placesOf(source, wanted) : subjectsOf(wanted, what, undefined),
  };
}

async function placesOf(source: Source, topic: string): Promise<ReadonlySet<string>> {
  const subjects = new Set(subjectsOf(topic, 'topic', undefined));
  if (filterProblem(topic) !== undefined) return subjects;
  try {
    const place = await asked<TopicPlace>(source, `/get_shard_id?topic=${encodeURIComponent(topic)}`);
    const shards = [...place.shards.map(({ shardId }) => shardId), ...place.publishAsks];
    for (const each of [place.slice, ...slicesAround(place.slice), ...shards]) subjects.add(each);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'NOT_FOUND') throw error;
  }
  return subjects;
}

async function allDecisions(source: Source): Promise<Decision[]> {
  const all: Decision[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page: { readonly decisions: readonly Decision[]; readonly next?: string } = await asked(
      source,
      `/decisions?limit=1000${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    all.push(...page.decisions);
    cursor = page.next;
  }
  return all;
}

export async function tableOf(reading: Reading, config: Config): Promise<PointerTable> {
  const entries = await readTopic(reading, pointers);
  const pointerTable = new PointerTable(partitionsIn(entries) ?? config.partitions);
  for (const { key, value, offset } of entries) pointerTable.apply(key, value, offset);
  const end = (entries.at(-1)?.offset ?? -1) + 1;
  pointerTable.reached(end, end);
  return pointerTable;
}

/** As many as the table has hash slices of, from its first change on: by another number a topic is looked for where it is not. */
function partitionsIn(entries: readonly { readonly key: string }[]): number | undefined {
  let most = 0;
  for (const { key } of entries) {
    const slice = key.startsWith('p:') ? parseSlice(key.slice(2)) : undefined;
    if (slice?.kind === 'hash') most = Math.max(most, slice.partition + 1);
  }
  return most === 0 ? undefined : most;
}

/** The last that was said of each move, newest first. What is said right after a start knows no time: the one before does. */
async function movesOf(reading: Reading): Promise<(MoveProgress & { readonly at: number })[]> {
  const last = new Map<string, MoveProgress & { readonly at: number }>();
  for (const { value } of await readTopic(reading, progress))
    if (value?.body.kind === 'MoveProgress') {
      const { moveId } = value.body;
      last.set(moveId, { ...value.body, at: Math.max(value.at, last.get(moveId)?.at ?? 0) });
    }
  return [...last.values()].sort((a, b) => b.at - a.at);
}
