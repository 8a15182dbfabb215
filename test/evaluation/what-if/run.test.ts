import { describe, expect, test } from 'vitest';
import { whatIfPicture } from '../../../evaluation/what-if/picture.ts';
import { minutesOf, POLICIES, type WhatIf, type WhatIfResult, whatIf } from '../../../evaluation/what-if/run.ts';
import { drawn, type Panel, panelsOf, rowsOf, topOf } from '../charts.ts';
import { CATALOG, finished, played } from './synthetic.ts';

const LEARN = 370;
const PAID = 40;
const SERIES = played(
  { wave: (minute) => 20 + 10 * Math.sin(minute / 60), step: (minute) => (minute < 390 ? 5 : 6) },
  LEARN + PAID,
);

const runOf = (given: Partial<WhatIf> = {}): WhatIfResult =>
  finished(whatIf({ played: SERIES, learnMinutes: LEARN, catalog: CATALOG, seed: 7, policies: POLICIES, ...given }));

const all = runOf();
const resultOf = (policy: string) => all.results.find((each) => each.policy === policy);

describe('what-if', () => {
  test('the same seed gives the same result, another seed another', () => {
    expect(runOf()).toEqual(all);
    expect(runOf({ seed: 8, policies: ['perfect'] }).results[0]).not.toEqual(resultOf('perfect'));
  });

  test('a policy scores the same on its own as among others', () => {
    for (const policy of ['perfect', 'reactive'])
      expect(runOf({ policies: [policy] }).results[0]).toEqual(resultOf(policy));
  });

  test('progress goes on to the end', () => {
    const run = {
      played: SERIES,
      learnMinutes: LEARN,
      catalog: CATALOG,
      seed: 7,
      policies: ['perfect', 'static_mean'],
    };
    const seen: number[] = [];
    for (const { done } of whatIf(run)) seen.push(done);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(minutesOf(run) - 1);
  });

  test('the load is that of all stores in the paid minutes', () => {
    const { load, results } = runOf({ policies: ['static_peak'] });
    expect(load).toHaveLength(PAID);
    expect(results[0]!.score.violationSeconds).toBe(0);
    expect(Math.max(...load)).toBeLessThan(Math.min(...results[0]!.course.capacity));
  });
});

describe('the picture of a what-if', () => {
  const linesOf = (panel: Panel, policy: string) => rowsOf(panel, 'line').filter((row) => row.policy === policy);

  test('has a line for each policy in both panels, and its name and what it came to', async () => {
    const picture = whatIfPicture(all, 'made');
    const [held, paid] = panelsOf(picture);
    expect(rowsOf(held!, 'area').map(({ value }) => value)).toEqual([...all.load]);
    for (const { policy, course } of all.results) {
      expect(linesOf(held!, policy).map(({ value }) => value)).toEqual([...course.capacity]);
      expect(linesOf(paid!, policy).map(({ value }) => value)).toEqual([...course.dollars]);
    }
    const svg = await drawn(picture);
    for (const { policy, score } of all.results) {
      expect(svg).toContain(`>${policy}: $${score.dollars.toFixed(2)}<`);
      expect(svg).toContain(`>${score.violationSeconds} s in violation<`);
    }
    expect(svg.match(/mark-line role-mark/g)).toHaveLength(2 * POLICIES.length);
  });

  test('no two policies look the same', async () => {
    const svg = await drawn(whatIfPicture(all, 'made'));
    const lines = [...svg.matchAll(/mark-line role-mark[^>]*><path [^>]* stroke="([^"]+)"/g)];
    expect(new Set(lines.map(([, colour]) => colour)).size).toBe(POLICIES.length);
  });

  test('a line that leaves the frame is cut there', () => {
    const dear = all.results.map(({ policy, score, course }) => {
      const factor = policy === 'static_peak' ? 100 : 1;
      const dollars = course.dollars.map((each) => each * factor);
      return { policy, score: { ...score, dollars: score.dollars * factor }, course: { ...course, dollars } };
    });
    const paid = panelsOf(whatIfPicture({ ...all, results: dear }, 'made'))[1]!;
    expect(topOf(paid)).toBeLessThan(linesOf(paid, 'static_peak').at(-1)!.value);
    expect(topOf(paid)).toBeGreaterThan(linesOf(paid, 'static_mean').at(-1)!.value);
    expect(paid.layer.every(({ mark }) => mark.clip)).toBe(true);
  });

  test('is well-formed whatever the title and the load', async () => {
    const silent = runOf({ played: played({ none: () => 0 }, LEARN + PAID), policies: ['static_peak', 'reactive'] });
    expect(await drawn(whatIfPicture(silent, '<&">'))).toContain('&lt;&amp;');
  });
});
