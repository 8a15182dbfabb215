import { expect, test } from 'vitest';
import { MINUTE_GRID } from '../../../../processors/forecast/grid.ts';
import { History } from '../../../../processors/forecast/history/history.ts';
import { SeasonalMemo } from '../../../../processors/forecast/history/seasonal-memo.ts';
import { DAY_STEPS, daily, noiseFrom } from '../shapes.ts';

const SHAPE = { nearSteps: 128, farSlots: 900 };
const noise = noiseFrom(3);

test('histories that share a memo tell of their seasons what each alone tells, as they grow, are cut and change', () => {
  const memo = new SeasonalMemo();
  const shared = [new History(MINUTE_GRID, SHAPE, memo), new History(MINUTE_GRID, SHAPE, memo)];
  const alone = [new History(MINUTE_GRID, SHAPE), new History(MINUTE_GRID, SHAPE)];
  const seasonals = (history: History): number[] =>
    [1, 2, 6, 60, 320, 321].map((ahead) => history.seasonal(history.step + ahead));
  for (let step = 0; step < 3 * DAY_STEPS; step++) {
    for (const histories of [shared, alone]) {
      histories[0]!.put(step, daily(step));
      histories[1]!.put(step, Math.max(0, (step > DAY_STEPS ? 900 : 20) + 5 * noise(step)));
      if (step === 2 * DAY_STEPS + 100) histories[0]!.cut(DAY_STEPS);
    }
    if (step < DAY_STEPS || step % 7 !== 0) continue;
    for (const s of [0, 1, 0]) expect(seasonals(shared[s]!)).toEqual(seasonals(alone[s]!));
  }
});
