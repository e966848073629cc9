import { BatchNorm1d, Linear as FloatLinear, fuseLinearBnWeights, Parameter } from '../../../nn/index.ts';
import * as intrinsic from '../../../nn/intrinsic/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { zeros } from '../../../tensor/creation.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ObserverBase } from '../../observers/observer.ts';
import {
  adoptBatchNorm,
  type FoldedBatchNorm,
  foldable,
  forwardFolded,
  resetBnParameters,
  scaledWeight,
  stateOf,
  trainFolded,
} from './batch-norm.ts';
import { floatLinear, type QatLinearOptions } from './linear.ts';
import { attachWeightFakeQuant, qconfigForTraining, weightFakeQuantOf } from './weight-fake-quant.ts';

/** Options of {@link LinearBn1d}. */
export interface QatLinearBnOptions extends QatLinearOptions {
  /** Added to the variance; 1e-5 where not given. */
  readonly eps?: number;
  /** Weight of the newest batch in the running statistics; 0.1 where not given. */
  readonly momentum?: number | null;
  /** Begin with frozen statistics. */
  readonly freezeBn?: boolean;
}

/**
 * Linear layer and batch normalization, trained as one layer: [N, inFeatures] → [N, outFeatures]. The weight is scaled by
 * γ/√(σ²+ε) before it is fake-quantized, and the result scaled back before it is normalized.
 * Source: `torch.ao.nn.intrinsic.qat.LinearBn1d`.
 *
 * @example
 * const layer = new LinearBn1d(64, 10, { qconfig: getDefaultQatQConfig() });
 */
export class LinearBn1d extends FloatLinear implements FoldedBatchNorm {
  bn: BatchNorm1d;
  freezeBn = false;

  constructor(inFeatures: number, outFeatures: number, options: QatLinearBnOptions) {
    super(inFeatures, outFeatures, options);
    const { eps, momentum } = options;
    this.bn = new BatchNorm1d(outFeatures, { eps, momentum });
    attachWeightFakeQuant(this, options);
    // PyTorch leaves this bias uninitialized; zero is what a bias before a normalization amounts to.
    if (this.bias) this.bias = new Parameter(zeros([outFeatures]));
    resetBnParameters(this.bn);
    if (options.freezeBn) this.freezeBnStats();
  }

  /** Trains on with the parameters of a fused float module that has a qconfig. */
  static fromFloat(module: AnyModule): LinearBn1d {
    const fn = 'qat.LinearBn1d.fromFloat';
    const qconfig = qconfigForTraining(module, intrinsic.LinearBn1d, fn);
    const [linear, norm] = module.children() as [FloatLinear, BatchNorm1d];
    const { inFeatures, outFeatures } = linear;
    const { eps, momentum } = foldable(norm, outFeatures, fn);
    const made = new LinearBn1d(inFeatures, outFeatures, {
      bias: linear.bias !== null,
      eps,
      momentum,
      qconfig,
    });
    made.weight = linear.weight;
    made.bias = linear.bias;
    adoptBatchNorm(made.bn, norm);
    return made;
  }

  /** The fake-quantize of the scaled weight. */
  get weightFakeQuant(): ObserverBase {
    return weightFakeQuantOf(this);
  }

  freezeBnStats(): this {
    this.freezeBn = true;
    this.bn.training = false;
    return this;
  }

  updateBnStats(): this {
    this.freezeBn = false;
    this.bn.training = true;
    return this;
  }

  override train(mode = true): this {
    trainFolded(this, mode);
    return this;
  }

  override forward(x: Tensor): Tensor {
    return forwardFolded(this, (weight) => dispatch('linear', x, weight, null));
  }

  /** The weight exactly as training rounds it, and the bias of PyTorch's folding. */
  foldedParameters(): { readonly weight: Tensor; readonly bias: Tensor } {
    return noGrad(() => {
      const weight = scaledWeight(this, `${this.typeName}.foldedParameters`);
      return { weight, bias: fuseLinearBnWeights(this.weight, this.bias, stateOf(this.bn)).bias };
    });
  }

  /** The float layer with the trained weights, the normalization folded in. Source: `to_float`. */
  toFloat(): AnyModule {
    const { weight, bias } = fuseLinearBnWeights(this.weight, this.bias, stateOf(this.bn));
    return floatLinear(this, weight, bias);
  }
}
