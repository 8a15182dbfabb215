// `foreshard rebuild`: asks a running process to rebuild a shard that has lost its data, and prints the answer.

import type { Decision } from '../schemas/records.ts';
import type { Output } from './output.ts';
import { ask } from './reading.ts';
import { plain } from './text.ts';
import type { Source } from './views.ts';

export interface RebuildCommand extends Source {
  readonly shard: string;
  /** Rebuild also a shard that is not known to be lost. */
  readonly force: boolean;
}

/** True when the rebuild begins, as far as the planner has answered. */
export async function rebuildShard({ config, url, shard, force }: RebuildCommand, output: Output): Promise<boolean> {
  const address = url ?? `http://127.0.0.1:${config.httpPort}`;
  const body = { shardId: shard, force };
  const taken = (await ask(address, '/rebuilds', config.httpAdminToken.reveal(), body)) as {
    readonly requestId: string;
    readonly decision?: Decision;
  };
  output.json(taken);
  const { requestId, decision } = taken;
  if (decision === undefined) {
    output.line(`The request was sent to the planner. To see the result: foreshard explain ${requestId}`);
    return true;
  }
  output.line(plain(decision.reason));
  if (decision.kind === 'REFUSE') return false;
  output.line('To see the progress: foreshard moves');
  return true;
}
