import { QuantizationError } from '../../core/errors.ts';
import { Conv1d, Conv2d, Conv3d, Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { firstLayer } from '../layers/weights.ts';

/** A float layer that the rescue methods can change: a convolution (not transposed) or a linear layer. */
export type WeightedLayer = Conv1d | Conv2d | Conv3d | Linear;

/**
 * The layer with the weights at a dotted path: the module itself, or the first part of a fused one.
 *
 * @throws {@link QuantizationError} where there is no convolution or linear layer.
 */
export function weightedLayer(model: AnyModule, path: string, fn: string): WeightedLayer {
  const module = model.getSubmodule(path);
  const layer = firstLayer(module);
  if (
    layer instanceof Conv1d ||
    layer instanceof Conv2d ||
    layer instanceof Conv3d ||
    layer instanceof Linear
  ) {
    return layer;
  }
  throw new QuantizationError({
    fn,
    argument: path,
    expected: 'Conv1d, Conv2d, Conv3d or Linear, on its own or fused with a ReLU',
    got: module.typeName,
  });
}

/** How the channels of a weight [out, in / groups, ...kernel] are laid out. */
export interface ChannelLayout {
  readonly outChannels: number;
  readonly inChannels: number;
  readonly groups: number;
  readonly inPerGroup: number;
  /** Elements of one kernel: 1 for linear layers. */
  readonly taps: number;
}

/** The layout of a layer's weight. */
export function channelLayout(layer: WeightedLayer): ChannelLayout {
  const [outChannels, inPerGroup] = layer.weight.shape;
  const groups = layer instanceof Linear ? 1 : layer.groups;
  const taps = layer.weight.numel / (outChannels * inPerGroup);
  return { outChannels, inChannels: inPerGroup * groups, groups, inPerGroup, taps };
}

/** Calls `visit` with each kernel of a weight: where it starts, its output channel and its input channel. */
export function forEachKernel(
  { outChannels, groups, inPerGroup, taps }: ChannelLayout,
  visit: (start: number, output: number, input: number) => void,
): void {
  const outPerGroup = outChannels / groups;
  for (let o = 0, at = 0; o < outChannels; o++) {
    const first = Math.floor(o / outPerGroup) * inPerGroup;
    for (let i = 0; i < inPerGroup; i++, at += taps) visit(at, o, first + i);
  }
}
