import type { FileFormatError } from '../../core/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { ByteReader } from '../bytes.ts';
import { SCRIPT_CLASS, STORAGE_DTYPES, torchConstant } from './globals.ts';
import { type Fault, PickledStorage, rebuildQuantizedTensor, rebuildTensor } from './tensors.ts';
import { kindOf, type PickleHost, show } from './unpickler.ts';

const versionsOf = new WeakMap<object, ReadonlyMap<string, number>>();

/**
 * The module versions that PyTorch keeps beside a state dict (`state_dict._metadata`): module path → version.
 * Null where the dict came without them.
 *
 * @example
 * moduleVersions(dict)?.get('fc._packed_params'); // 3
 */
export function moduleVersions(dict: ReadonlyMap<unknown, unknown>): ReadonlyMap<string, number> | null {
  return versionsOf.get(dict) ?? null;
}

/** Passes the module versions of one dict on to another made from it; `rename` gives null for those to drop. */
export function keepModuleVersions(
  from: ReadonlyMap<unknown, unknown>,
  to: ReadonlyMap<unknown, unknown>,
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

/** Finds or makes the storage that a persistent id names. */
export type StorageFinder = (key: string, dtype: DType, numel: number, fault: Fault) => PickledStorage;

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

/**
 * What pickles of PyTorch may name: tensors, storages, dtypes, plain containers. Everything else is refused
 * by its name. `withoutTensors` runs a pickle for the storages it names alone, with None for tensors.
 */
export class TorchHost implements PickleHost {
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
