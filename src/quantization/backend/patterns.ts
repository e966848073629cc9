import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  fuseConvBn,
  fuseLinearBn,
  Linear,
  ReLU,
} from '../../nn/index.ts';
import * as intrinsic from '../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { FloatFunctional, QFunctional } from '../float-functional.ts';
import * as dynamic from '../layers/dynamic/index.ts';
import * as quantized from '../layers/quantized/index.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';

/** A module class, as patterns name it. */
export type ModuleClass = abstract new (...args: any[]) => AnyModule;

/** Makes the quantized form of a prepared float module. */
export interface QuantizedClass {
  readonly name: string;
  fromFloat(module: any): AnyModule;
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
  /** The class that is observed and swapped: the single class, or what `fuse` returns. Absent where fusion ends in another row's class. */
  readonly float?: ModuleClass;
  /** `output`: prepare attaches an activation observer. `inside`: the module calls its own. `none`: nothing to observe. */
  readonly observe: 'output' | 'inside' | 'none';
  /** Static form: quantized tensors in and out. */
  readonly static?: QuantizedClass;
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
const Q_CONV = { 1: quantized.Conv1d, 2: quantized.Conv2d, 3: quantized.Conv3d } as const;
const Q_CONV_RELU = { 1: quantized.ConvReLU1d, 2: quantized.ConvReLU2d, 3: quantized.ConvReLU3d } as const;

function convolutionPatterns(rank: 1 | 2 | 3): Pattern[] {
  const conv = CONV[rank];
  const bn = BATCH_NORM[rank];
  const convRelu = CONV_RELU[rank];
  return [
    { name: `conv${rank}d`, sequence: [conv], float: conv, observe: 'output', static: Q_CONV[rank] },
    {
      name: `conv${rank}d + relu`,
      sequence: [conv, ReLU],
      fuse: (c, relu) => new convRelu(c, relu),
      float: convRelu,
      observe: 'output',
      static: Q_CONV_RELU[rank],
    },
    { name: `conv${rank}d + bn`, sequence: [conv, bn], fuse: (c, b) => fuseConvBn(c, b), observe: 'output' },
    {
      name: `conv${rank}d + bn + relu`,
      sequence: [conv, bn, ReLU],
      fuse: (c, b, relu) => new convRelu(fuseConvBn(c, b), relu),
      observe: 'output',
    },
  ];
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
    observe: 'output',
    static: quantized.Linear,
    dynamic: dynamic.Linear,
  },
  {
    name: 'linear + relu',
    sequence: [Linear, ReLU],
    fuse: (linear, relu) => new intrinsic.LinearReLU(linear, relu),
    float: intrinsic.LinearReLU,
    observe: 'output',
    static: quantized.LinearReLU,
    dynamic: dynamic.LinearReLU,
  },
  {
    name: 'linear + bn',
    sequence: [Linear, BatchNorm1d],
    fuse: (linear, bn) => fuseLinearBn(linear, bn),
    observe: 'output',
  },
];

const byFloatClass = new Map<unknown, Pattern>(
  PATTERNS.flatMap((p) => (p.float ? [[p.float, p] as const] : [])),
);

/** The row that describes a module, by its exact class. */
export function patternOf(module: AnyModule): Pattern | undefined {
  return byFloatClass.get(module.constructor);
}

/** The row whose sequence of classes is exactly that of the modules. */
export function fusionOf(modules: readonly AnyModule[]): Pattern | undefined {
  return PATTERNS.find(
    (p) =>
      p.fuse &&
      p.sequence.length === modules.length &&
      p.sequence.every((c, i) => modules[i].constructor === c),
  );
}
