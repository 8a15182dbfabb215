// Plan text: a proposed plan as lines of text: its price, each shard before and after, and its steps. Pure.

import type { PlanView } from '../api/views.ts';
import type { Decision } from '../schemas/records.ts';
import { dollarsText, instantText, plain, table } from './text.ts';

export function planLines(plan: PlanView): string[] {
  const isOpen = plan.state === 'OPEN';
  return [
    `${plain(plan.planId)}  ${plan.state}${isOpen ? ` until ${instantText(plan.expiresAt)}` : ''}, made at ${instantText(plan.madeAt)}`,
    `  ${plain(plan.reason)}`,
    ...differenceLines(plan),
    ...(isOpen ? [`  foreshard approve ${plain(plan.planId)}  or  foreshard reject ${plain(plan.planId)}`] : []),
  ];
}

/** The price, the shards that change, and the steps. */
export function differenceLines({
  dollarsPerHour,
  dollarsOnce,
  promisedDollars,
  changes,
  steps,
}: Pick<Decision, 'dollarsPerHour' | 'dollarsOnce' | 'promisedDollars' | 'changes' | 'steps'>): string[] {
  const rows = changes.map((each) => [
    plain(each.shardId),
    fromTo(each.typeBefore || 'none', each.typeAfter || 'none'),
    fromTo(String(each.slicesBefore), String(each.slicesAfter)),
    fromTo(percent(each.fullBefore), percent(each.fullAfter)),
  ]);
  return [
    `  price: ${dollarsPerHour < 0 ? '-' : '+'}${dollarsText(Math.abs(dollarsPerHour))}/h and ${dollarsText(dollarsOnce)} once; doing nothing: ${dollarsText(Math.max(0, promisedDollars))}`,
    ...(rows.length === 0 ? [] : table([['shard', 'type', 'slices', 'full'], ...rows])).map((line) => `  ${line}`),
    ...steps.map((step, index) => `  ${index + 1}. ${plain(step)}`),
  ];
}

const fromTo = (before: string, after: string): string => (before === after ? before : `${before} -> ${after}`);
const percent = (share: number): string => `${Math.round(share * 100)} %`;
