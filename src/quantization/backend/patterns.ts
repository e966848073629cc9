import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose1d,
  ConvTranspose2d,
  Dropout,
  ELU,
  Embedding,
  EmbeddingBag,
  fuseConvBn,
  fuseLinearBn,
  GRU,
  GRUCell,
  GroupNorm,
  Hardsigmoid,
  Hardswish,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  LeakyReLU,
  Linear,
  LSTM,
  LSTMCell,
  MultiheadAttention,
  PReLU,
  ReLU,
  ReLU6,
  RNN,
  RNNCell,
  Sigmoid,
  Softmax,
  Tanh,
} from '../../nn/index.ts';
import * as intrinsic from '../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../nn/module.ts';
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

/** A module class, as patterns name it. */
export type ModuleClass = abstract new (...args: any[]) => AnyModule;

/** Makes another form of a float module: the quantized one of a prepared module, or the one that is trained. */
export interface QuantizedClass {
  readonly name: string;
  fromFloat(module: any): AnyModule;
}

/**
 * How a module is quantized through a form made of parts: `prepare` puts the observed form in the float module's place and
 * attaches observers to its parts, `convert` converts the parts and then makes the quantized form of the whole.
 */
export interface CustomForms {
  readonly observed: ModuleClass & QuantizedClass;
  readonly quantized: { fromObserved(module: AnyModule): AnyModule };
}

/**
 * One row of the backend table: everything the library knows about one pattern of modules. Fusion, observation and
 * conversion all read it; nothing else branches on module classes.
 */
export interface Pattern {
  /** Name for messages and tables: `conv2d + bn + relu`. */
  readonly name: string;
  /** The float classes in the order they run. */
  readonly sequence: readonly ModuleClass[];
  /** Makes one float module of a sequence in evaluation mode; absent for single modules. */
  readonly fuse?: (...modules: any[]) => AnyModule;
  /** Makes one float module of a sequence in training mode; absent where it is the same as `fuse`. */
  readonly fuseQat?: (...modules: any[]) => AnyModule;
  /**
   * The class that is observed and swapped: the single class, or what fusion makes. Where `fuse` and `fuseQat` differ,
   * `fuse` ends in another row's class, and this is the class that `fuseQat` makes.
   */
  readonly float?: ModuleClass;
  /** The class that is trained: `float` with a fake-quantized weight. Observed and swapped like `float`. */
  readonly qat?: ModuleClass & QuantizedClass;
  /** The class that is trained for the dynamic form; its input is observed. */
  readonly qatDynamic?: ModuleClass & QuantizedClass;
  /** `output`: prepare attaches an activation observer. `inside`: the module calls its own. `none`: nothing to observe. */
  readonly observe: 'output' | 'inside' | 'none';
  /**
   * Fake-quantize of an output whose range is known, instead of the qconfig's. As in PyTorch it is attached in training
   * only: these modules work on quantized tensors as they are, with the same fixed parameters.
   */
  readonly fixedOutput?: ObserverFactory;
  /** Static form: quantized tensors in and out. */
  readonly static?: QuantizedClass;
  /** Static form of a module whose insides are observed part by part. */
  readonly custom?: CustomForms;
  /** Dynamic form: float tensors in and out, int8 weights. */
  readonly dynamic?: QuantizedClass;
}

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
      observe: 'output',
      static: Q_CONV[rank],
      dynamic: DYNAMIC_CONV[rank],
    },
    {
      name: `conv${rank}d + relu`,
      sequence: [conv, ReLU],
      fuse: (c, relu) => new convRelu(c, relu),
      float: convRelu,
      qat: trained.relu,
      observe: 'output',
      static: Q_CONV_RELU[rank],
    },
    {
      name: `conv${rank}d + bn`,
      sequence: [conv, bn],
      fuse: (c, b) => fuseConvBn(c, b),
      fuseQat: (c, b) => new convBn(c, foldable(b, c.outChannels, 'fuseModulesQat')),
      float: convBn,
      qat: trained.bn,
      observe: 'output',
      static: Q_CONV[rank],
    },
    {
      name: `conv${rank}d + bn + relu`,
      sequence: [conv, bn, ReLU],
      fuse: (c, b, relu) => new convRelu(fuseConvBn(c, b), relu),
      fuseQat: (c, b, relu) => new convBnRelu(c, foldable(b, c.outChannels, 'fuseModulesQat'), relu),
      float: convBnRelu,
      qat: trained.bnRelu,
      observe: 'output',
      static: Q_CONV_RELU[rank],
    },
  ];
}

/** A single module that is observed at its output and has a static form only. */
function single(name: string, float: ModuleClass, quantizedClass: QuantizedClass): Pattern {
  return { name, sequence: [float], float, observe: 'output', static: quantizedClass };
}

/** A single module whose output range is known; it works on quantized tensors unchanged. */
function fixed(name: string, float: ModuleClass, fixedOutput: ObserverFactory): Pattern {
  return { name, sequence: [float], float, observe: 'output', fixedOutput };
}

/** The backend table. A new fused operator is a new row here, its layer class, one kernel and one test. */
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
    qatDynamic: qat.dynamic.Linear,
    observe: 'output',
    static: quantized.Linear,
    dynamic: dynamic.Linear,
  },
  {
    name: 'linear + relu',
    sequence: [Linear, ReLU],
    fuse: (linear, relu) => new intrinsic.LinearReLU(linear, relu),
    float: intrinsic.LinearReLU,
    qat: intrinsicQat.LinearReLU,
    observe: 'output',
    static: quantized.LinearReLU,
    dynamic: dynamic.LinearReLU,
  },
  {
    name: 'linear + bn',
    sequence: [Linear, BatchNorm1d],
    fuse: (linear, bn) => fuseLinearBn(linear, bn),
    fuseQat: (linear, bn) =>
      new intrinsic.LinearBn1d(linear, foldable(bn, linear.outFeatures, 'fuseModulesQat')),
    float: intrinsic.LinearBn1d,
    qat: intrinsicQat.LinearBn1d,
    observe: 'output',
    static: quantized.Linear,
    dynamic: dynamic.Linear,
  },
  {
    name: 'embedding',
    sequence: [Embedding],
    float: Embedding,
    qat: qat.Embedding,
    observe: 'output',
    static: quantized.Embedding,
    dynamic: quantized.Embedding,
  },
  {
    name: 'embedding bag',
    sequence: [EmbeddingBag],
    float: EmbeddingBag,
    qat: qat.EmbeddingBag,
    observe: 'output',
    static: quantized.EmbeddingBag,
    dynamic: quantized.EmbeddingBag,
  },
  single('transposed conv1d', ConvTranspose1d, quantized.ConvTranspose1d),
  single('transposed conv2d', ConvTranspose2d, quantized.ConvTranspose2d),
  single('bn2d', BatchNorm2d, quantized.BatchNorm2d),
  single('bn3d', BatchNorm3d, quantized.BatchNorm3d),
  {
    name: 'bn2d + relu',
    sequence: [BatchNorm2d, ReLU],
    fuse: (bn, relu) => new intrinsic.BNReLU2d(bn, relu),
    float: intrinsic.BNReLU2d,
    observe: 'output',
    static: quantized.BNReLU2d,
  },
  {
    name: 'bn3d + relu',
    sequence: [BatchNorm3d, ReLU],
    fuse: (bn, relu) => new intrinsic.BNReLU3d(bn, relu),
    float: intrinsic.BNReLU3d,
    observe: 'output',
    static: quantized.BNReLU3d,
  },
  single('layer norm', LayerNorm, quantized.LayerNorm),
  single('group norm', GroupNorm, quantized.GroupNorm),
  single('instance norm 1d', InstanceNorm1d, quantized.InstanceNorm1d),
  single('instance norm 2d', InstanceNorm2d, quantized.InstanceNorm2d),
  single('instance norm 3d', InstanceNorm3d, quantized.InstanceNorm3d),
  single('hardswish', Hardswish, quantized.Hardswish),
  single('elu', ELU, quantized.ELU),
  single('leaky relu', LeakyReLU, quantized.LeakyReLU),
  single('prelu', PReLU, quantized.PReLU),
  single('relu6', ReLU6, quantized.ReLU6),
  { name: 'dropout', sequence: [Dropout], float: Dropout, observe: 'none', static: quantized.Dropout },
  fixed('sigmoid', Sigmoid, defaultFixedQParamsRange0To1FakeQuant),
  fixed('hardsigmoid', Hardsigmoid, defaultFixedQParamsRange0To1FakeQuant),
  fixed('softmax', Softmax, defaultFixedQParamsRange0To1FakeQuant),
  fixed('tanh', Tanh, defaultFixedQParamsRangeNeg1To1FakeQuant),
  { name: 'rnn', sequence: [RNN], float: RNN, observe: 'none', dynamic: dynamic.RNN },
  {
    name: 'lstm',
    sequence: [LSTM],
    float: LSTM,
    observe: 'none',
    dynamic: dynamic.LSTM,
    custom: { observed: quantizable.LSTM, quantized: quantizable.QuantizedLSTM },
  },
  { name: 'gru', sequence: [GRU], float: GRU, observe: 'none', dynamic: dynamic.GRU },
  { name: 'rnn cell', sequence: [RNNCell], float: RNNCell, observe: 'none', dynamic: dynamic.RNNCell },
  { name: 'lstm cell', sequence: [LSTMCell], float: LSTMCell, observe: 'none', dynamic: dynamic.LSTMCell },
  { name: 'gru cell', sequence: [GRUCell], float: GRUCell, observe: 'none', dynamic: dynamic.GRUCell },
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
  return new Map<unknown, Pattern>(
    patterns.flatMap((p) =>
      [p.float, p.qat, p.qatDynamic, p.custom?.observed].flatMap((c) => (c ? [[c, p] as const] : [])),
    ),
  );
}

/** The row that describes a float module or one in training for quantization, by its exact class. */
export function patternOf(module: AnyModule): Pattern | undefined {
  return byClass.get(module.constructor);
}

/** Finds the row that describes a module: {@link patternOf}, or one that knows rows of the caller too. */
export type PatternLookup = (module: AnyModule) => Pattern | undefined;

/** A lookup that tries `extra` before the backend table. */
export function patternLookup(extra: readonly Pattern[] = []): PatternLookup {
  if (extra.length === 0) return patternOf;
  const own = indexByClass(extra);
  return (module) => own.get(module.constructor) ?? patternOf(module);
}

/** The classes that conversion makes. */
export function quantizedClasses(extra: readonly Pattern[] = []): ReadonlySet<unknown> {
  const rows = [...PATTERNS, ...extra];
  return new Set(rows.flatMap((p) => [p.static, p.dynamic, p.custom?.quantized]).filter(Boolean));
}

/** The row whose sequence of classes is exactly that of the modules; `extra` rows come first. */
export function fusionOf(modules: readonly AnyModule[], extra: readonly Pattern[] = []): Pattern | undefined {
  return [...extra, ...PATTERNS].find(
    (p) =>
      p.fuse &&
      p.sequence.length === modules.length &&
      p.sequence.every((c, i) => modules[i].constructor === c),
  );
}
