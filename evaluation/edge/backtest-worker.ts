// Backtest worker: makes the forecasts of a backtest, in worker threads or in the calling thread. This file is both the
// pool and the program of its threads.
//
//   W1. The result of a task does not depend on the thread that it ran in, nor on other tasks.

import { parentPort, Worker, workerData } from 'node:worker_threads';
import type { Model } from '../../processors/forecast/model.ts';
import { type LstmWeights, lstmOf } from '../../processors/forecast/models/lstm.ts';
import { threadScript } from '../../runtime/thread-script.ts';
import { forecastsOf } from '../backtest/contenders.ts';
import type { SeriesProtocol } from '../backtest/protocol.ts';
import { modelAt } from './backtest-model.ts';

export interface BacktestTask {
  readonly contender: string;
  readonly series: SeriesProtocol;
  readonly values: Float64Array;
  readonly origins: readonly number[];
  /** Weights of the LSTM, for the contender of that name. */
  readonly weights?: LstmWeights;
  /** The module of a contender that is not among ours (backtest-model.ts). */
  readonly modelUrl?: string;
}

export interface BacktestForecasts {
  /** One array for each origin, as the contender returned it. */
  readonly quantiles: readonly Float64Array[];
  /** Mean CPU seconds for each origin, including closing rows, fits and forecasts. */
  readonly secondsPerOrigin: number;
}

export interface BacktestListener {
  /** Called when an origin of a task is done. */
  origin(task: number): void;
  /** Called when a task is done; tasks finish in any order. */
  done(task: number, forecasts: BacktestForecasts): void;
}

/** The worker data of this pool's threads; other threads that load this file do not have it. */
interface Role {
  readonly backtest: true;
  /** True when no other thread is working. */
  readonly isAlone: boolean;
}

/** The role of this thread; `undefined` in the thread that runs the pool. */
const role = (workerData as Role | null)?.backtest ? (workerData as Role) : undefined;

type Message = { readonly kind: 'origin' } | { readonly kind: 'done'; readonly forecasts: BacktestForecasts };

/** Runs all tasks in `threads` threads, or in the calling thread when it is 0. Resolves when all are done. */
export async function runBacktest(
  tasks: readonly BacktestTask[],
  workers: number,
  listener: BacktestListener,
): Promise<void> {
  if (workers === 0) return runHere(tasks, listener);
  const count = Math.min(workers, tasks.length);
  const given: Role = { backtest: true, isAlone: count === 1 };
  const threads = Array.from({ length: count }, () => new Worker(threadScript(import.meta.url), { workerData: given }));
  let next = 0;
  try {
    await Promise.all(
      threads.map(async (thread) => {
        while (next < tasks.length) {
          const task = next++;
          listener.done(task, await runIn(thread, tasks[task]!, () => listener.origin(task)));
        }
      }),
    );
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

async function runHere(tasks: readonly BacktestTask[], listener: BacktestListener): Promise<void> {
  for (const [task, each] of tasks.entries()) {
    const running = steps(each, await ownModel(each));
    for (let step = running.next(); ; step = running.next()) {
      if (step.done === true) {
        listener.done(task, step.value);
        break;
      }
      listener.origin(task);
      await new Promise<void>((resolve) => setImmediate(resolve)); // For the progress bar, and for Ctrl-C.
    }
  }
}

function runIn(thread: Worker, task: BacktestTask, origin: () => void): Promise<BacktestForecasts> {
  return new Promise((resolve, reject) => {
    const hear = (said: Message): void => {
      if (said.kind === 'done') end(() => resolve(said.forecasts));
      else origin();
    };
    const fail = (error: Error): void => end(() => reject(error));
    const exit = (code: number): void => fail(new Error(`a backtest thread ended with code ${code}`));
    const end = (settle: () => void): void => {
      thread.off('message', hear).off('error', fail).off('exit', exit); // Only our listeners: Node has its own.
      settle();
    };
    thread.on('message', hear).on('error', fail).on('exit', exit);
    thread.postMessage(task);
  });
}

const ownModel = async ({ modelUrl }: BacktestTask): Promise<Model | undefined> =>
  modelUrl === undefined ? undefined : modelAt(modelUrl);

/** Yields after every origin. */
function* steps(
  { contender, series, values, origins, weights = new Float32Array() }: BacktestTask,
  own: Model | undefined,
): Generator<void, BacktestForecasts> {
  const quantiles: Float64Array[] = [];
  let seconds = 0;
  let from = cpuSeconds();
  for (const each of forecastsOf(contender, values, series, origins, () => lstmOf(weights), own)) {
    seconds += cpuSeconds() - from;
    quantiles.push(each);
    yield;
    from = cpuSeconds();
  }
  return { quantiles, secondsPerOrigin: seconds / origins.length };
}

/**
 * CPU seconds of this thread. Before Node 23.9, which cannot measure them: those of the process when no other thread is
 * working, otherwise elapsed time, which is about the same as long as every thread has a core.
 */
function cpuSeconds(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: typeof process.cpuUsage };
  if (threadCpuUsage === undefined && role?.isAlone === false) return performance.now() / 1000;
  const { user, system } = (threadCpuUsage ?? process.cpuUsage)();
  return (user + system) / 1e6;
}

if (role !== undefined) {
  parentPort?.on('message', async (task: BacktestTask) => {
    const running = steps(task, await ownModel(task));
    const say = (message: Message): void => parentPort?.postMessage(message);
    for (let step = running.next(); ; step = running.next()) {
      if (step.done === true) return void say({ kind: 'done', forecasts: step.value });
      say({ kind: 'origin' });
    }
  });
}
