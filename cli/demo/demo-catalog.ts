// The demo's catalogue: small instances, so that one day of a small fleet needs several. Prices and capacities are
// invented; in production the operator's own catalogue is used.

export const DEMO_GENESIS = { concreteType: 'kv-small', trieType: 'trie-small' } as const;

export const DEMO_CATALOG = {
  note: 'Made-up figures of `foreshard demo`.',
  types: [
    {
      name: 'kv-small',
      kind: 'KEY_VALUE',
      operationsPerSecond: 1_000,
      entriesMax: 1_000_000,
      memoryBytes: 1_073_741_824,
      dollarsPerHour: 0.5,
      dollarsPerProvisioning: 0.02,
      dollarsPerGibMoved: 0.02,
      provisioningMs: 90_000,
    },
    {
      name: 'trie-small',
      kind: 'TRIE',
      operationsPerSecond: 24_000,
      entriesMax: 1_000_000,
      memoryBytes: 1_073_741_824,
      dollarsPerHour: 0.8,
      dollarsPerProvisioning: 0.02,
      dollarsPerGibMoved: 0.02,
      provisioningMs: 60_000,
    },
  ],
} as const;
