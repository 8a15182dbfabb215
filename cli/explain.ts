// Explain: the decisions about one subject, newest first, in words and figures. Pure.

import type { SliceKey } from '../schemas/ids.ts';
import type { Decision } from '../schemas/records.ts';
import { hashSlice, parseSlice, placeOf } from '../state/keys.ts';
import type { PointerTable } from '../state/pointer-table.ts';
import { filterProblem } from '../state/topic-filter.ts';
import { differenceLines } from './plan-text.ts';
import { dollarsText, instantText, numberText, plain } from './text.ts';

/** What the argument names. */
export type Asked = 'decision' | 'command' | 'move' | 'plan' | 'shard' | 'request' | 'slice' | 'topic';

/**
 * Decides by the form of the name, and by the names in the pointer table and in decisions: nearly every name could also
 * be a topic.
 */
export function askedFor(wanted: string, decisions: readonly Decision[], table: PointerTable | undefined): Asked {
  const numbered = /^(decision|command|move|plan|shard)-\d+$/.exec(wanted)?.[1];
  if (numbered !== undefined) return numbered as Asked;
  if (wanted !== '' && decisions.some(({ requestId }) => requestId === wanted)) return 'request';
  if (parseSlice(wanted) === undefined) return 'topic';
  if (decisions.some(({ subject }) => subject === wanted)) return 'slice';
  for (const { slice } of table?.pointers() ?? []) if (slice === wanted) return 'slice';
  return 'topic';
}

/** Says where a topic is, before decisions that do not name the topic. */
export const placeLine = (topic: string, subjects: Iterable<string>): string =>
  `${plain(topic)}, as a topic, is in ${slicesIn(subjects).map(plain).join(', ')}; what was decided about that, and about its shards:`;

/** The subjects that are slices, by the form of their names. */
export const slicesIn = (subjects: Iterable<string>): string[] =>
  [...subjects].filter((each) => /^[cw]\/\d/.test(each));

/**
 * The subjects that decisions about `wanted` may have: itself, the slices it was split from, and for a topic where it
 * is and was.
 */
export function subjectsOf(wanted: string, asked: Asked, table: PointerTable | undefined): ReadonlySet<string> {
  if (asked !== 'topic') return new Set([wanted, ...slicesAround(wanted)]);
  const subjects = new Set([wanted, `t/${wanted}`]);
  if (table === undefined || filterProblem(wanted) !== undefined) return subjects;
  const pointer = table.resolve(wanted, '');
  const routed = placeOf(wanted).trie ? [] : table.route(wanted).flatMap((stop) => stop.pointers);
  for (const each of [...(pointer === undefined ? [] : [pointer]), ...routed]) {
    for (const slice of [each.slice, ...slicesAround(each.slice)]) subjects.add(slice);
    for (const shard of each.shards) subjects.add(shard);
  }
  return subjects;
}

/** The hash slices that a hash slice was split from. */
export function slicesAround(key: string): SliceKey[] {
  const slice = parseSlice(key);
  if (slice?.kind !== 'hash') return [];
  return Array.from(slice.bits, (_, bits) => hashSlice(slice.partition, slice.bits.slice(0, bits)));
}

/** Decisions whose id, request, subject or commands are wanted, or whose reason names it; newest first. */
export function decisionsAbout(
  wanted: string,
  subjects: ReadonlySet<string>,
  decisions: readonly Decision[],
): Decision[] {
  const names = (reason: string): boolean =>
    reason.split(/[\s,;:()]+/).some((word) => word === wanted || word === `${wanted}.`);
  return decisions
    .filter(
      (each) =>
        each.id === wanted ||
        (each.requestId !== '' && each.requestId === wanted) ||
        each.commandIds.includes(wanted) ||
        subjects.has(each.subject) ||
        (wanted !== '' && names(each.reason)),
    )
    .sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
}

/** Why there may be no decision, and what to do. */
export function nothingText(wanted: string, asked: Asked, slices: readonly string[]): string {
  const name = plain(wanted);
  if (asked === 'shard') return `nothing was decided about ${name}: \`foreshard shards\` lists the shards there are`;
  if (asked === 'move') return `nothing was decided about ${name}: \`foreshard moves\` lists the moves there are`;
  if (asked === 'plan') return `nothing was decided about ${name}: \`foreshard plans\` lists the plans there are`;
  if (asked !== 'topic')
    return `there is no ${asked} ${name}, or it is too old to be kept: ask for the shard, slice or topic instead`;
  if (slices.length > 0)
    return `nothing was decided about ${name}, which is in ${slices.map(plain).join(', ')}: no shard of it has been short of anything. \`foreshard pointers --topic ${name}\` tells where it is`;
  return `nothing was decided about ${name}, and nobody knows a decision, request, command, move, plan, shard or slice of that name; as a topic it is in no slice yet`;
}

export function explanationLines(decision: Decision): string[] {
  const { forecastPerSecond, capacityPerSecond, crossingAt, leadTimeMs, dollarsPerHour, dollarsOnce } = decision;
  const { promisedDollars, realisedDollars, expiresAt } = decision;
  const facts: string[] = [];
  if (forecastPerSecond >= 0) facts.push(`forecast peak within the lead time ${numberText(forecastPerSecond, 1)}/s`);
  if (capacityPerSecond >= 0) facts.push(`safe capacity ${numberText(capacityPerSecond, 1)}/s`);
  if (crossingAt > 0) facts.push(`crossed at ${instantText(crossingAt)} (${minutesBetween(decision.at, crossingAt)})`);
  if (leadTimeMs > 0) facts.push(`lead time ${numberText(leadTimeMs / 1000)} s`);
  if (dollarsPerHour !== 0) facts.push(`${dollarsPerHour > 0 ? '+' : '-'}${dollarsText(Math.abs(dollarsPerHour))}/h`);
  if (dollarsOnce !== 0) facts.push(`${dollarsText(dollarsOnce)} once`);
  if (promisedDollars >= 0) facts.push(`promised to save ${dollarsText(promisedDollars)}`);
  if (realisedDollars >= 0) facts.push(`saved ${dollarsText(realisedDollars)}`);
  if (expiresAt > 0) facts.push(`holds until ${instantText(expiresAt)}`);
  return [
    `${decision.at === 0 ? 'before the first event' : instantText(decision.at)}  ${decision.kind} ${plain(decision.subject)}  (${plain(decision.id)})`,
    `  ${plain(decision.reason)}`,
    ...(decision.constraint === '' ? [] : [`  bound by: ${plain(decision.constraint)}`]),
    ...(facts.length === 0 ? [] : [`  ${facts.join('; ')}`]),
    ...(decision.requestId === '' ? [] : [`  asked for by: ${plain(decision.requestId)}`]),
    ...(decision.commandIds.length === 0 ? [] : [`  commands: ${decision.commandIds.map(plain).join(', ')}`]),
    ...(decision.changes.length + decision.steps.length === 0 ? [] : differenceLines(decision)),
    ...decision.alternatives.map(
      ({ what, dollars, whyNot }) => `  instead: ${plain(what)}, ${dollarsText(dollars)}: ${plain(whyNot)}`,
    ),
  ];
}

function minutesBetween(from: number, to: number): string {
  const minutes = (to - from) / 60_000;
  if (Math.abs(minutes) < 0.05) return 'at that moment';
  return minutes > 0 ? `${numberText(minutes, 1)} min ahead` : `${numberText(-minutes, 1)} min before`;
}
