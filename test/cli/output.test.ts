import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Output } from '../../cli/output.ts';

const streams = () => ({ out: new PassThrough(), err: new PassThrough() });
const textOf = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';

/** Two hundred steps of a long command, whose result is one line. */
function work(output: Output): void {
  output.begin(200, '{bar} {percentage} %  {at}', { at: '' });
  for (let done = 1; done <= 200; done++) output.progress(done, { at: `step ${done}` });
  output.end();
  output.line('done');
  output.json({ done: true });
}

test('a long command tells how far it is where there is no terminal, a line for each tenth, apart from its result', () => {
  const { out, err } = streams();
  work(new Output(false, { out, err }));
  expect(textOf(out)).toBe('done\n');
  const lines = textOf(err).trim().split('\n');
  expect(lines).toHaveLength(9);
  expect([lines[0], lines.at(-1)]).toEqual(['10 %  step 20', '90 %  step 180']);
});

test('with --json it tells the result and nothing else', () => {
  const { out, err } = streams();
  work(new Output(true, { out, err }));
  expect(JSON.parse(textOf(out))).toEqual({ done: true });
  expect(textOf(err)).toBe('');
});

test('on a terminal there is a bar, and no lines for tenths', () => {
  const { out, err } = streams();
  const terminal = Object.assign(out, { isTTY: true, columns: 80 });
  work(new Output(false, { out: terminal, err }));
  expect(textOf(out)).toContain('done\n');
  expect(textOf(err)).toBe('');
});
