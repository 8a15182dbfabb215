import { defineConfig } from 'vitest/config';

// Two projects: `unit` needs nothing but Node; `system` starts a real Kafka, registry and processes.
/** Examples import this package by its name, and get its sources; the others are Vite's own. */
const CONDITIONS = ['foreshard-source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions: CONDITIONS },
  ssr: { resolve: { conditions: CONDITIONS } },
  test: {
    maxWorkers: '100%', // The default leaves one core idle, which on a machine of two is half of it.
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/system/**'],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
