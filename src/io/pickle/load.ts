import type { FileFormatError } from '../../core/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { ByteReader } from '../bytes.ts';
import { decodeElements, elementBytes } from '../elements.ts';
import { type FileSource, readSource } from '../files.ts';
import { type ArchiveOptions, isZip, ZipArchive } from '../zip.ts';
import { SCRIPT_CLASS, STORAGE_DTYPES, torchConstant } from './globals.ts';
import { type Fault, PickledStorage, rebuildQuantizedTensor, rebuildTensor } from './tensors.ts';
import { kindOf, type PickleHost, show, unpickle } from './unpickler.ts';

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
 * Dicts become `Map`, lists and tuples arrays, dtypes and quantization schemes their names (`'qint8'`), integers
 * beyond 2^53 `bigint`, TorchScript objects of packed weights `[className, state]`. Tensors keep their strides, and those
 * that shared a storage share a typed array. int64 values beyond 2^53 are refused.
 *
 * Nothing in the file is executed: a pickle that names anything but tensors and plain containers is refused by that
 * name. Source: `torch.load`.
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

const versionsOf = new WeakMap<object, ReadonlyMap<string, number>>();

/**
 * The module versions that PyTorch keeps beside a state dict (`state_dict._metadata`): module path → version. Null
 * where the dict came without them.
 *
 * @example
 * moduleVersions(dict)?.get('fc._packed_params'); // 3
 */
export function moduleVersions(dict: Map<never, unknown>): ReadonlyMap<string, number> | null {
  return versionsOf.get(dict) ?? null;
}

/** Passes the module versions of one dict on to another made from it; `rename` gives null for those to drop. */
export function keepModuleVersions(
  from: Map<never, unknown>,
  to: Map<never, unknown>,
  rename: (path: string) => string | null,
): void {
  const versions = versionsOf.get(from);
  if (!versions) return;
  const kept = new Map<string, number>();
  for (const [path, version] of versions) {
    const name = rename(path);
    if (name !== null) kept.set(name, version);
  }
  versionsOf.set(to, kept);
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
    const known = storages.get(key);
    if (known) {
      if (known.dtype !== dtype || known.elements.length !== numel) {
        throw fault(
          `storage ${key}`,
          `${known.elements.length} of ${known.dtype}, as before`,
          `${numel} of ${dtype}`,
        );
      }
      return known;
    }
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
  // Contents follow the pickle that names them; what all of them claim together must fit the bytes that are there.
  let claimed = 0;
  const find = (key: string, dtype: DType, numel: number, fault: Fault): PickledStorage => {
    const known = storages.get(key);
    if (known) {
      if (known.dtype !== dtype || known.elements.length !== numel) {
        throw fault(
          `storage ${key}`,
          `${known.elements.length} of ${known.dtype}, as before`,
          `${numel} of ${dtype}`,
        );
      }
      return known;
    }
    const bytes = elementBytes(dtype, numel);
    claimed += bytes;
    if (claimed > r.remaining)
      throw fault(`storage ${key}`, `at most ${r.remaining} bytes of storages`, `${claimed}`);
    const blank = decodeElements(new Uint8Array(bytes), dtype, () => fault('storage', 'zeros', 'others'));
    const storage = new PickledStorage(dtype, blank);
    storages.set(key, storage);
    return storage;
  };
  // Quantizers hold tensors whose values count while tensors are rebuilt, and values come last in the file: the first
  // run only collects storages.
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

type StorageFinder = (key: string, dtype: DType, numel: number, fault: Fault) => PickledStorage;

/** A class or function that pickles may name. */
class KnownGlobal {
  readonly name: string;
  readonly call: ((args: readonly unknown[], fault: Fault) => unknown) | null;

  constructor(name: string, call: KnownGlobal['call'] = null) {
    this.name = name;
    this.call = call;
  }
}

class StorageClass {
  readonly dtype: DType;

  constructor(dtype: DType) {
    this.dtype = dtype;
  }
}

/** A TorchScript object while its state is on the way; it is the array `[className, state]` that users get. */
const scriptObjects = new WeakSet<object>();

const rebuildParameter = (args: readonly unknown[], fault: Fault): unknown => {
  const [data, requiresGrad] = args;
  if (!(data instanceof Tensor)) throw fault('parameter', 'a tensor', kindOf(data));
  data.requiresGrad = requiresGrad === true;
  return data;
};

const rebuildFromType = (args: readonly unknown[], fault: Fault): unknown => {
  const [rebuild, , inner] = args;
  if (
    !(rebuild instanceof KnownGlobal) ||
    !rebuild.call ||
    rebuild.call === rebuildFromType ||
    !Array.isArray(inner)
  ) {
    throw fault('tensor', 'a rebuild function and its arguments', kindOf(rebuild));
  }
  return rebuild.call(inner, fault);
};

const toSet = ([items = []]: readonly unknown[], fault: Fault): unknown => {
  if (!Array.isArray(items)) throw fault('set', 'a list', kindOf(items));
  return new Set(items);
};

const toSize = ([sizes = []]: readonly unknown[], fault: Fault): unknown => {
  if (!Array.isArray(sizes)) throw fault('torch.Size', 'a tuple', kindOf(sizes));
  return sizes;
};

const toDevice = (args: readonly unknown[], fault: Fault): unknown => {
  if (args.some((part) => typeof part !== 'string' && typeof part !== 'number')) {
    throw fault('torch.device', 'a name and an index', args.map(show).join(', '));
  }
  return args.join(':');
};

const toOrderedDict = ([items = []]: readonly unknown[], fault: Fault): unknown => {
  const dict = new Map<unknown, unknown>();
  if (!Array.isArray(items)) throw fault('OrderedDict', 'a list of pairs', kindOf(items));
  for (const pair of items as unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] === 'object') {
      throw fault('OrderedDict', 'pairs of a key and a value', kindOf(pair));
    }
    dict.set(pair[0], pair[1]);
  }
  return dict;
};

const encodeLatin1 = ([text, encoding]: readonly unknown[], fault: Fault): unknown => {
  if (typeof text !== 'string' || encoding !== 'latin1' || /[^\0-\xff]/.test(text)) {
    throw fault('bytes', 'latin1 text', kindOf(text));
  }
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
};

const GLOBALS: ReadonlyMap<string, KnownGlobal> = new Map(
  [
    new KnownGlobal('collections.OrderedDict', toOrderedDict),
    new KnownGlobal('torch._utils._rebuild_tensor', rebuildTensor),
    new KnownGlobal('torch._utils._rebuild_tensor_v2', rebuildTensor),
    new KnownGlobal('torch._utils._rebuild_qtensor', rebuildQuantizedTensor),
    new KnownGlobal('torch._utils._rebuild_parameter', rebuildParameter),
    new KnownGlobal('torch._tensor._rebuild_from_type_v2', rebuildFromType),
    new KnownGlobal('torch.Size', toSize),
    new KnownGlobal('torch.device', toDevice),
    new KnownGlobal('torch.Tensor'),
    new KnownGlobal('torch.nn.parameter.Parameter'),
    new KnownGlobal('torch.ScriptObject'),
    new KnownGlobal('builtins.set', toSet),
    new KnownGlobal('builtins.frozenset', toSet),
    new KnownGlobal('__builtin__.set', toSet),
    new KnownGlobal('__builtin__.frozenset', toSet),
    new KnownGlobal('_codecs.encode', encodeLatin1),
  ].map((known) => [known.name, known]),
);

class TorchHost implements PickleHost {
  readonly #reader: ByteReader;
  readonly #find: StorageFinder;

  readonly #withoutTensors: boolean;

  constructor(reader: ByteReader, find: StorageFinder, withoutTensors = false) {
    this.#reader = reader;
    this.#find = find;
    this.#withoutTensors = withoutTensors;
  }

  findGlobal(module: string, name: string, offset: number): unknown {
    const known = GLOBALS.get(`${module}.${name}`);
    if (known) return known;
    if ((module === 'torch' || module === 'torch.cuda') && Object.hasOwn(STORAGE_DTYPES, name)) {
      return new StorageClass(STORAGE_DTYPES[name]);
    }
    const constant = module === 'torch' ? torchConstant(name) : undefined;
    if (constant !== undefined) return constant;
    throw this.#error(
      offset,
      'pickle',
      'tensors and plain containers',
      `the global ${module}.${name}`,
      'Nothing in a file is ever executed; save the state_dict() alone.',
    );
  }

  call(callee: unknown, args: readonly unknown[], offset: number): unknown {
    if (!(callee instanceof KnownGlobal) || !callee.call) {
      throw this.#error(offset, 'pickle', 'a call of a known function', `a call of ${describe(callee)}`);
    }
    if (this.#withoutTensors && callee.name.startsWith('torch._')) return null;
    return callee.call(args, this.#fault(offset));
  }

  create(type: unknown, args: readonly unknown[], offset: number): unknown {
    if (type instanceof KnownGlobal && args.length === 0) {
      if (type.name === 'collections.OrderedDict') return new Map();
      if (type.name === 'torch.ScriptObject') {
        const object: unknown[] = [];
        scriptObjects.add(object);
        return object;
      }
    }
    throw this.#error(offset, 'pickle', 'a class of plain data', describe(type));
  }

  build(target: unknown, state: unknown, offset: number): void {
    if (target instanceof Map && state instanceof Map) {
      const versions = readVersions(state.get('_metadata'));
      if (versions) versionsOf.set(target, versions);
      return;
    }
    if (Array.isArray(target) && scriptObjects.has(target) && Array.isArray(state)) {
      const [value, name] = state as unknown[];
      if (typeof name === 'string' && SCRIPT_CLASS.test(name)) {
        scriptObjects.delete(target);
        target.push(name, value);
        return;
      }
      throw this.#error(offset, 'script object', 'packed weights', show(name));
    }
    throw this.#error(offset, 'pickle', 'state for a dict', `state for ${kindOf(target)}`);
  }

  persistentLoad(id: unknown, offset: number): unknown {
    const fault = this.#fault(offset);
    if (!Array.isArray(id) || id[0] !== 'storage') {
      const module = Array.isArray(id) && id[0] === 'module';
      throw this.#error(
        offset,
        'persistent id',
        'a storage',
        module ? 'a whole module' : kindOf(id),
        'Save the state_dict() instead of the model.',
      );
    }
    const [, type, key, , numel, view] = id as unknown[];
    if (!(type instanceof StorageClass)) throw fault('storage', 'a typed storage', describe(type));
    if (typeof key !== 'string') throw fault('storage key', 'a string', kindOf(key));
    if (typeof numel !== 'number' || !Number.isSafeInteger(numel) || numel < 0) {
      throw fault('storage size', 'a whole number', show(numel));
    }
    if (view === undefined || view === null) return this.#find(key, type.dtype, numel, fault);
    return this.#storageView(key, type.dtype, numel, view, fault);
  }

  /** Storages that were windows on other storages, as files of PyTorch before 0.4 have them. */
  #storageView(key: string, dtype: DType, numel: number, view: unknown, fault: Fault): PickledStorage {
    const root = this.#find(key, dtype, numel, fault);
    const [, start, length] = Array.isArray(view) ? (view as unknown[]) : [];
    const valid = [start, length].every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0);
    if (!valid || (start as number) + (length as number) > numel) {
      throw fault('storage view', `a window inside ${numel} elements`, `${show(start)} + ${show(length)}`);
    }
    const from = start as number;
    return new PickledStorage(dtype, root.elements.subarray(from, from + (length as number)));
  }

  isData(value: object): boolean {
    return value instanceof Tensor || value instanceof Uint8Array;
  }

  #error(offset: number, what: string, expected: string, got: string, fix?: string): FileFormatError {
    return this.#reader.error(what, expected, got, offset, fix);
  }

  #fault(offset: number): Fault {
    return (what, expected, got) => this.#error(offset, what, expected, got);
  }
}

function readVersions(metadata: unknown): ReadonlyMap<string, number> | null {
  if (!(metadata instanceof Map)) return null;
  const versions = new Map<string, number>();
  for (const [path, local] of metadata) {
    const version: unknown = local instanceof Map ? local.get('version') : undefined;
    if (typeof path === 'string' && typeof version === 'number') versions.set(path, version);
  }
  return versions;
}

function describe(value: unknown): string {
  if (value instanceof KnownGlobal) return value.name;
  return value instanceof StorageClass ? `a ${value.dtype} storage class` : kindOf(value);
}
