// What comes with the package lies beside package.json, which is two folders up from the sources and three from the build.

/** Where a file of the package is, seen from a module of it; `exists` looks at the disk. In the root folder when it is lost. */
export function packageFile(name: string, module: string, exists: (at: URL) => boolean): URL {
  let folder = new URL('.', module);
  for (;;) {
    const above = new URL('..', folder);
    if (exists(new URL('package.json', folder)) || above.href === folder.href) return new URL(name, folder);
    folder = above;
  }
}
