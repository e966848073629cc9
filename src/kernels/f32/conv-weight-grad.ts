import { product } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import { checkLength, PACKED_ROW_BYTES, PANEL_COLUMNS, panelCount, takesPairs } from './panels.ts';
import { type Block, Sliding, type StagedPhase } from './sliding.ts';
import { type ConvGeometryF32, checkConvGeometry, forwardSweep } from './window.ts';
import { suitsWinograd, winogradWeightGradF32 } from './winograd.ts';

/** Positions summed before the next tile: 8 KiB of gradient panel stay in L1 beside the rows of the input. */
const STEP_BLOCK = 256;

/**
 * Gradient of `convForwardF32` with respect to its weight: for every tap, the sum over positions of the outer product of
 * input and output gradient, through the same windows as the forward pass.
 *
 * Sums run over 256 positions in float32 before they join the total, so rounding grows with the number of such blocks.
 *
 * @param input `[batch][…inSize][inChannels]`
 * @param gradOut `[batch][…outSize][outChannels]`
 * @returns `[outChannels][inChannels / groups][…kernel]`
 * @throws ShapeError when sizes do not fit together.
 * @example
 * const gradWeight = convWeightGradF32(input, gradOut, geometry);
 */
export function convWeightGradF32(
  input: Float32Array,
  gradOut: Float32Array,
  geometry: ConvGeometryF32,
  options: { readonly engine?: Engine } = {},
): Float32Array {
  const engine = options.engine ?? defaultEngine;
  checkConvGeometry('convWeightGradF32', geometry);
  const sweep = forwardSweep(geometry);
  const { groups, inChannels, outChannels, batch } = geometry;
  checkLength('convWeightGradF32', 'input', input, batch * product(sweep.sourceSize) * inChannels);
  checkLength('convWeightGradF32', 'gradOut', gradOut, batch * product(sweep.destSize) * outChannels);
  const out = new Float32Array((outChannels * inChannels * sweep.taps) / groups);
  if (out.length === 0 || gradOut.length === 0) return out;
  if (suitsWinograd(geometry)) {
    winogradWeightGradF32(input, gradOut, geometry, out, engine);
    return out;
  }
  const depthwise = groups === inChannels && groups === outChannels && groups > 1;
  engine.scratch((take) => {
    const sliding = new Sliding(engine, take, sweep);
    const staged = sliding.phases[0];
    const grad = take((sliding.blockFloats + PANEL_COLUMNS) * 4);
    const sums = (depthwise ? depthwiseSums : panelSums)(engine, take, sliding, staged, grad);
    sliding.blocks(input, (block) => {
      const part = gradOut.subarray(block.destOffset, block.destOffset + block.destLength);
      engine.heap.f32.set(part, grad >> 2);
      sums.add(block);
    });
    sums.finish(out);
  });
  return out;
}

type Take = (bytes: number) => number;

interface Sums {
  add(block: Block): void;
  finish(out: Float32Array): void;
}

/** Zeroed scratch. */
function takeZeros(engine: Engine, take: Take, bytes: number): number {
  const ptr = take(bytes);
  engine.heap.u8.fill(0, ptr, ptr + bytes);
  return ptr;
}

function panelSums(engine: Engine, take: Take, sliding: Sliding, staged: StagedPhase, grad: number): Sums {
  const { groups, sourceChannels, destChannels, taps } = sliding.sweep;
  const k = sourceChannels / groups;
  const n = destChannels / groups;
  const rowBytes = panelCount(n) * PACKED_ROW_BYTES;
  const groupBytes = taps * k * rowBytes;
  const total = takeZeros(engine, take, groups * groupBytes);
  const positions = sliding.blockFloats / destChannels;
  const panels = take(panelCount(n) * positions * PACKED_ROW_BYTES);
  const pairs = takesPairs(engine);
  return {
    add(block) {
      const rows = block.rows(staged);
      const source = block.source(staged);
      for (let g = 0; g < groups; g++) {
        const panelBytes = rows * PACKED_ROW_BYTES;
        engine.kernels.f32_pack_rows(grad + g * n * 4, destChannels * 4, rows, n, panels, panelBytes);
        for (let row = 0; row < rows; row += STEP_BLOCK) {
          const steps = Math.min(STEP_BLOCK, rows - row);
          for (let run = 0; run < staged.runs; run++) {
            engine.kernels.f32_outer(
              steps,
              staged.rowTable + row * 4,
              source + g * k * 4 + engine.heap.u32[(staged.runTable >> 2) + run],
              staged.runLength,
              panels + row * PACKED_ROW_BYTES,
              panelBytes,
              n,
              total + g * groupBytes + run * staged.runLength * rowBytes,
              rowBytes,
              pairs,
            );
          }
        }
      }
    },
    finish(out) {
      const dst = take(out.length * 4);
      const floats = out.length / groups;
      for (let g = 0; g < groups; g++) {
        engine.kernels.f32_unpack_taps(total + g * groupBytes, rowBytes, taps, k, n, dst + g * floats * 4);
      }
      out.set(engine.heap.f32.subarray(dst >> 2, (dst >> 2) + out.length));
    },
  };
}

function depthwiseSums(
  engine: Engine,
  take: Take,
  sliding: Sliding,
  staged: StagedPhase,
  grad: number,
): Sums {
  const { destChannels: channels, taps } = sliding.sweep;
  const padded = panelCount(channels) * PANEL_COLUMNS;
  const total = takeZeros(engine, take, taps * padded * 4);
  const pairs = takesPairs(engine);
  return {
    add(block) {
      const rows = block.rows(staged);
      const source = block.source(staged);
      for (let row = 0; row < rows; row += STEP_BLOCK) {
        engine.kernels.f32_depthwise_weight_grad(
          Math.min(STEP_BLOCK, rows - row),
          staged.rowTable + row * 4,
          source,
          grad + row * channels * 4,
          channels * 4,
          staged.runTable,
          taps,
          channels,
          total,
          padded * 4,
          pairs,
        );
      }
    },
    finish(out) {
      const f32 = engine.heap.f32;
      for (let c = 0; c < channels; c++) {
        for (let t = 0; t < taps; t++) out[c * taps + t] = f32[(total >> 2) + t * padded + c];
      }
    },
  };
}
