import { dispatch } from '../ops/dispatch.ts';
import { full } from '../tensor/creation.ts';
import { pythonFloat } from '../tensor/format.ts';
import { normalizeDim } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { glu } from './functional.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';

/** Options of activations that PyTorch can run in place. */
export interface InplaceOptions {
  /** Accepted and printed as in PyTorch; the result is a new tensor all the same. */
  readonly inplace?: boolean;
}

/** What activations with PyTorch's `inplace` flag share. */
abstract class InplaceActivation extends Module {
  readonly inplace: boolean;

  constructor(options: InplaceOptions = {}) {
    super();
    this.inplace = options.inplace ?? false;
  }

  override extraRepr(): string {
    return this.inplace ? 'inplace=True' : '';
  }
}

/**
 * max(x, 0). Works on quantized tensors too. Source: `torch.nn.ReLU`.
 *
 * @example
 * new ReLU()(tensor([-1, 2])).toArray(); // [0, 2]
 */
export class ReLU extends InplaceActivation {
  forward(x: Tensor): Tensor {
    return dispatch('relu', x);
  }
}

/** min(max(x, 0), 6). Source: `torch.nn.ReLU6`. */
export class ReLU6 extends InplaceActivation {
  forward(x: Tensor): Tensor {
    return dispatch('relu6', x);
  }
}

/** x·sigmoid(x). Source: `torch.nn.SiLU`. */
export class SiLU extends InplaceActivation {
  forward(x: Tensor): Tensor {
    return dispatch('silu', x);
  }
}

/** x·relu6(x + 3) / 6. Source: `torch.nn.Hardswish`. */
export class Hardswish extends InplaceActivation {
  forward(x: Tensor): Tensor {
    return dispatch('hardswish', x);
  }

  override extraRepr(): string {
    return '';
  }
}

/** relu6(x + 3) / 6. Source: `torch.nn.Hardsigmoid`. */
export class Hardsigmoid extends InplaceActivation {
  forward(x: Tensor): Tensor {
    return dispatch('hardsigmoid', x);
  }

  override extraRepr(): string {
    return '';
  }
}

/** Options of {@link Hardtanh}. */
export interface HardtanhOptions extends InplaceOptions {
  /** −1 where not given. */
  readonly minVal?: number;
  /** 1 where not given. */
  readonly maxVal?: number;
}

/** x cut to [minVal, maxVal]. Source: `torch.nn.Hardtanh`. */
export class Hardtanh extends InplaceActivation {
  readonly minVal: number;
  readonly maxVal: number;

  constructor(options: HardtanhOptions = {}) {
    super(options);
    this.minVal = options.minVal ?? -1;
    this.maxVal = options.maxVal ?? 1;
  }

  forward(x: Tensor): Tensor {
    return dispatch('hardtanh', x, this.minVal, this.maxVal);
  }

  override extraRepr(): string {
    return withInplace(
      `min_val=${pythonFloat(this.minVal)}, max_val=${pythonFloat(this.maxVal)}`,
      this.inplace,
    );
  }
}

/** x above zero, negativeSlope·x below. Source: `torch.nn.LeakyReLU`. */
export class LeakyReLU extends InplaceActivation {
  readonly negativeSlope: number;

  constructor(negativeSlope = 0.01, options: InplaceOptions = {}) {
    super(options);
    this.negativeSlope = negativeSlope;
  }

  forward(x: Tensor): Tensor {
    return dispatch('leakyRelu', x, this.negativeSlope);
  }

  override extraRepr(): string {
    return withInplace(`negative_slope=${pythonFloat(this.negativeSlope)}`, this.inplace);
  }
}

/** x above zero, alpha·(eˣ − 1) below. Source: `torch.nn.ELU`. */
export class ELU extends InplaceActivation {
  readonly alpha: number;

  constructor(alpha = 1, options: InplaceOptions = {}) {
    super(options);
    this.alpha = alpha;
  }

  forward(x: Tensor): Tensor {
    return dispatch('elu', x, this.alpha);
  }

  override extraRepr(): string {
    return withInplace(`alpha=${pythonFloat(this.alpha)}`, this.inplace);
  }
}

/** Options of {@link PReLU}. */
export interface PReLUOptions {
  /** One slope for all channels (1, the default) or one per channel. */
  readonly numParameters?: number;
  /** Where the slopes start; 0.25 where not given. */
  readonly init?: number;
}

/** x above zero, a learned slope times x below. Source: `torch.nn.PReLU`. */
export class PReLU extends Module {
  readonly numParameters: number;
  weight: Parameter;

  constructor(options: PReLUOptions = {}) {
    super();
    this.numParameters = options.numParameters ?? 1;
    this.weight = new Parameter(full([this.numParameters], options.init ?? 0.25));
  }

  forward(x: Tensor): Tensor {
    return dispatch('prelu', x, this.weight);
  }

  override extraRepr(): string {
    return `num_parameters=${this.numParameters}`;
  }
}

/** Options of {@link GELU}. */
export interface GELUOptions {
  /** `none` (exact, the default) or the `tanh` approximation. */
  readonly approximate?: 'none' | 'tanh';
}

/** x·Φ(x), Φ the normal distribution function. Source: `torch.nn.GELU`; Hendrycks and Gimpel (2016). */
export class GELU extends Module {
  readonly approximate: 'none' | 'tanh';

  constructor(options: GELUOptions = {}) {
    super();
    this.approximate = options.approximate ?? 'none';
  }

  forward(x: Tensor): Tensor {
    return dispatch('gelu', x, this.approximate);
  }

  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** 1 / (1 + e⁻ˣ). Source: `torch.nn.Sigmoid`. */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return dispatch('sigmoid', x);
  }
}

/** The hyperbolic tangent. Source: `torch.nn.Tanh`. */
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return dispatch('tanh', x);
  }
}

/** Options of {@link Softplus}. */
export interface SoftplusOptions {
  /** 1 where not given. */
  readonly beta?: number;
  /** Where beta·x is above this, the result is x; 20 where not given. */
  readonly threshold?: number;
}

/** log(1 + e^(beta·x)) / beta. Source: `torch.nn.Softplus`. */
export class Softplus extends Module {
  readonly beta: number;
  readonly threshold: number;

  constructor(options: SoftplusOptions = {}) {
    super();
    this.beta = options.beta ?? 1;
    this.threshold = options.threshold ?? 20;
  }

  forward(x: Tensor): Tensor {
    return dispatch('softplus', x, this.beta, this.threshold);
  }

  override extraRepr(): string {
    return `beta=${this.beta}, threshold=${this.threshold}`;
  }
}

/**
 * Positive numbers that sum to 1 along `dim`. Source: `torch.nn.Softmax`.
 *
 * @example
 * new Softmax(1)(tensor([[0, 0]])).toArray(); // [[0.5, 0.5]]
 */
export class Softmax extends Module {
  readonly dim: number;

  constructor(dim: number) {
    super();
    this.dim = dim;
  }

  forward(x: Tensor): Tensor {
    return dispatch('softmax', x, normalizeDim(this.dim, x.ndim, 'Softmax'));
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** The logarithm of {@link Softmax}, without overflow. Source: `torch.nn.LogSoftmax`. */
export class LogSoftmax extends Module {
  readonly dim: number;

  constructor(dim: number) {
    super();
    this.dim = dim;
  }

  forward(x: Tensor): Tensor {
    return dispatch('logSoftmax', x, normalizeDim(this.dim, x.ndim, 'LogSoftmax'));
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** The first half along `dim` times the sigmoid of the second half. Source: `torch.nn.GLU`; Dauphin et al. (2016). */
export class GLU extends Module {
  readonly dim: number;

  constructor(dim = -1) {
    super();
    this.dim = dim;
  }

  forward(x: Tensor): Tensor {
    return glu(x, this.dim);
  }

  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

function withInplace(text: string, inplace: boolean): string {
  return inplace ? `${text}, inplace=True` : text;
}
