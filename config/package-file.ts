// Finds files of the package. They are beside package.json: two folders above a source module, three above a built one.

/**
 * The location of a file of the package, from one of its modules; `exists` checks the disk. When missing, its place in
 * the root folder.
 */
export function packageFile(name: string, module: string, exists: (at: URL) => boolean): URL {
  let folder = new URL('.', module);
  for (;;) {
    const above = new URL('..', folder);
    if (exists(new URL('package.json', folder)) || above.href === folder.href) return new URL(name, folder);
    folder = above;
  }
}
