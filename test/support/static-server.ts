import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** A server of files on this machine. */
export interface StaticServer {
  readonly url: string;
  /** Paths that were asked for and are not there. */
  readonly missing: readonly string[];
  close(): Promise<void>;
}

/**
 * Serves folders, and files out of memory before them.
 *
 * @param options `isolated` adds the headers that make a page cross-origin isolated.
 */
export async function serve(
  folders: readonly string[],
  options: { readonly isolated: boolean; readonly files?: ReadonlyMap<string, string | Uint8Array> },
): Promise<StaticServer> {
  const missing: string[] = [];
  const find = async (path: string): Promise<string | Uint8Array | null> => {
    const held = options.files?.get(path);
    if (held !== undefined) return held;
    for (const folder of folders) {
      const contents = await readFile(join(folder, normalize(path))).catch(() => null);
      if (contents !== null) return contents;
    }
    return null;
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url as string, 'http://localhost');
    const path = pathname === '/' ? '/index.html' : pathname;
    // Browsers ask for it unasked, and complain.
    const contents = path === '/favicon.ico' ? '' : await find(path);
    if (contents === null) missing.push(path);
    response.writeHead(contents === null ? 404 : 200, {
      'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream',
      ...(options.isolated && {
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
      }),
    });
    response.end(contents);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    missing,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
