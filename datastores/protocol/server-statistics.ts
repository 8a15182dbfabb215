// Server statistics: the contents of a shard server's INFO, with the names of Redis's INFO where it has the same value.

import type { Statistics } from './resp-session.ts';

/** Number of the last look-ups over which percentiles are computed. */
const TIMES = 4_096;

export class ServerStatistics implements Statistics {
  readonly #startedAt = performance.now();
  readonly #times = new Float64Array(TIMES);
  #connections = 0;
  #commands = 0;
  #lookUps = 0;

  now(): number {
    return performance.now();
  }

  command(): void {
    this.#commands += 1;
  }

  lookUp(ms: number): void {
    this.#times[this.#lookUps++ % TIMES] = ms;
  }

  connected(change: 1 | -1): void {
    this.#connections += change;
  }

  sections(): Readonly<Record<string, Readonly<Record<string, string | number>>>> {
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const times = this.#times.slice(0, Math.min(this.#lookUps, TIMES)).sort();
    const percentile = (share: number): string =>
      (times.length === 0 ? 0 : times[Math.floor(share * (times.length - 1))]!).toFixed(3);
    return {
      Server: {
        redis_mode: 'standalone',
        process_id: process.pid,
        uptime_in_seconds: Math.floor((this.now() - this.#startedAt) / 1_000),
      },
      Clients: { connected_clients: this.#connections },
      Memory: { used_memory: heapUsed, used_memory_rss: rss },
      Persistence: { loading: 0 },
      CPU: { used_cpu_user: (user / 1e6).toFixed(3), used_cpu_sys: (system / 1e6).toFixed(3) },
      Stats: {
        total_commands_processed: this.#commands,
        total_look_ups: this.#lookUps,
        look_up_ms_p50: percentile(0.5),
        look_up_ms_p99: percentile(0.99),
      },
    };
  }
}
