// `npm test`: types, lint, generated files, then the tests; `--only system` runs the system tests alone. What cannot run
// on this machine is named, loudly, at the end; under CI=true it is a failure instead. The last line counts the tests.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { cwd } from 'node:process';

interface Report {
  readonly numPassedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : undefined;
const projects = only === undefined ? ['unit', 'system'] : [only];
const scratch = mkdtempSync(join(tmpdir(), 'foreshard-test-'));
let failedSteps = 0;

if (only === undefined) {
  step('types', ['tsc', '-p', 'tsconfig.json', '--noEmit']);
  step('lint', ['biome', 'check', '.']);
  step('generated types', ['tsx', 'schemas/edge/generate.ts', '--check']);
  step('made parts of README.md', ['tsx', 'topology/cli/readme.ts', '--check']);
}

let passed = 0;
const skipped: string[] = [];
const broken: string[] = [];
for (const project of projects) {
  const outputFile = join(scratch, `${project}.json`);
  const status = step(`${project} tests`, [
    'vitest',
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${outputFile}`,
    '--passWithNoTests',
  ]);
  if (!existsSync(outputFile)) continue;
  const report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report;
  passed += report.numPassedTests;
  if (status !== 0) failedSteps--; // Its failures are counted one by one.
  const before = broken.length;
  for (const file of report.testResults) {
    // A file that fails to load or whose hooks fail has no failed test of its own.
    if (file.status === 'failed' && file.message !== '') broken.push(`${relative(cwd(), file.name)}: ${file.message}`);
    for (const test of file.assertionResults) {
      if (test.status === 'skipped' || test.status === 'pending') skipped.push(test.fullName);
      if (test.status === 'failed')
        broken.push(`${relative(cwd(), file.name)}: ${test.fullName}: ${firstLine(test.failureMessages[0] ?? '')}`);
    }
  }
  if (status !== 0 && broken.length === before)
    broken.push(
      `the ${project} tests ended with ${status}, though none failed: see the errors above that no test caught`,
    );
}
rmSync(scratch, { recursive: true, force: true });

if (skipped.length > 0) {
  console.log(`\n!!! ${skipped.length} tests did NOT run here (each says why in its name or above):`);
  for (const name of skipped) console.log(`!!!   ${name}`);
}
for (const each of broken) console.log(`!!! FAILED ${each}`);
const failures = broken.length + failedSteps;
console.log(`${passed} passed, ${failures} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`);
process.exitCode = failures > 0 ? 1 : 0;

function step(name: string, command: readonly string[]): number {
  console.log(`\n== ${name}: ${command.join(' ')}`);
  const { status } = spawnSync('npx', ['--no-install', ...command], { stdio: 'inherit' });
  if (status !== 0) failedSteps++;
  return status ?? 1;
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]!;
}
