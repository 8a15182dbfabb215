import { describe, expect, test } from 'vitest';
import {
  MOVE_DEFAULTS,
  type Move,
  type MoveContext,
  newMove,
  onOutcome,
  onRestart,
  onSteer,
  onTick,
  type Phase,
  secondShardOf,
  type Turn,
  waitsForSource,
} from '../../../processors/apply/move.ts';
import { epoch, moveId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { MoveState, SteerAction } from '../../../schemas/records.ts';
import type { Effect, Outcome } from '../../../state/effects.ts';

const ID = moveId('m');
const FROM = shardId('shard-0001');
const TO = shardId('shard-0002');
const SLICE = sliceKey('c/0/');
const context: MoveContext = {
  settings: { ...MOVE_DEFAULTS, copyRowsPerSecond: 100, chunkRowsMax: 10, failuresMax: 2, recopiesMax: 1 },
  range: { slice: SLICE, except: [] },
  entries: 100,
  wallTime: 50_000,
};
const planned = newMove({ id: ID, slice: SLICE, from: FROM, to: TO, epoch: epoch(3), rowsPerSecond: 0, reason: 'hot' });
const at = (phase: Phase, more: Partial<Move> = {}): Move => ({ ...planned, phase, told: TOLD[phase], ...more });

// biome-ignore format: a table reads as a table
const TOLD: Record<Phase, MoveState> = {
  planned: 'PLANNED', provisioning: 'PROVISIONING', copying: 'COPYING', verifying: 'VERIFYING', settling: 'VERIFYING', verified: 'VERIFIED',
  shared: 'SHARED', switched: 'SWITCHED', draining: 'DRAINING', leaving: 'DRAINING', retiring: 'DRAINING', retired: 'RETIRED', aborting: 'COPYING', aborted: 'ABORTED',
};

const tick = (move: Move): Turn => onTick(move, 100, context);
const hears = (outcome: Outcome) => (move: Move) => onOutcome(move, outcome, context);
const steered =
  (action: SteerAction, at = 9) =>
  (move: Move) =>
    onSteer(move, { action, epoch: epoch(at), rowsPerSecond: 7, reason: '' }, context);
const copied = (rows: number, done: boolean) =>
  hears({ kind: 'copied', move: ID, rows, bytes: rows * 10, cursor: 'k', done });
const compared = (equal: boolean, done: boolean) =>
  hears({ kind: 'compared', move: ID, rows: 4, equal, cursor: 'k', done });
const erased = (done: boolean) => hears({ kind: 'erased', move: ID, shard: TO, rows: 4, done, refused: false });
const refused = hears({ kind: 'erased', move: ID, shard: TO, rows: 0, done: true, refused: true });
const failed = (effect: Effect['kind'], shard = TO, lost = false) =>
  hears({ kind: 'failed', move: ID, effect, shard, lost, reason: 'down' });
const told = (state: 'owned' | 'moved') => hears({ kind: 'owned', move: ID, shard: FROM, slice: SLICE, state });
/** Of a source that answers late readers for some time yet, and of one that nobody may be answered by any more. */
const LEASED = { leasedUntil: 59_000, bounded: true };
const RUN_OUT = { leasedUntil: 47_000, bounded: true };
/** Of a source that may answer late readers without an end. */
const UNTOLD = { leasedUntil: 1_000, failures: 99 };
const restarted = (move: Move): Turn => onRestart(move, context);

const shown = (effect: Effect): string => {
  if (effect.kind === 'own' && effect.owner.until !== undefined)
    return `own until ${effect.owner.until}@${effect.shard === TO ? 'to' : 'from'}`;
  if (effect.kind === 'own') return `own ${effect.owner.state}@${effect.shard === TO ? 'to' : 'from'}`;
  if (effect.kind === 'erase' || effect.kind === 'disown')
    return `${effect.kind}@${effect.shard === TO ? 'to' : 'from'}`;
  return effect.kind;
};

// biome-ignore format: a table reads as a table
const CASES: readonly { name: string; from: Move; when: (move: Move) => Turn; to: Phase; asks: string[]; tells?: string | undefined }[] = [
  { name: 'a planned move owns and empties its target first',      from: planned,                                          when: tick,                to: 'provisioning', asks: ['own receiving@to', 'erase@to'], tells: 'PROVISIONING' },
  { name: 'a target that still holds rows is erased on',           from: at('provisioning', { awaiting: 'erase', budgetRows: 20 }), when: erased(false), to: 'provisioning', asks: ['own receiving@to', 'erase@to'] },
  { name: 'an empty target begins the copy',                       from: at('provisioning', { awaiting: 'erase', budgetRows: 20 }), when: erased(true), to: 'copying',      asks: ['own receiving@to', 'copy'], tells: 'COPYING' },
  { name: 'a target that refuses to be emptied is asked again later', from: at('provisioning', { awaiting: 'erase', budgetRows: 20 }), when: refused, to: 'provisioning', asks: [], tells: 'PROVISIONING' },
  { name: 'an owner record that failed keeps the copy away',       from: at('provisioning', { awaiting: 'erase', failing: true }), when: erased(true),  to: 'provisioning', asks: [] },
  { name: 'a page copied asks for the next while budget remains',  from: at('copying', { awaiting: 'copy', budgetRows: 30 }), when: copied(10, false),  to: 'copying',      asks: ['copy'] },
  { name: 'a spent budget waits for the next tick',                from: at('copying', { awaiting: 'copy', budgetRows: 10 }), when: copied(10, false),  to: 'copying',      asks: [] },
  { name: 'a tick gives budget again',                             from: at('copying'),                                    when: tick,                to: 'copying',      asks: ['own receiving@to', 'copy'] },
  { name: 'the last page begins the comparison',                   from: at('copying', { awaiting: 'copy', budgetRows: 30 }), when: copied(3, true),    to: 'verifying',    asks: ['compare'], tells: 'VERIFYING' },
  { name: 'a page that differs is copied again',                   from: at('verifying', { awaiting: 'compare', chunkRows: 10, budgetRows: 30 }), when: compared(false, false), to: 'verifying', asks: ['copy'] },
  { name: 'a page copied again is compared again',                 from: at('verifying', { awaiting: 'copy', recopying: true, recopies: 1, budgetRows: 30 }), when: copied(10, false), to: 'verifying', asks: ['compare'] },
  { name: 'a page that still differs ends the move',               from: at('verifying', { awaiting: 'compare', recopies: 1, budgetRows: 30 }), when: compared(false, false), to: 'aborting', asks: ['own moved@to', 'erase@to'], tells: 'VERIFYING' },
  { name: 'all equal is not told before the next tick',            from: at('verifying', { awaiting: 'compare', budgetRows: 30 }), when: compared(true, true), to: 'settling', asks: [] },
  { name: 'a quiet tick makes it verified',                        from: at('settling'),                                   when: tick,                to: 'verified',     asks: [], tells: 'VERIFIED' },
  { name: 'a lost write spoils a finished comparison',             from: at('settling'),                                   when: failed('write'),     to: 'copying',      asks: [], tells: 'COPYING' },
  { name: 'a lost write spoils a comparison under way',            from: at('verifying', { awaiting: 'compare' }),         when: failed('write'),     to: 'copying',      asks: [], tells: 'COPYING' },
  { name: 'a verified move waits',                                 from: at('verified'),                                   when: tick,                to: 'verified',     asks: [] },
  { name: 'SWITCH gives the slice to the target',                  from: at('verified'),                                   when: steered('SWITCH'),   to: 'switched',     asks: ['own owned@to', 'own until 60000@from'], tells: 'SWITCHED' },
  { name: 'SWITCH before it is verified is refused',               from: at('verifying'),                                  when: steered('SWITCH'),   to: 'verifying',    asks: [], tells: 'VERIFYING' },
  { name: 'SWITCH to an old epoch is refused',                     from: at('verified'),                                   when: steered('SWITCH', 3), to: 'verified',    asks: [], tells: 'VERIFIED' },
  { name: 'SWITCH twice is SWITCH once',                           from: at('draining'),                                   when: steered('SWITCH'),   to: 'draining',     asks: [], tells: 'DRAINING' },
  { name: 'a switched move drains',                                from: at('switched', LEASED),                           when: tick,                to: 'draining',     asks: [], tells: 'DRAINING' },
  { name: 'a source goes on answering while it says so in time',   from: at('draining', { ...LEASED, leasedUntil: 54_000 }), when: tick,                to: 'draining',     asks: ['own until 60000@from'] },
  { name: 'a source that was told nothing yet is told',            from: at('draining'),                                   when: tick,                to: 'draining',     asks: ['own until 60000@from'] },
  { name: 'a source that takes its word is asked nothing',         from: at('draining', { ...LEASED, awaiting: 'own' }),   when: told('owned'),       to: 'draining',     asks: [] },
  { name: 'a source that does not answer gets no more time',       from: at('draining', { ...LEASED, failures: 1 }),       when: tick,                to: 'draining',     asks: ['own until 59000@from'] },
  { name: 'a source is not given up while it may answer readers',  from: at('draining', { ...LEASED, failing: true }),     when: tick,                to: 'draining',     asks: [] },
  { name: 'a source is given up when it can answer nobody',        from: at('draining', { ...RUN_OUT, failing: true }),    when: tick,                to: 'draining',     asks: [], tells: 'DRAINING' },
  { name: 'so is one that has missed a write that was held',       from: at('draining', LEASED),                           when: failed('write', FROM), to: 'draining',   asks: [], tells: 'DRAINING' },
  { name: 'and one that has missed it while it is told to go',     from: at('leaving', { ...LEASED, awaiting: 'own' }),    when: failed('write', FROM), to: 'retired',    asks: [], tells: 'RETIRED' },
  { name: 'a source that never took its word is waited for',       from: at('draining', { ...UNTOLD, failing: true }),     when: tick,                to: 'draining',     asks: [] },
  { name: 'and is given time anew when it is asked again',         from: at('draining', UNTOLD),                           when: tick,                to: 'draining',     asks: ['own until 60000@from'] },
  { name: 'also when it is told to go',                            from: at('leaving', { ...UNTOLD, failing: true }),      when: tick,                to: 'leaving',      asks: [] },
  { name: 'RETIRE without the source ends the move',               from: at('draining', { givenUp: true }),                when: steered('RETIRE'),   to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'RETIRE leaves word at the source before it erases',     from: at('draining'),                                   when: steered('RETIRE'),   to: 'leaving',      asks: ['own moved@from'], tells: 'DRAINING' },
  { name: 'RETIRE right after SWITCH is taken',                    from: at('switched'),                                   when: steered('RETIRE'),   to: 'leaving',      asks: ['own moved@from'], tells: 'DRAINING' },
  { name: 'RETIRE before SWITCH is refused',                       from: at('verified'),                                   when: steered('RETIRE'),   to: 'verified',     asks: [], tells: 'VERIFIED' },
  { name: 'a source that knows where the slice is is erased',      from: at('leaving', { awaiting: 'own', budgetRows: 20 }), when: told('moved'),     to: 'retiring',     asks: ['erase@from'] },
  { name: 'an earlier word says nothing of that',                  from: at('leaving', { awaiting: 'own', budgetRows: 20 }), when: told('owned'),     to: 'leaving',      asks: [] },
  { name: 'a source that could not be told is told again',         from: at('leaving', { ...LEASED, failures: 1 }),        when: tick,                to: 'leaving',      asks: ['own moved@from'], tells: undefined },
  { name: 'a source that cannot be told ends the move',            from: at('leaving', { ...RUN_OUT, failing: true }),     when: tick,                to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'a retiring move erases the source',                     from: at('retiring'),                                   when: tick,                to: 'retiring',     asks: ['erase@from'] },
  { name: 'an erased source ends the move',                        from: at('retiring', { awaiting: 'erase' }),            when: erased(true),        to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'a source that a later move has taken over ends it too',  from: at('retiring', { awaiting: 'erase' }),            when: refused,             to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'ABORT of a planned move erases too',                    from: planned,                                          when: steered('ABORT'),    to: 'aborting',     asks: [], tells: 'PLANNED' },
  { name: 'ABORT of a verified move never says verified again',                              from: at('verified'),                                   when: steered('ABORT'),    to: 'aborting',     asks: [] },
  { name: 'ABORT after SWITCH is refused',                         from: at('switched'),                                   when: steered('ABORT'),    to: 'switched',     asks: [], tells: 'SWITCHED' },
  { name: 'a target that is given up takes nothing more, and is erased', from: at('aborting'),                                   when: tick,                to: 'aborting',     asks: ['own moved@to', 'erase@to'] },
  { name: 'a target that is erased ends an abort',                  from: at('aborting', { awaiting: 'erase' }),            when: erased(true),        to: 'aborted',      asks: [], tells: 'ABORTED' },
  { name: 'SHARE makes the target a replica',                      from: at('verified'),                                   when: steered('SHARE'),    to: 'shared',       asks: ['own owned@to'], tells: 'SHARED' },
  { name: 'SHARE before it is verified is refused',                from: at('copying'),                                    when: steered('SHARE'),    to: 'copying',      asks: [], tells: 'COPYING' },
  { name: 'SHARE with an old epoch is refused',                    from: at('verified'),                                   when: steered('SHARE', 3), to: 'verified',     asks: [], tells: 'VERIFIED' },
  { name: 'SHARE twice is SHARE once',                             from: at('shared'),                                     when: steered('SHARE'),    to: 'shared',       asks: [], tells: 'SHARED' },
  { name: 'a shared slice rests',                                  from: at('shared'),                                     when: tick,                to: 'shared',       asks: [] },
  { name: 'ABORT of a shared slice is refused',                    from: at('shared'),                                     when: steered('ABORT'),    to: 'shared',       asks: [], tells: 'SHARED' },
  { name: 'SWITCH of a shared slice leaves its source',            from: at('shared'),                                     when: steered('SWITCH'),   to: 'switched',     asks: ['own owned@to', 'own until 60000@from'], tells: 'SWITCHED' },
  { name: 'a source that is lost exactly at the switch is not waited for', from: at('draining', { ...UNTOLD, failing: true, lost: true }), when: tick, to: 'draining', asks: [], tells: 'DRAINING' },
  { name: 'nor when it is told to go',                             from: at('leaving', { ...UNTOLD, failing: true, lost: true }), when: tick,         to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'nor for a write that it has missed',                    from: at('draining', UNTOLD),                           when: failed('write', FROM, true), to: 'draining', asks: [], tells: 'DRAINING' },
  { name: 'UNSHARE gives the slice back to its source',            from: at('shared'),                                     when: steered('UNSHARE'),  to: 'switched',     asks: ['own owned@from', 'own until 60000@to'], tells: 'SWITCHED' },
  { name: 'UNSHARE with an old epoch is refused',                  from: at('shared'),                                     when: steered('UNSHARE', 3), to: 'shared',     asks: [], tells: 'SHARED' },
  { name: 'UNSHARE of what is not shared is refused',              from: at('verified'),                                   when: steered('UNSHARE'),  to: 'verified',     asks: [], tells: 'VERIFIED' },
  { name: 'a restart repeats the owner record of a replica',       from: at('shared'),                                     when: restarted,           to: 'shared',       asks: ['own owned@to'] },
  { name: 'PAUSE holds the copy',                                  from: at('copying', { paused: true }),                  when: tick,                to: 'copying',      asks: [] },
  { name: 'nothing moves a finished move',                         from: at('retired'),                                    when: steered('PAUSE'),    to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'failures beyond the limit give a copy up',              from: at('copying', { failing: true, failures: 2 }),    when: tick,                to: 'aborting',     asks: [], tells: 'COPYING' },
  { name: 'a source that is away in between does not matter',      from: at('retiring', { failing: true, failures: 1 }),   when: tick,                to: 'retiring',     asks: [] },
  { name: 'a source that stays away ends a retiring move',         from: at('retiring', { failing: true, failures: 2 }),   when: tick,                to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'a source that is lost ends it at once',                 from: at('retiring', { failing: true, lost: true }),    when: tick,                to: 'retired',      asks: [], tells: 'RETIRED' },
  { name: 'a source that is away is waited for before SWITCH',     from: at('copying', { failing: true, failures: 99, sourceAway: true }), when: tick, to: 'copying',     asks: [] },
  { name: 'ABORT does not wait for it',                            from: at('copying', { failing: true, failures: 99, sourceAway: true }), when: steered('ABORT'), to: 'aborting', asks: [], tells: 'COPYING' },
  { name: 'a target that stays away ends an abort',                from: at('aborting', { failing: true, failures: 2 }),   when: tick,                to: 'aborted',      asks: [], tells: 'ABORTED' },
  { name: 'a restart compares anew',                               from: at('settling'),                                   when: restarted,           to: 'verifying',    asks: ['own receiving@to'] },
  { name: 'a restart goes on copying from the cursor',             from: at('copying', { cursor: 'k', awaiting: 'copy' }), when: restarted,           to: 'copying',      asks: ['own receiving@to'] },
  { name: 'a restart repeats the owner records of a retiring move', from: at('retiring'),                                  when: restarted,           to: 'leaving',      asks: ['own owned@to', 'own moved@from'] },
];

describe('move: each turn', () => {
  for (const { name, from, when, to, asks, tells } of CASES)
    test(name, () => {
      const { move, effects, report } = when(from);
      expect(move.phase).toBe(to);
      expect(effects.map(shown)).toEqual(asks);
      expect(report?.state).toBe(tells);
    });
});

describe('move: what the turns remember', () => {
  test('of a shared slice both shards get every event, until the replica is retired', () => {
    const shared = steered('SHARE')(at('verified')).move;
    expect(secondShardOf(shared)).toEqual({ shard: TO, move: undefined });
    const back = steered('UNSHARE', 12)(shared).move;
    expect(back).toMatchObject({ from: TO, to: FROM, epoch: 12 });
    expect(secondShardOf(back)).toEqual({ shard: TO, move: ID, holdMs: Number.POSITIVE_INFINITY });
    const leased = hears({ kind: 'owned', move: ID, shard: TO, slice: SLICE, state: 'owned' })(back).move;
    expect(secondShardOf(leased)).toEqual({ shard: TO, move: ID, holdMs: 12_000 });
    const leaving = steered('RETIRE', 12)(leased).move;
    const isTold = hears({ kind: 'owned', move: ID, shard: TO, slice: SLICE, state: 'moved' });
    const retiring = isTold(leaving).move;
    expect(secondShardOf(retiring)).toBeUndefined();
    expect(tick(retiring).effects.map(shown)).toEqual(['erase@to']);
  });

  test('an outcome of what was asked before a lost write says nothing', () => {
    const spoiled = failed('write')(at('copying', { awaiting: 'copy', cursor: 'c', budgetRows: 50 })).move;
    const after = copied(10, true)(spoiled).move;
    expect(after.phase).toBe('copying');
    expect(after.cursor).toBeUndefined();
    expect(after.awaiting).toBeUndefined();
  });

  test('an outcome that nobody awaits changes nothing', () => {
    for (const phase of ['planned', 'copying', 'verified', 'draining', 'retired', 'aborted'] as const)
      expect(copied(5, true)(at(phase)).move).toEqual(at(phase));
  });

  test('failures wait longer each time', () => {
    const waits = [0, 1].map((failures) => tick(at('copying', { failing: true, failures })).move.waitMs);
    expect(waits).toEqual([200, 400]);
  });

  test('a reason is told with a refusal, and not kept', () => {
    const { move, report } = steered('ABORT')(at('draining'));
    expect(report?.reason).toBe('ABORT refused: the pointer has been switched');
    expect(move.reason).toBe('hot');
  });

  test('THROTTLE sets the rate, and a late tick gives no burst', () => {
    const throttled = steered('THROTTLE')(at('verified')).move;
    expect(throttled.rowsPerSecond).toBe(7);
    expect(onTick(throttled, 3_600_000, context).move.budgetRows).toBe(7);
  });

  test('while rows move, progress is told once a second', () => {
    let move = at('copying', { awaiting: 'copy' });
    let reports = 0;
    for (let i = 0; i < 50; i++) {
      const turn = tick(move);
      move = turn.move;
      if (turn.report !== undefined) reports += 1;
    }
    expect(reports).toBe(5);
  });

  test('the time to go comes from the counted rows and the rate', () => {
    const report = steered('PAUSE')(at('copying', { rowsCopied: 40 })).report;
    expect(report?.etaMs).toBe(1_600); // 60 rows to copy and 100 to compare, at 100 a second.
    expect(
      onSteer(
        at('copying'),
        { action: 'PAUSE', epoch: epoch(1), rowsPerSecond: 0, reason: '' },
        { ...context, entries: -1 },
      ).report?.etaMs,
    ).toBe(-1);
  });

  test('events go to both shards from the copy to RETIRE, and a failed one is the move’s until all is compared', () => {
    const second = (phase: Phase) => secondShardOf(at(phase));
    for (const phase of ['planned', 'provisioning', 'retiring', 'retired', 'aborting', 'aborted'] as const)
      expect(second(phase)).toBeUndefined();
    for (const phase of ['copying', 'verifying'] as const) expect(second(phase)).toEqual({ shard: TO, move: ID });
    for (const phase of ['settling', 'verified'] as const)
      expect(second(phase)).toEqual({ shard: TO, move: undefined });
    for (const phase of ['switched', 'draining', 'leaving'] as const)
      expect(secondShardOf(at(phase, LEASED))).toEqual({ shard: FROM, move: ID, holdMs: 12_000 });
    expect(secondShardOf(at('draining', { givenUp: true }))).toBeUndefined();
  });

  test('a source that has acknowledged no lease misses no write, and it is told that the move waits for it', () => {
    for (const phase of ['switched', 'draining', 'leaving'] as const)
      expect(secondShardOf(at(phase))).toEqual({ shard: FROM, move: ID, holdMs: Number.POSITIVE_INFINITY });
    const away = failed('own', FROM)(at('draining', { leasedUntil: 1_000, awaiting: 'own' })).move;
    expect(waitsForSource(away)).toBe(true);
    expect(away.reason).toContain(`waits for ${FROM}`);
    const carvedFailed = told('owned')(away).move; // The lease, after a record of what stays there could not be put.
    expect(waitsForSource(carvedFailed)).toBe(true);
    const asked = tick(tick(away).move).move;
    const back = told('owned')({ ...asked, awaiting: 'own' });
    expect(waitsForSource(back.move)).toBe(false);
    expect(back.move).toMatchObject({ bounded: true, sourceAway: false, reason: `${FROM} answers again` });
    expect(secondShardOf(back.move)).toEqual({ shard: FROM, move: ID, holdMs: 12_000 });
    const coming = hears({ kind: 'owned', move: ID, shard: FROM, slice: SLICE, state: 'receiving' });
    expect(coming(at('draining', { awaiting: 'own' })).move.bounded).toBeUndefined();
    expect(restarted(at('retiring')).move.bounded).toBe(true); // Also of an earlier release: it knew before its first erase.
    expect(restarted(at('draining')).move.bounded).toBeUndefined();
  });

  test('a shard that is given up is to be told where the slice is, above all that was said of it', () => {
    const sourceIsOut = tick(at('draining', { ...RUN_OUT, turn: 7, failing: true }));
    expect(sourceIsOut.left).toMatchObject({
      shard: FROM,
      owner: { slice: SLICE, state: 'moved', epoch: 3, movedTo: TO, turn: 9 },
    });
    expect(sourceIsOut.move.reason).toContain(`no longer waits for ${FROM}`);
    const targetIsOut = tick(at('aborting', { turn: 7, failing: true, failures: 2 }));
    expect(targetIsOut.left).toMatchObject({ shard: TO, owner: { state: 'moved', movedTo: FROM, turn: 9 } });
  });
});
