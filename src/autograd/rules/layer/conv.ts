import { channelSums } from '../../../ops/float/layer/channels-last.ts';
import {
  convolutionInputGrad,
  convolutionTransposeInputGrad,
  convolutionTransposeWeightGrad,
  convolutionWeightGrad,
} from '../../../ops/float/layer/conv.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { ConvGeometry, ConvTransposeGeometry } from '../../../ops/signatures/layer.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { RulesOf } from '../rule.ts';

type ConvOps = Pick<LayerOps, `conv${1 | 2 | 3}d` | `convTranspose${1 | 2 | 3}d`>;

/** Gradients of convolutions. */
export const convRules: RulesOf<ConvOps> = {
  conv1d: convRule('conv1d'),
  conv2d: convRule('conv2d'),
  conv3d: convRule('conv3d'),
  convTranspose1d: convTransposeRule('convTranspose1d'),
  convTranspose2d: convTransposeRule('convTranspose2d'),
  convTranspose3d: convTransposeRule('convTranspose3d'),
};

type Gradients = (grad: Tensor) => readonly (Tensor | null)[];

function convRule(
  fn: string,
): (out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry) => Gradients {
  return (_out, x, weight, bias, geometry) => (grad) => [
    x.requiresGrad ? convolutionInputGrad(fn, grad, x.shape, weight, geometry) : null,
    weight.requiresGrad ? convolutionWeightGrad(fn, grad, x, weight.shape, geometry) : null,
    bias?.requiresGrad ? channelSums(grad) : null,
  ];
}

function convTransposeRule(
  fn: string,
): (
  out: Tensor,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvTransposeGeometry,
) => Gradients {
  return (_out, x, weight, bias, geometry) => (grad) => [
    x.requiresGrad ? convolutionTransposeInputGrad(fn, grad, x.shape, weight, geometry) : null,
    weight.requiresGrad ? convolutionTransposeWeightGrad(fn, grad, x, weight.shape, geometry) : null,
    bias?.requiresGrad ? channelSums(grad) : null,
  ];
}
