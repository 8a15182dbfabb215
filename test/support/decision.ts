// A decision in which nothing applies, for tests to say what does.

import { UNSAID } from '../../processors/plan/stage/turn.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';

export const decisionWith = (more: Partial<Decision>): Decision => ({
  id: 'd-1',
  at: eventTime(0),
  kind: 'KEEP',
  subject: 'cell',
  reason: '',
  ...UNSAID,
  ...more,
});
