import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { createEngine, type Engine, supportedBuilds } from '../engine.ts';
import { referenceConvForwardF32 } from '../reference/f32.ts';
import type { ConvGeometryF32 } from './window.ts';

const builds = supportedBuilds();

interface Window {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
}

const windows: Window[] = [
  { kernel: [3, 3], stride: [1, 1], dilation: [1, 1] },
  { kernel: [3, 3], stride: [2, 2], dilation: [1, 1] },
  { kernel: [3, 3], stride: [1, 3], dilation: [1, 1] },
  { kernel: [3, 3], stride: [1, 1], dilation: [2, 2] },
  { kernel: [1, 3], stride: [2, 1], dilation: [1, 1] },
  { kernel: [4, 3], stride: [1, 2], dilation: [2, 1] },
  { kernel: [5, 5], stride: [1, 1], dilation: [1, 1] },
  { kernel: [2, 1], stride: [1, 1], dilation: [1, 1] },
];
const sizes = [
  [1, 1],
  [4, 3],
  [5, 6],
  [9, 17],
] as const;

function geometryOf(window: Window, inSize: readonly number[], channels: number): ConvGeometryF32 {
  const { kernel, stride, dilation } = window;
  const padding = kernel.map((k, i) => Math.floor(((k - 1) * dilation[i]) / 2));
  const outSize = inSize.map(
    (size, i) => Math.floor((size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i]) + 1,
  );
  const sizes = { inSize, outSize, kernel, stride, padding, dilation };
  return { batch: 2, inChannels: channels, outChannels: channels, groups: channels, ...sizes };
}

/** Runs the kernel over channels-last images, the last rows first. */
function depthwiseRows(
  engine: Engine,
  g: ConvGeometryF32,
  input: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  [lo, hi]: readonly [number, number],
): Float32Array {
  const channels = g.inChannels;
  const padded = Math.ceil(channels / 8) * 8;
  const taps = g.kernel[0] * g.kernel[1];
  const filters = new Float32Array(taps * padded);
  for (let c = 0; c < channels; c++)
    for (let t = 0; t < taps; t++) filters[t * padded + c] = weight[c * taps + t];
  const length = g.batch * g.outSize[0] * g.outSize[1] * channels;
  return engine.scratch((take) => {
    const place = (floats: Float32Array): number => {
      const ptr = take(floats.length * 4 + 64);
      engine.heap.f32.set(floats, ptr / 4);
      return ptr;
    };
    const [from, w, b] = [place(input), place(filters), place(bias)];
    const out = take(length * 4);
    const plan = take(68);
    const row = 4 * g.inSize[1] * channels;
    engine.heap.i32.set(
      [
        ...[...g.outSize, ...g.inSize, ...g.kernel, ...g.stride, ...g.padding, ...g.dilation],
        ...[g.inSize[0] * row, row, 4 * channels, 4 * channels, 4 * padded],
      ],
      plan / 4,
    );
    for (let y = g.batch * g.outSize[0] - 1; y >= 0; y--)
      engine.kernels.f32_depthwise_rows(y, y + 1, plan, from, w, b, channels, out, lo, hi);
    return engine.heap.f32.slice(out / 4, out / 4 + length);
  });
}

describe.each(builds)('depthwise convolution by rows (%s)', (build) => {
  const engine = createEngine(build);
  const narrow = build === 'wide' ? createEngine('relaxed') : null;

  it.each(windows)('windows of $kernel, stride $stride, dilation $dilation', (window) => {
    let compared = 0;
    for (const size of sizes) {
      for (const channels of [1, 3, 4, 7, 8, 12, 17, 24, 36]) {
        const g = geometryOf(window, size, channels);
        const input = randomFloats(1, 2 * size[0] * size[1] * channels);
        const weight = randomFloats(2, window.kernel[0] * window.kernel[1] * channels);
        const bias = randomFloats(3, channels);
        const got = depthwiseRows(engine, g, input, weight, bias, [-Infinity, Infinity]);
        const expected = referenceConvForwardF32(input, weight, g, bias);
        expectClose(got, expected);
        const bounded = depthwiseRows(engine, g, input, weight, bias, [-0.25, 0.5]);
        expect(bounded).toEqual(got.map((x) => Math.min(0.5, Math.max(-0.25, x))));
        if (narrow) expect(got).toEqual(depthwiseRows(narrow, g, input, weight, bias, [-Infinity, Infinity]));
        compared += got.length;
      }
    }
    console.log(`${compared} results compared`);
  });
});
