import {
  depthwise3x3Format,
  type PanelFormat,
  panelFormat,
  panelsBytes,
} from '../../../../kernels/int8/panel-format.ts';
import {
  foldQuantization,
  foldZeroPoint,
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
}

/** The panel layout that packed weights get on this engine. */
export function formatOf(packed: PackedWeights, builder: PlanBuilder): PanelFormat {
  const format = panelFormat(packed.convWeights(false), builder.engine.exactDot8);
  const { geometry, kernelSize } = packed;
  const direct =
    format.depthwise &&
    format.weightType === 's8' &&
    `${kernelSize}` === '3,3' &&
    `${geometry?.dilation}` === '1,1' &&
    ['1,1', '2,2'].includes(`${geometry?.stride}`);
  return direct ? depthwise3x3Format(packed.weight.shape[0]) : format;
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
  const format = formatOf(packed, builder);
  const key = `panels ${name} ${input.scale} ${input.zeroPoint} ${output.scale}`;
  const block = builder.constants.get(key, panelsBytes(format), (ptr) => {
    const { heap } = builder.engine;
    const sums = writePanels(builder.engine, ptr, format, packed.convWeights(false));
    const { biases, scales } = foldQuantization('jit.Program', {
      bias: packed.bias && (packed.bias.data as Float32Array),
      inputScale: input.scale,
      inputZeroPoint: input.zeroPoint,
      weightScales: packed.weightScales,
      output,
    });
    writePanelHeaders(heap, ptr, format, foldZeroPoint(biases, input.zeroPoint, sums), scales);
  });
  return { format, block };
}
