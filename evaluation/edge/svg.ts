// SVG: draws a chart with Vega, in light or dark colours as the reader's screen is. The same chart gives the same text. The
// libraries are loaded with the first chart: most commands draw none.

import { AT_NIGHT, type Chart } from '../chart.ts';

const NIGHT = Object.entries(AT_NIGHT)
  .map(([day, night]) => `[fill="${day}"]{fill:${night}}[stroke="${day}"]{stroke:${night}}`)
  .join('');
const STYLE = `<style>@media (prefers-color-scheme:dark){${NIGHT}}</style>`;

export async function svgOf(chart: Chart): Promise<string> {
  const [{ compile }, { parse, resetSVGDefIds, View }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile(chart).spec), { renderer: 'none' });
  resetSVGDefIds(); // The same chart gives the same file, whatever was drawn before it.
  const svg = await view.toSVG();
  view.finalize();
  return `${svg.replace(/(?<=^<svg[^>]*>)/, STYLE)}\n`;
}
