import { ShapeError } from '../../core/errors.ts';
import { buildLookupTable, qLookup } from '../../kernels/int8/elementwise.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { type PerTensorQParams, perTensorQParams } from '../../tensor/qparams.ts';
import { formatShape } from '../../tensor/shape.ts';
import { requireQuantized, Tensor } from '../../tensor/tensor.ts';
import { dense, slicesAlong, stridesInOrder } from '../float/layout.ts';
import { reduction } from '../float/reduction.ts';
import type { Ops, QuantizedOps } from '../signatures/index.ts';
import { activationQParams } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';

type Bytes = Uint8Array | Int8Array;

/** A function of one float32, in float32. */
type Curve = (v: number) => number;

const { fround, exp, min: smaller, max: larger } = Math;

/** Applies a function through the table of its 256 possible results; memory order stays. */
function throughTable(x: Tensor, curve: Curve, output: PerTensorQParams, fn: string): Tensor {
  const input = activationQParams(x, fn);
  const table = buildLookupTable(curve, input, output, x.dtype === 'qint8');
  const { data, strides } = dense(x);
  const storage = qLookup<Bytes>(data as Bytes, table);
  return new Tensor({ storage, shape: x.shape, strides, dtype: x.dtype, qparams: output });
}

/** The output parameters given by the caller, checked against the dtype of `x`. */
function outputOf(x: Tensor, scale: number, zeroPoint: number, fn: string): PerTensorQParams {
  activationQParams(x, fn);
  return perTensorQParams(scale, zeroPoint, x.dtype as 'quint8' | 'qint8', fn);
}

const sigmoid: Curve = (v) => 1 / (1 + exp(-v));
const hardsigmoid: Curve = (v) => smaller(larger(fround(v + 3), 0), 6) / 6;
const hardswish: Curve = (v) => fround(v * smaller(larger(fround(v + 3), 0), 6)) / 6;
const elu =
  (alpha: number): Curve =>
  (v) =>
    v > 0 ? v : fround(alpha) * fround(fround(exp(v)) - 1);
const celu =
  (alpha: number): Curve =>
  (v) =>
    v > 0 ? v : fround(alpha) * fround(fround(exp(fround(v * fround(1 / alpha)))) - 1);
const leaky =
  (slope: number): Curve =>
  (v) =>
    v > 0 ? v : v * fround(slope);

/** Outputs in 0…1 take all 256 steps of the dtype. Source: `sigmoid_quantized_cpu`, `hardsigmoid_quantized_cpu`. */
function unitRange(x: Tensor, fn: string): PerTensorQParams {
  return outputOf(x, 1 / 256, DTYPES[x.dtype].min, fn);
}

/** Outputs in −1…1. Source: `tanh_quantized_cpu`. */
function symmetricRange(x: Tensor, fn: string): PerTensorQParams {
  return outputOf(x, 2 / 256, x.dtype === 'qint8' ? 0 : 128, fn);
}

/** Dequantizes, normalizes in float, quantizes. Source: `qsoftmax_naive`. */
function softmax(x: Tensor, dim: number, output: PerTensorQParams, fn: string): Tensor {
  activationQParams(x, fn);
  const y = reduction.softmax(quantizeCrossing.dequantize(x), dim);
  return quantizeCrossing.quantizePerTensor(y, output.scale, output.zeroPoint, x.dtype as 'quint8' | 'qint8');
}

/** One table per slope. Source: `qprelu_out_kernel`. */
function prelu(x: Tensor, weight: Tensor, scale: number, zeroPoint: number): Tensor {
  const fn = 'quantized::prelu';
  requireQuantized(weight, fn);
  const output = outputOf(x, scale, zeroPoint, fn);
  const slopes = weight.numbers();
  if (slopes.length === 1) return throughTable(x, leaky(slopes[0]), output, fn);
  if (x.ndim < 2 || slopes.length !== x.shape[1]) {
    throw new ShapeError({
      fn,
      argument: 'weight',
      expected: `one slope, or one per channel of an input of shape ${formatShape(x.shape)}`,
      got: `${slopes.length}`,
    });
  }
  const input = activationQParams(x, fn);
  const signed = x.dtype === 'qint8';
  const tables = Array.from(slopes, (slope) => buildLookupTable(leaky(slope), input, output, signed));
  const { data, outer, size, inner, order } = slicesAlong(x, 1);
  const storage = DTYPES[x.dtype].allocate(data.length);
  const first = DTYPES[x.dtype].min;
  for (let o = 0, at = 0; o < outer; o++) {
    for (let c = 0; c < size; c++) {
      const table = tables[c];
      for (const end = at + inner; at < end; at++) storage[at] = table[data[at] - first];
    }
  }
  return new Tensor({
    storage,
    shape: x.shape,
    strides: stridesInOrder(x.shape, order),
    dtype: x.dtype,
    qparams: output,
  });
}

type Activations = Partial<Ops> &
  Pick<
    QuantizedOps,
    | `quantized::${'hardswish' | 'elu' | 'celu' | 'leaky_relu' | 'prelu' | 'sigmoid' | 'tanh'}`
    | 'quantized::softmax'
    | 'quantized::threshold'
  >;

/**
 * Activations on per-tensor quantized tensors. Those that name no output parameters have fixed ones, or keep the
 * input's, as in PyTorch.
 */
export const activations: Activations = {
  sigmoid: (x) => throughTable(x, sigmoid, unitRange(x, 'sigmoid'), 'sigmoid'),
  hardsigmoid: (x) => throughTable(x, hardsigmoid, unitRange(x, 'hardsigmoid'), 'hardsigmoid'),
  tanh: (x) => throughTable(x, Math.tanh, symmetricRange(x, 'tanh'), 'tanh'),
  softmax: (x, dim) => softmax(x, dim, unitRange(x, 'softmax'), 'softmax'),
  leakyRelu: (x, slope) => throughTable(x, leaky(slope), activationQParams(x, 'leakyRelu'), 'leakyRelu'),
  'quantized::sigmoid': (x, scale, zeroPoint) =>
    throughTable(x, sigmoid, outputOf(x, scale, zeroPoint, 'quantized::sigmoid'), 'quantized::sigmoid'),
  'quantized::tanh': (x, scale, zeroPoint) =>
    throughTable(x, Math.tanh, outputOf(x, scale, zeroPoint, 'quantized::tanh'), 'quantized::tanh'),
  'quantized::hardswish': (x, scale, zeroPoint) =>
    throughTable(x, hardswish, outputOf(x, scale, zeroPoint, 'quantized::hardswish'), 'quantized::hardswish'),
  'quantized::elu': (x, scale, zeroPoint, alpha) =>
    throughTable(x, elu(alpha), outputOf(x, scale, zeroPoint, 'quantized::elu'), 'quantized::elu'),
  'quantized::celu': (x, scale, zeroPoint, alpha) =>
    throughTable(x, celu(alpha), outputOf(x, scale, zeroPoint, 'quantized::celu'), 'quantized::celu'),
  'quantized::leaky_relu': (x, slope, scale, zeroPoint) =>
    throughTable(
      x,
      leaky(slope),
      outputOf(x, scale, zeroPoint, 'quantized::leaky_relu'),
      'quantized::leaky_relu',
    ),
  'quantized::prelu': prelu,
  'quantized::softmax': (x, dim, scale, zeroPoint) =>
    softmax(x, dim, outputOf(x, scale, zeroPoint, 'quantized::softmax'), 'quantized::softmax'),
  'quantized::threshold': (x, threshold, value) =>
    throughTable(
      x,
      (v) => (v > threshold ? v : value),
      activationQParams(x, 'quantized::threshold'),
      'quantized::threshold',
    ),
};
