// Thread script: the URL that a worker thread is started with, to run one of our modules.

/**
 * The module at `url` itself, when it is compiled. When run from sources, a script that first registers the loader
 * which is loading TypeScript in this process.
 */
export function threadScript(url: string): URL {
  if (!url.endsWith('.ts')) return new URL(url);
  const loader = import.meta.resolve('tsx/esm/api');
  const code = `import { register } from '${loader}'; register(); await import('${url}');`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}
