import { DTYPES, type DType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { ByteReader } from '../bytes.ts';
import { decodeElements, elementBytes } from '../elements.ts';
import { type FileSource, readSource } from '../files.ts';
import { type ArchiveOptions, isZip, ZipArchive } from '../zip.ts';
import { TorchHost } from './host.ts';
import { type Fault, PickledStorage } from './tensors.ts';
import { kindOf, show, unpickle } from './unpickler.ts';

/** What a `.pt` file can hold: Python's plain containers and values, and tensors. */
export type PickleValue =
  | Tensor
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | PickleValue[]
  | Set<PickleValue>
  | Map<string | number | boolean | bigint, PickleValue>;

/** Options of {@link readPyTorch}. */
export interface PyTorchReadOptions extends ArchiveOptions {
  /** Name that errors give the file. */
  readonly file?: string;
}

const FN = 'loadPyTorch';
const MAGIC = 0x1950a86a20f9469cfc6cn;

/**
 * Reads what `torch.save` wrote, from bytes in memory: the zip format and the legacy stream.
 *
 * Dicts become `Map`, lists and tuples arrays, dtypes and quantization schemes their names (`'qint8'`),
 * integers beyond 2^53 `bigint`, TorchScript objects of packed weights `[className, state]`. Tensors keep
 * their strides, and those that shared a storage share a typed array. int64 values beyond 2^53 are refused.
 *
 * Nothing in the file is executed: a pickle that names anything but tensors and plain containers is refused
 * by that name. Source: `torch.load`.
 *
 * @throws FileFormatError for anything damaged, hostile or not supported, with the byte offset.
 * @example
 * const checkpoint = readPyTorch(bytes) as Map<string, PickleValue>;
 */
export function readPyTorch(bytes: Uint8Array, options: PyTorchReadOptions = {}): PickleValue {
  const file = options.file ?? '(bytes)';
  if (isZip(bytes)) return readZipFormat(new ZipArchive(bytes, file, FN, options), bytes, file);
  // Protocol 2 and later start with its number, older ones with the magic number as text.
  if (bytes[0] === 0x80 || bytes[0] === 0x4c) return readLegacyFormat(new ByteReader(bytes, file, FN));
  throw new ByteReader(bytes, file, FN).error(
    'file',
    'a zip archive or a pickle, as torch.save writes',
    bytes.length === 0 ? 'an empty file' : `a first byte of 0x${bytes[0].toString(16)}`,
  );
}

/**
 * {@link readPyTorch} for a path, a URL or bytes.
 *
 * @example
 * const checkpoint = await loadPyTorch('resnet20.th');
 */
export async function loadPyTorch(
  source: FileSource,
  options: PyTorchReadOptions = {},
): Promise<PickleValue> {
  const { bytes, file } = await readSource(source, options.file);
  return readPyTorch(bytes, { ...options, file });
}

function readZipFormat(zip: ZipArchive, bytes: Uint8Array, file: string): PickleValue {
  const names = [...zip.entries.keys()];
  const top = new ByteReader(bytes, file, FN);
  const pickles = names.filter((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    throw top.error(
      'archive',
      'one data.pkl, as torch.save writes',
      pickles.length === 0 ? 'none' : `${pickles.length}`,
      0,
    );
  }
  const root = pickles[0].slice(0, -'data.pkl'.length);
  if (names.includes(`${root}constants.pkl`)) {
    throw top.error(
      'archive',
      'a file of torch.save',
      'a TorchScript program',
      0,
      'Save its state_dict() with torch.save instead.',
    );
  }
  if (names.includes(`${root}byteorder`)) {
    const order = new TextDecoder().decode(zip.read(`${root}byteorder`).subarray(0, 16)).trim();
    if (order !== 'little') throw top.error('byteorder', 'little', order, 0);
  }
  const storages = new Map<string, PickledStorage>();
  const find = (key: string, dtype: DType, numel: number, fault: Fault): PickledStorage => {
    const known = sameStorage(storages.get(key), key, dtype, numel, fault);
    if (known) return known;
    const name = `${root}data/${key}`;
    const entry = zip.entries.get(name);
    if (!entry) throw fault('storage', 'a storage in the archive', name);
    if (entry.size !== elementBytes(dtype, numel)) {
      throw fault(
        `storage ${key}`,
        `${elementBytes(dtype, numel)} bytes for ${numel} of ${dtype}`,
        `${entry.size}`,
      );
    }
    const elements = decodeElements(zip.read(name), dtype, (position, got) =>
      top.error(`storage ${key}`, 'integers within ±2^53', got, entry.offset + position),
    );
    const storage = new PickledStorage(dtype, elements);
    storages.set(key, storage);
    return storage;
  };
  const reader = new ByteReader(zip.read(pickles[0]), `${file}!${pickles[0]}`, FN);
  return unpickle(reader, new TorchHost(reader, find)) as PickleValue;
}

/** A storage that was named before, checked to be named the same way. */
function sameStorage(
  known: PickledStorage | undefined,
  key: string,
  dtype: DType,
  numel: number,
  fault: Fault,
): PickledStorage | undefined {
  if (known && (known.dtype !== dtype || known.elements.length !== numel)) {
    throw fault(
      `storage ${key}`,
      `${known.elements.length} of ${known.dtype}, as before`,
      `${numel} of ${dtype}`,
    );
  }
  return known;
}

function readLegacyFormat(r: ByteReader): PickleValue {
  const plain = new TorchHost(r, (_key, _dtype, _numel, fault) => {
    throw fault('header', 'plain values', 'a storage');
  });
  const magic = unpickle(r, plain);
  if (magic !== MAGIC)
    throw r.error('magic number', 'that of torch.save', kindOf(magic), 0, 'Files of tar format are too old.');
  const version = unpickle(r, plain);
  if (version !== 1001) throw r.error('protocol version', '1001', show(version));
  const system = unpickle(r, plain);
  if (!(system instanceof Map) || system.get('little_endian') === false) {
    throw r.error('system information', 'a little-endian machine', 'a big-endian one');
  }
  const storages = new Map<string, PickledStorage>();
  // Contents follow the pickle that names them; what all of them claim together must fit the bytes that are
  // there.
  let claimed = 0;
  const find = (key: string, dtype: DType, numel: number, fault: Fault): PickledStorage => {
    const known = sameStorage(storages.get(key), key, dtype, numel, fault);
    if (known) return known;
    const bytes = elementBytes(dtype, numel);
    claimed += bytes;
    if (claimed > r.remaining)
      throw fault(`storage ${key}`, `at most ${r.remaining} bytes of storages`, `${claimed}`);
    const storage = new PickledStorage(dtype, DTYPES[dtype].allocate(numel));
    storages.set(key, storage);
    return storage;
  };
  // Quantizers hold tensors whose values count while tensors are rebuilt, and values come last in the file:
  // the first run only collects storages.
  const start = r.position;
  unpickle(r, new TorchHost(r, find, true));
  const keys = unpickle(r, plain);
  if (!Array.isArray(keys)) throw r.error('storage keys', 'a list', kindOf(keys));
  const missing = new Set(storages.keys());
  for (const key of keys as unknown[]) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage || !missing.delete(key as string)) {
      throw r.error('storage keys', 'each storage of the pickle once', show(key));
    }
    const at = r.position;
    const numel = r.u64('storage size');
    if (numel !== storage.elements.length) {
      throw r.error(`storage ${key}`, `${storage.elements.length} elements`, `${numel}`, at);
    }
    const data = r.position;
    const bytes = r.take(elementBytes(storage.dtype, numel), `storage ${key}`);
    storage.elements.set(
      decodeElements(bytes, storage.dtype, (position, got) =>
        r.error(`storage ${key}`, 'integers within ±2^53', got, data + position),
      ),
    );
  }
  if (missing.size > 0) throw r.error('storage keys', `the contents of storage ${[...missing][0]}`, 'none');
  r.seek(start, 'pickle');
  return unpickle(r, new TorchHost(r, find)) as PickleValue;
}
