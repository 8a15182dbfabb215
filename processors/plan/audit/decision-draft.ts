// Decision draft: the facts of an action as its decision record has them. The alternatives always include doing
// nothing, with its cost; those of a refusal also include the refused action.

import { type Action, describe, type Facts, type Refusal } from '../cluster/actions.ts';
import type { DecisionDraft } from '../stage/turn.ts';

/** Facts of an action that is carried out, or waits for approval. */
export function draftOf(action: Action): Partial<DecisionDraft> {
  const { savesDollars } = action;
  const isPriced = Number.isFinite(savesDollars) && savesDollars > 0;
  const keeps = action.alternatives.some(({ what }) => what === 'KEEP');
  const keep = { what: 'KEEP', dollars: savesDollars, whyNot: `the action costs $${action.dollars.toFixed(4)}` };
  return {
    ...numbersOf(action),
    alternatives: isPriced && !keeps ? [keep, ...action.alternatives] : action.alternatives,
    ...(isPriced ? { promisedDollars: savesDollars } : {}),
  };
}

/** Facts of a refusal, with the price of what was not done. */
export function draftOfRefusal({ facts, by }: Refusal): Partial<DecisionDraft> {
  if (facts === undefined) return {};
  const refused = isAction(facts)
    ? [{ what: describe(facts), dollars: facts.dollars, whyNot: `refused by ${by}` }]
    : [];
  return {
    ...numbersOf(facts),
    alternatives: [...refused, ...facts.alternatives.filter(({ what }) => what !== 'KEEP')],
  };
}

const isAction = (facts: Facts): facts is Action => 'kind' in facts;

function numbersOf(facts: Facts): Partial<DecisionDraft> {
  const { forecastPerSecond, capacityPerSecond, crossingAt, leadTimeMs, dollarsPerHour } = facts;
  return { forecastPerSecond, capacityPerSecond, crossingAt, leadTimeMs, dollarsPerHour };
}
