import {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveAvgPool3d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  Dropout,
  ELU,
  Embedding,
  EmbeddingBag,
  Flatten,
  fuseConvBn,
  fuseLinearBn,
  GRU,
  GRUCell,
  GroupNorm,
  Hardsigmoid,
  Hardswish,
  Hardtanh,
  Identity,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  LeakyReLU,
  Linear,
  LSTM,
  LSTMCell,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
  MultiheadAttention,
  PReLU,
  ReLU,
  ReLU6,
  RNN,
  RNNCell,
  Sigmoid,
  Softmax,
  Tanh,
  Unflatten,
  Upsample,
} from '../../nn/index.ts';
import * as intrinsic from '../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { OpName } from '../../ops/signatures/index.ts';
import {
  defaultFixedQParamsRange0To1FakeQuant,
  defaultFixedQParamsRangeNeg1To1FakeQuant,
} from '../fake-quantize/defaults.ts';
import { FloatFunctional, QFunctional } from '../float-functional.ts';
import * as dynamic from '../layers/dynamic/index.ts';
import * as intrinsicQat from '../layers/intrinsic-qat.ts';
import { foldable } from '../layers/qat/batch-norm.ts';
import * as qat from '../layers/qat/index.ts';
import * as quantizable from '../layers/quantizable/index.ts';
import * as quantized from '../layers/quantized/index.ts';
import type { ObserverFactory } from '../observers/observer.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';
import {
  asIs,
  convOperator,
  linearOperator,
  type ModuleClass,
  type OperatorForm,
  type OutputRule,
  type Pattern,
  pairOperator,
  type QuantizedClass,
  through,
} from './pattern.ts';

const CONV = { 1: Conv1d, 2: Conv2d, 3: Conv3d } as const;
const BATCH_NORM = { 1: BatchNorm1d, 2: BatchNorm2d, 3: BatchNorm3d } as const;
const CONV_RELU: Readonly<Record<1 | 2 | 3, new (conv: any, relu: any) => AnyModule>> = {
  1: intrinsic.ConvReLU1d,
  2: intrinsic.ConvReLU2d,
  3: intrinsic.ConvReLU3d,
};
const CONV_BN: Readonly<Record<1 | 2 | 3, new (conv: any, bn: any) => AnyModule>> = {
  1: intrinsic.ConvBn1d,
  2: intrinsic.ConvBn2d,
  3: intrinsic.ConvBn3d,
};
const CONV_BN_RELU: Readonly<Record<1 | 2 | 3, new (conv: any, bn: any, relu: any) => AnyModule>> = {
  1: intrinsic.ConvBnReLU1d,
  2: intrinsic.ConvBnReLU2d,
  3: intrinsic.ConvBnReLU3d,
};
const QAT = {
  1: {
    conv: qat.Conv1d,
    relu: intrinsicQat.ConvReLU1d,
    bn: intrinsicQat.ConvBn1d,
    bnRelu: intrinsicQat.ConvBnReLU1d,
  },
  2: {
    conv: qat.Conv2d,
    relu: intrinsicQat.ConvReLU2d,
    bn: intrinsicQat.ConvBn2d,
    bnRelu: intrinsicQat.ConvBnReLU2d,
  },
  3: {
    conv: qat.Conv3d,
    relu: intrinsicQat.ConvReLU3d,
    bn: intrinsicQat.ConvBn3d,
    bnRelu: intrinsicQat.ConvBnReLU3d,
  },
} as const;
const Q_CONV = { 1: quantized.Conv1d, 2: quantized.Conv2d, 3: quantized.Conv3d } as const;
const DYNAMIC_CONV = { 1: dynamic.Conv1d, 2: dynamic.Conv2d, 3: dynamic.Conv3d } as const;
const CONV_TRANSPOSE = { 1: ConvTranspose1d, 2: ConvTranspose2d, 3: ConvTranspose3d } as const;
const Q_CONV_TRANSPOSE = {
  1: quantized.ConvTranspose1d,
  2: quantized.ConvTranspose2d,
  3: quantized.ConvTranspose3d,
} as const;
const DYNAMIC_CONV_TRANSPOSE = {
  1: dynamic.ConvTranspose1d,
  2: dynamic.ConvTranspose2d,
  3: dynamic.ConvTranspose3d,
} as const;
const Q_CONV_RELU = { 1: quantized.ConvReLU1d, 2: quantized.ConvReLU2d, 3: quantized.ConvReLU3d } as const;

function convolutionPatterns(rank: 1 | 2 | 3): Pattern[] {
  const conv = CONV[rank];
  const bn = BATCH_NORM[rank];
  const convRelu = CONV_RELU[rank];
  const convBn = CONV_BN[rank];
  const convBnRelu = CONV_BN_RELU[rank];
  const trained = QAT[rank];
  return [
    {
      name: `conv${rank}d`,
      sequence: [conv],
      float: conv,
      qat: trained.conv,
      weighted: true,
      observe: 'output',
      output: 'own',
      operator: convOperator(rank, false),
      static: Q_CONV[rank],
      dynamic: DYNAMIC_CONV[rank],
    },
    {
      name: `conv${rank}d + relu`,
      sequence: [conv, ReLU],
      fuse: (c, relu) => new convRelu(c, relu),
      float: convRelu,
      qat: trained.relu,
      weighted: true,
      observe: 'output',
      output: 'own',
      operator: convOperator(rank, true),
      static: Q_CONV_RELU[rank],
    },
    {
      name: `conv${rank}d + bn`,
      sequence: [conv, bn],
      fuse: (c, b) => fuseConvBn(c, b),
      fuseQat: (c, b) => new convBn(c, foldable(b, c.outChannels, 'fuseModulesQat')),
      float: convBn,
      qat: trained.bn,
      weighted: true,
      observe: 'output',
      output: 'own',
      static: Q_CONV[rank],
    },
    {
      name: `conv${rank}d + bn + relu`,
      sequence: [conv, bn, ReLU],
      fuse: (c, b, relu) => new convRelu(fuseConvBn(c, b), relu),
      fuseQat: (c, b, relu) => new convBnRelu(c, foldable(b, c.outChannels, 'fuseModulesQat'), relu),
      float: convBnRelu,
      qat: trained.bnRelu,
      weighted: true,
      observe: 'output',
      output: 'own',
      static: Q_CONV_RELU[rank],
    },
  ];
}

/** A transposed convolution; with a batch normalization behind it, that is folded in. */
function transposedPatterns(rank: 1 | 2 | 3): Pattern[] {
  const conv = CONV_TRANSPOSE[rank];
  return [
    {
      ...single(`transposed conv${rank}d`, conv, Q_CONV_TRANSPOSE[rank]),
      weighted: true,
      dynamic: DYNAMIC_CONV_TRANSPOSE[rank],
    },
    {
      name: `transposed conv${rank}d + bn`,
      sequence: [conv, BATCH_NORM[rank]],
      fuse: (c, bn) => fuseConvBn(c, bn),
      observe: 'none',
    },
  ];
}

/** A single module that is observed at its output and has a static form only. */
function single(
  name: string,
  float: ModuleClass,
  quantizedClass: QuantizedClass,
  operator?: OperatorForm,
): Pattern {
  return {
    name,
    sequence: [float],
    float,
    observe: 'output',
    output: 'own',
    static: quantizedClass,
    ...(operator && { operator }),
  };
}

/** A module, an operator or both whose output range is known; they work on quantized tensors unchanged. */
function fixed(
  name: string,
  float: ModuleClass,
  fixedOutput: ObserverFactory,
  operator?: OperatorForm,
): Pattern {
  return {
    name,
    sequence: [float],
    float,
    observe: 'output',
    output: 'own',
    fixedOutput,
    ...(operator && { operator }),
  };
}

/** A module, an operator or both that work on quantized tensors unchanged and keep their parameters. */
function shared(name: string, float: ModuleClass | null, ...operators: readonly OpName[]): Pattern {
  return {
    name,
    sequence: float ? [float] : [],
    ...(float && { float }),
    observe: 'none',
    output: 'shared',
    ...(operators.length > 0 && { operator: asIs(...operators) }),
  };
}

/** An operator without a module. */
function operation(name: string, output: OutputRule, operator: OperatorForm): Pattern {
  return { name, sequence: [], observe: 'none', output, operator };
}

/** Operators that take some of a tensor's elements, or all in another order, into one tensor or several. */
const KEEPING = [
  ...(['slice', 'select', 'indexSelect', 'expand', 'flip', 'pad', 'clone', 'amax', 'amin'] as const),
  ...(['chunk', 'split', 'unbind', 'maxDim', 'minDim', 'sort', 'topk'] as const),
] satisfies readonly OpName[];

/**
 * The backend table. A new fused operator is a new row here, its layer class, one kernel and one test. What graphs do with
 * a row follows PyTorch's `get_native_backend_config`; beyond it, modules of group normalization, upsampling and flattening
 * are quantized like the functions PyTorch lists, and what takes elements out of a tensor, orders or pads them keeps a
 * quantized tensor's parameters, as it does in eager mode. `test/golden/backend-config.test.ts` compares row by row.
 */
export const PATTERNS: readonly Pattern[] = [
  { name: 'quant', sequence: [QuantStub], float: QuantStub, observe: 'output', static: quantized.Quantize },
  {
    name: 'dequant',
    sequence: [DeQuantStub],
    float: DeQuantStub,
    observe: 'none',
    static: quantized.DeQuantize,
  },
  {
    name: 'functional',
    sequence: [FloatFunctional],
    float: FloatFunctional,
    observe: 'inside',
    static: QFunctional,
  },
  ...convolutionPatterns(1),
  ...convolutionPatterns(2),
  ...convolutionPatterns(3),
  {
    name: 'linear',
    sequence: [Linear],
    float: Linear,
    qat: qat.Linear,
    weighted: true,
    qatDynamic: qat.dynamic.Linear,
    observe: 'output',
    output: 'own',
    operator: linearOperator(false),
    static: quantized.Linear,
    dynamic: dynamic.Linear,
    halfWeights: true,
  },
  {
    name: 'linear + relu',
    sequence: [Linear, ReLU],
    fuse: (linear, relu) => new intrinsic.LinearReLU(linear, relu),
    float: intrinsic.LinearReLU,
    qat: intrinsicQat.LinearReLU,
    weighted: true,
    observe: 'output',
    output: 'own',
    operator: linearOperator(true),
    static: quantized.LinearReLU,
    dynamic: dynamic.LinearReLU,
    halfWeights: true,
  },
  {
    name: 'linear + bn',
    sequence: [Linear, BatchNorm1d],
    fuse: (linear, bn) => fuseLinearBn(linear, bn),
    fuseQat: (linear, bn) =>
      new intrinsic.LinearBn1d(linear, foldable(bn, linear.outFeatures, 'fuseModulesQat')),
    float: intrinsic.LinearBn1d,
    qat: intrinsicQat.LinearBn1d,
    weighted: true,
    observe: 'output',
    output: 'own',
    static: quantized.Linear,
    dynamic: dynamic.Linear,
    halfWeights: true,
  },
  {
    name: 'embedding',
    sequence: [Embedding],
    float: Embedding,
    qat: qat.Embedding,
    weighted: true,
    observe: 'output',
    output: 'float',
    static: quantized.Embedding,
    dynamic: quantized.Embedding,
  },
  {
    name: 'embedding bag',
    sequence: [EmbeddingBag],
    float: EmbeddingBag,
    qat: qat.EmbeddingBag,
    weighted: true,
    observe: 'output',
    output: 'float',
    static: quantized.EmbeddingBag,
    dynamic: quantized.EmbeddingBag,
  },
  ...transposedPatterns(1),
  ...transposedPatterns(2),
  ...transposedPatterns(3),
  single('bn2d', BatchNorm2d, quantized.BatchNorm2d),
  single('bn3d', BatchNorm3d, quantized.BatchNorm3d),
  {
    name: 'bn2d + relu',
    sequence: [BatchNorm2d, ReLU],
    fuse: (bn, relu) => new intrinsic.BNReLU2d(bn, relu),
    float: intrinsic.BNReLU2d,
    observe: 'output',
    output: 'own',
    static: quantized.BNReLU2d,
  },
  {
    name: 'bn3d + relu',
    sequence: [BatchNorm3d, ReLU],
    fuse: (bn, relu) => new intrinsic.BNReLU3d(bn, relu),
    float: intrinsic.BNReLU3d,
    observe: 'output',
    output: 'own',
    static: quantized.BNReLU3d,
  },
  single(
    'layer norm',
    LayerNorm,
    quantized.LayerNorm,
    through('layerNorm', 'quantized::layer_norm', undefined, { weight: 2, bias: 3, pack: null }),
  ),
  single(
    'group norm',
    GroupNorm,
    quantized.GroupNorm,
    through('groupNorm', 'quantized::group_norm', undefined, { weight: 2, bias: 3, pack: null }),
  ),
  single('instance norm 1d', InstanceNorm1d, quantized.InstanceNorm1d),
  single('instance norm 2d', InstanceNorm2d, quantized.InstanceNorm2d),
  single('instance norm 3d', InstanceNorm3d, quantized.InstanceNorm3d),
  single('hardswish', Hardswish, quantized.Hardswish, through('hardswish', 'quantized::hardswish')),
  single(
    'elu',
    ELU,
    quantized.ELU,
    through('elu', 'quantized::elu', ([x, alpha], scale, zeroPoint) => [x, scale, zeroPoint, alpha]),
  ),
  single('leaky relu', LeakyReLU, quantized.LeakyReLU, through('leakyRelu', 'quantized::leaky_relu')),
  single('prelu', PReLU, quantized.PReLU),
  {
    name: 'relu6',
    sequence: [ReLU6],
    float: ReLU6,
    observe: 'output',
    output: 'shared',
    operator: asIs('relu6'),
    static: quantized.ReLU6,
  },
  {
    name: 'dropout',
    sequence: [Dropout],
    float: Dropout,
    observe: 'none',
    output: 'own',
    static: quantized.Dropout,
  },
  operation('add', 'own', pairOperator('add', false)),
  operation('add + relu', 'own', pairOperator('add', true)),
  operation('mul', 'own', pairOperator('mul', false)),
  operation('mul + relu', 'own', pairOperator('mul', true)),
  operation('matmul', 'own', through('matmul', 'quantized::matmul')),
  operation(
    'cat',
    'shared',
    through('cat', 'quantized::cat', ([tensors, dim], scale, zeroPoint) => [tensors, scale, zeroPoint, dim]),
  ),
  shared('relu', ReLU, 'relu'),
  shared('hardtanh', Hardtanh, 'hardtanh'),
  shared('clamp', null, 'clamp'),
  shared('identity', Identity),
  shared('max pool 1d', MaxPool1d, 'maxPool1d'),
  shared('max pool 2d', MaxPool2d, 'maxPool2d'),
  shared('max pool 3d', MaxPool3d, 'maxPool3d'),
  shared('average pool 1d', AvgPool1d, 'avgPool1d'),
  shared('average pool 2d', AvgPool2d, 'avgPool2d'),
  shared('average pool 3d', AvgPool3d, 'avgPool3d'),
  shared('adaptive average pool 1d', AdaptiveAvgPool1d, 'adaptiveAvgPool1d'),
  shared('adaptive average pool 2d', AdaptiveAvgPool2d, 'adaptiveAvgPool2d'),
  shared('adaptive average pool 3d', AdaptiveAvgPool3d, 'adaptiveAvgPool3d'),
  shared('interpolate', Upsample, 'interpolate'),
  shared('mean', null, 'mean'),
  shared('flatten', Flatten, 'flatten'),
  shared('unflatten', Unflatten, 'unflatten'),
  shared('view', null, 'view'),
  shared('reshape', null, 'reshape'),
  shared('permute', null, 'permute'),
  shared('transpose', null, 'transpose'),
  shared('squeeze', null, 'squeeze'),
  shared('unsqueeze', null, 'unsqueeze'),
  shared('stack', null, 'stack'),
  shared('repeat', null, 'repeat'),
  shared('contiguous', null, 'contiguous'),
  ...KEEPING.map((name) => operation(name, 'kept', asIs(name))),
  fixed('sigmoid', Sigmoid, defaultFixedQParamsRange0To1FakeQuant, asIs('sigmoid')),
  fixed('hardsigmoid', Hardsigmoid, defaultFixedQParamsRange0To1FakeQuant, asIs('hardsigmoid')),
  fixed('softmax', Softmax, defaultFixedQParamsRange0To1FakeQuant),
  fixed('tanh', Tanh, defaultFixedQParamsRangeNeg1To1FakeQuant, asIs('tanh')),
  { name: 'rnn', sequence: [RNN], float: RNN, observe: 'none', dynamic: dynamic.RNN, halfWeights: true },
  {
    name: 'lstm',
    sequence: [LSTM],
    float: LSTM,
    observe: 'none',
    dynamic: dynamic.LSTM,
    halfWeights: true,
    custom: { observed: quantizable.LSTM, quantized: quantizable.QuantizedLSTM },
  },
  { name: 'gru', sequence: [GRU], float: GRU, observe: 'none', dynamic: dynamic.GRU, halfWeights: true },
  {
    name: 'rnn cell',
    sequence: [RNNCell],
    float: RNNCell,
    observe: 'none',
    dynamic: dynamic.RNNCell,
    halfWeights: true,
  },
  {
    name: 'lstm cell',
    sequence: [LSTMCell],
    float: LSTMCell,
    observe: 'none',
    dynamic: dynamic.LSTMCell,
    halfWeights: true,
  },
  {
    name: 'gru cell',
    sequence: [GRUCell],
    float: GRUCell,
    observe: 'none',
    dynamic: dynamic.GRUCell,
    halfWeights: true,
  },
  {
    name: 'multi-head attention',
    sequence: [MultiheadAttention],
    float: MultiheadAttention,
    observe: 'none',
    custom: {
      observed: quantizable.MultiheadAttention,
      quantized: quantizable.QuantizedMultiheadAttention,
    },
  },
];

const byClass = indexByClass(PATTERNS);

function indexByClass(patterns: readonly Pattern[]): ReadonlyMap<unknown, Pattern> {
  return firstOfEach(
    patterns.flatMap((p) =>
      [p.float, p.qat, p.qatDynamic, p.custom?.observed].flatMap((c) => (c ? [[c, p] as const] : [])),
    ),
  );
}

/** The row that describes a float module or one in training for quantization, by its exact class. */
export function patternOf(module: AnyModule): Pattern | undefined {
  return byClass.get(module.constructor);
}

/** An index of the rows that have an operator form. */
function indexByOperators(patterns: readonly Pattern[]): ReadonlyMap<string, Pattern> {
  return firstOfEach(patterns.flatMap((p) => (p.operator ? [[p.operator.names.join(), p] as const] : [])));
}

/** A map in which the first entry of a key counts. */
function firstOfEach<K, V>(entries: readonly (readonly [K, V])[]): Map<K, V> {
  return new Map([...entries].reverse());
}

const byOperators = indexByOperators(PATTERNS);

/**
 * The row of an operator, or of operators that run one after the other.
 *
 * @example
 * operatorPatternOf('add')?.output; // 'own'
 * operatorPatternOf('add', 'relu')?.operator?.quantized; // 'quantized::add_relu'
 */
export function operatorPatternOf(...names: readonly string[]): Pattern | undefined {
  return byOperators.get(names.join());
}

/** Finds the row of operators: {@link operatorPatternOf}, or one that knows rows of the caller too. */
export type OperatorLookup = (...names: readonly string[]) => Pattern | undefined;

/** A lookup that tries `extra` before the backend table, or before nothing where that is null. */
export function operatorLookup(
  extra: readonly Pattern[] = [],
  rest: OperatorLookup | null = operatorPatternOf,
): OperatorLookup {
  if (extra.length === 0 && rest) return rest;
  const own = indexByOperators(extra);
  return (...names) => own.get(names.join()) ?? rest?.(...names);
}

/** Finds the row that describes a module: {@link patternOf}, or one that knows rows of the caller too. */
export type PatternLookup = (module: AnyModule) => Pattern | undefined;

/** A lookup that tries `extra` before the backend table, or before nothing where that is null. */
export function patternLookup(
  extra: readonly Pattern[] = [],
  rest: PatternLookup | null = patternOf,
): PatternLookup {
  if (extra.length === 0 && rest) return rest;
  const own = indexByClass(extra);
  return (module) => own.get(module.constructor) ?? rest?.(module);
}

/** The classes that conversion makes. */
export function quantizedClasses(extra: readonly Pattern[] = []): ReadonlySet<unknown> {
  const rows = [...PATTERNS, ...extra];
  return new Set(rows.flatMap((p) => [p.static, p.dynamic, p.custom?.quantized]).filter(Boolean));
}

/** The row whose sequence of classes is exactly that of the modules; `extra` rows come before those of the table. */
export function fusionOf(
  modules: readonly AnyModule[],
  extra: readonly Pattern[] = [],
  table: readonly Pattern[] = PATTERNS,
): Pattern | undefined {
  return [...extra, ...table].find(
    (p) =>
      p.fuse &&
      p.sequence.length === modules.length &&
      p.sequence.every((c, i) => modules[i].constructor === c),
  );
}
