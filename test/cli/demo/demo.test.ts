// The demo over a short night, with the crowd in its second hour.

import { describe, expect, test } from 'vitest';
import { runDemo } from '../../../cli/demo/demo.ts';
import { type DemoSummary, isSound } from '../../../cli/demo/demo-summary.ts';
import { summaryLines } from '../../../cli/demo/demo-text.ts';
import { Output } from '../../../cli/output.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';

const SEED = 7;

async function night(): Promise<{ summary: DemoSummary; said: string }> {
  let said = '';
  const write = (text: string): void => {
    said += text;
  };
  const out = { write } as unknown as NodeJS.WritableStream;
  const run = await runDemo(
    { seed: SEED, minutes: 135, crowdFromMinute: 80, dataDir: '', httpPort: undefined, logger: silentLogger },
    new Output(false, { out }),
  );
  await run.stop();
  return { summary: run.summary, said };
}

describe(`demo, seed ${SEED}`, () => {
  test('nobody is missed, a shard is there before the crossing, and the same seed gives the same result', async () => {
    const { summary, said } = await night();
    expect(isSound(summary)).toBe(true);
    expect(summary.check).toMatchObject({ misses: 0, ghosts: 0, unanswered: 0, final: { misses: 0, ghosts: 0 } });
    expect(summary.check.probes).toBeGreaterThan(250);
    expect(summary.check.subscriptionsChecked).toBeGreaterThan(5_000);
    expect(summary.check.final.liveChecked).toBe(summary.liveSubscriptions);
    expect(summary.check.final.removedChecked).toBeGreaterThan(400);

    const inTime = summary.allocations.filter(({ marginMinutes }) => (marginMinutes ?? 0) > 0);
    expect(inTime.length).toBeGreaterThan(0);
    for (const { decidedAt, readyAt, switchedAt, crossingAt } of inTime) {
      expect(decidedAt).toBeLessThan(readyAt!);
      expect(readyAt!).toBeLessThanOrEqual(switchedAt!);
      expect(switchedAt!).toBeLessThan(crossingAt!);
    }
    expect(summary.moves.finished).toBeGreaterThan(0);
    expect(said).toContain('allocates  shard-0003');
    expect(summaryLines(summary).join('\n')).toContain('In time, with');
    expect(summaryLines(summary).join('\n')).toMatch(/Foreshard cost \$[\d.]+ (more|less) than reactive, with/);

    const again = await night();
    expect(again).toEqual({ summary, said });
  }, 180_000);
});
