// Explain: the decisions about one thing, newest first, in words and numbers. Pure.

import type { Decision } from '../../schemas/records.ts';
import { placeOf } from '../../state/keys.ts';
import type { PointerTable } from '../../state/pointer-table.ts';
import { filterProblem } from '../../state/topic-filter.ts';
import { dollarsText, instantText, numberText, plain } from './text.ts';

/** What a decision may be about when somebody asks for `wanted`: itself, or where it is now when it is a topic or filter. */
export function subjectsOf(wanted: string, table: PointerTable | undefined): ReadonlySet<string> {
  const subjects = new Set([wanted, `t/${wanted}`]);
  if (table === undefined || filterProblem(wanted) !== undefined) return subjects;
  const pointer = table.resolve(wanted, '');
  const routed = placeOf(wanted).trie ? [] : table.route(wanted).flatMap((stop) => stop.pointers);
  for (const each of [...(pointer === undefined ? [] : [pointer]), ...routed]) {
    subjects.add(each.slice);
    for (const shard of each.shards) subjects.add(shard);
  }
  return subjects;
}

/** Decisions whose id, request, subject or commands are asked for, or whose reason names it; newest first. */
export function decisionsAbout(
  wanted: string,
  subjects: ReadonlySet<string>,
  decisions: readonly Decision[],
): Decision[] {
  const names = (reason: string): boolean => reason.split(/[\s,;:]+/).includes(wanted);
  return decisions
    .filter(
      (each) =>
        each.id === wanted ||
        (each.requestId !== '' && each.requestId === wanted) ||
        each.commandIds.includes(wanted) ||
        subjects.has(each.subject) ||
        names(each.reason),
    )
    .sort((a, b) => b.at - a.at);
}

export function explanationLines(decision: Decision): string[] {
  const { forecastPerSecond, capacityPerSecond, crossingAt, leadTimeMs, dollarsPerHour } = decision;
  const facts: string[] = [];
  if (forecastPerSecond >= 0) facts.push(`forecast peak within the lead time ${numberText(forecastPerSecond, 1)}/s`);
  if (capacityPerSecond >= 0) facts.push(`safe capacity ${numberText(capacityPerSecond, 1)}/s`);
  if (crossingAt > 0) facts.push(`crossed at ${instantText(crossingAt)} (${minutesBetween(decision.at, crossingAt)})`);
  if (leadTimeMs > 0) facts.push(`lead time ${numberText(leadTimeMs / 1000)} s`);
  if (dollarsPerHour !== 0) facts.push(`${dollarsPerHour > 0 ? '+' : '-'}${dollarsText(Math.abs(dollarsPerHour))}/h`);
  return [
    `${decision.at === 0 ? 'before the first event' : instantText(decision.at)}  ${decision.kind} ${plain(decision.subject)}  (${plain(decision.id)})`,
    `  ${plain(decision.reason)}`,
    ...(decision.constraint === '' ? [] : [`  bound by: ${plain(decision.constraint)}`]),
    ...(facts.length === 0 ? [] : [`  ${facts.join('; ')}`]),
    ...(decision.requestId === '' ? [] : [`  asked for by: ${plain(decision.requestId)}`]),
    ...(decision.commandIds.length === 0 ? [] : [`  commands: ${decision.commandIds.map(plain).join(', ')}`]),
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
