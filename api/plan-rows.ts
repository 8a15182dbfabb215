// Plan rows: the planner's rows in the tasks of this process, read-only. There are none where the planner runs on another
// instance.

import { cells, type PlanRows, type Row } from '../processors/plan/stage/rows.ts';
import type { Running } from '../runtime/runner.ts';

/** The planner's only task. */
export const PLAN_TASK = 0;

export const planRowsOf = (running: Pick<Running, 'read' | 'rows'>): PlanRows => ({
  get(key) {
    const found = running.read<Row>('plan', cells.name, PLAN_TASK, key);
    return found.kind === 'here' ? found.row : undefined;
  },
  entries: () => running.rows<Row>('plan', cells.name),
});
