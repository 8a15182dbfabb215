// `foreshard check`: asks a running process to compare the rows of shards with the subscriptions, and prints what it
// finds.

import type { CheckView } from '../api/views.ts';
import type { Config } from '../config/config.ts';
import { AppError } from '../schemas/errors.ts';
import { parseSlice } from '../state/keys.ts';
import type { Output } from './output.ts';
import { ask } from './reading.ts';
import { numberText, plain, table } from './text.ts';
import type { Source } from './views.ts';

export interface CheckCommand extends Source {
  /** A shard or a slice; all when absent. */
  readonly what: string | undefined;
  readonly repair: boolean;
}

const ASK_AGAIN_MS = 500;
/** Longest time between the request and the planner's first report on it: far more than that takes. */
const UNHEARD_MS = 60_000;

/** True when everything was compared and no difference is left. The clock is a parameter. */
export async function checkShards(
  { config, url, what, repair }: CheckCommand,
  output: Output,
  pause: (ms: number) => Promise<void>,
): Promise<boolean> {
  const address = url ?? `http://127.0.0.1:${config.httpPort}`;
  const about = what === undefined ? {} : parseSlice(what) === undefined ? { shardId: what } : { slice: what };
  const asked = { ...about, repair };
  const { checkId } = (await ask(address, '/checks', config.httpAdminToken.reveal(), asked)) as { checkId: string };
  output.begin(100, '{bar} {percentage} %  {rows} rows  {differences} differ', { rows: '0', differences: '0' });
  try {
    let unheardMs = 0;
    for (;;) {
      const view = await viewOf(config, address, checkId);
      if (view === undefined) {
        unheardMs += ASK_AGAIN_MS;
        if (unheardMs > UNHEARD_MS)
          throw new AppError('NOT_READY', `the check ${checkId} was asked for, but no planner has heard of it yet`, {
            checkId,
          });
      } else if (view.state !== 'RUNNING') {
        output.end();
        return told(view, output);
      } else {
        const share =
          view.slices === 0 ? 0 : (view.slicesDone / view.slices) * (view.partitionsHeard / view.partitions);
        const differences = numberText(differencesIn(view));
        output.progress(Math.min(99, Math.floor(100 * share)), { rows: numberText(view.rows), differences });
      }
      await pause(ASK_AGAIN_MS);
    }
  } finally {
    output.end();
  }
}

async function viewOf(config: Config, address: string, checkId: string): Promise<CheckView | undefined> {
  const { checks } = (await ask(address, '/checks', config.httpReadToken.reveal())) as { checks: readonly CheckView[] };
  return checks.find((view) => view.checkId === checkId);
}

const differencesIn = ({ missing, extra, different, stray }: CheckView): number => missing + extra + different + stray;

function told(view: CheckView, output: Output): boolean {
  output.json(view);
  const { missing, extra, different, stray, mended, unchecked, reasons, differences } = view;
  const all = differencesIn(view);
  if (view.state === 'REFUSED') {
    output.line(`Not everything could be checked: ${reasons.map(plain).join('; ')}`);
    return false;
  }
  output.line(
    `${numberText(view.rows)} rows in ${numberText(view.slices)} steps: ${numberText(missing)} missing, ${numberText(extra)} too many, ${numberText(different)} different, ${numberText(stray)} in the wrong shard; ${numberText(mended)} mended.`,
  );
  if (differences.length > 0)
    output.lines([
      '',
      ...table([
        ['what', 'shard', 'slice', 'filter', 'client', ''],
        ...differences.map((each) => [
          each.kind,
          each.shardId,
          plain(each.slice),
          plain(each.topicFilter),
          plain(each.clientId),
          each.mended ? 'mended' : '',
        ]),
      ]),
    ]);
  if (all > differences.length) output.line(`Not listed: ${numberText(all - differences.length)}.`);
  if (unchecked > 0) output.line(`Not compared: ${numberText(unchecked)} steps. ${reasons.map(plain).join('; ')}`);
  else if (all > mended && reasons.length > 0) output.line(reasons.map(plain).join('; '));
  return all === mended && unchecked === 0;
}
