import { ArgumentError } from '../../core/errors.ts';
import { clampNumber, roundHalfEven } from '../../core/math.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { DTYPES } from '../../tensor/dtype.ts';
import { isPerChannel, type QParams } from '../../tensor/qparams.ts';
import { fromStorage, requireQuantized, type Tensor } from '../../tensor/tensor.ts';
import { observeInputs } from './layer-inputs.ts';
import { layerPairs } from './quantized-layers.ts';
import { channelLayout } from './weighted-layer.ts';

/** Options of {@link compensatedRounding}. */
export interface CompensatedRoundingOptions {
  /** Added to the diagonal of the inputs' products, as a share of its mean, so that rare inputs do not decide; 0.01 where not given. */
  readonly damping?: number;
  /** Change the quantized model itself instead of a copy. */
  readonly inplace?: boolean;
}

/**
 * Rounds weights anew so that a layer's outputs on real inputs stay close, rather than each weight by itself: weights are
 * rounded one input after another, and the error of each is made up for by those not yet rounded, as far as their inputs
 * are correlated. Scales, zero points and biases stay. Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for
 * Generative Pre-trained Transformers" (2022); Hassibi and Stork, "Optimal Brain Surgeon" (1993).
 *
 * @param floatModel The fused float model that was prepared, with the same paths.
 * @param quantizedModel What `convert` made of it; its own activations are the inputs that count.
 * @param batches Representative inputs, run through the quantized model once.
 * @throws {@link QuantizationError} where the models do not have the same layers.
 * @example
 * const better = compensatedRounding(fused, convert(prepared), batches);
 */
export function compensatedRounding<M extends AnyModule>(
  floatModel: AnyModule,
  quantizedModel: M,
  batches: Iterable<Tensor>,
  options: CompensatedRoundingOptions = {},
): M {
  const fn = 'compensatedRounding';
  const { damping = 0.01 } = options;
  if (!(damping > 0)) {
    throw new ArgumentError({ fn, argument: 'damping', expected: 'a number above 0', got: String(damping) });
  }
  const target = options.inplace ? quantizedModel : deepCopy(quantizedModel);
  const pairs = layerPairs(floatModel, target, fn);
  const floatLayers = new Map([...pairs].map(([path, { float }]) => [path, float]));
  const inputs = observeInputs(target, floatLayers, batches, fn, { gram: true });
  for (const [path, { float, quantized }] of pairs) {
    const { groups, inPerGroup, taps, outChannels } = channelLayout(float);
    const old = quantized.weight();
    const qparams = requireQuantized(old, fn);
    const row = inPerGroup * taps;
    const integers = DTYPES[old.dtype].allocate(old.numel);
    const weight = Float64Array.from(float.weight.numbers());
    const { min, max } = DTYPES[old.dtype];
    const perGroup = outChannels / groups;
    for (let g = 0; g < groups; g++) {
      const { order, factor } = compensation(inputs.get(path)?.gram[g] as Float64Array, row, damping);
      for (let o = g * perGroup; o < (g + 1) * perGroup; o++) {
        const { scale, zeroPoint } = channelQParams(qparams, o);
        const w = weight.subarray(o * row, (o + 1) * row);
        for (let j = 0; j < row; j++) {
          const column = order[j];
          const q = clampNumber(roundHalfEven(w[column] / scale) + zeroPoint, min, max);
          integers[o * row + column] = q;
          const error = (w[column] - (q - zeroPoint) * scale) / factor[j * row + j];
          for (let k = j + 1; k < row; k++) w[order[k]] -= error * factor[j * row + k];
        }
      }
    }
    quantized.setWeightBias(fromStorage(integers, old.shape, old.dtype, qparams), quantized.bias());
  }
  return target;
}

function channelQParams(qparams: QParams, channel: number): { scale: number; zeroPoint: number } {
  if (!isPerChannel(qparams)) return qparams;
  return { scale: qparams.scales[channel], zeroPoint: qparams.zeroPoints[channel] };
}

/**
 * In which order to round (loudest inputs first), and the upper triangle U with Uᵀ·U = H⁻¹ in that order: rounding entry j
 * with error e asks U[j, k] / U[j, j] · e of every later entry k.
 */
function compensation(
  gram: Float64Array,
  size: number,
  damping: number,
): { readonly order: Int32Array; readonly factor: Float64Array } {
  let trace = 0;
  for (let i = 0; i < size; i++) trace += gram[i * size + i];
  const ridge = damping * (trace / size) || 1;
  const order = Int32Array.from({ length: size }, (_, i) => i).sort(
    (a, b) => gram[b * size + b] - gram[a * size + a],
  );
  const h = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) h[i * size + j] = gram[order[i] * size + order[j]];
    h[i * size + i] += ridge;
  }
  return { order, factor: upperFactor(symmetricInverse(h, size), size) };
}

/** The inverse of a symmetric positive definite matrix: L⁻ᵀ·L⁻¹ for its Cholesky factor L. */
function symmetricInverse(a: Float64Array, n: number): Float64Array {
  const lower = lowerFactor(a, n);
  const inverse = new Float64Array(n * n);
  for (let c = 0; c < n; c++) {
    inverse[c * n + c] = 1 / lower[c * n + c];
    for (let r = c + 1; r < n; r++) {
      let sum = 0;
      for (let k = c; k < r; k++) sum += lower[r * n + k] * inverse[k * n + c];
      inverse[r * n + c] = -sum / lower[r * n + r];
    }
  }
  const out = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i <= k; i++) {
      const v = inverse[k * n + i];
      if (v === 0) continue;
      for (let j = 0; j <= i; j++) out[i * n + j] += v * inverse[k * n + j];
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) out[j * n + i] = out[i * n + j];
  return out;
}

/** L with L·Lᵀ = a. */
function lowerFactor(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j];
      for (let k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / l[j * n + j];
    }
  }
  return l;
}

/** U with Uᵀ·U = a: the transpose of {@link lowerFactor}. */
function upperFactor(a: Float64Array, n: number): Float64Array {
  const l = lowerFactor(a, n);
  const u = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) u[j * n + i] = l[i * n + j];
  return u;
}
