// Thread script: what a thread is started with to run a module of ours.

/**
 * The module at `url` itself when it is compiled. Run from its sources, a thread must first be told to load TypeScript, by
 * the loader that runs them here.
 */
export function threadScript(url: string): URL {
  if (!url.endsWith('.ts')) return new URL(url);
  const loader = import.meta.resolve('tsx/esm/api');
  const code = `import { register } from '${loader}'; register(); await import('${url}');`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}
