import { describe, expect, it } from 'vitest';
import { expectClose, randomFloats } from '../../../test/support/floats.ts';
import { ShapeError } from '../../core/errors.ts';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceLogSoftmax } from '../reference/f32-layers.ts';
import { addF32, mulF32, reluF32, reluGradF32, scaleF32, sumF32 } from './elementwise.ts';
import { adamStepF32, sgdStepF32 } from './optimizer.ts';
import { expF32, logSoftmaxF32, softmaxF32 } from './softmax.ts';

const builds = supportedBuilds();
const lengths = [0, 1, 2, 3, 4, 5, 7, 8, 31, 1000, 16383, 16384, 16385, 50001];
const { fround } = Math;

describe.each(builds)('float32 element-wise kernels (%s)', (build) => {
  const engine = createEngine(build);

  it.each(lengths)('%i elements, exactly as scalar float32 arithmetic', (length) => {
    const a = randomFloats(1, length);
    const b = randomFloats(2, length);
    for (const [i, special] of [NaN, Infinity, -Infinity, -0, 0].entries()) if (i < length) a[i] = special;
    const before = engine.memory();
    expect(reluF32(a, { engine })).toEqual(a.map((x) => (x < 0 ? 0 : x)));
    expect(reluGradF32(b, a, { engine })).toEqual(b.map((g, i) => (a[i] <= 0 ? 0 : g)));
    expect(addF32(a, b, { engine })).toEqual(a.map((x, i) => x + b[i]));
    expect(addF32(a, b, { alpha: 0.3, engine })).toEqual(a.map((x, i) => x + fround(fround(0.3) * b[i])));
    expect(addF32(a, b, { relu: true, engine })).toEqual(
      a.map((x, i) => (fround(x + b[i]) < 0 ? 0 : x + b[i])),
    );
    expect(mulF32(a, b, { engine })).toEqual(a.map((x, i) => x * b[i]));
    expect(scaleF32(a, -1.7, engine)).toEqual(a.map((x) => fround(-1.7) * x));
    expect(sumF32(b, engine)).toBeCloseTo(
      b.reduce((s, x) => s + x, 0),
      9,
    );
    const target = a.slice();
    expect(addF32(target, b, { out: target, engine })).toBe(target);
    expect(target).toEqual(a.map((x, i) => x + b[i]));
    expect({ ...engine.memory(), reservedBytes: 0 }).toEqual({ ...before, reservedBytes: 0 });
  });

  it.each([3, 16390])('sgd on %i parameters follows torch.optim.SGD', (length) => {
    const settings = [
      { lr: 0.1 },
      { lr: 0.1, weightDecay: 0.02 },
      { lr: 0.05, momentum: 0.9 },
      { lr: 0.05, momentum: 0.9, dampening: 0.4, weightDecay: 0.01 },
      { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
    ];
    for (const s of settings) {
      const {
        lr,
        momentum = 0,
        dampening = 0,
        weightDecay = 0,
        nesterov = false,
      } = s as {
        lr: number;
        momentum?: number;
        dampening?: number;
        weightDecay?: number;
        nesterov?: boolean;
      };
      const param = randomFloats(1, length);
      const buffer = randomFloats(2, length);
      const grad = randomFloats(3, length);
      const p = Float64Array.from(param);
      const v = Float64Array.from(buffer);
      sgdStepF32({ ...s, param, grad, momentumBuffer: momentum ? buffer : null, engine });
      for (let i = 0; i < length; i++) {
        let g = grad[i] + weightDecay * p[i];
        if (momentum) {
          v[i] = momentum * v[i] + (1 - dampening) * g;
          g = nesterov ? g + momentum * v[i] : v[i];
        }
        p[i] -= lr * g;
      }
      expectClose(param, p, 1e-6);
      expectClose(buffer, v, 1e-6);
    }
    const zeros = new Float32Array(2);
    expect(() => sgdStepF32({ param: zeros, grad: zeros, lr: 1, momentum: 0.5, engine })).toThrow(ShapeError);
  });

  it.each([false, true])('adam (decoupled decay: %s) follows torch.optim', (decoupled) => {
    const length = 16390;
    const param = randomFloats(1, length);
    const expAvg = new Float32Array(length);
    const expAvgSq = new Float32Array(length);
    const p = Float64Array.from(param);
    const m = new Float64Array(length);
    const v = new Float64Array(length);
    const s = { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, decoupled };
    for (let step = 1; step <= 3; step++) {
      const grad = randomFloats(step + 5, length);
      adamStepF32({ ...s, param, grad, expAvg, expAvgSq, step, engine });
      for (let i = 0; i < length; i++) {
        if (decoupled) p[i] *= 1 - s.lr * s.weightDecay;
        const g = grad[i] + (decoupled ? 0 : s.weightDecay * p[i]);
        m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
        v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
        const mHat = m[i] / (1 - s.beta1 ** step);
        const vHat = v[i] / (1 - s.beta2 ** step);
        p[i] -= (s.lr * mHat) / (Math.sqrt(vHat) + s.eps);
      }
    }
    expectClose(param, p, 2e-6);
    expectClose(expAvg, m, 1e-6);
    expectClose(expAvgSq, v, 1e-6);
  });

  it('computes e^x within 1.5 ulp over the normal range, and its limits', () => {
    const x = Float32Array.from({ length: 400_000 }, (_, i) => -87.3 + (i / 400_000) * 176);
    const got = expF32(x, engine);
    const bits = new DataView(new ArrayBuffer(4));
    let worst = 0;
    for (let i = 0; i < x.length; i++) {
      const exact = Math.exp(x[i]);
      bits.setFloat32(0, exact);
      const ulp = 2 ** (((bits.getUint32(0) >>> 23) & 255) - 150);
      worst = Math.max(worst, Math.abs(got[i] - exact) / ulp);
    }
    expect(worst).toBeLessThan(1.5);
    const limits = Float32Array.of(0, -0, NaN, Infinity, -Infinity, 89, -200, -100);
    const at = expF32(limits, engine);
    expect([...at.subarray(0, 7)]).toEqual([1, 1, NaN, Infinity, 0, Infinity, 0]);
    expect(at[7] / fround(Math.exp(-100))).toBeCloseTo(1, 1);
  });

  it.each([
    [1, 1],
    [3, 2],
    [5, 7],
    [64, 10],
    [100, 128],
    [2, 20001],
  ])('softmax and log-softmax of %i rows of %i', (rows, columns) => {
    const x = randomFloats(1, rows * columns).map((v) => 10 * v);
    const log = referenceLogSoftmax(x, rows, columns);
    expectClose(softmaxF32(x, rows, columns, engine), log.map(Math.exp), 4e-7);
    expectClose(logSoftmaxF32(x, rows, columns, engine), log, 3e-7);
  });

  it('softmax: masked entries are zero, NaN and all-masked rows are NaN', () => {
    const x = Float32Array.of(1, -Infinity, 1, NaN, 0, 0, -Infinity, -Infinity, -Infinity, 500, -500, 0);
    expect([...softmaxF32(x, 4, 3, engine)]).toEqual([0.5, 0, 0.5, NaN, NaN, NaN, NaN, NaN, NaN, 1, 0, 0]);
    const log = logSoftmaxF32(x, 4, 3, engine);
    expect([...log.subarray(9)]).toEqual([0, -1000, -500]);
    expect([...log.subarray(3, 9)].every(Number.isNaN)).toBe(true);
  });

  it('names arrays of different lengths', () => {
    expect(() => mulF32(new Float32Array(2), new Float32Array(3), { engine })).toThrow(
      /mulF32: b: expected 2 elements, got 3/,
    );
  });
});
