import { describe, expect, test } from 'vitest';
import type { Emit, Input } from '../../processors/step.ts';
import { eventTime, shardId } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent } from '../../schemas/records.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import {
  decisionNotes,
  fittedNotes,
  forecastNotes,
  outcomeNotes,
  progressNotes,
  tallyNotes,
} from '../../topology/notes.ts';
import { rates, subscriptions } from '../../topology/topics.ts';
import { drive } from '../support/drive.ts';

describe('what people are told of a record', () => {
  const shard = shardId('shard-01');
  for (const { name, notes, told } of [
    {
      name: 'a decision by its kind',
      notes: decisionNotes({ kind: 'REFUSE' } as never),
      told: { foreshard_decisions_total: 1 },
    },
    { name: 'a forecast', notes: forecastNotes({ model: 'level' } as never), told: { foreshard_forecasts_total: 1 } },
    {
      name: 'a refused command, aloud',
      notes: progressNotes({ body: { kind: 'CommandRefused', constraint: 'term', reason: 'old' } } as never),
      told: { foreshard_refused_commands_total: 1, error: ['term', 'old'] },
    },
    {
      name: 'no other progress',
      notes: progressNotes({ body: { kind: 'MoveProgress' } } as never),
      told: {},
    },
    {
      name: 'rows that shards took',
      notes: outcomeNotes({ kind: 'written', applied: 5, stale: 2, foreign: 1 } as never),
      told: { foreshard_applied_total: 5, foreshard_stale_total: 2, foreshard_foreign_removals_total: 1 },
    },
    ...(['stale', 'foreign', 'superseded'] as const).map((what) => ({
      name: `an event that changed nothing: ${what}`,
      notes: tallyNotes({ what }),
      told: {
        [{
          stale: 'foreshard_stale_total',
          foreign: 'foreshard_foreign_removals_total',
          superseded: 'foreshard_superseded_total',
        }[what]]: 1,
      },
    })),
    {
      name: 'half of what may wait for a shard does, aloud',
      notes: tallyNotes({ what: 'half-full', shard, rows: 50 }),
      told: { foreshard_spill_alarms_total: 1, warn: ['shard-01', 50] },
    },
    {
      name: 'all of it does, aloud',
      notes: tallyNotes({ what: 'full', shard, rows: 100 }),
      told: { foreshard_spill_alarms_total: 1, error: ['shard-01', 100] },
    },
    {
      name: 'a shard that is in use and does not go, aloud',
      notes: outcomeNotes({ kind: 'released', shard, refused: 'rows' } as never),
      told: { foreshard_refused_commands_total: 1, error: ['shard-in-use', 'RetireShard of shard-01: rows'] },
    },
    {
      name: 'nothing of one that went',
      notes: outcomeNotes({ kind: 'released', shard, refused: '' } as never),
      told: {},
    },
    {
      name: 'a fit that failed',
      notes: fittedNotes({
        series: 't/a',
        signal: 0,
        regime: 0,
        fits: [{ model: 'arima', parameters: undefined }],
        failure: 'out of memory',
      }),
      told: { foreshard_fit_failures_total: 1, warn: ['t/a', ['arima'], 'out of memory'] },
    },
    {
      name: 'nothing of one that did not',
      notes: fittedNotes({ series: 't/a', signal: 0, regime: 0, fits: [], failure: '' }),
      told: {},
    },
  ])
    test(name, () => {
      const lines = notes.flatMap(({ line }) => (line === undefined ? [] : [[line.level, Object.values(line.facts)]]));
      expect({
        ...Object.fromEntries(notes.map(({ metric, by }) => [metric, by])),
        ...Object.fromEntries(lines),
      }).toEqual(told);
    });
});

test('the runtime adds up what any topic notes of its values, once they are committed', async () => {
  const noted = {
    ...rates,
    notes: ({ subscribes }: RateWindow) => [
      { metric: 'foreshard_decisions_total', by: subscribes, labels: { kind: 'x' } },
    ],
  };
  const window = (subscribes: number) =>
    ({
      series: 's',
      source: 0,
      windowStart: eventTime(0),
      windowMs: 1,
      subscribes,
      unsubscribes: 0,
      publishes: 0,
      bytes: 0,
      distinctClients: 0,
      lateEvents: 0,
    }) as unknown as RateWindow;
  const topology = defineTopology(
    [
      stage('tell', {
        reads: [subscriptions],
        emits: [noted],
        step: (_rows, _input: Input<'subscriptions', SubscriptionEvent>): readonly Emit<'rates', RateWindow>[] =>
          [3, 4].map((subscribes) => ({ topic: 'rates', key: 's', value: window(subscribes) })),
      }),
    ],
    { inputs: [subscriptions] },
  );
  const run = await drive(topology);
  const event = {
    action: 'SUBSCRIBE',
    topicFilter: 'a',
    clientId: 'c',
    brokerId: 'b',
    qos: 0,
    timestamp: eventTime(1),
  };
  await run.send(subscriptions, 'a', event);
  expect(run.meter.sum('foreshard_decisions_total')).toBe(7);
  await run.stop();
});
