// Views with one of everything, for tests of the API: what is asked is recorded, and any answer can be replaced.

import type { SessionOperationView } from '../../api/session-operations.ts';
import type { CheckView, LetterView, PlanAnswering, PlanView, Steering, Views } from '../../api/views.ts';
import { UNSAID } from '../../processors/plan/stage/turn.ts';
import { epoch, eventTime, moveId, planId, seriesId, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Decision, Forecast, Metric, SubscriptionEvent } from '../../schemas/records.ts';

export const FORECAST: Forecast = {
  series: seriesId('c/0/0000'),
  signal: 'SUBSCRIPTIONS',
  madeAt: eventTime(1_700_000_000_000),
  stepMs: 60_000,
  levels: [0.5, 0.95],
  quantiles: [10, 20, 12, 24, 14, 28],
  currentPerSecond: 8,
  model: 'seasonal',
  weights: { seasonal: 1 },
  recentError: 0.8,
  dispersion: 1,
  peakToMean: 2,
  seasonMs: 0,
  pattern: 'CONSISTENT',
  trusted: true,
  distrust: '',
  distinctClients: 5,
  bytesPerSecond: 100,
  farStepMs: 3_600_000,
  farQuantiles: [8, 40],
  coverage: 0.94,
  stepsSeen: 5_000,
  unsubscribeShare: 0.5,
};

const SHARD = {
  shardId: shardId('shard-0001'),
  storeKind: 'KEY_VALUE',
  datastoreType: 'level-small',
  instanceId: 'instance-1',
  address: '',
  state: 'READY',
  epoch: epoch(1),
} as const;

const PLAN: PlanView = {
  planId: planId('plan-000001'),
  state: 'OPEN',
  madeAt: eventTime(0),
  expiresAt: eventTime(1_800_000),
  reason: 'shard-0001 goes above its safe 800 operations/s.',
  steps: ['allocate shard-0003 on kv'],
  changes: [],
  dollarsPerHour: 0.1,
  dollarsOnce: 0.01,
  promisedDollars: 50,
};

export const CHECK: CheckView = {
  ...{ checkId: 'check-1', at: 0, shardId: '', slice: '', repair: false, state: 'RUNNING' },
  ...{
    partitions: 2,
    partitionsHeard: 2,
    partitionsDone: 1,
    slices: 4,
    slicesDone: 2,
    rows: 100,
    missing: 1,
    extra: 0,
    different: 0,
  },
  ...{ stray: 0, mended: 0, unchecked: 0, differences: [], reasons: [] },
};

export const KEEP: Decision = {
  id: 'decision-000009',
  at: eventTime(1_700_000_000_000),
  ...UNSAID,
  kind: 'KEEP',
  subject: 'a',
  reason: 'shard-0001 is at most 40 % full within 60 min, by the forecast.',
};

const OPERATION: SessionOperationView = {
  ...{ operationId: 'lose-5-00000001', brokerId: 'broker-1', action: 'LOSE', state: 'RUNNING' },
  ...{ startedAt: eventTime(5), partitions: 8, finished: 3, sessions: 40, ended: 30, events: 90, reason: '' },
} as const;

const LETTER: LetterView = {
  ...{ number: 7, code: 'FILTER_INVALID', reason: 'the filter is wrong', topic: 'subscriptions', partition: 3 },
  ...{ offset: 41, timestamp: 5, key: 'a/#/b', sizeBytes: 2, headBase64: 'AAE=' },
};

export interface FakeViews extends Views {
  readonly sent: Metric[];
  readonly subscribed: SubscriptionEvent[];
  readonly steered: Steering[];
  readonly answered: PlanAnswering[];
  readonly asked: string[];
}

export function fakeViews(changes: Partial<Views> = {}): FakeViews {
  const sent: Metric[] = [];
  const subscribed: SubscriptionEvent[] = [];
  const steered: Steering[] = [];
  const answered: PlanAnswering[] = [];
  const asked: string[] = [];
  return {
    sent,
    subscribed,
    steered,
    answered,
    asked,
    async forecastFor(topic, signal) {
      asked.push(`${signal} ${topic}`);
      const forecast = { ...FORECAST, signal };
      return { kind: 'here', answer: topic === 'none' ? undefined : { series: FORECAST.series, share: 0.5, forecast } };
    },
    async shardFor(topic, clientId) {
      asked.push(`shard ${topic}${clientId === undefined ? '' : ` of ${clientId}`}`);
      const place = {
        slice: sliceKey('c/0/'),
        mode: 'SINGLE',
        epoch: epoch(1),
        shards: [SHARD],
        publishAsks: [SHARD.shardId],
      } as const;
      return { kind: 'here', answer: topic === 'none' ? undefined : place };
    },
    shards: async () => ({ kind: 'here', answer: [{ ...SHARD, slices: 1, entries: 2, bytes: 3, utilisation: 0.5 }] }),
    moves: async () => ({ kind: 'here', answer: [] }),
    decisions: async ({ after, limit }) => {
      asked.push(`decisions ${after} ${limit}`);
      return { kind: 'here', answer: { decisions: [], next: undefined } };
    },
    deadLetters: async ({ before, limit }) => {
      asked.push(`dead letters ${before} ${limit}`);
      return { kind: 'here', answer: { letters: [LETTER], next: '7' } };
    },
    async sendSubscriptions(events) {
      subscribed.push(...events);
    },
    async sendSessions(sessions) {
      asked.push(...sessions.map((session) => `session ${JSON.stringify(session)}`));
    },
    async pointerRecords({ after, waitMs }) {
      asked.push(`pointers ${after} ${waitMs}`);
      return { kind: 'here', answer: { partitions: 8, records: [], next: after, end: after, restarts: false } };
    },
    now: () => 1_700_000_000_000,
    async sendMetrics(metrics) {
      sent.push(...metrics);
    },
    requestPlan: async (topic, requestId = 'request-1') => {
      asked.push(`plan ${topic}`);
      return { requestId, decision: topic === 'slow' ? undefined : { ...KEEP, requestId, subject: topic } };
    },
    async steerMove(steering) {
      steered.push(steering);
      return { kind: 'here', answer: steering.moveId === moveId('move-000001') ? 'request-2' : undefined };
    },
    async requestCheck(check) {
      asked.push(`check ${JSON.stringify(check)}`);
      return check.requestId ?? 'request-4';
    },
    async requestRebuild({ shardId, force, requestId = 'request-5' }) {
      asked.push(`rebuild ${shardId}${force ? ' by force' : ''}`);
      return { requestId, decision: shardId === 'slow' ? undefined : { ...KEEP, requestId, subject: shardId } };
    },
    checks: async () => ({ kind: 'here', answer: [CHECK] }),
    plans: async () => ({ kind: 'here', answer: [PLAN] }),
    async answerPlan(answer) {
      answered.push(answer);
      return { kind: 'here', answer: answer.planId === PLAN.planId ? (answer.requestId ?? 'request-3') : undefined };
    },
    sessionOperations: async () => ({ kind: 'here', answer: [OPERATION] }),
    async stopSessionOperation(operationId) {
      asked.push(`stop ${operationId}`);
      return { kind: 'here', answer: operationId === OPERATION.operationId };
    },
    live: () => ({ live: true, reasons: [] }),
    ready: () => ({ ready: true, reasons: [], restorePercent: 100, waiting: [], lagRecords: 0, standing: [] }),
    metricsText: async () => 'foreshard_up 1\n',
    ...changes,
  };
}
