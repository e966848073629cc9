import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KernelError, ShapeError } from '../../core/errors.ts';
import { createEngine, type KernelBuild, supportedBuilds } from '../engine.ts';
import { type ConvGeometry, convGeometry, linearGeometry } from '../geometry.ts';
import { type ReferenceConv, referenceConv, referenceConvFloat } from '../reference/int8_conv.ts';
import { qConv, qConvFloat, runConv, stageConvInput, stagedBytes, stagedLayout } from './conv.ts';
import { type PackedConvWeights, packConvWeights } from './pack.ts';

const builds = supportedBuilds();

/** Deterministic integers; quality does not matter here, only coverage of the range. */
function generator(seed: number): (min: number, max: number) => number {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return (min, max) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917) >>> 0;
    return min + (state % (max - min + 1));
  };
}

interface Case {
  readonly name: string;
  readonly geometry: ConvGeometry;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups?: number;
  readonly fill?: 'random' | 'extremes';
}

function conv2d(
  batch: number,
  size: number[],
  kernel: number,
  stride: number,
  padding: number,
  dilation = 1,
): ConvGeometry {
  const all = (v: number): number[] => size.map(() => v);
  return convGeometry({
    batch,
    inputSize: size,
    kernel: all(kernel),
    stride: all(stride),
    padding: all(padding),
    dilation: all(dilation),
  });
}

const cases: Case[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 97, 200].map((rows) => ({
    name: `linear ${rows} rows`,
    geometry: linearGeometry(rows),
    inChannels: 19,
    outChannels: 11,
  })),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 64].map((k) => ({
    name: `linear K=${k}`,
    geometry: linearGeometry(7),
    inChannels: k,
    outChannels: 8,
  })),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 20, 24, 27, 31, 32, 33, 40, 48].map((n) => ({
    name: `linear N=${n}`,
    geometry: linearGeometry(7),
    inChannels: 12,
    outChannels: n,
  })),
  ...[7, 8, 9, 10, 11, 14, 15, 16, 17].map((rows) => ({
    name: `linear ${rows} rows, half a panel left`,
    geometry: linearGeometry(rows),
    inChannels: 19,
    outChannels: 22,
  })),
  ...[8, 24, 40].map((n) => ({
    name: `matrix-vector, N=${n}`,
    geometry: linearGeometry(1),
    inChannels: 83,
    outChannels: n,
  })),
  {
    name: 'linear extremes',
    geometry: linearGeometry(7),
    inChannels: 1024,
    outChannels: 9,
    fill: 'extremes',
  },
  { name: '1x1', geometry: conv2d(2, [5, 6], 1, 1, 0), inChannels: 10, outChannels: 12 },
  { name: '1x1 stride 2', geometry: conv2d(2, [5, 6], 1, 2, 0), inChannels: 10, outChannels: 12 },
  { name: '1x1 padded', geometry: conv2d(1, [4, 4], 1, 1, 1), inChannels: 9, outChannels: 5 },
  { name: '3x3', geometry: conv2d(2, [9, 7], 3, 1, 1), inChannels: 16, outChannels: 24 },
  { name: '3x3 stride 2', geometry: conv2d(1, [9, 8], 3, 2, 1), inChannels: 17, outChannels: 10 },
  { name: '3x3 dilation 2', geometry: conv2d(1, [9, 9], 3, 1, 2, 2), inChannels: 8, outChannels: 8 },
  {
    name: '3x3 extremes',
    geometry: conv2d(1, [6, 6], 3, 1, 1),
    inChannels: 64,
    outChannels: 8,
    fill: 'extremes',
  },
  {
    name: 'first layer 7x7 stride 2',
    geometry: conv2d(2, [20, 18], 7, 2, 3),
    inChannels: 3,
    outChannels: 16,
  },
  {
    name: 'first layer 3x3 stride 2, odd reach',
    geometry: conv2d(2, [11, 10], 3, 2, 1),
    inChannels: 3,
    outChannels: 8,
  },
  {
    name: 'one channel 5x5 without padding',
    geometry: conv2d(2, [12, 12], 5, 1, 0),
    inChannels: 1,
    outChannels: 6,
  },
  { name: 'few channels, dilated', geometry: conv2d(1, [9, 9], 3, 1, 2, 2), inChannels: 3, outChannels: 6 },
  { name: 'conv1d', geometry: conv2d(3, [17], 5, 2, 2), inChannels: 12, outChannels: 7 },
  { name: 'conv1d of one channel', geometry: conv2d(2, [40], 8, 3, 4), inChannels: 1, outChannels: 9 },
  { name: 'conv3d', geometry: conv2d(2, [4, 5, 6], 3, 1, 1), inChannels: 9, outChannels: 9 },
  { name: 'conv3d of few channels', geometry: conv2d(1, [4, 5, 6], 3, 2, 1), inChannels: 2, outChannels: 9 },
  { name: 'grouped', geometry: conv2d(2, [6, 5], 3, 1, 1), inChannels: 18, outChannels: 12, groups: 3 },
  { name: 'grouped 1x1', geometry: conv2d(2, [3, 3], 1, 1, 0), inChannels: 20, outChannels: 40, groups: 4 },
  ...[2, 7, 8, 15, 16, 17, 24, 33].map((c) => ({
    name: `depthwise ${c} channels`,
    geometry: conv2d(2, [7, 6], 3, 1, 1),
    inChannels: c,
    outChannels: c,
    groups: c,
  })),
  {
    name: 'depthwise stride 2',
    geometry: conv2d(1, [9, 9], 3, 2, 1),
    inChannels: 32,
    outChannels: 32,
    groups: 32,
  },
  {
    name: 'depthwise 5x5 dilated',
    geometry: conv2d(1, [12, 11], 5, 1, 4, 2),
    inChannels: 16,
    outChannels: 16,
    groups: 16,
  },
  {
    name: 'depthwise 1x1',
    geometry: conv2d(2, [3, 3], 1, 1, 0),
    inChannels: 16,
    outChannels: 16,
    groups: 16,
  },
  {
    name: 'depthwise extremes',
    geometry: conv2d(1, [8, 8], 7, 1, 3),
    inChannels: 16,
    outChannels: 16,
    groups: 16,
    fill: 'extremes',
  },
  {
    name: 'depthwise, multiplier 2',
    geometry: conv2d(1, [5, 5], 3, 1, 1),
    inChannels: 6,
    outChannels: 12,
    groups: 6,
  },
];

interface Types {
  readonly signedInput: boolean;
  readonly unsignedWeight: boolean;
  readonly zeroPoints: boolean;
}

const types: Types[] = [
  { signedInput: false, unsignedWeight: false, zeroPoints: false },
  { signedInput: true, unsignedWeight: false, zeroPoints: false },
  { signedInput: false, unsignedWeight: false, zeroPoints: true },
  { signedInput: true, unsignedWeight: true, zeroPoints: true },
];

function build(c: Case, t: Types, seed: number): ReferenceConv {
  const next = generator(seed);
  const groups = c.groups ?? 1;
  const inChannelsPerGroup = c.inChannels / groups;
  const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
  const [xMin, xMax] = t.signedInput ? [-128, 127] : [0, 255];
  const [wMin, wMax] = t.unsignedWeight ? [0, 255] : [-128, 127];
  const draw = (min: number, max: number): number =>
    c.fill === 'extremes' ? (next(0, 7) ? max : min) : next(min, max);
  const xLength = c.geometry.batch * product(c.geometry.inputSize) * c.inChannels;
  const wLength = c.outChannels * product(c.geometry.kernel) * inChannelsPerGroup;
  const x = Array.from({ length: xLength }, () => draw(xMin, xMax));
  const w = Array.from({ length: wLength }, () => (c.fill === 'extremes' ? wMin : draw(wMin, wMax)));
  return {
    input: t.signedInput ? Int8Array.from(x) : Uint8Array.from(x),
    weight: t.unsignedWeight ? Uint8Array.from(w) : Int8Array.from(w),
    outChannels: c.outChannels,
    inChannelsPerGroup,
    groups,
    geometry: c.geometry,
    bias: Float32Array.from({ length: c.outChannels }, () => next(-1000, 1000) / 100),
    inputScale: 0.0173,
    inputZeroPoint: c.fill === 'extremes' ? xMin : next(xMin, xMax),
    weightScales: Float32Array.from({ length: c.outChannels }, () => next(1, 1000) / 50000),
    weightZeroPoints: Int32Array.from({ length: c.outChannels }, () => (t.zeroPoints ? next(wMin, wMax) : 0)),
  };
}

function pack(
  conv: ReferenceConv,
  kernelBuild: KernelBuild,
  engine = createEngine(kernelBuild),
): PackedConvWeights {
  const { geometry } = conv;
  return packConvWeights({
    ...conv,
    taps: geometry.kernel.reduce((a, b) => a * b, 1),
    contiguousTaps: geometry.dilation.at(-1) === 1 ? geometry.kernel.at(-1) : 1,
    engine,
  });
}

describe.each(builds)('qConv (%s)', (kernelBuild) => {
  it.each(cases)('$name', (c) => {
    types.forEach((t, i) => {
      const conv = build(c, t, i + 1);
      const packed = pack(conv, kernelBuild);
      const [min, max] = t.signedInput ? [-128, 127] : [0, 255];
      const scale = c.fill === 'extremes' ? 30 : 0.31;
      const zeroPoint = t.signedInput ? -3 : 77;
      packed.setQuantization({ ...conv, output: { scale, zeroPoint } });
      const got = qConv(packed, conv.input, c.geometry, { zeroPoint, min, max });
      expect(got).toBeInstanceOf(conv.input.constructor);
      expect(Array.from(got)).toEqual(Array.from(referenceConv(conv, { scale, zeroPoint, min, max })));
      const relu = qConv(packed, conv.input, c.geometry, { zeroPoint, min: zeroPoint, max: max - 5 });
      expect(Array.from(relu)).toEqual(
        Array.from(referenceConv(conv, { scale, zeroPoint, min: zeroPoint, max: max - 5 })),
      );
      packed.setQuantization({ ...conv, output: null });
      if (packed.format.depthwise)
        expect(() => qConvFloat(packed, conv.input, c.geometry)).toThrow(KernelError);
      else expect(qConvFloat(packed, conv.input, c.geometry)).toEqual(referenceConvFloat(conv));
      packed.free();
      expect(packed.engine.memory()).toMatchObject({ packedBytes: 0, packedCount: 0, scratchBytes: 0 });
    });
  });

  it('rounds and saturates for every accumulator, up to the ends of int32', () => {
    const biases = [
      0,
      1,
      -1,
      3,
      -3,
      5,
      2 ** 22,
      -(2 ** 22),
      2 ** 23 + 2,
      -12582912,
      -12582913,
      2 ** 24,
      2 ** 30,
      -(2 ** 30),
      2 ** 31 - 1,
      -(2 ** 31),
    ];
    const n = biases.length;
    const conv: ReferenceConv = {
      input: new Uint8Array(8),
      weight: new Int8Array(n),
      outChannels: n,
      inChannelsPerGroup: 1,
      groups: 1,
      geometry: linearGeometry(8),
      bias: Float32Array.from(biases),
      inputScale: 1,
      inputZeroPoint: 0,
      weightScales: new Float32Array(n).fill(1),
      weightZeroPoints: new Int32Array(n),
    };
    const packed = pack(conv, kernelBuild);
    for (const scale of [0.001, 0.5, 1, 2, 3, 8192, 1e9, 1e20]) {
      for (const zeroPoint of [0, 1, 128, 255]) {
        packed.setQuantization({ ...conv, output: { scale, zeroPoint } });
        const epilogue = { zeroPoint, min: 2, max: 250 };
        const got = qConv(packed, conv.input as Uint8Array, conv.geometry, epilogue);
        expect(Array.from(got)).toEqual(Array.from(referenceConv(conv, { scale, ...epilogue })));
      }
    }
    packed.free();
  });

  it('follows changes of quantization and geometry', () => {
    const engine = createEngine(kernelBuild);
    const c: Case = { name: '', geometry: conv2d(1, [6, 6], 3, 1, 1), inChannels: 8, outChannels: 8 };
    const { weight, ...first } = build(c, types[0], 5);
    const packed = pack({ ...first, weight }, kernelBuild, engine);
    for (const size of [
      [6, 6],
      [3, 9],
      [6, 6],
    ]) {
      for (const inputZeroPoint of [0, 200]) {
        const geometry = conv2d(2, size, 3, 1, 1);
        const conv = { ...build({ ...c, geometry }, types[0], 5), weight, inputZeroPoint };
        packed.setQuantization({ ...conv, output: { scale: 0.4, zeroPoint: 9 } });
        const epilogue = { zeroPoint: 9, min: 0, max: 255 };
        const got = qConv(packed, conv.input as Uint8Array, geometry, epilogue);
        expect(Array.from(got)).toEqual(Array.from(referenceConv(conv, { scale: 0.4, ...epilogue })));
      }
    }
    packed.free();
    expect(engine.memory()).toMatchObject({ packedBytes: 0, packedCount: 0 });
  });

  it('divides its work into shares that add up to the whole', () => {
    for (const c of cases) {
      const conv = build(c, types[0], 9);
      using packed = pack(conv, kernelBuild);
      const { engine } = packed;
      const input = conv.input as Uint8Array;
      packed.setQuantization({ ...conv, output: { scale: 0.4, zeroPoint: 9 } });
      const epilogue = { zeroPoint: 9, min: 0, max: 255 };
      const whole = qConv(packed, input, c.geometry, epilogue);
      const { inputZeroPoint } = packed.prepare('test', false);
      const layout = stagedLayout(packed, c.geometry);
      const perImage = whole.length / c.geometry.batch;
      const outputStride = perImage + 5;
      for (const count of [1, 2, 3, 7]) {
        const shares = engine.scratch((take) => {
          const from = take(stagedBytes(layout, c.geometry.batch));
          const to = take(outputStride * c.geometry.batch);
          stageConvInput(packed, input, layout, c.geometry.batch, from, inputZeroPoint);
          engine.heap.u8.fill(170, to, to + outputStride * c.geometry.batch);
          for (let index = count - 1; index >= 0; index--) {
            runConv(packed, layout, c.geometry, from, to, {
              epilogue,
              outputStride,
              share: { index, count },
            });
          }
          return engine.heap.u8.slice(to, to + outputStride * c.geometry.batch);
        });
        for (let b = 0; b < c.geometry.batch; b++) {
          const image = shares.subarray(b * outputStride, (b + 1) * outputStride);
          expect(image.subarray(0, perImage)).toEqual(whole.subarray(b * perImage, (b + 1) * perImage));
          expect(image.subarray(perImage).every((v) => v === 170)).toBe(true);
        }
      }
    }
  });

  it('does not leak over many layers and calls', () => {
    const engine = createEngine(kernelBuild);
    const run = (): void => {
      for (const c of cases.slice(-20)) {
        const conv = build(c, types[0], 3);
        using packed = pack(conv, kernelBuild, engine);
        packed.setQuantization({ ...conv, output: { scale: 1, zeroPoint: 0 } });
        qConv(packed, conv.input as Uint8Array, c.geometry, { zeroPoint: 0, min: 0, max: 255 });
      }
    };
    run();
    const after = engine.memory();
    for (let i = 0; i < 20; i++) run();
    expect(engine.memory()).toEqual(after);
    expect(after).toMatchObject({ packedBytes: 0, packedCount: 0, scratchBytes: 0 });
  });

  it('frees the memory of packed weights that were collected', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const engine = createEngine(kernelBuild);
    const conv = build(cases[0], types[0], 3);
    for (let i = 0; i < 10; i++) pack(conv, kernelBuild, engine);
    expect(engine.memory().packedCount).toBe(10);
    for (let i = 0; i < 50 && engine.memory().packedCount > 0; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(engine.memory()).toMatchObject({ packedCount: 0, packedBytes: 0 });
  });

  it('says what is wrong', () => {
    const conv = build(cases[0], types[0], 1);
    const packed = pack(conv, kernelBuild);
    const input = conv.input as Uint8Array;
    const epilogue = { zeroPoint: 0, min: 0, max: 255 };
    expect(() => qConv(packed, input, conv.geometry, epilogue)).toThrow(/setQuantization/);
    packed.setQuantization({ ...conv, output: { scale: 1, zeroPoint: 0 } });
    expect(() => qConv(packed, input.subarray(1), conv.geometry, epilogue)).toThrow(ShapeError);
    expect(() => qConv(packed, input, conv.geometry, { ...epilogue, zeroPoint: 256 })).toThrow(/0\.\.255/);
    expect(() => packed.setQuantization({ ...conv, inputScale: 0, output: null })).toThrow(/positive finite/);
    expect(() => packConvWeights({ ...conv, taps: 2, engine: packed.engine })).toThrow(ShapeError);
    const weightZeroPoints = new Int32Array(conv.outChannels).fill(128);
    expect(() => packConvWeights({ ...conv, taps: 1, weightZeroPoints, engine: packed.engine })).toThrow(
      /-128\.\.127/,
    );
    packed.free();
    expect(() => qConv(packed, input, conv.geometry, epilogue)).toThrow(/freed/);
  });
});

describe('packing', () => {
  it.runIf(builds.length === 2)('gives identical results on both builds for any shape', () => {
    const engines = builds.map((build) => createEngine(build));
    fc.assert(
      fc.property(
        fc.record({
          rows: fc.integer({ min: 1, max: 4 }),
          size: fc.integer({ min: 3, max: 8 }),
          kernel: fc.integer({ min: 1, max: 3 }),
          stride: fc.integer({ min: 1, max: 3 }),
          padding: fc.integer({ min: 0, max: 2 }),
          groups: fc.integer({ min: 1, max: 3 }),
          inPerGroup: fc.integer({ min: 1, max: 9 }),
          outPerGroup: fc.integer({ min: 1, max: 18 }),
          seed: fc.nat(),
        }),
        (s) => {
          const c: Case = {
            name: '',
            geometry: conv2d(1, [s.size, s.size + s.rows], s.kernel, s.stride, s.padding),
            inChannels: s.groups * s.inPerGroup,
            outChannels: s.groups * s.outPerGroup,
            groups: s.groups,
          };
          const conv = build(c, types[s.seed % types.length], s.seed);
          const signed = conv.input instanceof Int8Array;
          const epilogue = { zeroPoint: 5, min: signed ? -128 : 0, max: signed ? 127 : 255 };
          const [a, b] = engines.map((engine, i) => {
            using packed = pack(conv, builds[i], engine);
            packed.setQuantization({ ...conv, output: { scale: 0.2, zeroPoint: 5 } });
            return qConv(packed, conv.input, c.geometry, epilogue);
          });
          expect(a).toEqual(b);
          expect(Array.from(a)).toEqual(Array.from(referenceConv(conv, { scale: 0.2, ...epilogue })));
        },
      ),
      { numRuns: 150 },
    );
  });
});
