import { isNode } from '../../core/environment.ts';
import { FileFormatError } from '../../core/errors.ts';
import { FileError, readFile } from '../files.ts';

/** The images of a folder and what they show. */
export interface ImageFolder {
  /** Paths of the images, sorted by name (those of `labels.tsv` in its order). */
  readonly files: readonly string[];
  /** Class index of each file; null where the folder has no labels. */
  readonly labels: readonly number[] | null;
  /** Name of each class index; null where there are no labels. */
  readonly classes: readonly string[] | null;
}

const IMAGE = /\.(jpe?g|png)$/i;
const FN = 'readImageFolder';

/**
 * Lists the JPEG and PNG files of a folder with their labels (Node only). Labels come from `labels.tsv` (file
 * name, class index, class name on each line), or else from the names of sub-folders, sorted, as
 * `torchvision.datasets.ImageFolder` does it.
 *
 * @throws FileError where the folder cannot be read, FileFormatError for a line of `labels.tsv` that makes no
 *   sense.
 * @example
 * const { files, labels } = await readImageFolder('imagenet500');
 */
export async function readImageFolder(folder: string): Promise<ImageFolder> {
  if (!isNode) throw new FileError(FN, folder, 'Node', 'a browser, which has no folders to read');
  const fs = process.getBuiltinModule('node:fs/promises');
  const { join } = process.getBuiltinModule('node:path');
  const list = async (path: string) => {
    try {
      const entries = await fs.readdir(path, { withFileTypes: true });
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (cause) {
      const code = (cause as { code?: string }).code ?? String(cause);
      throw new FileError(FN, path, 'a readable folder', code, cause);
    }
  };
  const entries = await list(folder);
  if (entries.some((entry) => entry.name === 'labels.tsv')) {
    const path = join(folder, 'labels.tsv');
    const rows = parseLabels(await readFile(path), path);
    const classes: string[] = [];
    for (const row of rows) classes[row.index] = row.name;
    return {
      files: rows.map((row) => join(folder, row.file)),
      labels: rows.map((row) => row.index),
      classes: Array.from(classes, (name) => name ?? ''),
    };
  }
  const files = entries.filter((entry) => entry.isFile() && IMAGE.test(entry.name));
  const folders = entries.filter((entry) => entry.isDirectory());
  if (files.length > 0 || folders.length === 0) {
    return { files: files.map((entry) => join(folder, entry.name)), labels: null, classes: null };
  }
  const paths: string[] = [];
  const labels: number[] = [];
  for (const [index, { name }] of folders.entries()) {
    for (const entry of await list(join(folder, name))) {
      if (!entry.isFile() || !IMAGE.test(entry.name)) continue;
      paths.push(join(folder, name, entry.name));
      labels.push(index);
    }
  }
  return { files: paths, labels, classes: folders.map((entry) => entry.name) };
}

const MAX_CLASSES = 1_000_000;

function parseLabels(
  bytes: Uint8Array,
  path: string,
): { readonly file: string; readonly index: number; readonly name: string }[] {
  const rows = [];
  let offset = 0;
  for (const line of new TextDecoder().decode(bytes).split('\n')) {
    const text = line.replace(/\r$/, '');
    if (text !== '') {
      const [file, index, name = ''] = text.split('\t');
      const safe = file && !/^[/\\]|^[a-z]:|(^|[/\\])\.\.([/\\]|$)|\0/i.test(file);
      if (!safe || !/^\d{1,7}$/.test(index ?? '') || Number(index) >= MAX_CLASSES) {
        throw new FileFormatError({
          fn: FN,
          file: path,
          offset,
          argument: 'line',
          expected: 'a file name inside the folder, a class index and a name, separated by tabs',
          got: JSON.stringify(text.slice(0, 100)),
        });
      }
      rows.push({ file, index: Number(index), name });
    }
    offset += new TextEncoder().encode(line).length + 1;
  }
  return rows;
}
