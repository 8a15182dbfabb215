import { describe, expect, test } from 'vitest';
import { whatIfPicture } from '../../../evaluation/what-if/picture.ts';
import { minutesOf, POLICIES, type WhatIf, type WhatIfResult, whatIf } from '../../../evaluation/what-if/run.ts';
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
  test('has a line for each policy in both panels, and its name and sum', () => {
    const svg = whatIfPicture(all, 'made');
    for (const { policy, score } of all.results) {
      expect(svg).toContain(`>${policy}</text>`);
      expect(svg).toContain(`$${score.dollars.toFixed(2)}`);
    }
    expect(svg.match(/class="line/g)).toHaveLength(3 * POLICIES.length);
  });

  test('a line that leaves the frame ends there', () => {
    const dear = all.results.map(({ policy, score, course }) => {
      const factor = policy === 'static_peak' ? 100 : 1;
      const dollars = course.dollars.map((each) => each * factor);
      return { policy, score: { ...score, dollars: score.dollars * factor }, course: { ...course, dollars } };
    });
    const [, sums] = whatIfPicture({ ...all, results: dear }, 'made').split('dollars so far');
    const pointsOf = (policy: string) => {
      const index = all.results.findIndex((each) => each.policy === policy);
      const lines = [...sums!.matchAll(/class="line[^"]*" stroke="[^"]*" d="M([^"]*)"/g)];
      return lines[index]![1]!.split('L').map((point) => point.split(' ')[1]);
    };
    expect(pointsOf('static_mean')).toHaveLength(PAID);
    expect(pointsOf('static_peak').length).toBeLessThan(PAID);
    expect(pointsOf('static_peak').filter((y) => y === '436')).toHaveLength(1);
  });

  test('is well-formed whatever the title and the load', () => {
    const silent = runOf({ played: played({ none: () => 0 }, LEARN + PAID), policies: ['static_peak', 'reactive'] });
    const svg = whatIfPicture(silent, '<&">');
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    expect(svg).toContain('&lt;&amp;&quot;&gt;');
  });
});
