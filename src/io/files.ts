import { isNode } from '../core/environment.ts';
import { ZeropointError } from '../core/errors.ts';

/**
 * A file that cannot be opened, read or written. `code` is the system's (`ENOENT`, `EACCES`, …) or an HTTP
 * status.
 */
export class FileError extends ZeropointError {
  readonly file: string;
  readonly code: string;

  constructor(fn: string, file: string, expected: string, code: string, cause?: unknown) {
    super({ fn, argument: file, expected, got: code }, { cause });
    this.file = file;
    this.code = code;
  }
}

/** Where a loader takes its bytes from: a path (in browsers a URL), or the bytes themselves. */
export type FileSource = string | URL | Uint8Array;

/**
 * Reads a whole file: from disk in Node, with `fetch` in browsers.
 *
 * @throws {@link FileError} where it cannot be read.
 * @example
 * const bytes = await readFile('model.pt');
 */
export async function readFile(path: string | URL): Promise<Uint8Array> {
  if (!isNode) {
    const response = await fetch(path);
    if (!response.ok) {
      throw new FileError('readFile', String(path), 'a URL that can be fetched', `HTTP ${response.status}`);
    }
    return new Uint8Array(await response.arrayBuffer());
  }
  const fs = process.getBuiltinModule('node:fs/promises');
  try {
    const { buffer, byteOffset, byteLength } = await fs.readFile(path);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (cause) {
    throw new FileError('readFile', String(path), 'a readable file', errorCode(cause), cause);
  }
}

/**
 * Writes a whole file (Node only). The bytes go to a temporary file in the same folder that then takes the
 * place of `path`, so that a crash leaves the old file or the new one, never half of one.
 *
 * @throws {@link FileError} where it cannot be written.
 * @example
 * await writeFile('model.safetensors', writeSafetensors(model.stateDict()));
 */
export async function writeFile(path: string | URL, bytes: Uint8Array): Promise<void> {
  if (!isNode)
    throw new FileError('writeFile', String(path), 'Node', 'a browser, which has no files to write');
  const fs = process.getBuiltinModule('node:fs/promises');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  const target = path instanceof URL ? fileURLToPath(path) : path;
  const temporary = `${target}.${process.pid}-${Math.random().toString(36).slice(2)}.tmp`;
  try {
    const handle = await fs.open(temporary, 'wx');
    try {
      await handle.writeFile(bytes);
      // Without the flush, a power cut after the rename could leave the new name on empty contents.
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, target);
  } catch (cause) {
    await fs.rm(temporary, { force: true }).catch(() => {});
    throw new FileError('writeFile', target, 'a writable place', errorCode(cause), cause);
  }
}

/** The bytes of a source, the name that errors give it, and whether nobody else has those bytes. */
export async function readSource(
  source: FileSource,
  file: string | undefined,
): Promise<{ readonly bytes: Uint8Array; readonly file: string; readonly owned: boolean }> {
  if (source instanceof Uint8Array) return { bytes: source, file: file ?? '(bytes)', owned: false };
  return { bytes: await readFile(source), file: file ?? String(source), owned: true };
}

function errorCode(cause: unknown): string {
  const { code } = cause as { code?: unknown };
  return typeof code === 'string' ? code : String(cause);
}
