// `foreshard plans`, `approve`, `reject`: plans that wait for an operator's answer, and that answer.

import type { PlanView } from '../api/views.ts';
import { planId } from '../schemas/ids.ts';
import type { Decision, PlanVerdict } from '../schemas/records.ts';
import { decisions } from '../topology/topics.ts';
import type { Output } from './output.ts';
import { planLines } from './plan-text.ts';
import { ask, readTopic, withLog } from './reading.ts';
import { plain } from './text.ts';
import type { Source } from './views.ts';

/** Plans that were proposed for approval, newest first. */
export async function showPlans(source: Source, output: Output): Promise<void> {
  const { config, url } = source;
  const plans =
    url === undefined
      ? plansIn(
          await withLog(config, async (reading) =>
            (await readTopic(reading, decisions)).flatMap((each) => each.value ?? []),
          ),
        )
      : ((await ask(url, '/plans', config.httpReadToken.reveal())) as { readonly plans: readonly PlanView[] }).plans;
  output.json(plans);
  if (plans.length === 0)
    output.line('No plan has been proposed. Plans are proposed for approval when FORESHARD_MODE=approve.');
  for (const plan of plans) output.lines([...planLines(plan), '']);
}

/** Sends an operator's answer to the running process; the planner's decision has the request's id. */
export async function answerPlan(source: Source, plan: string, answer: PlanVerdict, output: Output): Promise<void> {
  const { config } = source;
  const url = source.url ?? `http://127.0.0.1:${config.httpPort}`;
  const taken = (await ask(url, `/plans/${encodeURIComponent(plan)}`, config.httpAdminToken.reveal(), { answer })) as {
    readonly requestId: string;
  };
  output.json(taken);
  output.line(
    `${answer === 'APPROVE' ? 'Approval' : 'Rejection'} of ${plain(plan)} was sent to the planner. To see the result: foreshard explain ${taken.requestId}`,
  );
}

const FATES: Partial<Record<Decision['kind'], PlanView['state']>> = {
  APPROVE: 'APPROVED',
  REJECT: 'REJECTED',
  EXPIRE: 'EXPIRED',
};

/** The plans that the decisions contain, newest first. */
export function plansIn(all: readonly Decision[]): PlanView[] {
  const fates = new Map<string, PlanView['state']>();
  for (const { kind, subject, constraint } of all) {
    const fate = constraint === 'replaced' ? 'REPLACED' : FATES[kind];
    if (fate !== undefined) fates.set(subject, fate);
  }
  return all
    .filter(({ kind }) => kind === 'PROPOSE')
    .map((decision) => ({
      planId: planId(decision.subject),
      state: fates.get(decision.subject) ?? ('OPEN' as const),
      madeAt: decision.at,
      expiresAt: decision.expiresAt,
      reason: decision.reason,
      steps: decision.steps,
      changes: decision.changes,
      dollarsPerHour: decision.dollarsPerHour,
      dollarsOnce: decision.dollarsOnce,
      promisedDollars: decision.promisedDollars,
    }))
    .reverse();
}
