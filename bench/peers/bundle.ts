/** Bundles for pages, as users of the packages would make them. */
import { fileURLToPath } from 'node:url';

interface Rolldown {
  build(options: object): Promise<{ readonly output: readonly { readonly code: string }[] }>;
}

/** One minified ES module of an entry and all that it needs. */
export async function bundle(entry: URL, plugins: readonly object[] = []): Promise<string> {
  const { build } = (await import('rolldown' as string)) as Rolldown;
  const { output } = await build({
    input: fileURLToPath(entry),
    plugins,
    write: false,
    platform: 'browser',
    external: [/^node:/],
    logLevel: 'silent',
    output: { minify: true, format: 'esm', codeSplitting: false },
  });
  return output[0].code;
}

/** The bundle of an entry that is no file, because type checks run without the packages that it imports. */
export function bundleSource(source: string): Promise<string> {
  const entry = new URL('entry.js', import.meta.url);
  return bundle(entry, [
    {
      name: 'entry',
      load: (id: string) => (id === fileURLToPath(entry) ? source : null),
      resolveId: (id: string) => (id === fileURLToPath(entry) ? id : null),
    },
  ]);
}
