import {
  ELU as FloatELU,
  Hardswish as FloatHardswish,
  LeakyReLU as FloatLeakyReLU,
  type PReLU as FloatPReLU,
  ReLU6 as FloatReLU6,
  Sigmoid as FloatSigmoid,
  Softmax as FloatSoftmax,
  type InplaceOptions,
} from '../../../nn/index.ts';
import { Module, type StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { activationQParams } from '../../../ops/quantized/convolution.ts';
import { full } from '../../../tensor/creation.ts';
import { normalizeDim } from '../../../tensor/shape.ts';
import type { StateDict } from '../../../tensor/state.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { observedQParams } from '../../observed-qparams.ts';
import { MinMaxObserver } from '../../observers/min-max.ts';
import { loadOutputQParams, saveOutputQParams } from '../state.ts';
import { quantizeWeight } from '../weights.ts';

// PyTorch's Hardswish, ELU, Sigmoid, Softmax and PReLU leave their output parameters out of the state dict, so that they are
// lost between saving and loading. Here they are written, and read where they are there.

/** min(max(x, 0), 6) on quantized tensors; the quantization stays. Source: `torch.ao.nn.quantized.ReLU6`. */
export class ReLU6 extends FloatReLU6 {
  static fromFloat(module: FloatReLU6): ReLU6 {
    return new ReLU6({ inplace: module.inplace });
  }

  override get typeName(): string {
    return 'QuantizedReLU6';
  }

  override forward(x: Tensor): Tensor {
    activationQParams(x, this.typeName);
    return super.forward(x);
  }
}

/**
 * x·relu6(x + 3) / 6 on quantized tensors. Source: `torch.ao.nn.quantized.Hardswish`.
 *
 * @example
 * new Hardswish(0.02, 5)(x).qScale(); // 0.02
 */
export class Hardswish extends FloatHardswish {
  scale: number;
  zeroPoint: number;

  constructor(scale: number, zeroPoint: number) {
    super();
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatHardswish): Hardswish {
    const { scale, zeroPoint } = observedQParams(
      module.activationPostProcess,
      'QuantizedHardswish.fromFloat',
    );
    return new Hardswish(scale, zeroPoint);
  }

  override get typeName(): string {
    return 'QuantizedHardswish';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::hardswish', x, this.scale, this.zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix, { optional: true });
  }
}

/** x above zero, alpha·(eˣ − 1) below, on quantized tensors. Source: `torch.ao.nn.quantized.ELU`. */
export class ELU extends FloatELU {
  scale: number;
  zeroPoint: number;

  constructor(scale: number, zeroPoint: number, alpha = 1) {
    super(alpha);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatELU): ELU {
    const { scale, zeroPoint } = observedQParams(module.activationPostProcess, 'QuantizedELU.fromFloat');
    return new ELU(scale, zeroPoint, module.alpha);
  }

  override get typeName(): string {
    return 'QuantizedELU';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::elu', x, this.scale, this.zeroPoint, this.alpha);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix, { optional: true });
  }
}

/** x above zero, negativeSlope·x below, on quantized tensors. Source: `torch.ao.nn.quantized.LeakyReLU`. */
export class LeakyReLU extends FloatLeakyReLU {
  scale: number;
  zeroPoint: number;

  constructor(scale: number, zeroPoint: number, negativeSlope = 0.01, options: InplaceOptions = {}) {
    super(negativeSlope, options);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatLeakyReLU): LeakyReLU {
    const { scale, zeroPoint } = observedQParams(
      module.activationPostProcess,
      'QuantizedLeakyReLU.fromFloat',
    );
    return new LeakyReLU(scale, zeroPoint, module.negativeSlope, { inplace: module.inplace });
  }

  override get typeName(): string {
    return 'QuantizedLeakyReLU';
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::leaky_relu', x, this.negativeSlope, this.scale, this.zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix);
  }
}

/**
 * 1 / (1 + e⁻ˣ) with output parameters of its own. A float Sigmoid works on quantized tensors as well, with scale 1/256;
 * `convert` keeps that one, as PyTorch does. Source: `torch.ao.nn.quantized.Sigmoid`.
 */
export class Sigmoid extends FloatSigmoid {
  scale: number;
  zeroPoint: number;

  constructor(scale: number, zeroPoint: number) {
    super();
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatSigmoid): Sigmoid {
    const { scale, zeroPoint } = observedQParams(module.activationPostProcess, 'Sigmoid.fromFloat');
    return new Sigmoid(scale, zeroPoint);
  }

  override forward(x: Tensor): Tensor {
    return dispatch('quantized::sigmoid', x, this.scale, this.zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix, { optional: true });
  }
}

/**
 * Positive numbers that sum to 1 along `dim`, on quantized tensors. A float Softmax works on them as well, with scale
 * 1/256. Source: `torch.ao.nn.quantized.Softmax`.
 */
export class Softmax extends FloatSoftmax {
  scale: number;
  zeroPoint: number;

  constructor(dim: number, scale = 1, zeroPoint = 0) {
    super(dim);
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  static fromFloat(module: FloatSoftmax): Softmax {
    const { scale, zeroPoint } = observedQParams(module.activationPostProcess, 'QuantizedSoftmax.fromFloat');
    return new Softmax(module.dim, scale, zeroPoint);
  }

  override get typeName(): string {
    return 'QuantizedSoftmax';
  }

  override forward(x: Tensor): Tensor {
    const dim = normalizeDim(this.dim, x.ndim, this.typeName);
    return dispatch('quantized::softmax', x, dim, this.scale, this.zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix, { optional: true });
  }
}

/**
 * x above zero, a slope times x below, on quantized tensors; the slopes are quantized, too: one in all, or one per channel.
 * Source: `torch.ao.nn.quantized.PReLU`.
 *
 * PyTorch asks an observer that never saw the slopes for their scale and gets 1, which rounds them to whole numbers; here
 * the observer sees them.
 */
export class PReLU extends Module {
  readonly numParameters: number;
  scale: number;
  zeroPoint: number;
  /** The slopes: quint8 of [numParameters]. */
  weight: Tensor;

  constructor(scale: number, zeroPoint: number, numParameters = 1) {
    super();
    this.numParameters = numParameters;
    this.scale = scale;
    this.zeroPoint = zeroPoint;
    this.weight = quantizedSlopes(full([numParameters], 0.25));
  }

  static fromFloat(module: FloatPReLU): PReLU {
    const { scale, zeroPoint } = observedQParams(module.activationPostProcess, 'QuantizedPReLU.fromFloat');
    const q = new PReLU(scale, zeroPoint, module.numParameters);
    q.setWeight(quantizedSlopes(module.weight));
    return q;
  }

  override get typeName(): string {
    return 'QuantizedPReLU';
  }

  /** Replaces the slopes by other quantized ones. */
  setWeight(weight: Tensor): void {
    this.weight = weight;
  }

  forward(x: Tensor): Tensor {
    return dispatch('quantized::prelu', x, this.weight, this.scale, this.zeroPoint);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    into.set(`${prefix}weight`, this.weight);
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    const weight = loader.take(`${prefix}weight`, true);
    if (weight instanceof Tensor && weight.isQuantized && weight.numel === this.numParameters)
      loader.later(() => this.setWeight(weight));
    else if (weight !== undefined)
      loader.mismatch(`${prefix}weight is not a quantized tensor of ${this.numParameters} slopes`);
    loadOutputQParams(this, loader, prefix, { optional: true });
  }
}

/** Slopes as quint8, over their own range. */
function quantizedSlopes(slopes: Tensor): Tensor {
  const observer = new MinMaxObserver({ dtype: 'quint8' });
  noGrad(() => observer(slopes));
  return quantizeWeight(slopes, observer, 'QuantizedPReLU');
}
