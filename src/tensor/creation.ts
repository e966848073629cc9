import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import { defaultGenerator, type Generator } from '../core/random.ts';
import { DTYPES, type DType, isQuantizedDType, type PlainDType, type TypedArray } from './dtype.ts';
import { formatShape, resolveShape, type Shape } from './shape.ts';
import { encodeNumbers, fromStorage, type Tensor } from './tensor.ts';

/** Options of the creation functions. */
export interface TensorOptions {
  /** Element type; float32 where not given (integers stay float32 too: say `dtype: 'int64'` for indices). */
  readonly dtype?: PlainDType;
  /** Record operations on the result for `backward()`. */
  readonly requiresGrad?: boolean;
}

/** Options of the random creation functions. */
export interface RandomOptions extends TensorOptions {
  /** Source of randomness; the default generator (see `manualSeed`) where not given. */
  readonly generator?: Generator;
}

/** Numbers or booleans, nested to any depth. */
export type Nested = number | boolean | readonly Nested[];

const ARRAY_DTYPES: ReadonlyArray<readonly [new () => TypedArray, PlainDType]> = [
  [Float32Array, 'float32'],
  [Float64Array, 'float64'],
  [Int8Array, 'int8'],
  [Uint8Array, 'uint8'],
  [Int16Array, 'int16'],
  [Int32Array, 'int32'],
];

/**
 * A tensor from nested arrays or a typed array.
 *
 * A typed array keeps its type (`Uint8Array` → uint8) and is used as storage without copying when no other dtype is
 * asked for. Nested arrays give float32, or bool where every element is a boolean. Source: `torch.tensor`.
 *
 * @param values Nested arrays, a number, or a typed array (then `shape` says how to read it).
 * @throws {@link ShapeError} where rows differ in length or the shape does not fit.
 * @example
 * tensor([[1, 2], [3, 4]]);
 * tensor(new Float32Array(6), { shape: [2, 3] });
 * tensor([3, 1, 2], { dtype: 'int64' });
 */
export function tensor(
  values: Nested | TypedArray,
  options: TensorOptions & { readonly shape?: Shape } = {},
): Tensor {
  let storage: TypedArray;
  let natural: Shape;
  let dtype: PlainDType;
  if (ArrayBuffer.isView(values)) {
    const own = ARRAY_DTYPES.find(([type]) => values instanceof type)?.[1];
    if (own === undefined) {
      throw new ArgumentError({
        fn: 'tensor',
        argument: 'values',
        expected: 'a Float32Array, Float64Array, Int8Array, Uint8Array, Int16Array or Int32Array',
        got: (values as object).constructor.name,
      });
    }
    dtype = options.dtype ?? own;
    storage = dtype === own ? values : encodeNumbers(values, dtype);
    natural = [values.length];
  } else {
    const flat: number[] = [];
    natural = flatten(values as Nested, flat);
    dtype = options.dtype ?? (isAllBoolean(values as Nested) ? 'bool' : 'float32');
    storage = encodeNumbers(flat, dtype);
  }
  const shape = options.shape ? resolveShape(options.shape, storage.length, 'tensor') : natural;
  return finish(fromStorage(storage, shape, dtype), options);
}

/** A tensor of zeros. Source: `torch.zeros`. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  checkShape(shape, 'zeros');
  const dtype = options.dtype ?? 'float32';
  return finish(fromStorage(DTYPES[dtype].allocate(product(shape)), shape, dtype), options);
}

/** A tensor of ones. Source: `torch.ones`. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** A tensor of one repeated value. Source: `torch.full`. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  checkShape(shape, 'full');
  const dtype = options.dtype ?? 'float32';
  const storage = DTYPES[dtype].allocate(product(shape)).fill(encodeNumbers([value], dtype)[0]);
  return finish(fromStorage(storage, shape, dtype), options);
}

/** Zeros in the shape and dtype of `x`, which is not quantized (or `dtype` is given). Source: `torch.zeros_like`. */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return zeros(x.shape, { ...options, dtype: options.dtype ?? plainDType(x.dtype, 'zerosLike') });
}

/** Ones in the shape and dtype of `x`, which is not quantized (or `dtype` is given). Source: `torch.ones_like`. */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  return ones(x.shape, { ...options, dtype: options.dtype ?? plainDType(x.dtype, 'onesLike') });
}

/**
 * Numbers from `start` (0) up to but not including `end`, `step` (1) apart: int64 where all three are whole, float32
 * otherwise, unless another dtype is given. Source: `torch.arange`.
 *
 * @example
 * arange(3);        // [0, 1, 2]
 * arange(1, 7, 2);  // [1, 3, 5]
 */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  const from = end === undefined ? 0 : start;
  const to = end === undefined ? start : end;
  const n = Math.ceil((to - from) / step);
  if (!Number.isFinite(n) || n < 0) {
    throw new ArgumentError({
      fn: 'arange',
      argument: 'step',
      expected: `a step that leads from ${from} to ${to}`,
      got: String(step),
    });
  }
  const integers = [from, to, step].every(Number.isInteger);
  const values = Float64Array.from({ length: n }, (_, i) => from + i * step);
  return tensor(values, {
    dtype: options.dtype ?? (integers ? 'int64' : 'float32'),
    requiresGrad: options.requiresGrad,
  });
}

/** `steps` evenly spaced numbers from `start` to `end`, both included, float32. Source: `torch.linspace`. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkShape([steps], 'linspace');
  // PyTorch walks in the target precision, from both ends toward the middle.
  const round = options.dtype === 'float64' ? Number : Math.fround;
  const [first, last] = [round(start), round(end)];
  const step = steps > 1 ? round(round(last - first) / (steps - 1)) : 0;
  const values = Float64Array.from({ length: steps }, (_, i) =>
    i < steps / 2 ? round(first + step * i) : round(last - step * (steps - 1 - i)),
  );
  return tensor(values, { dtype: options.dtype ?? 'float32', requiresGrad: options.requiresGrad });
}

/** The identity matrix of n × m (m = n). Source: `torch.eye`. */
export function eye(n: number, m: number = n, options: TensorOptions = {}): Tensor {
  const x = zeros([n, m], { dtype: options.dtype });
  const [one] = encodeNumbers([1], x.dtype);
  for (let i = 0; i < Math.min(n, m); i++) x.storage[i * m + i] = one;
  return finish(x, options);
}

/** Uniform random numbers in [0, 1), float32: the same as `torch.rand` for the same seed, in float64 too. */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  checkShape(shape, 'rand');
  const storage = randomStorage(shape, options);
  (options.generator ?? defaultGenerator).fillUniform(storage);
  return finish(tensor(storage, { shape, dtype: options.dtype ?? 'float32' }), options);
}

/** Standard normal random numbers: the stream of `torch.randn` for the same seed, up to rounding of log, sin and cos. */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  checkShape(shape, 'randn');
  const storage = randomStorage(shape, options);
  (options.generator ?? defaultGenerator).fillNormal(storage);
  return finish(tensor(storage, { shape, dtype: options.dtype ?? 'float32' }), options);
}

/**
 * Whole random numbers in [low, high), int64 unless another dtype is given: the same as `torch.randint` for the same
 * seed.
 *
 * @throws {@link ArgumentError} where the range is empty or its bounds are not whole.
 */
export function randint(low: number, high: number, shape: Shape, options: RandomOptions = {}): Tensor {
  checkShape(shape, 'randint');
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || high <= low || high - low > 2 ** 53) {
    throw new ArgumentError({
      fn: 'randint',
      argument: 'high',
      expected: 'whole numbers low < high, at most 2^53 apart',
      got: `low ${low}, high ${high}`,
    });
  }
  const g = options.generator ?? defaultGenerator;
  const values = Float64Array.from({ length: product(shape) }, () => low + g.below(high - low));
  return tensor(values, { shape, dtype: options.dtype ?? 'int64' });
}

/** A random order of 0 … n − 1 as int64. Source: `torch.randperm`. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  checkShape([n], 'randperm');
  const order = (options.generator ?? defaultGenerator).permutation(n);
  return tensor(order, { dtype: options.dtype ?? 'int64' });
}

/** Float64 draws are their own stream in PyTorch; the 16-bit floats here are rounded float32 draws. */
function randomStorage(shape: Shape, options: RandomOptions): Float32Array | Float64Array {
  return options.dtype === 'float64' ? new Float64Array(product(shape)) : new Float32Array(product(shape));
}

function finish(x: Tensor, options: TensorOptions): Tensor {
  if (options.requiresGrad) x.requiresGrad = true;
  return x;
}

function checkShape(shape: Shape, fn: string): void {
  if (!Array.isArray(shape) || shape.some((s) => !Number.isInteger(s) || s < 0)) {
    throw new ShapeError({
      fn,
      argument: 'shape',
      expected: 'a list of non-negative whole sizes',
      got: JSON.stringify(shape),
    });
  }
}

function plainDType(dtype: DType, fn: string): PlainDType {
  if (!isQuantizedDType(dtype)) return dtype;
  throw new DTypeError({
    fn,
    argument: 'tensor',
    expected: 'a plain dtype (a quantized one needs a scale and a zero point)',
    got: dtype,
    fix: "Say { dtype: 'float32' }, and quantize the result.",
  });
}

function isAllBoolean(values: Nested): boolean {
  return (
    typeof values === 'boolean' || (Array.isArray(values) && values.length > 0 && values.every(isAllBoolean))
  );
}

function flatten(values: Nested, into: number[]): number[] {
  if (!Array.isArray(values)) {
    into.push(Number(values));
    return [];
  }
  let inner: number[] = [];
  values.forEach((row, i) => {
    const shape = flatten(row as Nested, into);
    if (i > 0 && shape.join() !== inner.join()) {
      throw new ShapeError({
        fn: 'tensor',
        argument: 'values',
        expected: `every row of shape ${formatShape(inner)}, like the first`,
        got: `row ${i} of shape ${formatShape(shape)}`,
      });
    }
    inner = shape;
  });
  return [values.length, ...inner];
}
