import type { AnyModule } from '../../nn/module.ts';
import type { OpName, QuantizedOps } from '../../ops/signatures/index.ts';
import type { ObserverFactory } from '../observers/observer.ts';

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
 * Where the result of a call gets its parameters from, in graphs and in define-by-run.
 * `own`: the result is observed and has parameters of its own.
 * `shared`: the result and every tensor of the first argument (a list for `cat`) have the same parameters; the call works on
 * quantized tensors as it is.
 * `kept`: like `shared` where the input is quantized anyway, and no reason to quantize it where it is not.
 * `float`: only weights are quantized; what goes in and out is not.
 * Source: `ObservationType`.
 */
export type OutputRule = 'own' | 'shared' | 'kept' | 'float';

/** Where an operator takes its weight, and how it is packed for the kernels. */
export interface WeightArgument {
  /** Positions among the arguments. */
  readonly weight: number;
  readonly bias: number;
  /**
   * The packed form: the quantized weight, the float bias, and the arguments after the bias. Null for weights that the
   * quantized operator takes as they are, in float.
   */
  readonly pack: 'conv' | 'linear' | null;
}

/** The operator form of a row: what a graph or define-by-run sees where no module is called. */
export interface OperatorForm {
  /** The operators in the order they run; the last one's result is the row's. */
  readonly names: readonly OpName[];
  /**
   * The quantized operator that does the work of all of them; absent where the operator itself takes quantized tensors.
   */
  readonly quantized?: keyof QuantizedOps;
  /**
   * The arguments of `quantized`: from those of the first operator, a packed weight in the place of its weight, and the
   * parameters of the result.
   */
  readonly args?: <T>(args: readonly T[], scale: T, zeroPoint: T) => readonly T[];
  /** What stands for `quantized` where the second operand is a number; the result then shares the first one's observer. */
  readonly withNumber?: keyof QuantizedOps;
  readonly weight?: WeightArgument;
  /** The operator with int8 weights that takes floats and quantizes them call by call. */
  readonly dynamic?: keyof QuantizedOps;
  /** The operator with float16 weights that takes floats. */
  readonly half?: keyof QuantizedOps;
}

/**
 * One row of the backend table: everything the library knows about one pattern of modules or operators. Fusion,
 * observation and conversion all read it; nothing else branches on module classes or operator names.
 */
export interface Pattern {
  /** Name for messages and tables: `conv2d + bn + relu`. */
  readonly name: string;
  /** The float classes in the order they run; empty where only operators do it. */
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
  /**
   * What eager `prepare` does. `output`: it attaches an activation observer. `inside`: the module calls its own. `none`:
   * nothing to observe.
   */
  readonly observe: 'output' | 'inside' | 'none';
  /** What graphs and define-by-run do with calls of the module or operator; absent where they leave it float. */
  readonly output?: OutputRule;
  /** True for layers whose weight is quantized as the qconfig's weight observer says. */
  readonly weighted?: true;
  /** The same computation as operators. */
  readonly operator?: OperatorForm;
  /**
   * Fake-quantize of an output whose range is known, instead of the qconfig's. As in PyTorch eager mode attaches it in
   * training only: these modules work on quantized tensors as they are, with the same fixed parameters.
   */
  readonly fixedOutput?: ObserverFactory;
  /** Static form: quantized tensors in and out. */
  readonly static?: QuantizedClass;
  /** Static form of a module whose insides are observed part by part. */
  readonly custom?: CustomForms;
  /** Dynamic form: float tensors in and out, int8 weights. */
  readonly dynamic?: QuantizedClass;
  /** True where the dynamic form also takes float16 weights. */
  readonly halfWeights?: true;
}

const appended: OperatorForm['args'] = (args, scale, zeroPoint) => [...args, scale, zeroPoint];
const packedThenOutput: OperatorForm['args'] = ([x, packed], scale, zeroPoint) => [
  x,
  packed,
  scale,
  zeroPoint,
];
const operands: OperatorForm['args'] = ([a, b], scale, zeroPoint) => [a, b, scale, zeroPoint];

/** An operator that takes quantized tensors itself. */
export function asIs(...names: readonly OpName[]): OperatorForm {
  return { names };
}

/** An operator whose quantized form takes the output's parameters; after all other arguments where not said otherwise. */
export function through(
  name: OpName,
  quantized: keyof QuantizedOps,
  args: OperatorForm['args'] = appended,
  weight?: WeightArgument,
): OperatorForm {
  return { names: [name], quantized, args, ...(weight && { weight }) };
}

/** `add` or `mul` of two tensors, or of a tensor and a number. */
export function pairOperator(name: 'add' | 'mul', relu: boolean): OperatorForm {
  return {
    names: relu ? [name, 'relu'] : [name],
    quantized: `quantized::${name}${relu ? '_relu' : ''}`,
    args: operands,
    withNumber: `quantized::${name}_scalar`,
  };
}

/** A convolution with its weight as an argument. */
export function convOperator(rank: 1 | 2 | 3, relu: boolean): OperatorForm {
  return {
    names: relu ? [`conv${rank}d`, 'relu'] : [`conv${rank}d`],
    quantized: `quantized::conv${rank}d${relu ? '_relu' : ''}`,
    args: packedThenOutput,
    weight: { weight: 1, bias: 2, pack: 'conv' },
    ...(!relu && { dynamic: `quantized::conv${rank}d_dynamic` as const }),
  };
}

/** A linear layer with its weight as an argument. */
export function linearOperator(relu: boolean): OperatorForm {
  return {
    names: relu ? ['linear', 'relu'] : ['linear'],
    quantized: relu ? 'quantized::linear_relu' : 'quantized::linear',
    args: packedThenOutput,
    weight: { weight: 1, bias: 2, pack: 'linear' },
    dynamic: relu ? 'quantized::linear_relu_dynamic' : 'quantized::linear_dynamic',
    half: relu ? 'quantized::linear_relu_dynamic_fp16' : 'quantized::linear_dynamic_fp16',
  };
}
