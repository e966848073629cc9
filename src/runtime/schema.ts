import type { Generator } from '../core/random.ts';
import type { PackedWeights } from '../ops/quantized/packed.ts';
import type { PackedHalfWeights } from '../ops/quantized/packed-half.ts';
import type { PackedTransposedWeights } from '../ops/quantized/transposed.ts';
import type { OpArgs, OpName, OpResult } from '../ops/signatures/index.ts';
import type {
  AvgPoolGeometry,
  ConvGeometry,
  ConvTransposeGeometry,
  InterpolateOptions,
  PoolGeometry,
  Reduction,
} from '../ops/signatures/layer.ts';
import type { MemoryFormat, PadMode } from '../ops/signatures/movement.ts';
import type { Dims } from '../ops/signatures/reduction.ts';
import type { DType, QuantizedDType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** The types that arguments of operators have, by the name that the schema gives each. */
interface KindTypes {
  tensor: Tensor;
  'tensor?': Tensor | null;
  tensors: readonly Tensor[];
  operand: Tensor | number;
  number: number;
  'number?': number | null;
  'optional number': number | undefined;
  boolean: boolean;
  integers: readonly number[];
  sizes: number | readonly number[];
  dims: Dims;
  dtype: DType;
  'quantized dtype': QuantizedDType;
  gelu: 'none' | 'tanh';
  'memory format': MemoryFormat;
  'pad mode': PadMode;
  reduction: Reduction;
  'bag mode': 'sum' | 'mean' | 'max';
  conv: ConvGeometry;
  convTranspose: ConvTransposeGeometry;
  pool: PoolGeometry;
  avgPool: AvgPoolGeometry;
  interpolate: InterpolateOptions;
  packed: PackedWeights;
  'packed half': PackedHalfWeights;
  'packed transposed': PackedTransposedWeights;
  generator: Generator;
}

/** What an argument of an operator must be. */
export type Kind = keyof KindTypes;

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type KindOf<T> = { [K in Kind]: Same<KindTypes[K], T> extends true ? K : never }[Kind];
type KindsOf<T extends readonly unknown[]> = { readonly [I in keyof T]: KindOf<T[I]> };

/**
 * The kind of every argument of every operator: what a program that comes from a file is checked against. The compiler
 * checks the rows against the signatures.
 */
export const ARGUMENTS: { readonly [K in OpName]: KindsOf<OpArgs<K>> } = {
  neg: ['tensor'],
  abs: ['tensor'],
  exp: ['tensor'],
  expm1: ['tensor'],
  log: ['tensor'],
  log1p: ['tensor'],
  sqrt: ['tensor'],
  rsqrt: ['tensor'],
  square: ['tensor'],
  reciprocal: ['tensor'],
  sin: ['tensor'],
  cos: ['tensor'],
  tanh: ['tensor'],
  sigmoid: ['tensor'],
  erf: ['tensor'],
  sign: ['tensor'],
  floor: ['tensor'],
  ceil: ['tensor'],
  round: ['tensor'],
  relu: ['tensor'],
  relu6: ['tensor'],
  hardtanh: ['tensor', 'number', 'number'],
  leakyRelu: ['tensor', 'number'],
  prelu: ['tensor', 'tensor'],
  elu: ['tensor', 'number'],
  gelu: ['tensor', 'gelu'],
  silu: ['tensor'],
  hardswish: ['tensor'],
  hardsigmoid: ['tensor'],
  softplus: ['tensor', 'number', 'number'],
  clamp: ['tensor', 'number?', 'number?'],
  dropout: ['tensor', 'number', 'generator'],
  add: ['tensor', 'operand', 'number'],
  sub: ['tensor', 'operand', 'number'],
  mul: ['tensor', 'operand'],
  div: ['tensor', 'operand'],
  pow: ['tensor', 'operand'],
  remainder: ['tensor', 'operand'],
  maximum: ['tensor', 'tensor'],
  minimum: ['tensor', 'tensor'],
  eq: ['tensor', 'operand'],
  ne: ['tensor', 'operand'],
  lt: ['tensor', 'operand'],
  le: ['tensor', 'operand'],
  gt: ['tensor', 'operand'],
  ge: ['tensor', 'operand'],
  logicalNot: ['tensor'],
  logicalAnd: ['tensor', 'tensor'],
  logicalOr: ['tensor', 'tensor'],
  where: ['tensor', 'tensor', 'tensor'],
  maskedFill: ['tensor', 'tensor', 'number'],
  to: ['tensor', 'dtype'],
  clone: ['tensor'],

  sum: ['tensor', 'dims', 'boolean'],
  mean: ['tensor', 'dims', 'boolean'],
  prod: ['tensor', 'optional number', 'boolean'],
  var: ['tensor', 'dims', 'number', 'boolean'],
  std: ['tensor', 'dims', 'number', 'boolean'],
  amax: ['tensor', 'dims', 'boolean'],
  amin: ['tensor', 'dims', 'boolean'],
  maxDim: ['tensor', 'number', 'boolean'],
  minDim: ['tensor', 'number', 'boolean'],
  argmax: ['tensor', 'optional number', 'boolean'],
  argmin: ['tensor', 'optional number', 'boolean'],
  norm: ['tensor', 'number', 'dims', 'boolean'],
  logsumexp: ['tensor', 'dims', 'boolean'],
  cumsum: ['tensor', 'number'],
  all: ['tensor', 'optional number', 'boolean'],
  any: ['tensor', 'optional number', 'boolean'],
  sort: ['tensor', 'number', 'boolean'],
  topk: ['tensor', 'number', 'number', 'boolean', 'boolean'],
  softmax: ['tensor', 'number'],
  logSoftmax: ['tensor', 'number'],

  view: ['tensor', 'integers'],
  reshape: ['tensor', 'integers'],
  flatten: ['tensor', 'number', 'number'],
  unflatten: ['tensor', 'number', 'integers'],
  permute: ['tensor', 'integers'],
  transpose: ['tensor', 'number', 'number'],
  expand: ['tensor', 'integers'],
  squeeze: ['tensor', 'optional number'],
  unsqueeze: ['tensor', 'number'],
  slice: ['tensor', 'number', 'number', 'number', 'number'],
  select: ['tensor', 'number', 'number'],
  contiguous: ['tensor', 'memory format'],
  flip: ['tensor', 'integers'],
  repeat: ['tensor', 'integers'],
  pad: ['tensor', 'integers', 'pad mode', 'number'],
  tril: ['tensor', 'number'],
  triu: ['tensor', 'number'],
  cat: ['tensors', 'number'],
  stack: ['tensors', 'number'],
  split: ['tensor', 'sizes', 'number'],
  chunk: ['tensor', 'number', 'number'],
  unbind: ['tensor', 'number'],
  indexSelect: ['tensor', 'number', 'tensor'],
  gather: ['tensor', 'number', 'tensor'],
  scatterAdd: ['tensor', 'number', 'tensor', 'tensor'],
  maskedSelect: ['tensor', 'tensor'],

  matmul: ['tensor', 'tensor'],
  bmm: ['tensor', 'tensor'],
  linear: ['tensor', 'tensor', 'tensor?'],
  conv1d: ['tensor', 'tensor', 'tensor?', 'conv'],
  conv2d: ['tensor', 'tensor', 'tensor?', 'conv'],
  conv3d: ['tensor', 'tensor', 'tensor?', 'conv'],
  convTranspose1d: ['tensor', 'tensor', 'tensor?', 'convTranspose'],
  convTranspose2d: ['tensor', 'tensor', 'tensor?', 'convTranspose'],
  convTranspose3d: ['tensor', 'tensor', 'tensor?', 'convTranspose'],
  maxPool1d: ['tensor', 'pool'],
  maxPool2d: ['tensor', 'pool'],
  maxPool3d: ['tensor', 'pool'],
  avgPool1d: ['tensor', 'avgPool'],
  avgPool2d: ['tensor', 'avgPool'],
  avgPool3d: ['tensor', 'avgPool'],
  adaptiveAvgPool1d: ['tensor', 'integers'],
  adaptiveAvgPool2d: ['tensor', 'integers'],
  adaptiveAvgPool3d: ['tensor', 'integers'],
  interpolate: ['tensor', 'interpolate'],
  batchNormTrain: ['tensor', 'tensor?', 'tensor?', 'number'],
  batchNormEval: ['tensor', 'tensor', 'tensor', 'tensor?', 'tensor?', 'number'],
  layerNorm: ['tensor', 'integers', 'tensor?', 'tensor?', 'number'],
  groupNorm: ['tensor', 'number', 'tensor?', 'tensor?', 'number'],
  nllLoss: ['tensor', 'tensor', 'tensor?', 'number', 'reduction'],
  embedding: ['tensor', 'tensor', 'number?'],
  embeddingBag: ['tensor', 'tensor', 'tensor', 'bag mode', 'tensor?'],
  lstmPointwise: ['tensor', 'tensor'],
  gruPointwise: ['tensor', 'tensor', 'tensor'],

  quantizePerTensor: ['tensor', 'number', 'number', 'quantized dtype'],
  quantizePerChannel: ['tensor', 'tensor', 'tensor', 'number', 'quantized dtype'],
  dequantize: ['tensor'],
  intRepr: ['tensor'],
  fakeQuantizePerTensor: ['tensor', 'number', 'number', 'number', 'number'],
  fakeQuantizePerChannel: ['tensor', 'tensor', 'tensor', 'number', 'number', 'number'],
  'quantized::conv1d': ['tensor', 'packed', 'number', 'number'],
  'quantized::conv1d_relu': ['tensor', 'packed', 'number', 'number'],
  'quantized::conv2d': ['tensor', 'packed', 'number', 'number'],
  'quantized::conv2d_relu': ['tensor', 'packed', 'number', 'number'],
  'quantized::conv3d': ['tensor', 'packed', 'number', 'number'],
  'quantized::conv3d_relu': ['tensor', 'packed', 'number', 'number'],
  'quantized::linear': ['tensor', 'packed', 'number', 'number'],
  'quantized::linear_relu': ['tensor', 'packed', 'number', 'number'],
  'quantized::linear_dynamic': ['tensor', 'packed', 'boolean'],
  'quantized::linear_relu_dynamic': ['tensor', 'packed', 'boolean'],
  'quantized::linear_dynamic_fp16': ['tensor', 'packed half'],
  'quantized::linear_relu_dynamic_fp16': ['tensor', 'packed half'],
  'quantized::conv1d_dynamic': ['tensor', 'packed', 'boolean'],
  'quantized::conv2d_dynamic': ['tensor', 'packed', 'boolean'],
  'quantized::conv3d_dynamic': ['tensor', 'packed', 'boolean'],
  'quantized::add': ['tensor', 'tensor', 'number', 'number'],
  'quantized::add_relu': ['tensor', 'tensor', 'number', 'number'],
  'quantized::add_scalar': ['tensor', 'number'],
  'quantized::mul': ['tensor', 'tensor', 'number', 'number'],
  'quantized::mul_relu': ['tensor', 'tensor', 'number', 'number'],
  'quantized::mul_scalar': ['tensor', 'number'],
  'quantized::matmul': ['tensor', 'tensor', 'number', 'number'],
  'quantized::cat': ['tensors', 'number', 'number', 'number'],
  'quantized::conv_transpose1d': ['tensor', 'packed transposed', 'number', 'number'],
  'quantized::conv_transpose2d': ['tensor', 'packed transposed', 'number', 'number'],
  'quantized::conv_transpose3d': ['tensor', 'packed transposed', 'number', 'number'],
  'quantized::conv_transpose1d_dynamic': ['tensor', 'packed transposed', 'boolean'],
  'quantized::conv_transpose2d_dynamic': ['tensor', 'packed transposed', 'boolean'],
  'quantized::conv_transpose3d_dynamic': ['tensor', 'packed transposed', 'boolean'],
  'quantized::sigmoid': ['tensor', 'number', 'number'],
  'quantized::tanh': ['tensor', 'number', 'number'],
  'quantized::hardswish': ['tensor', 'number', 'number'],
  'quantized::elu': ['tensor', 'number', 'number', 'number'],
  'quantized::celu': ['tensor', 'number', 'number', 'number'],
  'quantized::leaky_relu': ['tensor', 'number', 'number', 'number'],
  'quantized::prelu': ['tensor', 'tensor', 'number', 'number'],
  'quantized::softmax': ['tensor', 'number', 'number', 'number'],
  'quantized::threshold': ['tensor', 'number', 'number'],
  'quantized::batch_norm2d': [
    'tensor',
    'tensor?',
    'tensor?',
    'tensor',
    'tensor',
    'number',
    'number',
    'number',
  ],
  'quantized::batch_norm2d_relu': [
    'tensor',
    'tensor?',
    'tensor?',
    'tensor',
    'tensor',
    'number',
    'number',
    'number',
  ],
  'quantized::batch_norm3d': [
    'tensor',
    'tensor?',
    'tensor?',
    'tensor',
    'tensor',
    'number',
    'number',
    'number',
  ],
  'quantized::batch_norm3d_relu': [
    'tensor',
    'tensor?',
    'tensor?',
    'tensor',
    'tensor',
    'number',
    'number',
    'number',
  ],
  'quantized::layer_norm': ['tensor', 'integers', 'tensor?', 'tensor?', 'number', 'number', 'number'],
  'quantized::group_norm': ['tensor', 'number', 'tensor?', 'tensor?', 'number', 'number', 'number'],
  'quantized::instance_norm': ['tensor', 'tensor?', 'tensor?', 'number', 'number', 'number'],
};

type ListOp = { [K in OpName]: OpResult<K> extends Tensor ? never : K }[OpName];

/** The operators that return lists, with how many tensors; null where that depends on the arguments. */
export const LIST_RESULTS: { readonly [K in ListOp]: number | null } = {
  batchNormTrain: 3,
  maxDim: 2,
  minDim: 2,
  sort: 2,
  topk: 2,
  split: null,
  chunk: null,
  unbind: null,
  lstmPointwise: 2,
};

/** Operators that change or need something outside of a program: a random generator, running statistics. */
export const TRAINING_OPS: ReadonlySet<string> = new Set<OpName>(['dropout', 'batchNormTrain']);
