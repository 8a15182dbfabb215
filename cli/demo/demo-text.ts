// Demo text: the summary and the decisions as lines of text.

import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { Decision } from '../../schemas/records.ts';
import { bytesText, clockText, dollarsText, numberText, table } from '../text.ts';
import { type AllocationSummary, type DemoSummary, isSound } from './demo-summary.ts';

const VERBS: Readonly<Record<Decision['kind'], string>> = {
  START: 'starts',
  ALLOCATE: 'allocates',
  RESIZE: 'resizes',
  RETIRE: 'retires',
  SPLIT: 'splits',
  MERGE: 'merges',
  MOVE: 'moves',
  SWITCH: 'switches',
  FINISH: 'has moved',
  ABORT: 'aborts',
  REFUSE: 'refuses',
  KEEP: 'keeps',
  PROPOSE: 'proposes',
  APPROVE: 'approved',
  REJECT: 'rejected',
  EXPIRE: 'expires',
  REVIEW: 'reviews',
  REPLICATE: 'replicates',
  UNREPLICATE: 'ends replica',
};

/** One decision in one line. */
export const decisionLine = ({ at, kind, subject, reason }: Decision): string =>
  `${clockText(at)}  ${VERBS[kind].padEnd(9)}  ${subject.padEnd(11)}  ${reason}`;

export function summaryLines(summary: DemoSummary): string[] {
  const { moves, cost, check } = summary;
  return [
    '',
    `${numberText(summary.hours, 1)} hours: ${numberText(summary.events)} subscription events, ${numberText(summary.messages)} messages; ${numberText(summary.liveSubscriptions)} subscriptions live at the end.`,
    '',
    'Forecast and allocated',
    ...(summary.allocations.length === 0 ? ['  No shard was needed beyond the first two.'] : []),
    ...summary.allocations.flatMap(allocationLines),
    '',
    'Moved',
    `  ${moves.finished} slices, ${numberText(moves.rows)} rows, ${bytesText(moves.bytes)}; ${numberText(moves.churnPercent, 1)} rows moved for each 100 that are live. ${moves.aborted} aborted.`,
    '',
    'Cost, same load and catalogue',
    ...table([
      ['', 'dollars', 'minutes above safe capacity', 'shards at most'],
      ...(
        [
          ['Foreshard', cost.foreshard],
          ['static, sized for the peak', cost.staticPeak],
          ['reactive, on thresholds', cost.reactive],
        ] as const
      ).map(([name, each]) => [
        name,
        dollarsText(each.dollars),
        String(each.overloadedMinutes),
        String(each.shardsMax),
      ]),
    ]).map((line) => `  ${line}`),
    weighedText(cost),
    '  The other two are taken to balance perfectly and to move for free. Foreshard’s minutes are those of its worst shard.',
    '',
    'Was a subscription missed?',
    `  ${numberText(check.probes)} questions by brokers up to 30 s behind, ${numberText(check.subscriptionsChecked)} subscriptions in the answers: ${check.misses} missed, ${check.ghosts} ghosts, ${check.redirects} redirects, ${check.unanswered} unanswered.`,
    `  At the end: ${numberText(check.final.liveChecked)} live ones asked for, ${check.final.misses} missed; ${numberText(check.final.removedChecked)} removed ones, ${check.final.ghosts} still there.`,
    isSound(summary) ? '  None.' : '  YES: this run failed.',
  ];
}

/** Weighs cost against overload, compared with reactive thresholds, at the planner's price of an overloaded hour. */
function weighedText({ foreshard, reactive }: DemoSummary['cost']): string {
  const dearer = foreshard.dollars - reactive.dollars;
  const minutes = reactive.overloadedMinutes - foreshard.overloadedMinutes;
  const worth = (minutes / 60) * PLAN_DEFAULTS.dollarsPerOverloadedHour;
  const price = `${dollarsText(Math.abs(dearer))} ${dearer < 0 ? 'less' : 'more'} than reactive`;
  if (minutes === 0) return `  Foreshard cost ${price}, with as many minutes above safe capacity.`;
  const spared = `${Math.abs(minutes)} minutes ${minutes > 0 ? 'fewer' : 'more'} above safe capacity`;
  const sum = worth - dearer;
  return `  Foreshard cost ${price}, with ${spared}, worth ${dollarsText(Math.abs(worth))} at ${dollarsText(PLAN_DEFAULTS.dollarsPerOverloadedHour)} an hour: ${dollarsText(Math.abs(sum))} ${sum < 0 ? 'worse' : 'better'} in all.`;
}

function allocationLines(each: AllocationSummary): string[] {
  const decided = `  ${each.shard}, decided at ${clockText(each.decidedAt)}`;
  const expected = `${numberText(each.forecastPerSecond)} operations/s expected`;
  const safe = `${numberText(each.safePerSecond)} are safe.`;
  if (each.relieves === undefined) return [`${decided}: ${expected}; ${safe}`, '    Nothing was moved to it.'];
  const lines = [
    `${decided} for ${each.relieves}: ${expected}, ${numberText(each.camePerSecond)} would have come within the lead time; ${safe}`,
  ];
  if (each.switchedAt === undefined) return [...lines, '    Its first move had not ended.'];
  const ready = `ready at ${each.readyAt === undefined ? '?' : clockText(each.readyAt)}, serving at ${clockText(each.switchedAt)}`;
  if (each.crossingAt === undefined)
    return [...lines, `    It was ${ready}; without it the load would have stayed below safe capacity for an hour.`];
  const aheadMinutes = (each.crossingAt - each.decidedAt) / 60_000;
  const margin = each.marginMinutes ?? 0;
  return [
    ...lines,
    aheadMinutes > 0
      ? `    Foreseen ${numberText(aheadMinutes, 1)} min before the crossing at ${clockText(each.crossingAt)}; ${ready}.`
      : `    Reactive: capacity had been crossed at ${clockText(each.crossingAt)}; ${ready}.`,
    margin > 0
      ? `    In time, with ${numberText(margin, 1)} min to spare.`
      : `    ${numberText(-margin, 1)} min too late.`,
  ];
}
