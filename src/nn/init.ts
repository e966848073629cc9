// Fills tensors in place, in reading order, without recording gradients. Every function returns the tensor it filled;
// the same seed gives the same numbers as PyTorch. Source: `torch.nn.init`.
import { ShapeError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import { defaultGenerator, type Generator } from '../core/random.ts';
import { contiguousStrides, formatShape } from '../tensor/shape.ts';
import { copyStrided, encodeNumbers, type Tensor } from '../tensor/tensor.ts';

/** Functions a gain is known for; see {@link calculateGain}. */
export type Nonlinearity =
  | 'linear'
  | 'conv1d'
  | 'conv2d'
  | 'conv3d'
  | 'conv_transpose1d'
  | 'conv_transpose2d'
  | 'conv_transpose3d'
  | 'sigmoid'
  | 'tanh'
  | 'relu'
  | 'leaky_relu'
  | 'selu';

/** Options of the Kaiming initializations. */
export interface KaimingOptions {
  /** Negative slope of the rectifier that follows, for `leaky_relu`; 0 where not given. */
  readonly a?: number;
  /** Keep the variance of the forward (`fan_in`, the default) or of the backward pass. */
  readonly mode?: 'fan_in' | 'fan_out';
  /** `leaky_relu` where not given. */
  readonly nonlinearity?: Nonlinearity;
  readonly generator?: Generator;
}

/** The recommended gain after a nonlinearity. `param` is the negative slope of `leaky_relu` (0.01). */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  if (nonlinearity === 'tanh') return 5 / 3;
  if (nonlinearity === 'relu') return Math.sqrt(2);
  if (nonlinearity === 'leaky_relu') return Math.sqrt(2 / (1 + param ** 2));
  if (nonlinearity === 'selu') return 3 / 4;
  return 1;
}

/** Inputs and outputs of one unit of a weight [out, in, ...kernel]. Throws below two dimensions. */
export function calculateFanInAndFanOut(x: Tensor): { readonly fanIn: number; readonly fanOut: number } {
  requireDims(x, 'calculateFanInAndFanOut', x.ndim >= 2, 'a weight of two or more dimensions');
  const field = product(x.shape.slice(2));
  return { fanIn: x.shape[1] * field, fanOut: x.shape[0] * field };
}

/** Uniform numbers in [a, b). */
export function uniform_(x: Tensor, a = 0, b = 1, generator: Generator = defaultGenerator): Tensor {
  const n = x.numel;
  const out = new Float64Array(n);
  if (x.dtype === 'float64') {
    for (let i = 0; i < n; i++) out[i] = generator.uniformDouble() * (b - a) + a;
  } else {
    const from = Math.fround(a);
    const range = Math.fround(Math.fround(b) - from);
    // One rounding at the end, as the fused multiply-add of PyTorch's kernel has it.
    for (let i = 0; i < n; i++) out[i] = generator.uniform() * range + from;
  }
  return write(x, out);
}

/** Normal numbers of the given mean and standard deviation. */
export function normal_(x: Tensor, mean = 0, std = 1, generator: Generator = defaultGenerator): Tensor {
  const out = x.dtype === 'float64' ? new Float64Array(x.numel) : new Float32Array(x.numel);
  generator.fillNormal(out);
  for (let i = 0; i < out.length; i++) out[i] = out[i] * std + mean;
  return write(x, out);
}

/** Normal numbers of the given mean and standard deviation, none outside of [a, b]. */
export function truncNormal_(
  x: Tensor,
  mean = 0,
  std = 1,
  a = -2,
  b = 2,
  generator: Generator = defaultGenerator,
): Tensor {
  const low = 2 * normalCdf((a - mean) / std) - 1;
  const high = 2 * normalCdf((b - mean) / std) - 1;
  uniform_(x, low, high, generator);
  const u = x.numbers();
  const out = Float64Array.from(u, (v) => Math.min(Math.max(inverseErf(v) * std * Math.SQRT2 + mean, a), b));
  return write(x, out);
}

/** One value everywhere. */
export function constant_(x: Tensor, value: number): Tensor {
  return write(x, new Float64Array(x.numel).fill(value));
}

/** Ones. */
export function ones_(x: Tensor): Tensor {
  return constant_(x, 1);
}

/** Zeros. */
export function zeros_(x: Tensor): Tensor {
  return constant_(x, 0);
}

/** The identity matrix. */
export function eye_(x: Tensor): Tensor {
  requireDims(x, 'eye_', x.ndim === 2, 'a matrix');
  const [rows, cols] = x.shape;
  const out = new Float64Array(rows * cols);
  for (let i = 0; i < Math.min(rows, cols); i++) out[i * cols + i] = 1;
  return write(x, out);
}

/** A convolution weight that passes its input channels through, per group. */
export function dirac_(x: Tensor, groups = 1): Tensor {
  requireDims(x, 'dirac_', x.ndim >= 3 && x.ndim <= 5, 'a weight of 3, 4 or 5 dimensions');
  requireDims(x, 'dirac_', x.shape[0] % groups === 0, `a first size divisible by groups = ${groups}`);
  const strides = contiguousStrides(x.shape);
  const out = new Float64Array(x.numel);
  let centre = 0;
  for (let d = 2; d < x.ndim; d++) centre += strides[d] * Math.floor(x.shape[d] / 2);
  const perGroup = x.shape[0] / groups;
  for (let g = 0; g < groups; g++) {
    for (let d = 0; d < Math.min(perGroup, x.shape[1]); d++) {
      out[(g * perGroup + d) * strides[0] + d * strides[1] + centre] = 1;
    }
  }
  return write(x, out);
}

/** Glorot and Bengio (2010), uniform in ±gain·√(6 / (fanIn + fanOut)). */
export function xavierUniform_(x: Tensor, gain = 1, generator: Generator = defaultGenerator): Tensor {
  const { fanIn, fanOut } = calculateFanInAndFanOut(x);
  const bound = Math.sqrt(3) * (gain * Math.sqrt(2 / (fanIn + fanOut)));
  return uniform_(x, -bound, bound, generator);
}

/** Glorot and Bengio (2010), normal with standard deviation gain·√(2 / (fanIn + fanOut)). */
export function xavierNormal_(x: Tensor, gain = 1, generator: Generator = defaultGenerator): Tensor {
  const { fanIn, fanOut } = calculateFanInAndFanOut(x);
  return normal_(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), generator);
}

/** He et al. (2015), uniform in ±gain·√(3 / fan). */
export function kaimingUniform_(x: Tensor, options: KaimingOptions = {}): Tensor {
  if (x.numel === 0) return x;
  const bound = Math.sqrt(3) * kaimingStd(x, options);
  return uniform_(x, -bound, bound, options.generator);
}

/** He et al. (2015), normal with standard deviation gain / √fan. */
export function kaimingNormal_(x: Tensor, options: KaimingOptions = {}): Tensor {
  if (x.numel === 0) return x;
  return normal_(x, 0, kaimingStd(x, options), options.generator);
}

/** A (semi-)orthogonal matrix, over the flattened trailing dimensions. Saxe et al. (2013). */
export function orthogonal_(x: Tensor, gain = 1, generator: Generator = defaultGenerator): Tensor {
  requireDims(x, 'orthogonal_', x.ndim >= 2, 'two or more dimensions');
  if (x.numel === 0) return x;
  const rows = x.shape[0];
  const cols = x.numel / rows;
  const draw = x.dtype === 'float64' ? new Float64Array(x.numel) : new Float32Array(x.numel);
  generator.fillNormal(draw);
  // Orthonormalize along the longer side: columns of the matrix, or of its transpose where it is wide.
  const vectors = Array.from({ length: Math.min(rows, cols) }, (_, j) =>
    Float64Array.from({ length: Math.max(rows, cols) }, (_, i) =>
      rows < cols ? draw[j * cols + i] : draw[i * cols + j],
    ),
  );
  orthonormalize(vectors);
  const out = new Float64Array(x.numel);
  vectors.forEach((v, j) => {
    for (let i = 0; i < v.length; i++) out[rows < cols ? j * cols + i : i * cols + j] = gain * v[i];
  });
  return write(x, out);
}

/** Normal numbers with a fraction `sparsity` of every column set to zero. Martens (2010). */
export function sparse_(
  x: Tensor,
  sparsity: number,
  std = 0.01,
  generator: Generator = defaultGenerator,
): Tensor {
  requireDims(x, 'sparse_', x.ndim === 2, 'a matrix');
  const [rows, cols] = x.shape;
  normal_(x, 0, std, generator);
  const out = Float64Array.from(x.numbers());
  const zerosPerColumn = Math.ceil(sparsity * rows);
  for (let c = 0; c < cols; c++) {
    const order = generator.permutation(rows);
    for (let i = 0; i < zerosPerColumn; i++) out[order[i] * cols + c] = 0;
  }
  return write(x, out);
}

/**
 * The default of linear and convolution layers: Kaiming uniform with a = √5 for the weight, uniform in ±1/√fanIn for
 * the bias, drawn in this order.
 */
export function resetLike(weight: Tensor, bias: Tensor | null): void {
  kaimingUniform_(weight, { a: Math.sqrt(5) });
  if (bias === null) return;
  const { fanIn } = calculateFanInAndFanOut(weight);
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  if (fanIn > 0) uniform_(bias, -bound, bound);
}

function kaimingStd(x: Tensor, options: KaimingOptions): number {
  const { fanIn, fanOut } = calculateFanInAndFanOut(x);
  const gain = calculateGain(options.nonlinearity ?? 'leaky_relu', options.a ?? 0);
  return gain / Math.sqrt(options.mode === 'fan_out' ? fanOut : fanIn);
}

/** Writes numbers, given in reading order, into a tensor of any strides. */
function write(x: Tensor, values: Float64Array | Float32Array): Tensor {
  const encoded = encodeNumbers(values, x.dtype);
  copyStrided(encoded, 0, contiguousStrides(x.shape), x.storage, x.offset, x.strides, x.shape);
  return x;
}

/** Modified Gram–Schmidt, twice over for accuracy: the Q of a QR factorization whose R has a positive diagonal. */
function orthonormalize(vectors: readonly Float64Array[]): void {
  vectors.forEach((v, j) => {
    for (let pass = 0; pass < 2; pass++) {
      for (let k = 0; k < j; k++) {
        const u = vectors[k];
        let dot = 0;
        for (let i = 0; i < v.length; i++) dot += u[i] * v[i];
        for (let i = 0; i < v.length; i++) v[i] -= dot * u[i];
      }
    }
    let squares = 0;
    for (let i = 0; i < v.length; i++) squares += v[i] * v[i];
    const length = Math.sqrt(squares);
    for (let i = 0; i < v.length; i++) v[i] /= length;
  });
}

function normalCdf(x: number): number {
  return (1 + erf(x / Math.SQRT2)) / 2;
}

/** The error function by its series of positive terms (no cancellation), to double rounding. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Giles (2010), single-precision approximation, then two Newton steps. */
function inverseErf(y: number): number {
  if (Math.abs(y) >= 1) return y * Number.POSITIVE_INFINITY;
  let w = -Math.log((1 - y) * (1 + y));
  const coefficients =
    w < 5
      ? [
          2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503,
          -0.00417768164, 0.246640727, 1.50140941,
        ]
      : [
          -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
          0.00943887047, 1.00167406, 2.83297682,
        ];
  w = w < 5 ? w - 2.5 : Math.sqrt(w) - 3;
  let x = y * coefficients.reduce((p, c) => p * w + c);
  for (let i = 0; i < 2; i++) x -= (erf(x) - y) / ((2 / Math.sqrt(Math.PI)) * Math.exp(-x * x));
  return x;
}

function requireDims(x: Tensor, fn: string, holds: boolean, expected: string): void {
  if (!holds) throw new ShapeError({ fn, argument: 'x', expected, got: formatShape(x.shape) });
}
