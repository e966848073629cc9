import { ArgumentError, DTypeError } from '../../core/errors.ts';
import type { DType, TypedArray } from '../../tensor/dtype.ts';
import { isPerChannel } from '../../tensor/qparams.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { StateDict, StateValue } from '../../tensor/state.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { encodeElements } from '../elements.ts';
import { writeFile } from '../files.ts';
import { writeZip, type ZipFile } from '../zip.ts';
import { isDTypeName, QSCHEME_NAMES, SCRIPT_CLASS, storageClassOf } from './globals.ts';
import { moduleVersions } from './host.ts';
import { Pickler } from './pickler.ts';

/** Options of {@link writePyTorch}. */
export interface PyTorchWriteOptions {
  /**
   * Versions of the modules, path → version, as PyTorch keeps them in `state_dict._metadata`; its
   * `load_state_dict` looks there before it reads packed weights. Taken from the dict where it was loaded
   * from a file; otherwise packed parameters and the layers that own them get version 3 and 1 (embeddings),
   * those of PyTorch 1.13.
   */
  readonly versions?: ReadonlyMap<string, number>;
}

const FN = 'savePyTorch';
const PACKED_LINEAR = /(^|\.)_packed_params\._packed_params$/;
// PyTorch maps files into memory and wants storages on cache lines.
const ALIGNMENT = 64;

/**
 * Writes a state dict as the zip file that `torch.load` reads, as an OrderedDict.
 *
 * Tensors keep strides; those that share a storage still share it afterwards. Arrays become tuples, whole
 * numbers ints and other numbers floats. Strings that name a dtype or a quantization scheme (`'qint8'`,
 * `'per_tensor_affine'`) become the `torch` constants, which is what quantized modules of PyTorch expect.
 * `quint4x2` is refused: PyTorch itself cannot save it whole. Float16 weights of dynamic layers are widened to the
 * float32 that PyTorch expects there; safetensors keeps them as they are.
 *
 * @example
 * const bytes = writePyTorch(model.stateDict());
 */
export function writePyTorch(dict: StateDict, options: PyTorchWriteOptions = {}): Uint8Array {
  const storages = new StorageTable();
  const p = new Pickler();
  const versions = options.versions ?? moduleVersions(dict) ?? guessVersions(dict);
  p.orderedDict(mapEntries(dict, (value, key) => writeValue(p, value, storages, key)));
  p.attributes([
    [
      '_metadata',
      () => p.orderedDict(mapEntries(versions, (version) => p.dict([['version', () => p.number(version)]]))),
    ],
  ]);
  const files: ZipFile[] = [
    { name: 'archive/data.pkl', bytes: p.finish() },
    ...storages.list.map(({ elements, dtype }, i) => ({
      name: `archive/data/${i}`,
      bytes: encodeElements(elements, dtype),
    })),
    { name: 'archive/version', bytes: new TextEncoder().encode('3\n') },
  ];
  return writeZip(files, ALIGNMENT, FN);
}

/**
 * {@link writePyTorch} into a file, which appears whole or not at all.
 *
 * @example
 * await savePyTorch(model.stateDict(), 'model.pt'); // torch.load('model.pt') in Python
 */
export async function savePyTorch(
  dict: StateDict,
  path: string | URL,
  options: PyTorchWriteOptions = {},
): Promise<void> {
  await writeFile(path, writePyTorch(dict, options));
}

class StorageTable {
  readonly list: { readonly elements: TypedArray; readonly dtype: DType }[] = [];
  readonly #index = new Map<TypedArray, Map<DType, number>>();

  indexOf(elements: TypedArray, dtype: DType): number {
    let byDType = this.#index.get(elements);
    if (!byDType) {
      byDType = new Map();
      this.#index.set(elements, byDType);
    }
    let index = byDType.get(dtype);
    if (index === undefined) {
      index = this.list.push({ elements, dtype }) - 1;
      byDType.set(dtype, index);
    }
    return index;
  }
}

function mapEntries<T>(
  map: ReadonlyMap<string, T>,
  write: (value: T, key: string) => void,
): [string, () => void][] {
  return [...map].map(([key, value]) => [key, () => write(value, key)]);
}

function writeValue(p: Pickler, value: StateValue, storages: StorageTable, key: string): void {
  if (value === null) p.none();
  else if (typeof value === 'boolean') p.boolean(value);
  else if (typeof value === 'number') p.number(value);
  else if (typeof value === 'string') {
    if (isDTypeName(value) || QSCHEME_NAMES.has(value)) p.global('torch', value);
    else p.string(value);
  } else if (value instanceof Tensor) {
    if (value.isQuantized) writeQuantized(p, value, storages, key);
    else writeTensor(p, value, storages, key);
  } else if (Array.isArray(value)) {
    const [name, state] = value as readonly StateValue[];
    if (value.length === 2 && typeof name === 'string' && SCRIPT_CLASS.test(name)) {
      const kept = name.endsWith('.LinearPackedParamsBase') ? widenHalf(state) : state;
      p.object('torch', 'ScriptObject', () =>
        p.tuple(
          () => writeValue(p, kept, storages, key),
          () => p.string(name),
        ),
      );
    } else {
      const items = (PACKED_LINEAR.test(key) ? widenHalf(value) : value) as readonly StateValue[];
      p.tuple(...items.map((v) => () => writeValue(p, v, storages, key)));
    }
  } else {
    throw new ArgumentError({
      fn: FN,
      argument: key,
      expected: 'a tensor, string, number, boolean, null or an array of these',
      got: typeof value,
    });
  }
}

/** PyTorch saves the float16 weights of linear layers as float32, and its layers round them again. */
function widenHalf(pair: StateValue): StateValue {
  if (!Array.isArray(pair)) return pair;
  return (pair as readonly StateValue[]).map((v) =>
    v instanceof Tensor && v.dtype === 'float16'
      ? new Tensor({ storage: v.numbers(), shape: v.shape, dtype: 'float32' })
      : v,
  );
}

function writeTensor(p: Pickler, x: Tensor, storages: StorageTable, key: string): void {
  p.call(
    'torch._utils',
    '_rebuild_tensor_v2',
    ...viewParts(p, x, storages, key),
    () => p.boolean(x.requiresGrad),
    () => p.call('collections', 'OrderedDict'),
  );
}

function writeQuantized(p: Pickler, x: Tensor, storages: StorageTable, key: string): void {
  const qparams = x.qparams!;
  const quantizer = (): void => {
    if (!isPerChannel(qparams)) {
      p.tuple(
        () => p.global('torch', 'per_tensor_affine'),
        () => p.float(qparams.scale),
        () => p.number(qparams.zeroPoint),
      );
      return;
    }
    const { scheme, scales, zeroPoints, axis } = qparams;
    const floats = scheme === 'per_channel_affine_float_qparams';
    const column = (values: ArrayLike<number>, dtype: 'float32' | 'float64' | 'int64') => () => {
      const storage = dtype === 'float32' ? Float32Array.from(values) : Float64Array.from(values);
      writeTensor(p, new Tensor({ storage, shape: [values.length], dtype }), storages, key);
    };
    p.tuple(
      () => p.global('torch', scheme),
      column(scales, floats ? 'float32' : 'float64'),
      column(zeroPoints, floats ? 'float32' : 'int64'),
      () => p.number(axis),
    );
  };
  p.call(
    'torch._utils',
    '_rebuild_qtensor',
    ...viewParts(p, x, storages, key),
    quantizer,
    () => p.boolean(false),
    () => p.call('collections', 'OrderedDict'),
  );
}

/** The first four arguments of every rebuild function: storage, offset, size, stride. */
function viewParts(p: Pickler, x: Tensor, storages: StorageTable, key: string): (() => void)[] {
  const type = storageClassOf(x.dtype);
  if (type === undefined) {
    throw new DTypeError({
      fn: FN,
      argument: key,
      expected: 'a dtype that PyTorch can save',
      got: x.dtype,
      fix: 'Save to safetensors, which keeps it exactly.',
    });
  }
  const sizes = (shape: Shape) => () => p.tuple(...shape.map((n) => () => p.number(n)));
  const storage = (): void => {
    p.tuple(
      () => p.string('storage'),
      () => p.global('torch', type),
      () => p.string(String(storages.indexOf(x.storage, x.dtype))),
      () => p.string('cpu'),
      () => p.number(x.storage.length),
    );
    p.persistent();
  };
  return [storage, () => p.number(x.offset), sizes(x.shape), sizes(x.strides)];
}

function guessVersions(dict: StateDict): Map<string, number> {
  const versions = new Map<string, number>();
  for (const key of dict.keys()) {
    const match = /^(|.*\.)_packed_params\._packed_(params|weight)$/.exec(key);
    if (!match) continue;
    const version = match[2] === 'params' ? 3 : 1;
    versions.set(match[1].slice(0, -1), version);
    versions.set(`${match[1]}_packed_params`, version);
  }
  return versions;
}
