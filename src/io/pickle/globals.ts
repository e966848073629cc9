import { DTYPES, type DType } from '../../tensor/dtype.ts';

/** Storage classes of PyTorch and the dtype their elements have. */
export const STORAGE_DTYPES: Readonly<Record<string, DType>> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
  QInt8Storage: 'qint8',
  QUInt8Storage: 'quint8',
  QInt32Storage: 'qint32',
};

/** Storage class that a dtype is written with; none for `quint4x2`, which PyTorch itself cannot write whole. */
export function storageClassOf(dtype: DType): string | undefined {
  return Object.keys(STORAGE_DTYPES).find((name) => STORAGE_DTYPES[name] === dtype);
}

/** Other names of dtypes in the `torch` module. */
const DTYPE_ALIASES: Readonly<Record<string, DType>> = {
  float: 'float32',
  double: 'float64',
  half: 'float16',
  long: 'int64',
  int: 'int32',
  short: 'int16',
};

/** The quantization schemes that PyTorch pickles as globals of `torch`. */
export const QSCHEME_NAMES: ReadonlySet<string> = new Set([
  'per_tensor_affine',
  'per_tensor_symmetric',
  'per_channel_affine',
  'per_channel_symmetric',
  'per_channel_affine_float_qparams',
]);

/**
 * The string for a constant of the `torch` module (`torch.qint8` → `'qint8'`), or undefined where it is not
 * one.
 */
export function torchConstant(name: string): string | undefined {
  if (QSCHEME_NAMES.has(name) || isDTypeName(name)) return name;
  return Object.hasOwn(DTYPE_ALIASES, name) ? DTYPE_ALIASES[name] : undefined;
}

/** True for the names of dtypes. */
export function isDTypeName(name: string): name is DType {
  return Object.hasOwn(DTYPES, name);
}

/**
 * Classes of TorchScript objects whose state PyTorch keeps in state dicts (dynamic LSTM cells, packed
 * weights).
 */
export const SCRIPT_CLASS: RegExp = /^__torch__\.torch\.classes\.(quantized|rnn|sparse)\.\w+$/;
