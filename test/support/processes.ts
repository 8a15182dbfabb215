// Processes: children of a test run (brokers, registries, instances). All of them end with the run, whatever ends it.

import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let inOwnGroups = false;

/** From now on children are not reached by what a terminal sends to its foreground group: their parent ends them in order. */
export function keepFromTerminal(): void {
  inOwnGroups = true;
}

/** Starts a child whose output goes to `logPath`. */
export function startProcess(
  command: string,
  args: readonly string[],
  options: { readonly logPath: string; readonly env?: Readonly<Record<string, string>>; readonly cwd?: string },
): ChildProcess {
  const log = createWriteStream(options.logPath, { flags: 'a' });
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: inOwnGroups,
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  running.add(child);
  child.once('exit', () => {
    running.delete(child);
    log.end();
  });
  return child;
}

/** Sends the signal and resolves when the child has ended; after `patienceMs` it is killed. */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals, patienceMs = 10_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  const force = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await ended;
  clearTimeout(force);
}

/** Resolves with the child's whole output; rejects when it fails. */
export function runProcess(command: string, args: readonly string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
    running.add(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      running.delete(child);
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}: ${output.slice(-2000)}`));
    });
  });
}

/** Whether the command is there to be run. */
export const hasCommand = (command: string, versionFlag = '--version'): Promise<boolean> =>
  runProcess(command, [versionFlag]).then(
    () => true,
    () => false,
  );

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Resolves once `probe` does; rejects with `what` and the last reason after `patienceMs`, or as soon as the child ends. */
export async function untilReady(
  what: string,
  probe: () => Promise<unknown>,
  patienceMs: number,
  child?: ChildProcess,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      await probe();
      return;
    } catch (error) {
      const dead = child !== undefined && (child.exitCode !== null || child.signalCode !== null);
      if (dead || performance.now() > deadline)
        throw new Error(`${what} did not become ready${dead ? ': it ended' : ''}`, { cause: error });
    }
    await sleep(100);
  }
}

export function connects(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}
