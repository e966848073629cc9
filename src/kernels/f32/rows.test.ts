import { describe, expect, test } from 'vitest';
import { createEngine, type Engine, supportedBuilds } from '../engine.ts';
import {
  REFERENCE_ZIP,
  referenceGroupNorm,
  referenceMixPixels,
  referenceRowExtremes,
  referenceRowVariances,
} from '../reference/f32-rows.ts';

const builds = supportedBuilds();

/** Numbers that repeat only by chance, around `center`. */
function numbers(n: number, center = 0): Float32Array {
  let state = 12345 + n;
  return Float32Array.from({ length: n }, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return center + state / 2 ** 30 - 1;
  });
}

/** Copies arrays into scratch, calls `use` with their addresses and that of the result, and gives back the result. */
function run(
  engine: Engine,
  inputs: readonly ArrayLike<number>[],
  results: number,
  use: (inputs: readonly number[], out: number) => void,
): Float32Array {
  return engine.scratch((take) => {
    const places = inputs.map((input) => {
      const at = take(4 * input.length + 64);
      if (input instanceof Int32Array) engine.heap.i32.set(input, at / 4);
      else engine.heap.f32.set(input, at / 4);
      return at;
    });
    const out = take(4 * results + 64);
    engine.heap.f32.fill(777, out / 4, out / 4 + results + 4);
    use(places, out);
    // Nothing behind the result was written.
    expect([...engine.heap.f32.slice(out / 4 + results, out / 4 + results + 4)]).toEqual([
      777, 777, 777, 777,
    ]);
    return engine.heap.f32.slice(out / 4, out / 4 + results);
  });
}

function expectNear(got: ArrayLike<number>, want: ArrayLike<number>, parts: number): void {
  expect(got.length).toBe(want.length);
  const size = Array.from(want).reduce((most, v) => Math.max(most, Math.abs(v)), 1e-30);
  let worst = 0;
  for (let i = 0; i < got.length; i++) worst = Math.max(worst, Math.abs(got[i] - want[i]) / size);
  expect(worst).toBeLessThanOrEqual(parts);
}

describe.each(builds)('kernels over rows and pixels (%s)', (build) => {
  const engine = createEngine(build);

  test('extremes of rows, and where they are', () => {
    let compared = 0;
    for (const columns of [1, 2, 3, 4, 5, 7, 8, 31, 200]) {
      const rows = 6;
      const x = numbers(rows * columns).map((v) => Math.round(v * 20) / 20);
      x[columns - 1] = Number.NaN;
      x[2 * columns - 1] = Infinity;
      x[3 * columns - 1] = -Infinity;
      for (const largest of [true, false]) {
        const want = referenceRowExtremes(x, rows, columns, largest);
        let places: number[] = [];
        const values = run(engine, [x, new Float32Array(2 * rows)], rows, ([from, at], out) => {
          engine.kernels.f32_row_extremes(from, rows, columns, largest, out, at);
          places = [...engine.heap.f64.slice(at / 8, at / 8 + rows)];
        });
        const alone = run(engine, [x], rows, ([from], out) =>
          engine.kernels.f32_row_extremes(from, rows, columns, largest, out, 0),
        );
        expect([...values]).toEqual(want.values);
        expect(places).toEqual(want.places);
        expect(alone).toEqual(values);
        compared += rows;
      }
    }
    console.log(`${compared} extremes compared`);
  });

  test('variances of rows, with a mean far from zero too', () => {
    for (const columns of [1, 2, 3, 4, 6, 8, 13, 300])
      for (const center of [0, 1000])
        for (const root of [false, true]) {
          const x = numbers(5 * columns, center);
          const divisor = columns + 0.5;
          const got = run(engine, [x], 5, ([from], out) =>
            engine.kernels.f32_row_variances(from, 5, columns, divisor, root, out),
          );
          expectNear(got, referenceRowVariances(x, 5, columns, divisor, root), 2e-6);
        }
  });

  test('groups of channels, in any parts', () => {
    for (const [images, pixels, channels, groups] of [
      [1, 1, 1, 1],
      [2, 9, 8, 2],
      [2, 7, 12, 4],
      [1, 30, 10, 2],
      [3, 5, 6, 6],
      [1, 4, 21, 3],
    ]) {
      const x = numbers(images * pixels * channels, 3);
      const [weight, bias] = [numbers(channels, 1), numbers(channels + 1).subarray(1)];
      const units = images * groups;
      const got = run(engine, [x, weight, bias], x.length, ([from, w, b], out) => {
        for (let at = units - 1; at >= 0; at--)
          engine.kernels.f32_group_norm(at, at + 1, from, pixels, channels, groups, w, b, 1e-5, out);
      });
      expectNear(got, referenceGroupNorm(x, images, pixels, channels, groups, weight, bias, 1e-5), 2e-6);
    }
  });

  test('mixes of pixels', () => {
    for (const channels of [1, 3, 4, 5, 8, 18])
      for (const width of [1, 2, 4]) {
        const x = numbers(20 * channels);
        const pixels = Int32Array.from({ length: 7 * width }, (_, i) => (i * 13) % 20);
        const shares = width === 1 ? new Float32Array(7).fill(1) : numbers(7 * width);
        const got = run(engine, [x, pixels, shares], 7 * channels, ([from, p, s], out) =>
          engine.kernels.f32_mix_pixels(from, channels, p, s, width, 7, out),
        );
        expectNear(got, referenceMixPixels(x, channels, pixels, shares, width), width === 1 ? 0 : 5e-7);
      }
  });

  test.each(REFERENCE_ZIP.map((_, op) => op))('pairs, function %i', (op) => {
    const special = [0, -0, 1, -1, Infinity, -Infinity, Number.NaN, 0.5];
    for (const n of [1, 3, 4, 64, 65]) {
      // The last function is given numbers of which one is 0.
      const a = Float32Array.from({ length: n }, (_, i) =>
        op === 17 && i % 2 ? 0 : special[Math.floor(i / 8) % 8],
      );
      const b = Float32Array.from({ length: n }, (_, i) => (op === 17 && i % 2 === 0 ? 0 : special[i % 8]));
      const got = run(engine, [a, b], n, ([p, q], out) =>
        engine.kernels.f32_zip_line(op, p, 4, q, 4, n, out, 0.25, -Infinity, Infinity),
      );
      const want = Float32Array.from(a, (v, i) => REFERENCE_ZIP[op](v, b[i], 0.25));
      expect([...got].map((v) => v + 0)).toEqual([...want].map((v) => v + 0));
    }
  });

  test('truth of floats', () => {
    for (const n of [1, 2, 9]) {
      const x = Float32Array.from({ length: n }, (_, i) => [0, 1, -0, -3, Number.NaN][i % 5]);
      run(engine, [x], 4, ([from], out) => {
        const at = out + 8;
        engine.kernels.bool_from_f32(from, Math.min(n, 8), at);
        const bytes = [...engine.heap.u8.slice(at, at + Math.min(n, 8))];
        expect(bytes).toEqual([...x.subarray(0, 8)].map((v) => Number(v !== 0)));
      });
    }
  });
});
