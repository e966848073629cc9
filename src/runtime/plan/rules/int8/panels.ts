import {
  type Depthwise3x3Format,
  depthwise3x3Bytes,
  depthwise3x3Format,
  fitsWide,
  writeDepthwise3x3,
} from '../../../../kernels/int8/depthwise3x3.ts';
import { type PanelFormat, panelFormat, panelsBytes } from '../../../../kernels/int8/panel-format.ts';
import {
  foldQuantization,
  foldZeroPoint,
  isBounded,
  writePanelHeaders,
  writePanels,
} from '../../../../kernels/int8/write-panels.ts';
import type { PackedWeights } from '../../../../ops/quantized/packed.ts';
import type { PlanBuilder } from '../../builder.ts';
import type { Block } from '../../memory.ts';
import type { Unsigned } from './layout.ts';

/** Weights as the kernels read them, for one quantization of input and output. */
export interface Panels {
  readonly format: PanelFormat;
  readonly block: Block;
  /** The block holds these instead, for a kernel that reads 3×3 windows without a table. */
  readonly direct: Depthwise3x3Format | null;
  /** Every requantized sum is within what the cheaper epilogues round right. */
  readonly bounded: boolean;
}

/** The panel layout that packed weights get on this engine. */
export function formatOf(packed: PackedWeights, builder: PlanBuilder): PanelFormat {
  return panelFormat(packed.convWeights(false), builder.engine);
}

/** Whether the 3×3 depthwise kernels know these weights. */
function isDirect({ geometry, kernelSize, tapByTap }: PackedWeights, format: PanelFormat): boolean {
  return (
    format.depthwise &&
    !tapByTap &&
    format.weightType === 's8' &&
    `${kernelSize}` === '3,3' &&
    `${geometry?.dilation}` === '1,1' &&
    ['1,1', '2,2'].includes(`${geometry?.stride}`)
  );
}

/**
 * Panels of packed weights for a quantized output, among the constants of the program: eager calls rewrite the headers of
 * theirs, and the same weights may serve in several places.
 */
export function panelsFor(
  name: string,
  packed: PackedWeights,
  input: Unsigned,
  output: Unsigned,
  builder: PlanBuilder,
): Panels {
  const weights = packed.convWeights(false);
  const folded = foldQuantization('jit.Program', {
    bias: packed.bias && (packed.bias.data as Float32Array),
    inputScale: input.scale,
    inputZeroPoint: input.zeroPoint,
    weightScales: packed.weightScales,
    output,
  });
  const bounded = isBounded(weights.taps * weights.inChannelsPerGroup, folded);
  const format = panelFormat(weights, builder.engine);
  const key = `panels ${name} ${input.scale} ${input.zeroPoint} ${output.scale}`;
  const { constants, engine } = builder;
  if (bounded && isDirect(packed, format)) {
    const { weight, outChannels } = weights as { weight: Int8Array; outChannels: number };
    const sums = Int32Array.from({ length: outChannels }, (_, c) =>
      weight.subarray(9 * c, 9 * c + 9).reduce((sum, w) => sum + w, 0),
    );
    const biases = foldZeroPoint(folded.biases, input.zeroPoint, sums);
    const values = { weight, biases, scales: folded.scales };
    const stride = (packed.geometry as NonNullable<PackedWeights['geometry']>).stride[0];
    const direct = depthwise3x3Format(outChannels, stride, engine.build === 'wide' && fitsWide(values));
    const block = constants.get(key, depthwise3x3Bytes(direct), (ptr) =>
      writeDepthwise3x3(engine.heap, ptr, direct, values),
    );
    return { format, block, direct, bounded };
  }
  const block = constants.get(key, panelsBytes(format), (ptr) => {
    const sums = writePanels(engine, ptr, format, weights);
    const biases = foldZeroPoint(folded.biases, input.zeroPoint, sums);
    writePanelHeaders(engine.heap, ptr, format, biases, folded.scales);
  });
  return { format, block, direct: null, bounded };
}
