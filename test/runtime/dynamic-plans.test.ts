import { describe, expect, test } from 'vitest';
import { ArgumentError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { createEngine, type Engine, supportedBuilds } from '../../src/kernels/engine.ts';
import { chooseQuantizationParams } from '../../src/kernels/int8/qparams.ts';
import { quantize } from '../../src/kernels/int8/quantize.ts';
import { type AnyModule, GRU, Linear, LSTM, ReLU, Sequential } from '../../src/nn/index.ts';
import { gruPointwise, lstmPointwise } from '../../src/ops/float/layer/recurrent.ts';
import { quantizeDynamic } from '../../src/quantization/index.ts';
import { type Program, trace } from '../../src/runtime/index.ts';
import { full, randn } from '../../src/tensor/creation.ts';
import { fromStorage, type Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/close.ts';
import { eagerly, planned } from '../support/plan.ts';
import { bits } from '../support/same-bits.ts';

const engines = supportedBuilds().map((build): [string, Engine] => [build, createEngine(build)]);

/** Puts float arrays into scratch memory of an engine and hands out their addresses. */
function withFloats<T>(engine: Engine, arrays: readonly Float32Array[], use: (ptrs: number[]) => T): T {
  return engine.scratch((take) =>
    use(
      arrays.map((array) => {
        const ptr = take(4 * array.length + 64);
        engine.heap.f32.set(array, ptr >> 2);
        return ptr;
      }),
    ),
  );
}

describe.each(engines)('kernels of the %s build', (_, engine) => {
  test('parameters of a range found in parts are those that eager layers choose, and so are the integers', () => {
    manualSeed(1);
    const scales = [1, 1e-3, 1e-6, 1e-9, 1e6, 3e-38, 0];
    const shifts = [0, -0.5, 2, -40];
    let compared = 0;
    for (const scale of scales) {
      for (const shift of shifts) {
        for (const n of [1, 3, 16, 100, 4097]) {
          for (const reduceRange of [false, true]) {
            const x = Float32Array.from(randn([n]).data, (v) => (v + shift) * scale);
            const { scale: s, zeroPoint } = chooseQuantizationParams(Math.min(...x), Math.max(...x), {
              reduceRange,
            });
            const expected = quantize(x, 'u8', { scale: s, zeroPoint });
            const [got, status] = withFloats(
              engine,
              [x, new Float32Array(128), new Float32Array(n + 4)],
              ([at, parts, out]) => {
                const size = 1000;
                const count = Math.ceil(n / size);
                engine.kernels.f32_minmax_parts(at, n, size, parts, 0, count);
                const flag = parts + 64 * count;
                const units = Math.ceil(n / 16);
                const cut = units >> 1;
                for (const [begin, end] of [
                  [0, cut],
                  [cut, units],
                ] as const)
                  engine.kernels.qu8_dynamic_quantize(
                    parts,
                    count,
                    reduceRange ? 127 : 255,
                    flag,
                    at,
                    n,
                    out,
                    begin,
                    end,
                  );
                return [engine.heap.u8.slice(out, out + n), engine.heap.i32[flag >> 2]];
              },
            );
            expect(got).toEqual(expected);
            expect(status).toBe(0);
            compared += n;
          }
        }
      }
    }
    expect(compared).toBeGreaterThan(200_000);
  });

  test.each([
    [1, 1],
    [1, 7],
    [3, 10],
    [2, 33],
  ])('recurrent steps of %i rows and %i units are those of the operators to the bit', (rows, hidden) => {
    manualSeed(2);
    const spread = (shape: number[], factor: number): Tensor => randn(shape).mul(factor);
    for (const factor of [1, 20, 800]) {
      const [a, b, c] = [
        spread([rows, 4 * hidden], factor),
        spread([rows, 4 * hidden], 1),
        spread([rows, hidden], factor),
      ];
      const floats = (t: Tensor): Float32Array => t.data as Float32Array;
      const n = rows * hidden;
      const lstm = withFloats(
        engine,
        [floats(a), floats(b), floats(c), new Float32Array(n), new Float32Array(n)],
        ([p, q, r, h, next]) => {
          engine.kernels.f32_lstm_pointwise(
            p,
            16 * hidden,
            q,
            16 * hidden,
            r,
            4 * hidden,
            hidden,
            h,
            4 * hidden,
            next,
            4 * hidden,
            0,
            rows,
          );
          return [h, next].map((ptr) => engine.heap.f32.slice(ptr >> 2, (ptr >> 2) + n));
        },
      );
      expect(lstm).toEqual(lstmPointwise(a.add(b), c).map((t) => t.data));
      const [x, y] = [spread([rows, 3 * hidden], factor), spread([rows, 3 * hidden], factor)];
      const gru = withFloats(
        engine,
        [floats(x), floats(y), floats(c), new Float32Array(n)],
        ([p, q, r, next]) => {
          engine.kernels.f32_gru_pointwise(
            p,
            12 * hidden,
            q,
            12 * hidden,
            r,
            4 * hidden,
            hidden,
            next,
            4 * hidden,
            0,
            rows,
          );
          return engine.heap.f32.slice(next >> 2, (next >> 2) + n);
        },
      );
      expect(gru).toEqual(gruPointwise(x, y, c).data);
    }
  });
});

/** Compares a program with its operators run one by one. */
function expectAsEager(program: Program, input: Tensor): void {
  expect(bits(program.run(input))).toEqual(bits(eagerly(program, input)));
}

const models: [string, () => AnyModule, (batch: number) => number[], number][] = [
  [
    'linear, relu, linear',
    () => new Sequential(new Linear(70, 33), new ReLU(), new Linear(33, 5)),
    (n) => [n, 70],
    0,
  ],
  ['linear on three dimensions', () => new Sequential(new Linear(12, 40)), (n) => [n, 9, 12], 0],
  [
    'lstm',
    () => new Sequential(new LSTM(6, 9, { numLayers: 2, bidirectional: true, batchFirst: true })),
    (n) => [n, 4, 6],
    0,
  ],
  ['gru', () => new Sequential(new GRU(6, 16)), (n) => [5, n, 6], 1],
];

describe.each(models)('dynamic int8 plan of %s', (_, model, shape, batchDim) => {
  test('gives what the operators give to the bit, at batch sizes 1, 2 and 7', () => {
    manualSeed(3);
    const small = quantizeDynamic(model().eval());
    const program = trace(small, [randn(shape(1))], { batchDim });
    expect(planned(program, randn(shape(2))).operators).toEqual([]);
    for (const n of [1, 2, 7])
      for (let i = 0; i < 3; i++) expectAsEager(program, randn(shape(n)).mul(10 ** (i - 1)));
  });

  test('refuses input that is not finite with the error of the eager layer, and runs again', () => {
    const small = quantizeDynamic(model().eval());
    const program = trace(small, [randn(shape(2))], { batchDim });
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => program.run(full(shape(2), bad))).toThrow(ArgumentError);
      expect(() => program.run(full(shape(2), bad))).toThrow(/NaN or infinity/);
    }
    expectAsEager(program, randn(shape(2)));
  });
});

describe.each(models)('float16 plan of %s', (_, model, shape, batchDim) => {
  test('gives what the operators give', () => {
    manualSeed(4);
    const small = quantizeDynamic(model().eval(), undefined, { dtype: 'float16' });
    const program = trace(small, [randn(shape(1))], { batchDim });
    for (const n of [1, 2, 7]) {
      const x = randn(shape(n));
      const { result, operators } = planned(program, x);
      expect(operators).toEqual([]);
      expectClose(result, eagerly(program, x));
    }
  });
});

test('an empty batch runs', () => {
  const program = trace(quantizeDynamic(new Sequential(new Linear(4, 3)).eval()), [randn([2, 4])]);
  expect(program.run(fromStorage(new Float32Array(0), [0, 4], 'float32')).shape).toEqual([0, 3]);
});
