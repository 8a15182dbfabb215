// Picture: what was forecast and what came, as SVG. Of one series: the test quarter with a few forecasts, and three of them
// from near; of many: one forecast each. Pure: text in, text out. Light or dark as the reader's screen is.

import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import { clockText, dayText, durationText } from './axis.ts';
import { escaped, type Forecast, type Panel, type Pictured, panel, scaleOf, text } from './panel.ts';

const WIDTH = 1200;
const HEIGHT = 740;
/** Room for the title and the legend. */
const OVERVIEW_WIDTH_MIN = 640;
const LEFT = 76;
const RIGHT = 28;
/** Forecasts drawn over the whole test quarter, and those drawn from near. */
const FORECASTS_FAR = 8;
const FORECASTS_NEAR = 3;
/** Steps shown before a forecast, as a share of its length. */
const BEFORE = 0.5;
const LEGEND: readonly (readonly [mark: string, label: string, width: number])[] = [
  ['<path class="actual" d="M0 0h24"/>', 'actual', 86],
  ['<path class="median" d="M0 0h24"/>', 'median', 94],
  ['<path class="band" d="M0 -7h24v14h-24Z"/>', '0.1 to 0.9', 114],
  ['<path class="upper" d="M0 0h24"/>', '0.95', 62],
];
const LEGEND_WIDTH = LEGEND.reduce((sum, [, , width]) => sum + width, 0);

/** Few colours, and the same roles by day and by night: grey is what came, blue is what was foreseen. */
const STYLE = `
  svg { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
  .page { fill: #ffffff } .title { fill: #1b2430; font-weight: 600 } text { fill: #556270; font-size: 13px }
  .grid { stroke: #e6e9ed; fill: none } .actual { stroke: #4a5563; fill: none; stroke-width: 1.1; stroke-linejoin: round }
  .band { fill: #2f7ed8; fill-opacity: 0.22 } .median { stroke: #1f66b8; fill: none; stroke-width: 1.7; stroke-linejoin: round }
  .upper { stroke: #2f7ed8; fill: none; stroke-width: 1.1; stroke-dasharray: 4 3 } .origin { stroke: #b4bcc6; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12171e } .title { fill: #eef1f4 } text { fill: #a3aebb } .grid { stroke: #28303a } .actual { stroke: #c6ced8 }
    .band { fill: #5aa7ff; fill-opacity: 0.28 } .median { stroke: #7fbcff } .upper { stroke: #5aa7ff } .origin { stroke: #56616e }
  }`;

/** One series: its whole test quarter above, single forecasts below. */
export function seriesPicture(pictured: Pictured): string {
  const { title, name, model, values, testStart, forecasts, stepSeconds } = pictured;
  const scale = scaleOf(pictured);
  const inner = WIDTH - LEFT - RIGHT;
  const whole: Panel = {
    ...{ x: LEFT, y: 122, width: inner, height: 236, from: testStart, to: values.length, timeStepsMax: 10 },
    forecasts: apart(pictured, FORECASTS_FAR),
  };
  const gap = 54;
  const width = (inner - gap * (FORECASTS_NEAR - 1)) / FORECASTS_NEAR;
  const near = spread(forecasts, FORECASTS_NEAR).map(
    (forecast, index): Panel => ({
      ...{ x: LEFT + index * (width + gap), y: 452, width, height: 220, timeStepsMax: 5 },
      ...nearRows(pictured, forecast),
      forecasts: [forecast],
    }),
  );
  const unit = `${name}, each ${durationText(stepSeconds)}${scale.isLog ? ' (logarithmic)' : ''}`;
  return page(WIDTH, HEIGHT, `${model}: ${title}`, [
    text(LEFT, 40, title, 'class="title" style="font-size:22px"'),
    text(LEFT, 64, `${model}: ${scoreLine(pictured)}`),
    ...legend(WIDTH - RIGHT, 36),
    text(LEFT, 108, unit),
    ...panel(pictured, whole, scale),
    ...near.flatMap((each) => [
      text(each.x, each.y - 14, `forecast from ${whenText(pictured, each.forecasts[0]!.origin)}`, 'class="title"'),
      ...panel(pictured, each, scale),
    ]),
    text(WIDTH - RIGHT, HEIGHT - 18, timeNote(pictured), 'text-anchor="end" style="font-size:12px"'),
  ]);
}

/** Many series: the middle forecast of each. */
export function overviewPicture(all: readonly Pictured[], title: string): string {
  const columns = Math.min(4, all.length);
  const cell = { width: 330, height: 232 };
  const width = Math.max(OVERVIEW_WIDTH_MIN, columns * cell.width + RIGHT);
  const height = 132 + Math.ceil(all.length / columns) * cell.height;
  return page(width, height, title, [
    text(36, 42, title, 'class="title" style="font-size:22px"'),
    ...legend(36 + LEGEND_WIDTH, 72),
    ...all.flatMap((pictured, index) => {
      const x = (index % columns) * cell.width + 60;
      const y = 122 + Math.floor(index / columns) * cell.height;
      const forecast = pictured.forecasts[pictured.forecasts.length >> 1]!;
      const long = pictured.scores.at(-1)!;
      return [
        text(x, y, pictured.title, 'class="title"'),
        text(
          x,
          y + 17,
          `MASE ${long.MASE.toFixed(2)}, wQL ${long.wQL.toFixed(2)}, ${long.horizon} steps ahead`,
          'style="font-size:12px"',
        ),
        ...panel(
          pictured,
          {
            ...{ x, y: y + 28, width: cell.width - 70, height: 140, timeStepsMax: 4 },
            ...nearRows(pictured, forecast),
            forecasts: [forecast],
          },
          scaleOf(pictured),
        ),
      ];
    }),
  ]);
}

function nearRows(
  { values }: Pictured,
  { origin, quantiles }: Forecast,
): { readonly from: number; readonly to: number } {
  const steps = quantiles.length / LEVELS.length;
  return { from: Math.max(0, origin - Math.ceil(BEFORE * steps)), to: Math.min(values.length, origin + steps) };
}

/** At most `count` forecasts that do not overlap. */
function apart({ forecasts }: Pictured, count: number): Forecast[] {
  const picked: Forecast[] = [];
  for (const forecast of forecasts) {
    const before = picked.at(-1);
    const steps = forecast.quantiles.length / LEVELS.length;
    if (before === undefined || forecast.origin >= before.origin + 1.15 * steps) picked.push(forecast);
  }
  return spread(picked, count);
}

/** At most `count` of them, from the first to the last. */
const spread = <T>(items: readonly T[], count: number): T[] =>
  items.length <= count
    ? [...items]
    : Array.from({ length: count }, (_, index) => items[Math.round((index * (items.length - 1)) / (count - 1))]!);

function legend(right: number, y: number): string[] {
  let x = right - LEGEND_WIDTH;
  return LEGEND.map(([mark, label, width]) => {
    const entry = `<g transform="translate(${x} ${y})">${mark}${text(31, 4, label)}</g>`;
    x += width;
    return entry;
  });
}

const scoreLine = ({ scores }: Pictured): string =>
  scores
    .map(
      ({ horizon, MASE, wQL, cover95 }) =>
        `${horizon} ${horizon === 1 ? 'step' : 'steps'} MASE ${MASE.toFixed(2)}, wQL ${wQL.toFixed(2)}, cover95 ${cover95.toFixed(2)}`,
    )
    .join('   ·   ');

function whenText({ startSeconds, stepSeconds }: Pictured, row: number): string {
  const seconds = startSeconds + row * stepSeconds;
  return `${dayText(seconds)}, ${clockText(seconds)}`;
}

const timeNote = ({ startSeconds, stepSeconds }: Pictured): string =>
  dayText(startSeconds + stepSeconds).startsWith('day') ? 'time since the beginning of the trace' : 'time in UTC';

const page = (width: number, height: number, label: string, parts: readonly string[]): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(label)}">
<style>${STYLE}</style>
<rect class="page" width="${width}" height="${height}"/>
${parts.join('\n')}
</svg>
`;
