// Worker pool: fits models in worker threads, so that a slow fit never delays a record.
//
//   W1. Every request is answered: with a failure when its thread dies or does not answer for `answerMs`.
//   W2. A thread works on one request at a time; the others wait in the order they came. A dead thread is replaced when
//       there is work. Threads start with the first request, and do not keep the process alive.

import { Worker } from 'node:worker_threads';
import { type FitRequest, type FitResult, failedFit } from '../../processors/forecast/fits.ts';
import type { Fitter } from '../ports.ts';
import { threadScript } from '../thread-script.ts';

export interface WorkerPoolSettings {
  readonly threads: number;
  readonly answerMs: number;
  /** The script of the threads; by default the one beside this file. */
  readonly script?: URL;
}

interface Job {
  readonly request: FitRequest;
  readonly resolve: (result: FitResult) => void;
}

/** Beside this file, and in the same form: source or compiled. */
const FIT_WORKER = new URL(import.meta.url.endsWith('.ts') ? './fit-worker.ts' : './fit-worker.js', import.meta.url);

export function workerPool({ threads, answerMs, script = threadScript(FIT_WORKER.href) }: WorkerPoolSettings): Fitter {
  const waiting: Job[] = [];
  const idle: Worker[] = [];
  const busy = new Map<Worker, Job>();
  let closed = false;

  function dispatch(): void {
    while (waiting.length > 0 && busy.size < threads) {
      const worker = idle.pop() ?? started();
      const job = waiting.shift()!;
      busy.set(worker, job);
      const timer = setTimeout(() => lose(worker, `no answer within ${answerMs} ms`), answerMs);
      timer.unref();
      worker.once('message', (result: FitResult) => {
        clearTimeout(timer);
        if (busy.get(worker) !== job) return;
        busy.delete(worker);
        idle.push(worker);
        job.resolve(result);
        dispatch();
      });
      worker.postMessage(job.request);
    }
  }

  function started(): Worker {
    const worker = new Worker(script);
    worker.unref();
    worker.on('error', (error) => lose(worker, error.message));
    worker.on('exit', (code) => lose(worker, `its thread ended with code ${code}`));
    return worker;
  }

  /** A thread is lost: answers its request with a failure and replaces it when there is work (W1, W2). */
  function lose(worker: Worker, failure: string): void {
    const job = busy.get(worker);
    busy.delete(worker);
    const at = idle.indexOf(worker);
    if (at >= 0) idle.splice(at, 1);
    void worker.terminate();
    job?.resolve(failedFit(job.request, failure));
    if (!closed) dispatch();
  }

  return {
    get pending() {
      return waiting.length + busy.size;
    },
    fit(request) {
      if (closed) return Promise.resolve(failedFit(request, 'the process is stopping'));
      return new Promise((resolve) => {
        waiting.push({ request, resolve });
        dispatch();
      });
    },
    async close() {
      closed = true;
      for (const { request, resolve } of waiting.splice(0)) resolve(failedFit(request, 'the process is stopping'));
      const workers = [...idle, ...busy.keys()];
      for (const worker of workers) lose(worker, 'the process is stopping');
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
