import { ArgumentError, DTypeError, ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { type ConvWeights, type PackedConvWeights, packConvWeights } from '../../kernels/int8/pack.ts';
import { isPerChannel } from '../../tensor/qparams.ts';
import { formatShape } from '../../tensor/shape.ts';
import { requireQuantized, type Tensor } from '../../tensor/tensor.ts';
import type { ConvGeometry } from '../signatures/layer.ts';

/** Output parameters a panel's header was last written for; null means float output (dynamic quantization). */
export interface OutputQParams {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * Weights of a quantized convolution or linear layer: the quantized tensor as users see it, and the panel the kernels
 * read, packed once on first use and freed with this object. Immutable, so copies of a layer share it.
 * Source: PyTorch's `Conv2dPackedParamsBase`, `LinearPackedParamsBase`.
 */
export class PackedWeights {
  /** [outChannels, inChannels / groups, ...kernel] or [outFeatures, inFeatures]; qint8 (or quint8), per tensor or per axis 0. */
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  /** Null for linear layers. */
  readonly geometry: ConvGeometry | null;
  /** Every tap is a row of its own, found by a table, so that reads may begin anywhere in the input. */
  readonly tapByTap: boolean;
  readonly weightScales: Float32Array;
  readonly #zeroPoints: Int32Array;
  #panel: PackedConvWeights | null = null;
  #dynamicPanel: PackedConvWeights | null = null;

  constructor(
    weight: Tensor,
    bias: Tensor | null,
    geometry: ConvGeometry | null,
    options: { readonly tapByTap?: boolean } = {},
  ) {
    const fn = geometry ? 'quantized::conv_prepack' : 'quantized::linear_prepack';
    const q = requireQuantized(weight, fn);
    const out = weight.shape[0];
    if (weight.dtype !== 'qint8' && weight.dtype !== 'quint8') {
      throw new DTypeError({ fn, argument: 'weight', expected: 'qint8 or quint8', got: weight.dtype });
    }
    if (isPerChannel(q) && q.axis !== 0) {
      throw new ArgumentError({
        fn,
        argument: 'weight',
        expected: 'per-channel quantization along axis 0',
        got: `axis ${q.axis}`,
      });
    }
    if (geometry && out % geometry.groups !== 0) {
      throw new ShapeError({
        fn,
        argument: 'weight',
        expected: `output channels divisible by ${geometry.groups} groups`,
        got: formatShape(weight.shape),
      });
    }
    if (bias && (bias.numel !== out || bias.dtype !== 'float32')) {
      throw new ShapeError({
        fn,
        argument: 'bias',
        expected: `float32 of shape [${out}]`,
        got: `${bias.dtype} of shape ${formatShape(bias.shape)}`,
      });
    }
    this.weight = weight;
    this.bias = bias;
    this.geometry = geometry;
    this.tapByTap = options.tapByTap ?? false;
    this.weightScales = isPerChannel(q) ? Float32Array.from(q.scales) : new Float32Array(out).fill(q.scale);
    this.#zeroPoints = isPerChannel(q)
      ? Int32Array.from(q.zeroPoints)
      : new Int32Array(out).fill(q.zeroPoint);
  }

  /** Kernel sizes; empty for linear layers. */
  get kernelSize(): readonly number[] {
    return this.weight.shape.slice(2);
  }

  /** The panel, its header written for these parameters. Rewriting the header is cheap and skipped when nothing changed. */
  panel(inputScale: number, inputZeroPoint: number, output: OutputQParams | null): PackedConvWeights {
    this.#panel ??= this.#pack(false);
    this.#panel.setQuantization({
      bias: this.bias ? (this.bias.data as Float32Array) : null,
      inputScale,
      inputZeroPoint,
      weightScales: this.weightScales,
      output,
    });
    return this.#panel;
  }

  /** The panel for dynamic layers: float output, the input's parameters are set call by call. */
  dynamicPanel(): PackedConvWeights {
    if (!this.#dynamicPanel) {
      const bias = this.bias ? (this.bias.data as Float32Array) : null;
      this.#dynamicPanel = this.#pack(true);
      this.#dynamicPanel.setDynamicQuantization(bias, this.weightScales);
    }
    return this.#dynamicPanel;
  }

  /** The weights as the kernels take them. */
  convWeights(floatOutput: boolean): ConvWeights {
    const { weight, geometry } = this;
    const [outChannels, inChannelsPerGroup] = weight.shape;
    return {
      weight: weight.data as Int8Array | Uint8Array,
      channelsFirst: true,
      outChannels,
      taps: product(this.kernelSize),
      contiguousTaps: geometry?.dilation.at(-1) === 1 && !this.tapByTap ? this.kernelSize.at(-1) : 1,
      inChannelsPerGroup,
      groups: geometry?.groups ?? 1,
      weightZeroPoints: this.#zeroPoints,
      floatOutput,
    };
  }

  #pack(floatOutput: boolean): PackedConvWeights {
    return packConvWeights(this.convWeights(floatOutput));
  }
}
