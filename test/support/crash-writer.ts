// A process that commits to an embedded log and a local store until it is killed: `crash-writer.ts <dir>`. It prints the
// number of each commit once the log has taken it.

import { embeddedLog } from '../../log/embedded/embedded-log.ts';
import { MARK_KEY, type TaskLog } from '../../runtime/ports.ts';
import { levelFolder } from '../../state/edge/level-store.ts';

const dir = process.argv[2]!;
const log = await embeddedLog({ dir: `${dir}/log`, app: 'crash', partitions: 1, cleanEveryMs: 5, dirtyBytesMin: 2000 });
await log.prepare([{ name: 'out', partitions: 1, cleanup: 'delete', retentionMs: -1 }]);
const store = await levelFolder(`${dir}/state`).open('work-0');
const task = await new Promise<TaskLog>((resolve, reject) => {
  const gained = async (each: TaskLog) => {
    resolve(each);
    return {};
  };
  const group = { name: 'work', gathers: false, address: '', topics: [{ name: 'out', partitions: 'all' as const }] };
  log.join(group, { gained, records: async () => {}, lost: async () => {} }).catch(reject);
});
let number = 0;
await task.restore(0, async (changes) => {
  for (const { key, value } of changes) if (key === 'count') number = Number(value);
});
for (;;) {
  number++;
  const value = Buffer.from(String(number));
  const rows = [
    { key: 'count', value },
    { key: `row-${number % 50}`, value },
  ];
  const inputs = { 'out/0': number };
  const next = await task.commit({
    changelog: [...rows, { key: MARK_KEY, value: Buffer.from(JSON.stringify(inputs)) }],
    outputs: [{ topic: 'out', partition: 0, key: null, value }],
    inputs,
  });
  await store.write(rows, { changelog: next, inputs });
  process.stdout.write(`${number}\n`);
}
