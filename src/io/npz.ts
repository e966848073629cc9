import { deflateSync } from 'fflate';
import type { Tensor } from '../tensor/tensor.ts';
import { ByteReader } from './bytes.ts';
import { crc32 } from './crc32.ts';
import { type FileSource, readSource, writeFile } from './files.ts';
import { readNpy, writeNpy } from './npy.ts';
import { type ArchiveOptions, writeZip, ZipArchive } from './zip.ts';

/** Options of {@link readNpz}. */
export interface NpzReadOptions extends ArchiveOptions {
  /** Name that errors give the file. */
  readonly file?: string;
  /** Read only these arrays; all of them where not given. */
  readonly keys?: readonly string[];
}

/** Options of {@link writeNpz}. */
export interface NpzWriteOptions {
  /** Deflate the arrays, as `np.savez_compressed` does (false). */
  readonly compressed?: boolean;
}

const FN = 'readNpz';
const EXTENSION = '.npy';

/**
 * Reads the arrays of an `.npz` archive by name, stored or deflated. See `readNpy` for the dtypes.
 *
 * @throws FileFormatError where the archive or an array is damaged, an array has a dtype that tensors do not,
 *   or one
 *   of `keys` is missing.
 * @example
 * const data = readNpz(bytes);
 * data.get('x'); // tensor
 */
export function readNpz(bytes: Uint8Array, options: NpzReadOptions = {}): Map<string, Tensor> {
  const file = options.file ?? '(bytes)';
  const zip = new ZipArchive(bytes, file, FN, options);
  const arrays = new Map<string, Tensor>();
  const names = options.keys ?? [...zip.entries.keys()].map((name) => withoutExtension(name, bytes, file));
  for (const key of names) {
    const name = `${key}${EXTENSION}`;
    if (!zip.entries.has(name)) {
      throw new ByteReader(bytes, file, FN).error(
        'keys',
        `one of ${[...zip.entries.keys()].join(', ')}`,
        name,
      );
    }
    arrays.set(key, readNpy(zip.read(name), { file: `${file}!${name}` }));
  }
  return arrays;
}

/**
 * {@link readNpz} for a path, a URL or bytes.
 *
 * @example
 * const { x, y } = Object.fromEntries(await loadNpz('cifar10.npz'));
 */
export async function loadNpz(
  source: FileSource,
  options: NpzReadOptions = {},
): Promise<Map<string, Tensor>> {
  const { bytes, file } = await readSource(source, options.file);
  return readNpz(bytes, { ...options, file });
}

/**
 * Writes named tensors as `np.load` reads them.
 *
 * @example
 * const bytes = writeNpz(new Map([['x', x], ['y', y]]), { compressed: true });
 */
export function writeNpz(arrays: ReadonlyMap<string, Tensor>, options: NpzWriteOptions = {}): Uint8Array {
  const files = [...arrays].map(([key, x]) => {
    const bytes = writeNpy(x);
    const name = `${key}${EXTENSION}`;
    if (!options.compressed) return { name, bytes };
    return { name, bytes: deflateSync(bytes), deflated: { size: bytes.length, crc: crc32(bytes) } };
  });
  return writeZip(files, 1, 'writeNpz');
}

/**
 * {@link writeNpz} into a file, which appears whole or not at all.
 *
 * @example
 * await saveNpz(new Map([['x', x]]), 'data.npz');
 */
export async function saveNpz(
  arrays: ReadonlyMap<string, Tensor>,
  path: string | URL,
  options: NpzWriteOptions = {},
): Promise<void> {
  await writeFile(path, writeNpz(arrays, options));
}

function withoutExtension(name: string, bytes: Uint8Array, file: string): string {
  if (name.endsWith(EXTENSION)) return name.slice(0, -EXTENSION.length);
  throw new ByteReader(bytes, file, FN).error(
    'archive',
    `entries ending in ${EXTENSION}`,
    name,
    0,
    'Name the arrays to read with keys.',
  );
}
