import { expect, test } from 'vitest';
import { packageFile } from '../../config/package-file.ts';

for (const { name, module, packages, found } of [
  { name: 'the sources', module: 'file:///app/config/edge/a.ts', packages: ['/app/'], found: '/app/x/y.json' },
  { name: 'the build', module: 'file:///app/dist/config/edge/a.js', packages: ['/app/'], found: '/app/x/y.json' },
  {
    name: 'a package within another',
    module: 'file:///o/n/app/a.ts',
    packages: ['/o/', '/o/n/app/'],
    found: '/o/n/app/x/y.json',
  },
  { name: 'a lost module', module: 'file:///app/config/a.ts', packages: [], found: '/x/y.json' },
])
  test(`from ${name} a file of the package is found beside the next package.json`, () => {
    const exists = ({ pathname }: URL): boolean => packages.some((folder) => pathname === `${folder}package.json`);
    expect(packageFile('x/y.json', module, exists).pathname).toBe(found);
  });
