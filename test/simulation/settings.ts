// Settings of a simulated fleet: as small and as hasty as they may be, so that much happens in little time.

import { APPLY_DEFAULTS } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS, type PlanSettings } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import type { TopologySettings } from '../../topology/topology.ts';

const SIZE = {
  ...{ operationsPerSecond: 60, entriesMax: 1_000_000, memoryBytes: 1e9, dollarsPerHour: 1 },
  ...{ dollarsPerProvisioning: 0, dollarsPerGibMoved: 0, provisioningMs: 2_000 },
};

export const CATALOG = catalogOf({
  types: [
    { name: 'kv', kind: 'KEY_VALUE', ...SIZE },
    { name: 'trie', kind: 'TRIE', ...SIZE },
  ],
});

export const BROKER_SILENT_MS = 10_000;

export interface SettingsOfRun {
  readonly partitions: number;
  readonly planner: string;
  readonly mode: PlanSettings['mode'];
  readonly copyRowsPerSecond: number;
  readonly chunkRowsMax: number;
  /** Whether the subscription table is kept, and lost shards are rebuilt from it. */
  readonly keepsTable: boolean;
}

export function settingsOf(run: SettingsOfRun): TopologySettings {
  const { partitions, planner, mode, copyRowsPerSecond, chunkRowsMax, keepsTable } = run;
  const genesis = { concreteType: 'kv', trieType: 'trie' };
  return {
    sessions: { ...SESSION_DEFAULTS, partitions },
    rates: { ...RATES_DEFAULTS, partitions, leafBits: 1 },
    forecast: { ...FORECAST_DEFAULTS, fitsPerMinute: 0 },
    plan: {
      ...PLAN_DEFAULTS,
      ...{ partitions, genesis, catalog: CATALOG, mode, planner },
      ...{ tickMs: 10_000, coolDownMs: 0, churnShareMax: 1, shardsMax: 10, shardsPerHourMax: 1_000, movesMax: 6 },
      ...{ brokerSilentMs: BROKER_SILENT_MS, drainMs: 2_000, agreeingPlans: 2, moveSilentMs: 20_000 },
      ...{ rebuilds: keepsTable, rebuildAfterMs: 2_000 },
    },
    apply: {
      ...APPLY_DEFAULTS,
      ...{ partitions, incarnation: 0, genesis, copyRowsPerSecond, chunkRowsMax },
      ...{ subscriptionTable: keepsTable, passageRowsMax: 10 * chunkRowsMax },
    },
  };
}
