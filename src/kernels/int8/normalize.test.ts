import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { type Normalization, referenceMeanRows, referenceNormalize } from '../reference/int8_normalize.ts';
import { referenceBilinear, referencePickRows } from '../reference/int8_resize.ts';

const builds = supportedBuilds();

/** What lies behind results in memory, and must still be there afterwards. */
const GUARD = 0xa5;

function random(seed: number): (i: number) => number {
  return (i) => (Math.imul(i + seed, 2654435761) >>> 13) & 255;
}

/** Random bytes, or only the two ends. */
function bytes(length: number, seed: number, extremes: boolean): Uint8Array {
  const byte = random(seed);
  return Uint8Array.from({ length }, (_, i) => (extremes ? 255 * (byte(i) & 1) : byte(i)));
}

function floats(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 1.7 + seed) * 3);
}

const shared = {
  zeroPoint: fc.constantFrom(0, 7, 128, 255),
  signed: fc.boolean(),
  extremes: fc.boolean(),
  constant: fc.boolean(),
  eps: fc.constantFrom(1e-5, 0, 1),
  outZeroPoint: fc.constantFrom(0, 99, 255),
  cut: fc.double({ min: 0, max: 1, noNaN: true }),
  seed: fc.nat(1000),
};

describe.each(builds)('normalizations (%s)', (build) => {
  const engine = createEngine(build);
  const { kernels, heap } = engine;

  /** Puts arrays into memory, with room for `outBytes` behind them, and takes the result out. */
  function run(
    arrays: readonly (Uint8Array | Float32Array | Uint32Array | Float64Array)[],
    outBytes: number,
    use: (ptrs: readonly number[], out: number, take: (bytes: number) => number) => void,
  ): Uint8Array {
    return engine.scratch((take) => {
      const ptrs = arrays.map((array) => {
        const ptr = take(array.byteLength + 64);
        heap.u8.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), ptr);
        return ptr;
      });
      const out = take(outBytes + 64);
      heap.u8.fill(GUARD, out, out + outBytes + 64);
      use(ptrs, out, take);
      expect([...heap.u8.slice(out + outBytes, out + outBytes + 16)].every((b) => b === GUARD)).toBe(true);
      return heap.u8.slice(out, out + outBytes);
    });
  }

  const inverse = Math.fround(1 / Math.fround(0.037));

  function optionsOf(c: {
    zeroPoint: number;
    outZeroPoint: number;
    signed: boolean;
    eps: number;
  }): Normalization {
    const offset = c.signed ? 128 : 0;
    return {
      scale: 0.031,
      zeroPoint: c.zeroPoint - offset,
      eps: c.eps,
      outScale: 0.037,
      outZeroPoint: c.outZeroPoint - offset,
      min: -offset,
      max: 255 - offset,
    };
  }

  it('rows are those of the plain twin', () => {
    const cases = fc.record({
      rows: fc.integer({ min: 0, max: 3 }),
      columns: fc.oneof(
        { arbitrary: fc.integer({ min: 1, max: 70 }), weight: 15 },
        fc.constantFrom(768, 66_001),
      ),
      ...shared,
    });
    let compared = 0;
    fc.assert(
      fc.property(cases, (c) => {
        const { rows, columns, zeroPoint, signed, extremes, constant, eps, outZeroPoint, cut, seed } = c;
        const offset = signed ? 128 : 0;
        const x = constant
          ? new Uint8Array(rows * columns).fill(seed & 255)
          : bytes(rows * columns, seed, extremes);
        const gains = floats(columns, seed);
        const shifts = floats(columns, seed + 1);
        const at = Math.floor(rows * cut);
        const got = run([x, gains, shifts], rows * columns, ([from, gain, shift], out) => {
          for (const [begin, end] of [
            [at, rows],
            [0, at],
          ])
            kernels.qu8_layer_norm(
              ...([begin, end, from, columns, offset, zeroPoint, Math.fround(0.031), eps] as const),
              ...([gain, shift, inverse, outZeroPoint, out] as const),
            );
        });
        const q = Array.from(x, (v) => v - offset);
        const expected = referenceNormalize(
          q,
          (i) => Math.floor(i / columns),
          (i) => i % columns,
          gains,
          shifts,
          optionsOf(c),
        );
        expect(Int32Array.from(got, (v) => v - offset)).toEqual(expected);
        compared += got.length;
        const means = run([x], rows, ([from], out) =>
          kernels.qu8_mean_rows(0, rows, from, columns, offset, out),
        );
        expect(Int32Array.from(means, (v) => v - offset)).toEqual(referenceMeanRows(q, columns));
      }),
      { numRuns: 60 },
    );
    expect(compared).toBeGreaterThan(200);
  });

  it('groups of channels are those of the plain twin', () => {
    const cases = fc.record({
      images: fc.integer({ min: 1, max: 2 }),
      pixels: fc.oneof({ arbitrary: fc.integer({ min: 1, max: 40 }), weight: 15 }, fc.constant(4100)),
      groups: fc.integer({ min: 1, max: 4 }),
      perGroup: fc.constantFrom(1, 2, 7, 16),
      gap: fc.constantFrom(0, 3),
      ...shared,
    });
    let compared = 0;
    fc.assert(
      fc.property(cases, (c) => {
        const { images, pixels, groups, perGroup, gap, zeroPoint, signed, eps, outZeroPoint, cut, seed } = c;
        const offset = signed ? 128 : 0;
        const channels = groups * perGroup;
        const stride = channels + gap;
        const x = bytes(images * pixels * stride, seed, c.extremes);
        const gains = floats(channels, seed);
        const shifts = floats(channels, seed + 1);
        const blocks = Math.ceil(channels / 16);
        const padded = 16 * blocks;
        const total = images * pixels;
        const got = run([x, gains, shifts], total * channels, ([from, gain, shift], out, take) => {
          const [moments, means, factors] = [
            take(16 * images * padded),
            take(4 * images * padded),
            take(4 * images * padded),
          ];
          const image = pixels * stride;
          const source = [from, image, pixels, stride] as const;
          const at = Math.floor(total * cut);
          for (let unit = images * blocks - 1; unit >= 0; unit--)
            kernels.qu8_channel_moments(unit, unit + 1, ...source, blocks, offset, moments);
          const count = perGroup * pixels;
          const numbers = [zeroPoint - offset, Math.fround(0.031), eps] as const;
          kernels.qu8_group_factors(
            ...([
              0,
              images * groups,
              moments,
              padded,
              groups,
              perGroup,
              count,
              ...numbers,
              means,
              factors,
            ] as const),
          );
          for (const [begin, end] of [
            [at, total],
            [0, at],
          ])
            kernels.qu8_normalize_pixels(
              ...([begin, end, ...source, channels, padded, means, factors, gain, shift] as const),
              ...([zeroPoint, inverse, outZeroPoint, out] as const),
            );
        });
        const q = Array.from(
          { length: total * channels },
          (_, i) => x[Math.floor(i / channels) * stride + (i % channels)] - offset,
        );
        const expected = referenceNormalize(
          q,
          (i) => Math.floor(i / channels / pixels) * groups + Math.floor((i % channels) / perGroup),
          (i) => i % channels,
          gains,
          shifts,
          optionsOf(c),
        );
        expect(Int32Array.from(got, (v) => v - offset)).toEqual(expected);
        compared += got.length;
      }),
      { numRuns: 50 },
    );
    expect(compared).toBeGreaterThan(200);
  });

  it('pixels are picked and mixed as by the plain twin', () => {
    const cases = fc.record({
      height: fc.integer({ min: 1, max: 6 }),
      width: fc.integer({ min: 1, max: 6 }),
      outHeight: fc.integer({ min: 1, max: 9 }),
      outWidth: fc.integer({ min: 1, max: 9 }),
      channels: fc.constantFrom(1, 3, 4, 9, 16, 18),
      ...shared,
    });
    fc.assert(
      fc.property(cases, (c) => {
        const { height, width, outHeight, outWidth, channels, zeroPoint, signed, extremes, cut, seed } = c;
        const offset = signed ? 128 : 0;
        const x = bytes(height * width * channels, seed, extremes);
        const byte = random(seed);
        const mix = (count: number, size: number) => ({
          low: Array.from({ length: count }, (_, i) => byte(i) % size),
          high: Array.from({ length: count }, (_, i) => byte(i + 50) % size),
          share: Float32Array.from({ length: count }, (_, i) => byte(i + 99) / 255),
        });
        const [rows, columns] = [mix(outHeight, height), mix(outWidth, width)];
        const table = ({ low, high, share }: ReturnType<typeof mix>, step: number): Uint32Array => {
          const words = new Uint32Array(3 * low.length);
          const shares = new Float32Array(words.buffer);
          low.forEach((v, i) => {
            words[3 * i] = v * step;
            words[3 * i + 1] = high[i] * step;
            shares[3 * i + 2] = share[i];
          });
          return words;
        };
        const at = Math.floor(outHeight * cut);
        const size = outHeight * outWidth * channels;
        const got = run(
          [x, table(rows, width * channels), table(columns, channels)],
          size,
          ([from, a, b], out) => {
            for (const [begin, end] of [
              [at, outHeight],
              [0, at],
            ])
              kernels.qu8_bilinear(
                ...([begin, end, from, a, b, outWidth, channels, offset, zeroPoint - offset, out] as const),
              );
          },
        );
        const q = Array.from(x, (v) => v - offset);
        const expected = referenceBilinear(q, width, channels, rows, columns, zeroPoint - offset);
        expect(Int32Array.from(got, (v) => v - offset)).toEqual(expected);

        const pixels = Uint32Array.from(
          { length: outWidth },
          (_, i) => (byte(i) % (height * width)) * channels,
        );
        const picked = run([x, pixels], outWidth * channels, ([from, places], out) =>
          kernels.u8_pick_pixels(0, outWidth, from, places, channels, out),
        );
        expect(Array.from(picked)).toEqual(
          [...pixels].flatMap((p) => Array.from(x.subarray(p, p + channels))),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('rows of quantized tables are decoded as by the plain twin', () => {
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 9 }),
      width: fc.integer({ min: 1, max: 40 }),
      count: fc.integer({ min: 0, max: 12 }),
      wide: fc.boolean(),
      signed: fc.boolean(),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.nat(1000),
    });
    fc.assert(
      fc.property(cases, ({ rows, width, count, wide, signed, cut, seed }) => {
        const byte = random(seed);
        const ids = Array.from({ length: count }, (_, i) => byte(i) % rows);
        const places = wide ? Float64Array.from(ids) : Uint32Array.from(ids);
        const idBytes = wide ? 8 : 4;
        const scales = floats(rows, seed);
        const offsets = floats(rows, seed + 9);
        const at = Math.floor(count * cut);
        const parts = [
          [at, count],
          [0, at],
        ];
        const asFloats = (out: Uint8Array): Float32Array => new Float32Array(out.buffer, 0, count * width);
        const x = bytes(rows * width, seed, false);
        const base = signed ? 128 : 0;
        const eight = run([places, x, scales, offsets, new Uint8Array(4)], 4 * count * width, (p, out) => {
          for (const [begin, end] of parts)
            kernels.qu8_pick_rows(
              ...([begin, end, p[0], idBytes, p[1], rows, width, base, p[2], p[3], out, p[4]] as const),
            );
          expect(heap.i32[p[4] >> 2]).toBe(0);
        });
        const q = Array.from(x, (v) => v - base);
        expect(asFloats(eight)).toEqual(referencePickRows(ids, q, width, scales, offsets));
        const nibbles = bytes(Math.ceil((rows * width) / 2), seed, false);
        const four = run(
          [places, nibbles, scales, offsets, new Uint8Array(4)],
          4 * count * width,
          (p, out) => {
            for (const [begin, end] of parts)
              kernels.qu4_pick_rows(
                ...([begin, end, p[0], idBytes, p[1], rows, width, p[2], p[3], out, p[4]] as const),
              );
          },
        );
        const apart = Array.from({ length: rows * width }, (_, i) => (nibbles[i >> 1] >> (4 * (i & 1))) & 15);
        expect(asFloats(four)).toEqual(referencePickRows(ids, apart, width, scales, offsets));
        for (const wrong of [-1, rows, ...(wide ? [0.5, Number.NaN] : [])]) {
          const bad = wide ? Float64Array.of(wrong) : Uint32Array.of(wrong);
          run([bad, x, scales, offsets, new Uint8Array(4)], 4 * width, (p, out) => {
            kernels.qu8_pick_rows(
              ...([0, 1, p[0], idBytes, p[1], rows, width, base, p[2], p[3], out, p[4]] as const),
            );
            expect(heap.i32[p[4] >> 2]).toBe(1);
          });
        }
      }),
      { numRuns: 100 },
    );
  });

  it('margins of an input that was just measured hold its zero point', () => {
    for (const [least, most, zeroPoint] of [
      [0, 5, 0],
      [-1, 1, 128],
      [-3, 0, 255],
    ]) {
      const lines = bytes(21, 3, false);
      const got = run(
        [Float32Array.of(least, most), new Uint8Array(4), lines],
        33,
        ([parts, status, from], out) =>
          kernels.qu8_dynamic_stage_lines(parts, 1, 255, status, 0, 3, from, 7, out, 11, 1),
      );
      const expected = [0, 1, 2].flatMap((i) => [
        zeroPoint,
        ...lines.slice(7 * i, 7 * i + 7),
        ...[zeroPoint, zeroPoint, zeroPoint],
      ]);
      expect(Array.from(got)).toEqual(expected);
    }
  });
});
