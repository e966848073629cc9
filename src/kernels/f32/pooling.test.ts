import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { avgPoolF32, avgPoolGradF32, maxPoolF32, maxPoolGradF32, type PoolWindowsF32 } from './pooling.ts';

const builds = supportedBuilds();

interface Case {
  readonly name: string;
  readonly batch: number;
  readonly size: readonly [number, number];
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

const cases: Case[] = [
  { name: '2×2', batch: 3, size: [6, 8], channels: 16, kernel: 2, stride: 2, padding: 0 },
  {
    name: '3×3 stride 2, overlapping',
    batch: 2,
    size: [9, 7],
    channels: 5,
    kernel: 3,
    stride: 2,
    padding: 1,
  },
  { name: 'one channel', batch: 2, size: [5, 5], channels: 1, kernel: 3, stride: 1, padding: 1 },
  { name: 'whole image', batch: 4, size: [7, 7], channels: 67, kernel: 7, stride: 1, padding: 0 },
  { name: 'many blocks', batch: 9, size: [32, 32], channels: 18, kernel: 2, stride: 2, padding: 0 },
  {
    name: 'image larger than a block',
    batch: 2,
    size: [64, 64],
    channels: 23,
    kernel: 3,
    stride: 2,
    padding: 1,
  },
];

function windowsOf(c: Case): { windows: PoolWindowsF32; divisors: number[] } {
  const starts = [0];
  const pixels: number[] = [];
  const divisors: number[] = [];
  const out = c.size.map((s) => Math.floor((s + 2 * c.padding - c.kernel) / c.stride) + 1);
  for (let y = 0; y < out[0]; y++) {
    for (let x = 0; x < out[1]; x++) {
      for (let i = 0; i < c.kernel; i++) {
        for (let j = 0; j < c.kernel; j++) {
          const h = y * c.stride + i - c.padding;
          const w = x * c.stride + j - c.padding;
          if (h >= 0 && h < c.size[0] && w >= 0 && w < c.size[1]) pixels.push(h * c.size[1] + w);
        }
      }
      starts.push(pixels.length);
      divisors.push(c.kernel * c.kernel);
    }
  }
  return { windows: { starts: Int32Array.from(starts), pixels: Int32Array.from(pixels) }, divisors };
}

describe.each(builds)('float32 pooling (%s)', (build) => {
  const engine = createEngine(build);

  it.each(cases)('$name: maxima of plans are those of training, NaN among them', (c) => {
    const { windows } = windowsOf(c);
    const inPixels = c.size[0] * c.size[1];
    const outPixels = windows.starts.length - 1;
    const x = randomFloats(1, c.batch * inPixels * c.channels);
    for (let i = 3; i < x.length; i += 97) x[i] = [NaN, -Infinity, Infinity, 0, -0][i % 5];
    const expected = maxPoolF32(x, windows, { batch: c.batch, inPixels, channels: c.channels }, engine).out;
    const got = engine.scratch((take) => {
      const [from, starts, pixels, out] = [
        take(x.length * 4 + 64),
        take(windows.starts.length * 4),
        take(windows.pixels.length * 4),
        take(expected.length * 4),
      ];
      const { f32, i32 } = engine.heap;
      f32.set(x, from / 4);
      i32.set(windows.starts, starts / 4);
      i32.set(windows.pixels, pixels / 4);
      const row = 4 * c.channels;
      for (let image = 0; image < c.batch; image++)
        engine.kernels.f32_window_largest(
          from + image * inPixels * row,
          row,
          c.channels,
          starts,
          pixels,
          outPixels,
          out + image * outPixels * row,
        );
      return f32.slice(out / 4, out / 4 + expected.length);
    });
    expect(got).toEqual(expected);
    console.log(`${got.length} maxima compared, ${got.filter(Number.isNaN).length} of them NaN`);
  });

  it.each(cases)('$name: maximum, average and their gradients', (c) => {
    const { windows, divisors } = windowsOf(c);
    const outPixels = divisors.length;
    const inPixels = c.size[0] * c.size[1];
    const sizes = { batch: c.batch, inPixels, channels: c.channels };
    // Few distinct values make ties; the first of them has to win.
    const x = randomFloats(1, c.batch * inPixels * c.channels).map((v) => Math.round(v * 2) / 2);
    const gradOut = randomFloats(2, c.batch * outPixels * c.channels);
    const best = new Float32Array(gradOut.length).fill(-Infinity);
    const where = new Int32Array(gradOut.length);
    const mean = new Float64Array(gradOut.length);
    const maxGrad = new Float64Array(x.length);
    const meanGrad = new Float64Array(x.length);
    for (let n = 0; n < c.batch; n++) {
      for (let o = 0; o < outPixels; o++) {
        for (let ch = 0; ch < c.channels; ch++) {
          const at = (n * outPixels + o) * c.channels + ch;
          for (let p = windows.starts[o]; p < windows.starts[o + 1]; p++) {
            const from = (n * inPixels + windows.pixels[p]) * c.channels + ch;
            if (x[from] > best[at]) {
              best[at] = x[from];
              where[at] = windows.pixels[p];
            }
            mean[at] += x[from] / divisors[o];
            meanGrad[from] += gradOut[at] / divisors[o];
          }
          maxGrad[(n * inPixels + where[at]) * c.channels + ch] += gradOut[at];
        }
      }
    }
    const before = engine.memory();
    const max = maxPoolF32(x, windows, sizes, engine);
    expect(max.out).toEqual(best);
    expect(max.indices).toEqual(where);
    expectClose(maxPoolGradF32(gradOut, max.indices, sizes), maxGrad, 1e-6);
    expectClose(avgPoolF32(x, windows, divisors, sizes, engine), mean, 1e-6);
    expectClose(avgPoolGradF32(gradOut, windows, divisors, sizes, engine), meanGrad, 1e-6);
    expect({ ...engine.memory(), reservedBytes: 0 }).toEqual({ ...before, reservedBytes: 0 });
  });

  it('lets NaN win and takes −∞ for a value', () => {
    const windows = { starts: Int32Array.of(0, 3, 5), pixels: Int32Array.of(0, 1, 2, 3, 4) };
    const x = Float32Array.of(1, NaN, 3, -Infinity, -Infinity);
    const { out, indices } = maxPoolF32(x, windows, { batch: 1, inPixels: 5, channels: 1 }, engine);
    expect([...out]).toEqual([NaN, -Infinity]);
    expect([...indices]).toEqual([1, 3]);
  });

  it('names what does not fit', () => {
    const windows = { starts: Int32Array.of(0, 1), pixels: Int32Array.of(0) };
    const sizes = { batch: 1, inPixels: 2, channels: 3 };
    expect(() => maxPoolF32(new Float32Array(5), windows, sizes, engine)).toThrow(ShapeError);
    expect(() => avgPoolF32(new Float32Array(6), windows, [1, 1], sizes, engine)).toThrow(/divisors/);
  });
});
