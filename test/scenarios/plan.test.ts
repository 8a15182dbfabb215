// Golden scenarios of the planner: situation, what we look for, result. A file is a comment, a few lines of situation
// (scenario.ts says which there are), a line of dashes, and the result; a wrong result we know of is recorded, not hidden.
// To write results anew: npx vitest run --project unit test/scenarios -u

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { resultOf } from './scenario.ts';

const FOLDER = fileURLToPath(new URL('plan', import.meta.url));
const RULE = '\n----\n';

describe('planner scenarios', () => {
  for (const file of readdirSync(FOLDER).sort())
    test(file.replace('.txt', ''), async () => {
      const path = join(FOLDER, file);
      const situation = readFileSync(path, 'utf8').split(RULE)[0]!.trimEnd();
      await expect(`${situation}${RULE}${resultOf(situation)}`).toMatchFileSnapshot(path);
    });
});
