import { describe, expect, onTestFinished, test } from 'vitest';
import { openOutboxFile } from '../../../broker/edge/outbox-file.ts';
import { openOutbox } from '../../../broker/open-outbox.ts';
import type { Outbox, OutboxEntry } from '../../../broker/outbox.ts';
import { randomFrom } from '../../../evaluation/random.ts';
import { type Ending, ModelDisk } from '../../support/model-disk.ts';
import { fc } from '../../support/property.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const SETTINGS = { owner: 'broker b of the fleet f', sync: true, fileBytes: 400 };

const entryOf = (number: number, sizeBytes = 8): OutboxEntry => ({
  ...{ topic: 'subscriptions', key: `k${number}`, sessionEpoch: number },
  value: Buffer.from(String(number).padEnd(sizeBytes, '.')),
});
const numberOf = ({ sessionEpoch }: OutboxEntry): number => sessionEpoch;

/** Every entry, oldest first; removes them. */
async function drained(outbox: Outbox): Promise<number[]> {
  const all: number[] = [];
  while (outbox.length > 0) {
    const some = await outbox.oldest();
    expect(some.length).toBeGreaterThan(0);
    all.push(...some.map(numberOf));
    await outbox.removeOldest();
  }
  return all;
}

const disk = (): ModelDisk => new ModelDisk(randomFrom(1));

describe('outbox: entries', () => {
  test('come out in the order in which they went in, over files and restarts', async () => {
    const model = disk();
    let outbox = await openOutboxFile(model, SETTINGS);
    for (let i = 0; i < 20; i++) await outbox.append([entryOf(2 * i), entryOf(2 * i + 1)]);
    expect(outbox.length).toBe(40);
    expect(model.namesNow.length).toBeGreaterThan(3);
    await outbox.close();
    outbox = await openOutboxFile(model, SETTINGS);
    expect([outbox.length, outbox.cutBytes, outbox.sessionEpoch]).toEqual([40, 0, 39]);
    expect(await drained(outbox)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  test('that were removed do not come back, and their files go', async () => {
    const model = disk();
    let outbox = await openOutboxFile(model, SETTINGS);
    for (let i = 0; i < 20; i++) await outbox.append([entryOf(i)]);
    const some = await outbox.oldest();
    await outbox.removeOldest();
    expect(outbox.length).toBe(20 - some.length);
    await outbox.close();
    outbox = await openOutboxFile(model, SETTINGS);
    expect(await drained(outbox)).toEqual(Array.from({ length: 20 - some.length }, (_, i) => some.length + i));
    expect([outbox.sizeBytes, model.namesNow.length]).toEqual([0, 1]);
    await outbox.close();
    outbox = await openOutboxFile(model, SETTINGS);
    expect([outbox.length, outbox.sessionEpoch]).toEqual([0, 19]); // Epochs go on from there.
  });

  test('larger than what is read at a time', async () => {
    const outbox = await openOutboxFile(disk(), SETTINGS);
    await outbox.append([entryOf(0, 3_000_000)]);
    await outbox.append([entryOf(1, 5)]);
    expect(await drained(outbox)).toEqual([0, 1]);
  });

  test('are still given when the disk refuses to say that they were removed, and are removed with the next', async () => {
    const model = disk();
    const outbox = await openOutboxFile(model, SETTINGS);
    await outbox.append([entryOf(0)]);
    await outbox.oldest();
    model.failAfter(0);
    await outbox.removeOldest();
    expect(outbox.length).toBe(0);
    await outbox.append([entryOf(1)]);
    expect(await drained(await openOutboxFile(model.after('killed'), SETTINGS))).toEqual([1]);
  });
});

describe('outbox: the disk', () => {
  for (const operation of [0, 1])
    test(`that refuses a write refuses those entries alone (operation ${operation} of it)`, async () => {
      const model = disk();
      const outbox = await openOutboxFile(model, SETTINGS);
      await outbox.append([entryOf(0)]);
      model.failAfter(operation);
      await expect(outbox.append([entryOf(1)])).rejects.toMatchObject({ code: 'OUTBOX_UNAVAILABLE' });
      await outbox.append([entryOf(2)]);
      expect(await drained(await openOutboxFile(model.after('killed'), SETTINGS))).toEqual([0, 2]);
    });

  test('that refuses a new file refuses those entries, and takes the next', async () => {
    for (let operation = 0; operation < 7; operation++) {
      const model = disk();
      const outbox = await openOutboxFile(model, { ...SETTINGS, fileBytes: 1 });
      model.failAfter(operation);
      const isRefused = await outbox.append([entryOf(0)]).then(
        () => false,
        () => true,
      );
      await outbox.append([entryOf(1)]);
      const found = await drained(await openOutboxFile(model.after('killed'), SETTINGS));
      expect(found).toEqual(isRefused ? [1] : [0, 1]);
    }
  });

  test('a torn end is cut off and counted', async () => {
    const model = disk();
    const outbox = await openOutboxFile(model, SETTINGS);
    await outbox.append([entryOf(0)]);
    const whole = model.contentOf('events.1');
    await outbox.append([entryOf(1)]);
    const content = model.contentOf('events.1');
    for (let sizeBytes = whole.length; sizeBytes < content.length; sizeBytes++) {
      model.damage('events.1', content.subarray(0, sizeBytes));
      const again = await openOutboxFile(model, SETTINGS);
      expect(again.cutBytes).toBe(sizeBytes - whole.length);
      expect(await drained(again)).toEqual([0]);
    }
  });

  test('damage before the end is refused, and nothing is changed', async () => {
    const model = disk();
    const outbox = await openOutboxFile(model, SETTINGS);
    for (let i = 0; i < 3; i++) await outbox.append([entryOf(i)]);
    const content = model.contentOf('events.1');
    const last = content.lastIndexOf('k2') - 40;
    for (let at = 60; at < last; at++) {
      const damaged = Buffer.from(content);
      damaged[at]! ^= 1;
      model.damage('events.1', damaged);
      await expect(openOutboxFile(model, SETTINGS)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
      expect(model.contentOf('events.1')).toEqual(damaged);
    }
  });

  for (const { name, damage, code } of [
    {
      name: 'a file in the middle is missing',
      damage: (model: ModelDisk) => model.remove('events.3'),
      code: 'STORE_CORRUPT',
    },
    {
      name: 'an older file is shorter',
      damage: (model: ModelDisk) => model.damage('events.2', model.contentOf('events.2').subarray(0, -1)),
      code: 'STORE_CORRUPT',
    },
    {
      name: 'another version made it',
      damage: (model: ModelDisk) =>
        model.damage('events.1', Buffer.from(`fs-outb9${model.contentOf('events.1').subarray(8)}`)),
      code: 'STORE_FORMAT',
    },
  ])
    test(`${name}: it is refused`, async () => {
      const model = disk();
      const outbox = await openOutboxFile(model, SETTINGS);
      for (let i = 0; i < 40; i++) await outbox.append([entryOf(i)]);
      expect(model.namesNow.length).toBeGreaterThan(4);
      await damage(model);
      await expect(openOutboxFile(model, SETTINGS)).rejects.toMatchObject({ code });
    });

  test('another broker’s outbox is refused', async () => {
    const model = disk();
    await (await openOutboxFile(model, SETTINGS)).append([entryOf(0)]);
    await expect(openOutboxFile(model, { ...SETTINGS, owner: 'broker c of the fleet f' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  test('a real folder is locked, kept from others, and opened again', async () => {
    const temp = await tempFolder();
    onTestFinished(() => temp.remove());
    const folder = `${temp.path}/of/b`;
    const first = await openOutbox({ folder }, 'b', 1_000_000);
    await first.append([entryOf(0), entryOf(1)]);
    await expect(openOutbox({ folder }, 'b', 1_000_000)).rejects.toMatchObject({ code: 'OUTBOX_UNAVAILABLE' });
    await first.close();
    const second = await openOutbox({ folder }, 'b', 1_000_000);
    expect(await drained(second)).toEqual([0, 1]);
    await second.close();
    await expect(openOutbox({ folder: '/dev/null/outbox' }, 'b', 1_000_000)).rejects.toMatchObject({
      code: 'OUTBOX_UNAVAILABLE',
    });
  });
});

type Step = { readonly append: number; readonly sizeBytes: number } | 'take' | 'reopen';

/** What may be in the outbox of a process that has ended in the middle of it. */
interface History {
  /** Acknowledged, in order; then those of an append that was under way. */
  readonly given: number[];
  readonly acknowledged: number;
  /** The least of them that may be removed. */
  readonly removed: number;
}

/** Carries steps out until the disk is cut; the outbox is opened first. */
async function carriedOut(model: ModelDisk, steps: readonly Step[], sync: boolean): Promise<History> {
  const given: number[] = [];
  let acknowledged = 0;
  let removed = 0;
  try {
    let outbox = await openOutboxFile(model, { ...SETTINGS, sync });
    for (const step of steps) {
      if (step === 'reopen') {
        await outbox.close();
        outbox = await openOutboxFile(model, { ...SETTINGS, sync });
      } else if (step === 'take') {
        const some = await outbox.oldest();
        removed += some.length; // The log has them now, whatever comes of the removal.
        await outbox.removeOldest();
      } else {
        const entries = Array.from({ length: step.append }, (_, i) => entryOf(given.length + i, step.sizeBytes));
        given.push(...entries.map(numberOf));
        await outbox.append(entries);
        acknowledged = given.length;
      }
    }
  } catch (error) {
    if (!model.isCut) throw error;
  }
  return { given, acknowledged, removed };
}

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ append: fc.integer({ min: 1, max: 4 }), sizeBytes: fc.integer({ min: 1, max: 200 }) }),
  },
  { weight: 3, arbitrary: fc.constant('take' as const) },
  { weight: 1, arbitrary: fc.constant('reopen' as const) },
);

describe('outbox: the end of the process, or of the power, at every operation of the disk', () => {
  for (const { ending, sync } of [
    { ending: 'killed', sync: true },
    { ending: 'killed', sync: false },
    { ending: 'power failure', sync: true },
  ] as const satisfies readonly { ending: Ending; sync: boolean }[])
    test(`${ending}, ${sync ? 'with' : 'without'} sync: nothing acknowledged is lost, nothing is reordered or made up`, async () => {
      let ends = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(STEP, { minLength: 1, maxLength: 14 }), fc.nat(), async (steps, seed) => {
          const whole = new ModelDisk(randomFrom(seed));
          await carriedOut(whole, steps, sync);
          for (let at = 0; at < whole.operations; at++) {
            const model = new ModelDisk(randomFrom(seed + at));
            model.cutAfter(at);
            const { given, acknowledged, removed } = await carriedOut(model, steps, sync);
            const outbox = await openOutboxFile(model.after(ending), { ...SETTINGS, sync });
            const first = await drained(outbox);
            const end = first.length === 0 ? acknowledged : first.at(-1)! + 1;
            const from = end - first.length;
            expect(first).toEqual(given.slice(from, end)); // A part without holes, in order.
            expect(from).toBeLessThanOrEqual(removed);
            expect([acknowledged, given.length]).toContain(end);
            await outbox.append([entryOf(1_000_000)]); // It goes on.
            expect(await drained(outbox)).toEqual([1_000_000]);
            ends += 1;
          }
        }),
        { numRuns: 60 },
      );
      expect(ends).toBeGreaterThan(1_000);
    });

  test('a power failure without sync loses the newest entries alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(STEP, { minLength: 1, maxLength: 14 }), fc.nat(), async (steps, seed) => {
        const model = new ModelDisk(randomFrom(seed));
        const { given } = await carriedOut(model, steps, false);
        const outbox = await openOutboxFile(model.after('power failure'), { ...SETTINGS, sync: false });
        const found = await drained(outbox);
        const from = found[0] ?? 0;
        expect(found).toEqual(given.slice(from, from + found.length));
      }),
    );
  });
});
