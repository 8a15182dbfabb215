import { expect, test } from 'vitest';
import { layoutOf } from '../../../processors/forecast/layout.ts';
import { GARBAGE_AGE, GARBAGE_COUNT, StateLayout } from '../../../processors/forecast/series-memory.ts';

test('parts lie one after the other, in the order in which they are named', () => {
  const layout = layoutOf({ first: 2, none: 0, last: 3 });
  expect(layout.at).toEqual({ first: 0, none: 2, last: 2 });
  expect(layout.size).toBe(5);
});

test('what is written to a part is written to the array, and to no other part', () => {
  const layout = layoutOf({ first: 2, none: 0, last: 3 });
  const array = new Float32Array(layout.size);
  layout.view(array, 'last').fill(7);
  layout.view(array, 'none').fill(8);
  expect([...array]).toEqual([0, 0, 7, 7, 7]);
});

test('the parts of a state cover it once: models, combination, calibration, ramp, garbage, fits', () => {
  const layout = new StateLayout({ models: [3, 0, 2], combination: 4, calibration: 5, ramp: 3 });
  const state = layout.fresh();
  const views = layout.viewsOf(state);
  const inOrder = [...views.models, views.combination, views.calibration, views.ramp, views.garbage, views.fittedAt];
  for (const [number, part] of inOrder.entries()) part.fill(number + 1);
  expect(views.models.map(({ length }) => length)).toEqual([3, 0, 2]);
  expect([...state]).toEqual([1, 1, 1, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8]);
  expect(views.garbage.length).toBe(Math.max(GARBAGE_COUNT, GARBAGE_AGE) + 1);
});
