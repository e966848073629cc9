import { product } from '../../../../core/math.ts';
import { PACKED_ROW_BYTES, panelCount } from '../../../../kernels/f32/panels.ts';
import { transposeProblem } from '../../../../ops/float/layer/conv.ts';
import type { ConvTransposeGeometry } from '../../../../ops/signatures/layer.ts';
import { channelsLastStrides } from '../../../../tensor/shape.ts';
import type { Tensor } from '../../../../tensor/tensor.ts';
import { addressOf, type PlanBuilder } from '../../builder.ts';
import { SLACK } from '../../memory.ts';
import type { Address, KernelCall } from '../../step.ts';
import type { LoweringRule, LoweringRules } from '../rule.ts';
import { distances, frameOf, groupBias, type Problem, problemOf, type Source, type Triple } from './conv.ts';
import { bindEpilogue, type Epilogue, epilogueOf, normScale } from './epilogue.ts';
import { attributeName, floatValue, isFloat, productCall } from './product.ts';

// A transposed convolution with stride s gives, to the results whose place leaves the rest r when divided by s, a convolution with those
// of its taps that reach them: one product for each rest.

/** Results of one rest along one axis: how many, and the taps that reach them with the distance of the pixels they meet. */
interface Phase {
  readonly first: number;
  readonly count: number;
  readonly taps: readonly { readonly tap: number; readonly distance: number }[];
}

/** The phases of an axis; `g` is the convolution turned around, whose input is the result. */
function phasesOf(g: Problem, axis: number): Phase[] {
  const [size, stride] = [g.inSize[axis], g.stride[axis]];
  return Array.from({ length: Math.min(stride, size) }, (_, first) => {
    const taps = Array.from({ length: g.kernel[axis] }, (_, tap) => ({
      tap,
      distance: (first + g.padding[axis] - tap * g.dilation[axis]) / stride,
    }));
    return {
      first,
      count: Math.ceil((size - first) / stride),
      taps: taps.filter(({ distance }) => Number.isInteger(distance)).sort((a, b) => a.distance - b.distance),
    };
  });
}

/** Pixels that taps reach in front of the input and behind it, along an axis. */
function margins(g: Problem, axis: number): readonly [number, number] {
  const first = Math.ceil((g.padding[axis] - (g.kernel[axis] - 1) * g.dilation[axis]) / g.stride[axis]);
  const last = Math.floor((g.inSize[axis] - 1 + g.padding[axis]) / g.stride[axis]);
  return [Math.max(0, -first), Math.max(0, last - (g.outSize[axis] - 1))];
}

/** Byte offsets of one element of every image and place, the axes `steps` floats apart. */
function places(batch: number, image: number, counts: Triple, steps: Triple, start: number): Int32Array {
  const offsets = new Int32Array(batch * product(counts));
  let at = 0;
  for (let n = 0; n < batch; n++)
    for (let z = 0; z < counts[0]; z++)
      for (let y = 0; y < counts[1]; y++)
        for (let x = 0; x < counts[2]; x++)
          offsets[at++] = 4 * (start + n * image + z * steps[0] + y * steps[1] + x * steps[2]);
  return offsets;
}

/** The panels of one group and phase: its taps in the order of the pixels they meet. */
function phasePanels(
  builder: PlanBuilder,
  key: string,
  weight: Tensor,
  group: number,
  g: Problem,
  taps: readonly number[],
  epilogue: Epilogue,
): Address {
  const all = product(g.kernel);
  const [k, n] = [g.outChannels / g.groups, g.inChannels / g.groups];
  const { engine } = builder;
  const bytes = panelCount(n) * taps.length * k * PACKED_ROW_BYTES;
  const block = builder.constants.get(`panels ${key} ${group} ${taps.join()}`, bytes + SLACK, (ptr) =>
    engine.scratch((take) => {
      const raw = take(4 * k * n * all + SLACK);
      const table = take(4 * taps.length);
      const { f32, i32 } = engine.heap;
      const from = group * k * n * all;
      f32.set(weight.data.subarray(from, from + k * n * all) as Float32Array, raw / 4);
      if (epilogue.norm) {
        const { factor } = normScale(epilogue, g.inChannels);
        for (let i = 0; i < k * n * all; i++)
          f32[raw / 4 + i] *= factor[group * n + (Math.floor(i / all) % n)];
      }
      i32.set(
        taps.map((tap) => 4 * tap),
        table / 4,
      );
      engine.kernels.f32_pack_taps(raw, 4 * all, 4 * n * all, table, taps.length, k, n, ptr);
    }),
  );
  return { block, offset: 0 };
}

const convTranspose: LoweringRule = (node, builder) => {
  const [xArg, weightArg, biasArg, geometry] = node.args;
  const x = floatValue(xArg, builder);
  const weight = builder.attribute(weightArg);
  const bias = biasArg === null ? null : builder.attribute(biasArg);
  if (!x || !isFloat(weight) || (bias !== null && !isFloat(bias))) return false;
  const resolved = builder.resolve(geometry) as ConvTransposeGeometry;
  const g = problemOf(transposeProblem(node.targetName, x.shape, weight.shape, resolved));
  const meta = builder.meta(node);
  if (product(meta.shape) === 0 || product(x.shape) === 0 || weight.numel === 0) return false;
  const { batch, groups, outChannels: inChannels, inChannels: outChannels } = g;
  const strides = channelsLastStrides(meta.shape);
  const epilogue = epilogueOf(node, builder, strides);

  const reach = [0, 1, 2].map((axis) => margins(g, axis));
  const low = reach.map(([before]) => before) as unknown as Triple;
  const size = reach.map(([before, behind], d) => before + g.outSize[d] + behind) as unknown as Triple;
  const lying = distances(x);
  const asItLies = size.join() === g.outSize.join() && (inChannels === 1 || lying.channel === 1);
  const source: Source = asItLies
    ? { at: addressOf(x), image: lying.image, axes: lying.axes }
    : frameOf(node, builder, x, { batch, inChannels, inSize: g.outSize, padding: low }, size);

  const out = builder.allocateValue({ ...meta, strides });
  const key = `${node.targetName} ${attributeName(weightArg)} ${attributeName(biasArg)} ${epilogue.key}`;
  const [k, n] = [inChannels / groups, outChannels / groups];
  const outStep: Triple = [g.inSize[1] * g.inSize[2], g.inSize[2], 1];
  const [phasesZ, phasesY, phasesX] = [0, 1, 2].map((axis) => phasesOf(g, axis));
  const calls: KernelCall[] = [];
  for (const z of phasesZ)
    for (const y of phasesY)
      for (const x of phasesX) {
        const axes = [z, y, x];
        const counts = axes.map((phase) => phase.count) as unknown as Triple;
        const rows = batch * product(counts);
        const sizes = `${g.key} ${axes.map((phase) => phase.first).join()}`;
        const inPlaces = builder.offsets(
          `windows transposed ${sizes} ${source.image} ${source.axes.join()}`,
          rows,
          () => places(batch, source.image, counts, source.axes, 0),
        );
        const outPlaces = builder.offsets(`results transposed ${sizes}`, rows, () =>
          places(
            batch,
            product(g.inSize) * outChannels,
            counts,
            outStep.map((step, d) => step * g.stride[d] * outChannels) as unknown as Triple,
            axes.reduce((sum, phase, d) => sum + phase.first * outStep[d], 0) * outChannels,
          ),
        );
        const taps = z.taps.flatMap((a) => y.taps.flatMap((b) => x.taps.map((c) => [a, b, c])));
        const tapPlaces = taps.map(
          (triple) => (triple[0].tap * g.kernel[1] + triple[1].tap) * g.kernel[2] + triple[2].tap,
        );
        // Pixels that lie next to each other are one run.
        const merged =
          groups === 1 &&
          source.axes[2] === inChannels &&
          x.taps.every(({ distance }, i) => distance === x.taps[0].distance + i);
        const length = merged ? x.taps.length : 1;
        const runs = taps
          .filter((_, i) => i % length === 0)
          .map(
            (triple) =>
              4 * triple.reduce((sum, { distance }, d) => sum + (distance + low[d]) * source.axes[d], 0),
          );
        for (let group = 0; group < groups; group++) {
          const call = productCall(builder, {
            rows,
            columns: n,
            rowTable: inPlaces,
            outTable: outPlaces,
            input: { block: source.at.block, offset: source.at.offset + 4 * group * k },
            output: addressOf(out, 4 * group * n),
            runTable: builder.table(runs),
            runs: runs.length,
            runLength: length * k,
            panels: phasePanels(builder, key, weight, group, g, tapPlaces, epilogue),
            bias: groupBias(builder, key, group, n, groups, bias, epilogue),
            residual: epilogue.residual && addressOf(epilogue.residual, 4 * group * n),
            lo: epilogue.lo,
            hi: epilogue.hi,
          });
          calls.push(call);
        }
      }
  const macs = product(x.shape) * n * product(g.kernel);
  builder.kernels(node, calls, { op: 'transposed convolution', macs });
  bindEpilogue(node, builder, epilogue, out);
  return true;
};

/** Transposed convolutions over one to three axes. */
export const CONV_TRANSPOSE_RULES: LoweringRules = {
  convTranspose1d: convTranspose,
  convTranspose2d: convTranspose,
  convTranspose3d: convTranspose,
};
