import { describe, expect, test } from 'vitest';
import { AT_NIGHT, COLOURS, chart, timeAxis, valueAxis } from '../../../evaluation/chart.ts';
import { svgOf } from '../../../evaluation/edge/svg.ts';

const made = (title: string) =>
  chart(title, ['below'], {
    vconcat: [
      {
        data: { values: [{ at: 0, value: 1 }] },
        mark: { type: 'line', color: COLOURS.blue },
        encoding: { x: timeAxis(0, 1, 4), y: valueAxis(1) },
      },
    ],
  });

describe('svg', () => {
  test('is one picture with its title', async () => {
    const svg = await svgOf(made('a title'));
    expect(svg.match(/<svg /g)).toHaveLength(1);
    expect(svg.endsWith('</svg>\n')).toBe(true);
    expect(svg).toContain('>a title</text>');
    expect(svg).toContain('>below</text>');
  });

  test('a title that looks like markup is text', async () => {
    expect(await svgOf(made('<b>&"'))).toMatch(/>&lt;b&gt;&amp;("|&quot;)<\/text>/);
  });

  test('suits a light and a dark screen: each colour of the page has one for the night', async () => {
    const svg = await svgOf(made('a title'));
    expect(svg).toMatch(/^<svg [^>]*><style>@media \(prefers-color-scheme:dark\)/);
    for (const [day, night] of Object.entries(AT_NIGHT)) expect(svg).toContain(`[fill="${day}"]{fill:${night}}`);
    expect(svg).toContain(`<rect width="`);
    expect(svg).toContain(`fill="${COLOURS.page}"`);
  });

  test('the same chart, the same picture', async () => {
    expect(await svgOf(made('a title'))).toBe(await svgOf(made('a title')));
  });
});
