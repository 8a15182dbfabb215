// Notes: what operators learn from records: a counter, and a line in the log where somebody has to look into it.

import type { Tally } from '../processors/apply/subscriptions.ts';
import type { FitResult } from '../processors/forecast/fits.ts';
import type { SessionTally } from '../processors/sessions/sessions.ts';
import type {
  CheckProgress,
  Decision,
  Forecast,
  OperationAction,
  Progress,
  SessionOperation,
  SubscriptionEvent,
} from '../schemas/records.ts';
import type { Outcome } from '../state/effects.ts';

export interface Note {
  /** A counter, by its Prometheus name. */
  readonly metric: string;
  readonly by: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly line?: {
    readonly level: 'warn' | 'error';
    readonly message: string;
    readonly facts: Readonly<Record<string, unknown>>;
  };
}

export const decisionNotes = ({ kind }: Decision): readonly Note[] => [
  { metric: 'foreshard_decisions_total', by: 1, labels: { kind } },
];

export const forecastNotes = ({ model }: Forecast): readonly Note[] => [
  { metric: 'foreshard_forecasts_total', by: 1, labels: { model } },
];

export function progressNotes({ body }: Progress): readonly Note[] {
  if (body.kind === 'CommandRefused') return [refusalNote(body.constraint, body.reason)];
  if (body.kind === 'CheckProgress') return checkNotes(body);
  if (body.kind !== 'SliceLeft' || body.done) return [];
  const { shardId: shard, slice, livesOn, reason } = body;
  const message =
    'a move has ended without one of its shards, which does not answer; once it answers, it is told where the slice is and its rows of the slice are erased';
  const facts = { shard, slice, livesOn, reason };
  return [{ metric: 'foreshard_slices_left_total', by: 1, labels: { shard }, line: { level: 'warn', message, facts } }];
}

/** For events that the sessions stage writes. */
export const subscriptionNotes = ({ action }: SubscriptionEvent): readonly Note[] => [
  { metric: 'foreshard_session_events_total', by: 1, labels: { action } },
];

export function operationNotes({ operationId, brokerId, body }: SessionOperation): readonly Note[] {
  if (body.kind !== 'OperationProgress' || body.state === 'RUNNING') return [];
  const { action, state, partition, sessions, ended, events, reason } = body;
  const counted = { metric: 'foreshard_session_operations_total', by: 1, labels: { action, state } };
  if (sessions === 0) return [counted];
  const facts = { operationId, brokerId, partition, state, sessions, ended, events, reason };
  return [{ ...counted, line: { level: 'warn', message: OPERATIONS[action], facts } }];
}

const OPERATIONS: Readonly<Record<OperationAction, string>> = {
  LOSE: 'a broker sends no heartbeats: its sessions count as disconnected, and those that end with their connection have ended',
  DISCONNECT: 'a broker was restarted: sessions that were connected to it before count as disconnected',
  RESTORE: 'a broker that sent no heartbeats is back with its connections: its sessions are connected again',
};

function checkNotes({ kind: _, state, reason, differences, ...found }: CheckProgress): readonly Note[] {
  const { missing, extra, different, stray, mended } = found;
  const all = missing + extra + different + stray;
  if (state !== 'DONE' || all === 0) return [];
  const message =
    all > mended
      ? 'the rows of a shard differ from the subscriptions: correct them with `foreshard check --repair`, and find out what else has written to the shard'
      : 'the rows of a shard differed from the subscriptions, and were corrected';
  const line = { level: 'warn', message, facts: { ...found, first: differences[0] } } as const;
  return [{ metric: 'foreshard_mended_rows_total', by: mended, line }];
}

export function outcomeNotes(outcome: Outcome): readonly Note[] {
  if (outcome.kind === 'written')
    return [
      { metric: 'foreshard_applied_total', by: outcome.applied },
      { metric: 'foreshard_stale_total', by: outcome.stale },
      { metric: 'foreshard_foreign_removals_total', by: outcome.foreign ?? 0 },
    ];
  if (outcome.kind === 'checked')
    return [{ metric: 'foreshard_checked_rows_total', by: outcome.equal + outcome.differences.length }];
  if (outcome.kind === 'read') return [{ metric: 'foreshard_fill_rows_total', by: outcome.rows.length }];
  if (outcome.kind !== 'released' || outcome.refused === '') return [];
  return [refusalNote('shard-in-use', `RetireShard of ${outcome.shard}: ${outcome.refused}`)];
}

export function tallyNotes(tally: Tally | SessionTally): readonly Note[] {
  switch (tally.what) {
    case 'stale':
      return [{ metric: 'foreshard_stale_total', by: 1 }];
    case 'foreign':
      return [{ metric: 'foreshard_foreign_removals_total', by: 1 }];
    case 'dropped':
      return [{ metric: 'foreshard_forgotten_total', by: 1 }];
    case 'superseded':
      return [{ metric: 'foreshard_superseded_total', by: 1 }];
    case 'ignored':
      return [{ metric: 'foreshard_session_records_ignored_total', by: 1 }];
    case 'half-full':
    case 'full': {
      const { what, shard, rows } = tally;
      const message =
        what === 'full'
          ? 'the limit of writes waiting for a shard that does not answer is reached: its partition waits until the shard is back'
          : 'half the limit of writes waiting for a shard that does not answer is reached: at the limit its partition will wait too';
      const line = { level: what === 'full' ? 'error' : 'warn', message, facts: { shard, rows } } as const;
      return [{ metric: 'foreshard_spill_alarms_total', by: 1, labels: { shard, spill: what }, line }];
    }
  }
}

export function fittedNotes({ series, fits, failure }: FitResult): readonly Note[] {
  if (failure === '') return [];
  const message =
    'models could not be fitted; the series is forecast with the parameters fitted before, and will be fitted again later';
  const facts = { series, models: fits.map(({ model }) => model), failure };
  return [{ metric: 'foreshard_fit_failures_total', by: 1, line: { level: 'warn', message, facts } }];
}

function refusalNote(reason: string, what: string): Note {
  const message =
    'a command was refused and changed nothing; if no planner of this fleet sent it, something else writes to the commands topic';
  return {
    metric: 'foreshard_refused_commands_total',
    by: 1,
    labels: { reason },
    line: { level: 'error', message, facts: { reason, what } },
  };
}
