// `foreshard sessions`: operations on the sessions of brokers that are silent, were restarted or came back; and
// stopping one.

import { SessionOperations, type SessionOperationView } from '../api/session-operations.ts';
import type { OperationAction } from '../schemas/records.ts';
import { sessionOperations } from '../topology/topics.ts';
import type { Output } from './output.ts';
import { ask, readTopic, withLog } from './reading.ts';
import { instantText, numberText, plain, table } from './text.ts';
import type { Source } from './views.ts';

const BEFELL: Readonly<Record<OperationAction, string>> = {
  LOSE: 'sends no heartbeats',
  DISCONNECT: 'was restarted',
  RESTORE: 'is back',
};

/** Operations on the sessions of brokers, newest first. */
export async function listSessionOperations(source: Source, output: Output): Promise<void> {
  const { config, url } = source;
  const operations =
    url === undefined
      ? await withLog(config, async (reading) => {
          const known = new SessionOperations(config.partitions);
          for (const { value } of await readTopic(reading, sessionOperations)) if (value !== null) known.take(value);
          return known.all();
        })
      : (
          (await ask(url, '/sessions/operations', config.httpReadToken.reveal())) as {
            readonly operations: readonly SessionOperationView[];
          }
        ).operations;
  output.json(operations);
  if (operations.length === 0) output.line('No broker that sends heartbeats has been lost or restarted.');
  else
    output.lines(
      table([
        ['since', 'operation', 'broker', 'it', 'state', 'partitions', 'sessions', 'ended', 'events', 'reason'],
        ...operations.map((each) => [
          instantText(each.startedAt),
          each.operationId,
          plain(each.brokerId),
          BEFELL[each.action],
          each.state,
          `${each.finished} of ${each.partitions}`,
          numberText(each.sessions),
          numberText(each.ended),
          numberText(each.events),
          plain(each.reason),
        ]),
      ]),
    );
}

/** Asks the running process to stop an operation. */
export async function cancelSessionOperation(source: Source, operation: string, output: Output): Promise<void> {
  const { config } = source;
  const url = source.url ?? `http://127.0.0.1:${config.httpPort}`;
  const path = `/sessions/operations/${encodeURIComponent(operation)}`;
  output.json(await ask(url, path, config.httpAdminToken.reveal(), { action: 'CANCEL' }));
  output.line(`${plain(operation)} will be stopped. To see its progress: foreshard sessions list`);
}
