// A decision in which nothing applies, for tests to say what does.

import { eventTime } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';

export const decisionWith = (more: Partial<Decision>): Decision => ({
  id: 'd-1',
  at: eventTime(0),
  kind: 'KEEP',
  subject: 'cell',
  reason: '',
  constraint: '',
  requestId: '',
  commandIds: [],
  forecastPerSecond: -1,
  capacityPerSecond: -1,
  crossingAt: eventTime(0),
  leadTimeMs: 0,
  dollarsPerHour: 0,
  alternatives: [],
  dollarsOnce: 0,
  promisedDollars: -1,
  realisedDollars: -1,
  expiresAt: eventTime(0),
  steps: [],
  changes: [],
  ...more,
});
