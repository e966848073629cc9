import { QuantizationError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { onesLike, zerosLike } from '../tensor/creation.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { BatchNorm } from './batch-norm.ts';
import type { ConvNd } from './conv.ts';
import { ConvTransposeNd } from './conv-transpose.ts';
import { deepCopy } from './deep-copy.ts';
import type { Linear } from './linear.ts';
import type { AnyModule } from './module.ts';
import { Parameter } from './parameter.ts';

/** A batch normalization's part in folding: its statistics, and scale and shift where it learns them. */
export interface BatchNormState {
  readonly runningMean: Tensor;
  readonly runningVar: Tensor;
  readonly eps: number;
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
}

/**
 * A convolution that computes what `conv` followed by `bn` computes in evaluation mode. Neither is changed.
 * Source: `torch.nn.utils.fusion.fuse_conv_bn_eval`.
 *
 * @throws {@link QuantizationError} where one of them is in training mode or `bn` has no running statistics.
 * @example
 * const fused = fuseConvBn(model.conv1.eval(), model.bn1.eval());
 */
export function fuseConvBn<C extends ConvNd>(conv: C, bn: BatchNorm): C {
  const state = evalState('fuseConvBn', conv, bn);
  const fused = deepCopy(conv);
  const transposed = conv instanceof ConvTransposeNd;
  const folded = fuseConvBnWeights(conv.weight, conv.bias, state, transposed);
  fused.weight = new Parameter(folded.weight, conv.weight.requiresGrad);
  fused.bias = new Parameter(folded.bias, conv.weight.requiresGrad);
  return fused;
}

/**
 * Weight and bias of a convolution with a batch normalization folded in, in float32 operation by operation as PyTorch
 * has it: w·(γ / √(σ² + ε)) and (b − μ)·(1 / √(σ² + ε))·γ + β. `transposed` says that channels are the weight's second
 * dimension. Source: `torch.nn.utils.fusion.fuse_conv_bn_weights`.
 *
 * @example
 * const { weight, bias } = fuseConvBnWeights(conv.weight, conv.bias, bn);
 */
export function fuseConvBnWeights(
  weight: Tensor,
  bias: Tensor | null,
  bn: BatchNormState,
  transposed = false,
): { readonly weight: Tensor; readonly bias: Tensor } {
  return noGrad(() => {
    const gamma = bn.weight ?? onesLike(bn.runningMean);
    const beta = bn.bias ?? zerosLike(bn.runningMean);
    const b = bias ?? zerosLike(bn.runningMean);
    const rsqrt = dispatch('rsqrt', dispatch('add', bn.runningVar, bn.eps, 1));
    const channel = transposed ? 1 : 0;
    const shape = weight.shape.map((_, d) => (d === channel ? -1 : 1));
    const scale = dispatch('reshape', dispatch('mul', gamma, rsqrt), shape);
    const centred = dispatch('sub', b, bn.runningMean, 1);
    const scaled = dispatch('mul', dispatch('mul', centred, rsqrt), gamma);
    return { weight: dispatch('mul', weight, scale), bias: dispatch('add', scaled, beta, 1) };
  });
}

/**
 * A linear layer that computes what `linear` followed by `bn` computes in evaluation mode. Neither is changed.
 * Source: `torch.nn.utils.fusion.fuse_linear_bn_eval`.
 *
 * @throws {@link QuantizationError} where one of them is in training mode or `bn` has no running statistics.
 */
export function fuseLinearBn<L extends Linear>(linear: L, bn: BatchNorm): L {
  const state = evalState('fuseLinearBn', linear, bn);
  const fused = deepCopy(linear);
  const folded = fuseLinearBnWeights(linear.weight, linear.bias, state);
  fused.weight = new Parameter(folded.weight, linear.weight.requiresGrad);
  fused.bias = new Parameter(folded.bias, linear.weight.requiresGrad);
  return fused;
}

/**
 * Weight and bias of a linear layer with a batch normalization folded in, in float32 operation by operation as PyTorch
 * has it. Source: `torch.nn.utils.fusion.fuse_linear_bn_weights`.
 */
export function fuseLinearBnWeights(
  weight: Tensor,
  bias: Tensor | null,
  bn: BatchNormState,
): { readonly weight: Tensor; readonly bias: Tensor } {
  return noGrad(() => {
    const gamma = bn.weight ?? onesLike(bn.runningMean);
    const beta = bn.bias ?? zerosLike(bn.runningMean);
    const b = bias ?? zerosLike(bn.runningMean);
    const scale = dispatch('mul', gamma, dispatch('rsqrt', dispatch('add', bn.runningVar, bn.eps, 1)));
    const centred = dispatch('sub', b, bn.runningMean, 1);
    return {
      weight: dispatch('mul', weight, dispatch('unsqueeze', scale, 1)),
      bias: dispatch('add', dispatch('mul', centred, scale), beta, 1),
    };
  });
}

function evalState(fn: string, layer: AnyModule, bn: BatchNorm): BatchNormState {
  const { runningMean, runningVar } = bn;
  if (layer.training || bn.training) {
    throw new QuantizationError({
      fn,
      argument: 'mode',
      expected: 'both layers in evaluation mode (the statistics are then fixed)',
      got: `${layer.training ? layer.typeName : bn.typeName} in training mode`,
      fix: 'Call model.eval() first; fuse for training with prepareQat.',
    });
  }
  if (!runningMean || !runningVar) {
    throw new QuantizationError({
      fn,
      argument: 'bn',
      expected: 'a batch normalization with running statistics',
      got: `${bn.typeName} with trackRunningStats: false`,
    });
  }
  return { runningMean, runningVar, eps: bn.eps, weight: bn.weight, bias: bn.bias };
}
