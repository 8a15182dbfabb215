// Charts, as tests look at them: what stands in the data of their panels, and the SVG drawn of them.

import { vi } from 'vitest';
import type { Chart } from '../../evaluation/chart.ts';
import { svgOf } from '../../evaluation/edge/svg.ts';

interface Row {
  readonly at: number;
  readonly value: number;
  readonly [field: string]: unknown;
}

export interface Panel {
  readonly title: unknown;
  readonly width: number;
  readonly layer: readonly {
    readonly data: { readonly values: readonly Row[] };
    readonly mark: { readonly type: string; readonly clip?: boolean };
    readonly encoding?: {
      readonly y?: { readonly scale: { readonly type?: string; readonly domain: readonly number[] } };
    };
  }[];
}

interface Composed extends Partial<Panel> {
  readonly vconcat?: readonly Composed[];
  readonly hconcat?: readonly Composed[];
  readonly concat?: readonly Composed[];
}

/** From the first to the last, however they are put beside each other. */
export const panelsOf = (chart: Chart): Panel[] => panelsIn(chart as Composed);

const panelsIn = (part: Composed): Panel[] =>
  part.layer !== undefined
    ? [part as Panel]
    : [part.vconcat, part.hconcat, part.concat].flatMap((parts = []) => parts.flatMap(panelsIn));

/** The rows of all layers with this mark. */
export const rowsOf = (panel: Panel, mark: string): Row[] =>
  panel.layer.flatMap((layer) => (layer.mark.type === mark ? layer.data.values : []));

/** The highest value for which there is room. */
export const topOf = (panel: Panel): number =>
  Math.min(...panel.layer.flatMap(({ encoding }) => encoding?.y?.scale.domain.slice(1) ?? []));

/** Drawn, with nothing that Vega warns of, well-formed and every number one. */
export async function drawn(chart: Chart): Promise<string> {
  const warn = vi.spyOn(console, 'warn').mockImplementation((...said) => {
    throw new Error(`a warning: ${said.join(' ')}`);
  });
  const svg = await svgOf(chart).finally(() => warn.mockRestore());
  if (!isWellFormed(svg)) throw new Error('an element of the SVG is not closed');
  const wrong = /.{0,40}(NaN|Infinity|undefined).{0,40}/.exec(svg);
  if (wrong !== null) throw new Error(`a number of the SVG is none: ${wrong[0]}`);
  return svg;
}

/** Every element that is opened is closed, in order. */
function isWellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, slash, name, rest] of svg.matchAll(/<(\/?)([a-zA-Z]+)((?:[^>"]|"[^"]*")*)>/g)) {
    if (slash === '/') {
      if (open.pop() !== name) return false;
    } else if (!rest!.endsWith('/')) open.push(name!);
  }
  return open.length === 0;
}
