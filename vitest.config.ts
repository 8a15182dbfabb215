import { defineConfig } from 'vitest/config';

// Two projects: `unit` needs nothing but Node; `system` starts a real Kafka, registry and processes.
export default defineConfig({
  test: {
    maxWorkers: '100%', // The default leaves one core idle, which on a machine of two is half of it.
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/system/**'],
          testTimeout: 60_000,
        },
      },
      {
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
