import { product } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import { type ClampF32, checkLength, PACKED_ROW_BYTES, panelCount, stageBias, takesPairs } from './panels.ts';
import { type Block, Sliding, type StagedPhase } from './sliding.ts';
import {
  type ConvGeometryF32,
  checkConvGeometry,
  forwardSweep,
  inputGradSweep,
  type Sweep,
} from './window.ts';
import { suitsWinograd, winogradForwardF32, winogradInputGradF32 } from './winograd.ts';

/** Window rows walked before the next panel: whole tiles of six and of five rows. */
const ROW_BLOCK = 120;

/** Options of {@link convForwardF32} and {@link convInputGradF32}. */
export interface ConvF32Options {
  /** One value per channel of the result. */
  readonly bias?: Float32Array | null;
  /** Bounds applied to the result before it is stored (fused ReLU or ReLU6). NaN passes through. */
  readonly clamp?: ClampF32;
  /** Written in place when given. */
  readonly out?: Float32Array;
  readonly engine?: Engine;
}

/**
 * Convolution in one, two or three dimensions with stride, zero padding, dilation and groups, `torch.conv1d/2d/3d` on channels-last data.
 * Depthwise convolutions (one input and output channel per group) have their own kernel.
 *
 * @param input `[batch][…inSize][inChannels]`
 * @param weight `[outChannels][inChannels / groups][…kernel]`
 * @returns `[batch][…outSize][outChannels]`
 * @throws ShapeError when sizes do not fit together.
 * @example
 * const y = convForwardF32(x, weight, {
 *   batch: 1, inChannels: 3, outChannels: 16, groups: 1, inSize: [32, 32], outSize: [32, 32],
 *   kernel: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1],
 * }, { bias, clamp: { min: 0 } });
 */
export function convForwardF32(
  input: Float32Array,
  weight: Float32Array,
  geometry: ConvGeometryF32,
  options: ConvF32Options = {},
): Float32Array {
  checkConvGeometry('convForwardF32', geometry);
  const sweep = forwardSweep(geometry);
  const perGroup = geometry.inChannels / geometry.groups;
  checkLength(
    'convForwardF32',
    'input',
    input,
    sweep.batch * product(sweep.sourceSize) * geometry.inChannels,
  );
  checkLength('convForwardF32', 'weight', weight, geometry.outChannels * perGroup * sweep.taps);
  if (suitsWinograd(geometry)) {
    return tiled('convForwardF32', winogradForwardF32, input, weight, geometry, sweep, options);
  }
  const columnStride = perGroup * sweep.taps;
  return sweepProduct('convForwardF32', sweep, input, weight, columnStride, sweep.taps, options);
}

/**
 * Gradient of {@link convForwardF32} with respect to its input; the same map is the forward pass of a transposed convolution
 * (`torch.conv_transpose1d/2d/3d`, where `geometry` describes the convolution it reverses).
 *
 * @param gradOut `[batch][…outSize][outChannels]`
 * @param weight `[outChannels][inChannels / groups][…kernel]`
 * @param options a bias here has `inChannels` values, for the transposed convolution.
 * @returns `[batch][…inSize][inChannels]`
 * @throws ShapeError when sizes do not fit together.
 * @example
 * const gradInput = convInputGradF32(gradOut, weight, geometry);
 */
export function convInputGradF32(
  gradOut: Float32Array,
  weight: Float32Array,
  geometry: ConvGeometryF32,
  options: ConvF32Options = {},
): Float32Array {
  checkConvGeometry('convInputGradF32', geometry);
  const sweep = inputGradSweep(geometry);
  const perGroup = geometry.inChannels / geometry.groups;
  checkLength(
    'convInputGradF32',
    'gradOut',
    gradOut,
    sweep.batch * product(sweep.sourceSize) * geometry.outChannels,
  );
  checkLength('convInputGradF32', 'weight', weight, geometry.outChannels * perGroup * sweep.taps);
  if (suitsWinograd(geometry)) {
    return tiled('convInputGradF32', winogradInputGradF32, gradOut, weight, geometry, sweep, options);
  }
  const rowStride = perGroup * sweep.taps;
  return sweepProduct('convInputGradF32', sweep, gradOut, weight, sweep.taps, rowStride, options);
}

/** Where a result goes: `out` if given, of the right length, else a fresh array. Checks the bias too. */
function resultOf(
  fn: string,
  { destSize, destChannels, batch }: Sweep,
  options: ConvF32Options,
): Float32Array {
  const length = batch * product(destSize) * destChannels;
  if (options.bias) checkLength(fn, 'bias', options.bias, destChannels);
  if (!options.out) return new Float32Array(length);
  checkLength(fn, 'out', options.out, length);
  return options.out;
}

/** Runs a product on Winograd tiles. */
function tiled(
  fn: string,
  run: typeof winogradForwardF32,
  source: Float32Array,
  weight: Float32Array,
  geometry: ConvGeometryF32,
  sweep: Sweep,
  options: ConvF32Options,
): Float32Array {
  const out = resultOf(fn, sweep, options);
  run(source, weight, geometry, out, {
    bias: options.bias ?? null,
    min: options.clamp?.min ?? -Infinity,
    max: options.clamp?.max ?? Infinity,
    engine: options.engine ?? defaultEngine,
  });
  return out;
}

/**
 * Runs a sweep: every destination position is the sum over taps and source channels of source × weight.
 *
 * @param columnStride distance in `weight` of neighbouring destination channels of a group
 * @param rowStride distance in `weight` of neighbouring source channels of a group
 */
function sweepProduct(
  fn: string,
  sweep: Sweep,
  source: Float32Array,
  weight: Float32Array,
  columnStride: number,
  rowStride: number,
  options: ConvF32Options,
): Float32Array {
  const { engine = defaultEngine, bias } = options;
  const { destChannels, groups, sourceChannels } = sweep;
  const out = resultOf(fn, sweep, options);
  if (out.length === 0) return out;
  const depthwise = groups === sourceChannels && groups === destChannels && groups > 1;
  engine.scratch((take) => {
    const sliding = new Sliding(engine, take, sweep);
    const run = (depthwise ? depthwiseRunner : panelRunner)(engine, take, sliding, weight, {
      columnStride,
      rowStride,
      bias: bias ?? null,
      min: options.clamp?.min ?? -Infinity,
      max: options.clamp?.max ?? Infinity,
    });
    const dest = take((sliding.blockFloats + 8) * 4);
    sliding.blocks(source, (block) => {
      for (const staged of sliding.phases) run(staged, block, dest);
      const from = dest >> 2;
      out.set(engine.heap.f32.subarray(from, from + block.destLength), block.destOffset);
    });
  });
  return out;
}

interface ProductSettings {
  readonly columnStride: number;
  readonly rowStride: number;
  readonly bias: Float32Array | null;
  readonly min: number;
  readonly max: number;
}

type Take = (bytes: number) => number;
type Runner = (staged: StagedPhase, block: Block, dest: number) => void;

/** Packs the weights of every phase and group into panels and multiplies with the indirect matrix product. */
function panelRunner(
  engine: Engine,
  take: Take,
  sliding: Sliding,
  weight: Float32Array,
  settings: ProductSettings,
): Runner {
  const { groups, sourceChannels, destChannels, taps } = sliding.sweep;
  const k = sourceChannels / groups;
  const n = destChannels / groups;
  const groupPanels = panelCount(n) * PACKED_ROW_BYTES * k;
  const panels = new Map<StagedPhase, number>();
  for (const staged of sliding.phases) panels.set(staged, take(groups * groupPanels * staged.taps.length));
  // The weight as it came is needed for packing only.
  engine.scratch((inner) => {
    const raw = inner((weight.length + 16) * 4);
    engine.heap.f32.set(weight, raw >> 2);
    for (const staged of sliding.phases) {
      const count = staged.taps.length;
      const table = inner(count * 4);
      engine.heap.u32.set(
        staged.taps.map((tap) => tap * 4),
        table >> 2,
      );
      for (let g = 0; g < groups; g++) {
        // A group owns consecutive output channels of the weight, which are the source channels of an input gradient.
        const src = raw + (g * weight.length * 4) / groups;
        const dst = (panels.get(staged) as number) + g * groupPanels * count;
        if (taps === 1 && count === 1 && settings.rowStride === 1) {
          engine.kernels.f32_pack_columns(src, settings.columnStride * 4, k, n, dst, k * PACKED_ROW_BYTES);
        } else if (taps === 1 && count === 1 && settings.columnStride === 1) {
          engine.kernels.f32_pack_rows(src, settings.rowStride * 4, k, n, dst, k * PACKED_ROW_BYTES);
        } else {
          engine.kernels.f32_pack_taps(
            src,
            settings.columnStride * 4,
            settings.rowStride * 4,
            table,
            count,
            k,
            n,
            dst,
          );
        }
      }
    }
  });
  const biases = Array.from({ length: groups }, (_, g) =>
    stageBias(engine, take, settings.bias?.subarray(g * n, (g + 1) * n), n),
  );
  const pairs = takesPairs(engine);
  return (staged, block, dest) => {
    const source = block.source(staged);
    const rows = block.rows(staged);
    const count = staged.taps.length;
    for (let g = 0; g < groups; g++) {
      engine.kernels.f32_igemm(
        rows,
        staged.rowTable,
        source + g * k * 4,
        staged.outTable,
        dest + g * n * 4,
        staged.runTable,
        staged.runs,
        staged.runLength,
        (panels.get(staged) as number) + g * groupPanels * count,
        k * count * PACKED_ROW_BYTES,
        n,
        biases[g],
        false,
        settings.min,
        settings.max,
        ROW_BLOCK,
        pairs,
      );
    }
  };
}

/** One filter per channel: weights as `[tap][channel]`, channels in vector lanes. */
function depthwiseRunner(
  engine: Engine,
  take: Take,
  sliding: Sliding,
  weight: Float32Array,
  settings: ProductSettings,
): Runner {
  const { destChannels: channels, taps } = sliding.sweep;
  const biasPtr = stageBias(engine, take, settings.bias, channels);
  const padded = panelCount(channels) * 8;
  const filters = new Map<StagedPhase, number>();
  for (const staged of sliding.phases) {
    const ptr = take(staged.taps.length * padded * 4);
    const f32 = engine.heap.f32;
    staged.taps.forEach((tap, t) => {
      const row = (ptr >> 2) + t * padded;
      for (let c = 0; c < channels; c++) f32[row + c] = weight[c * taps + tap];
      f32.fill(0, row + channels, row + padded);
    });
    filters.set(staged, ptr);
  }
  return (staged, block, dest) => {
    engine.kernels.f32_depthwise(
      block.rows(staged),
      staged.rowTable,
      block.source(staged),
      staged.outTable,
      dest,
      staged.runTable,
      staged.taps.length,
      filters.get(staged) as number,
      padded * 4,
      channels,
      biasPtr,
      settings.min,
      settings.max,
    );
  };
}
