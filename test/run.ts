// `npm test`: types, lint, generated files, then the tests; `--only system` runs the system tests alone. With
// `--nodes 20,22,24` the unit tests run on those of them, too, that this process does not run on.
// What cannot run on this machine is named, loudly, at the end; under CI=true it is a failure instead. The last line
// counts the tests.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
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

const FAILURE_LINES_MAX = 20;
const FAILURE_LINE_MAX = 1_000;

const only = option('--only');
const nodes = (option('--nodes')?.split(',') ?? []).filter((major) => !process.version.startsWith(`v${major}.`));
const projects = only === undefined ? ['unit', 'system'] : [only];
const scratch = mkdtempSync(join(tmpdir(), 'foreshard-test-'));
const skipped: string[] = [];
const broken: string[] = [];
let passed = 0;

if (only === undefined) {
  check('types', ['tsc', '-p', 'tsconfig.json', '--noEmit']);
  check('types of what the benches compile', ['tsc', '-p', 'bench/tsconfig.json', '--noEmit']);
  check('types of the package, declarations too', ['tsc', '-p', 'tsconfig.build.json', '--outDir', scratch]);
  check('lint', ['biome', 'check', '.']);
  check('generated types', ['tsx', 'schemas/edge/generate.ts', '--check']);
  check('made parts of the documents', ['tsx', 'cli/readme.ts', '--check']);
}

for (const project of projects) testsOf(`${project} tests`, project);
for (const major of nodes) {
  const found = spawnSync('bash', [join(import.meta.dirname, 'setup/node.sh'), major], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (found.status === 0) testsOf(`unit tests on Node ${major}`, 'unit', found.stdout.trim());
  else broken.push(`Node ${major} cannot be had: see above`);
}
rmSync(scratch, { recursive: true, force: true });

if (skipped.length > 0) {
  console.log(`\n!!! ${skipped.length} tests did NOT run here (each says why in its name or above):`);
  for (const name of skipped) console.log(`!!!   ${name}`);
}
for (const each of broken) console.log(`!!! FAILED ${each}`);
console.log(`${passed} passed, ${broken.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`);
process.exitCode = broken.length > 0 ? 1 : 0;

/** Runs a tool that has no tests of its own: it counts as one. */
function check(name: string, command: readonly string[]): void {
  const status = step(name, command);
  if (status !== 0) broken.push(`${name}: ${command.join(' ')} ended with ${status}: see above`);
}

/** Runs the tests of a project, on another node if one is given, and takes their results. */
function testsOf(name: string, project: string, node?: string): void {
  const outputFile = join(scratch, `${name.replaceAll(' ', '-')}.json`);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${outputFile}`, '--passWithNoTests'];
  const status = step(name, ['vitest', 'run', '--project', project, ...reporters], node);
  if (!existsSync(outputFile)) {
    broken.push(`the ${name} ended with ${status} and left no report: see above`);
    return;
  }
  const report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report;
  const on = node === undefined ? '' : `${name}: `;
  passed += report.numPassedTests;
  const before = broken.length;
  for (const file of report.testResults) {
    const path = `${on}${relative(cwd(), file.name)}`;
    // A file that fails to load or whose hooks fail has no failed test of its own.
    if (file.status === 'failed' && file.message !== '') broken.push(`${path}: ${file.message}`);
    for (const test of file.assertionResults) {
      if (test.status === 'skipped' || test.status === 'pending') skipped.push(`${on}${test.fullName}`);
      if (test.status === 'failed')
        broken.push(`${path}: ${test.fullName}: ${shortened(test.failureMessages[0] ?? '')}`);
    }
  }
  if (status !== 0 && broken.length === before)
    broken.push(`the ${name} ended with ${status}, though none failed: see the errors above that no test caught`);
}

/** Runs a tool of this project, on another node if one is given. */
function step(name: string, command: readonly string[], node?: string): number {
  console.log(`\n== ${name}: ${command.join(' ')}`);
  const startedAt = performance.now();
  // npx and what it starts take the node that is found first.
  const path = node === undefined ? process.env.PATH : `${dirname(node)}${delimiter}${process.env.PATH}`;
  const { status } = spawnSync('npx', ['--no-install', ...command], {
    stdio: 'inherit',
    env: { ...process.env, PATH: path },
  });
  console.log(`== ${name}: ${Math.round((performance.now() - startedAt) / 1_000)} s`);
  return status ?? 1;
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

/** What failed, with the seed and the counterexample of a property, without the trace of calls. */
function shortened(message: string): string {
  const lines = message.split('\n').filter((line) => line.trim() !== '' && !line.trimStart().startsWith('at '));
  return lines
    .slice(0, FAILURE_LINES_MAX)
    .map((line) => line.slice(0, FAILURE_LINE_MAX))
    .join('\n!!!   ');
}
