import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { QuantizationError } from '../../src/core/errors.ts';
import { Generator } from '../../src/core/random.ts';
import { deepCopy } from '../../src/nn/deep-copy.ts';
import {
  EntropyObserver,
  FixedQParamsObserver,
  HistogramObserver,
  IdentityObserver,
  MinMaxObserver,
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
  NoopObserver,
  type ObservedQParams,
  ObserverBase,
  type ObserverFactory,
  PerChannelMinMaxObserver,
  PercentileObserver,
  PlaceholderObserver,
  RecordingObserver,
  ReuseInputObserver,
} from '../../src/quantization/observers/index.ts';
import { randn, tensor, zeros } from '../../src/tensor/creation.ts';
import { fromStorage, Tensor } from '../../src/tensor/tensor.ts';

function normals(seed: number, shape: readonly number[], scale = 1): Tensor {
  const x = randn(shape, { generator: new Generator(seed) });
  x.storage.forEach((v, i) => {
    x.storage[i] = v * scale;
  });
  return x;
}

function qparams(observer: ObserverBase): [number[], number[]] {
  const { scale, zeroPoint } = observer.calculateQParams();
  return [Array.from(scale.data), Array.from(zeroPoint.data)];
}

describe('golden ranges of PyTorch’s tutorials', () => {
  test('activations in [−2.48, 2.72] get zero point 61', () => {
    const observer = new MinMaxObserver({ reduceRange: true });
    observer(tensor([-2.481177568435669, 2.7160568237304688]));
    const [[scale], [zeroPoint]] = qparams(observer);
    expect(scale).toBe(Math.fround((2.7160568237304688 + 2.481177568435669) / 127));
    expect(scale).toBeCloseTo(0.0409, 4);
    expect(zeroPoint).toBe(61);
  });

  test('activations in [0, 1.658] get zero point 0', () => {
    const observer = new MinMaxObserver({ reduceRange: true });
    observer(tensor([0, 1.6580328941345215]));
    expect(qparams(observer)).toEqual([[0.013055376708507538], [0]]);
  });
});

const FACTORIES: readonly (readonly [string, ObserverFactory])[] = [
  ['MinMaxObserver', MinMaxObserver.withArgs()],
  ['MovingAverageMinMaxObserver', MovingAverageMinMaxObserver.withArgs({ averagingConstant: 0.2 })],
  ['PerChannelMinMaxObserver', PerChannelMinMaxObserver.withArgs({ chAxis: 1 })],
  [
    'MovingAveragePerChannelMinMaxObserver',
    MovingAveragePerChannelMinMaxObserver.withArgs({ averagingConstant: 0.2, chAxis: 1 }),
  ],
  ['HistogramObserver', HistogramObserver.withArgs()],
  ['PercentileObserver', PercentileObserver.withArgs({ percentile: 99 })],
  ['EntropyObserver', EntropyObserver.withArgs()],
];

describe.each(FACTORIES)('%s', (_name, factory) => {
  const data = [0.5, 2, 1, 40, 3, 0.1].map((scale, i) => normals(i + 1, [16, 4, 30], scale));

  test('two halves merge into the whole', () => {
    const [whole, first, second] = [factory(), factory(), factory()];
    for (const x of data) whole(x);
    for (const x of data.slice(0, 3)) first(x);
    for (const x of data.slice(3)) second(x);
    first.merge(second);
    const [scales, zeroPoints] = qparams(first);
    const [wantedScales, wantedZeroPoints] = qparams(whole);
    // Histograms are spread over wider bins on the way; everything else is exact but for float32 rounding.
    const tolerance = factory().typeName === 'HistogramObserver' ? 0.02 : 1e-6;
    scales.forEach((s, c) => {
      expect(Math.abs(s / wantedScales[c] - 1)).toBeLessThanOrEqual(tolerance);
    });
    zeroPoints.forEach((z, c) => {
      expect(Math.abs(z - wantedZeroPoints[c])).toBeLessThanOrEqual(tolerance > 1e-3 ? 2 : 0);
    });
  });

  test('merging with an observer that saw nothing changes nothing', () => {
    const [a, empty] = [factory(), factory()];
    a(data[0]);
    const before = qparams(a);
    a.merge(factory());
    expect(qparams(a)).toEqual(before);
    empty.merge(a);
    expect(qparams(empty)).toEqual(before);
    expect(() => a.merge(new NoopObserver())).toThrow(QuantizationError);
  });

  test('the state dict carries everything', () => {
    const [a, b] = [factory(), factory()];
    for (const x of data) a(x);
    b.loadStateDict(a.stateDict());
    expect(qparams(b)).toEqual(qparams(a));
    expect(String(b)).toBe(String(a));
    const copy = deepCopy(a);
    copy(normals(99, [16, 4, 30], 500));
    expect(qparams(b)).toEqual(qparams(a));
    expect(qparams(copy)).not.toEqual(qparams(a));
  });

  test('memory layout does not matter', () => {
    const x = normals(7, [2, 4, 5, 6], 3);
    const storage = x.layOut([120, 1, 24, 4]);
    const channelsLast = fromStorage(storage, [2, 5, 6, 4], 'float32');
    const [a, b] = [factory(), factory()];
    a(x);
    b(permuted(channelsLast));
    expect(qparams(b)).toEqual(qparams(a));
  });

  test('says whether it has observed, and takes empty tensors', () => {
    const observer = factory();
    observer(zeros([0, 4]));
    expect(observer.hasObserved()).toBe(false);
    expect(qparams(observer)).toEqual([[1], [0]]);
    observer(data[0]);
    expect(observer.hasObserved()).toBe(true);
  });

  test('float64 and 16-bit inputs are read as numbers', () => {
    const x = tensor(Float64Array.from(normals(3, [2, 4, 8]).data), { shape: [2, 4, 8] });
    const [a, b] = [factory(), factory()];
    a(x);
    b(normals(3, [2, 4, 8]));
    expect(qparams(a)).toEqual(qparams(b));
  });

  test('NaN never becomes a scale', () => {
    const observer = factory();
    const x = normals(3, [2, 4, 8]);
    x.storage[5] = Number.NaN;
    expect(() => {
      observer(x);
      observer.calculateQParams();
    }).toThrow(QuantizationError);
  });
});

function permuted(x: Tensor): Tensor {
  const [n, h, w, c] = x.shape;
  const [sn, sh, sw, sc] = x.strides;
  const parts = { storage: x.storage, shape: [n, c, h, w], strides: [sn, sc, sh, sw], dtype: x.dtype };
  return new Tensor(parts);
}

describe('qparams', () => {
  const ranges = fc.record({
    low: fc.float({ min: -1e6, max: 1e6, noNaN: true }),
    span: fc.float({ min: 0, max: 1e6, noNaN: true }),
    dtype: fc.constantFrom('qint8' as const, 'quint8' as const, 'quint4x2' as const),
    symmetric: fc.boolean(),
    reduceRange: fc.boolean(),
  });

  test('zero is represented exactly and the range is covered to half a step', () => {
    fc.assert(
      fc.property(ranges, ({ low, span, dtype, symmetric, reduceRange }) => {
        const reduced = reduceRange && !(symmetric && dtype === 'quint8');
        const observer = new MinMaxObserver({
          dtype,
          qscheme: symmetric ? 'per_tensor_symmetric' : 'per_tensor_affine',
          reduceRange: reduced,
        });
        observer(tensor([low, low + span]));
        const [[scale], [zeroPoint]] = qparams(observer);
        expect(scale).toBeGreaterThan(0);
        expect(Number.isInteger(zeroPoint)).toBe(true);
        if (symmetric) return;
        expect(zeroPoint).toBeGreaterThanOrEqual(observer.quantMin);
        expect(zeroPoint).toBeLessThanOrEqual(observer.quantMax);
        const slack = scale * 0.5001;
        expect((observer.quantMin - zeroPoint) * scale).toBeLessThanOrEqual(Math.min(low, 0) + slack);
        expect((observer.quantMax - zeroPoint) * scale).toBeGreaterThanOrEqual(
          Math.max(Math.fround(low + span), 0) - slack,
        );
      }),
    );
  });

  test('options that cannot work are refused', () => {
    expect(() => new MinMaxObserver({ qscheme: 'per_channel_affine' })).toThrow(/qscheme/);
    expect(() => new PerChannelMinMaxObserver({ qscheme: 'per_tensor_affine' })).toThrow(/qscheme/);
    expect(() => new MinMaxObserver({ quantMin: 1, quantMax: 5 })).toThrow(/holds 0/);
    expect(() => new MinMaxObserver({ quantMin: 0 })).toThrow(/quantMax/);
    expect(() => new MinMaxObserver({ quantMin: -300, quantMax: 300 })).toThrow(/at most 256/);
    expect(() => new MinMaxObserver({ qscheme: 'per_tensor_symmetric', reduceRange: true })).toThrow(
      /reduceRange/,
    );
    expect(() => new MinMaxObserver({ dtype: 'int8' as never })).toThrow(/dtype/);
    expect(() => new PercentileObserver({ percentile: 0 })).toThrow(/percentile/);
    expect(() => new EntropyObserver({ bins: 1000 })).toThrow(/power of two/);
  });
});

describe('clipping observers', () => {
  test('PercentileObserver finds the quantiles of known data', () => {
    const values = Float32Array.from({ length: 100_000 }, (_, i) => (i - 20_000) / 1000);
    const observer = new PercentileObserver({ percentile: 98 });
    observer(tensor(values));
    const [low, high] = observer.bounds();
    expect(Math.abs(low + 19)).toBeLessThan(0.16);
    expect(Math.abs(high - 79)).toBeLessThan(0.63);
    const all = new PercentileObserver({ percentile: 100 });
    all(tensor(values));
    expect(all.bounds()).toEqual([-20, Math.fround(79.999)]);
  });

  test('PercentileObserver is not thrown off by one absurd value', () => {
    const observer = new PercentileObserver({ percentile: 99.9 });
    observer(normals(1, [100_000]));
    observer(tensor([1e30]));
    expect(observer.bounds()[1]).toBeLessThan(4);
  });

  test('EntropyObserver keeps a uniform distribution whole and cuts off a far outlier', () => {
    const uniform = new EntropyObserver();
    uniform(tensor(Float32Array.from({ length: 200_000 }, (_, i) => i / 200_000)));
    expect(uniform.threshold()).toBeGreaterThan(0.95);
    const tailed = new EntropyObserver();
    const x = normals(4, [200_000]);
    x.storage[0] = 40;
    tailed(x);
    expect(tailed.threshold()).toBeLessThan(10);
    expect(tailed.threshold()).toBeGreaterThan(2);
  });

  test('HistogramObserver clips where that lowers the squared error', () => {
    const x = normals(4, [200_000]);
    x.storage.forEach((v, i) => {
      x.storage[i] = v ** 3;
    });
    const [clipped, whole] = [new HistogramObserver(), new MinMaxObserver()];
    clipped(x);
    whole(x);
    const error = (observer: ObserverBase): number => {
      const [[scale], [zeroPoint]] = qparams(observer);
      let sum = 0;
      for (const v of x.data) {
        const q = Math.min(Math.max(Math.round(v / scale) + zeroPoint, 0), 255);
        sum += (v - (q - zeroPoint) * scale) ** 2;
      }
      return sum;
    };
    expect(error(clipped)).toBeLessThan(error(whole));
  });

  test('HistogramObserver survives a range that explodes, without memory for the cells between', () => {
    const observer = new HistogramObserver();
    observer(tensor([0, 1e-30]));
    observer(normals(5, [1000], 1e4));
    observer(tensor([-1e9, 1e9]));
    const [[scale]] = qparams(observer);
    expect(Number.isFinite(scale) && scale > 0).toBe(true);
    expect(observer.histogram.numel).toBe(2048);
  });
});

describe('observers without ranges', () => {
  test.each([
    ['PlaceholderObserver', new PlaceholderObserver({ dtype: 'float16' })],
    ['NoopObserver', new NoopObserver()],
    ['ReuseInputObserver', new ReuseInputObserver()],
    ['Identity', new IdentityObserver()],
    ['RecordingObserver', new RecordingObserver()],
  ] as const)('%s passes tensors on and has no parameters', (name, observer) => {
    const x = tensor([1, 2]);
    expect(observer(x)).toBe(x);
    expect(() => observer.calculateQParams()).toThrow(QuantizationError);
    expect(String(observer)).toBe(`${name}()`);
    expect(observer.stateDict().size).toBe(0);
  });

  test('RecordingObserver keeps copies', () => {
    const observer = new RecordingObserver();
    const x = tensor([1, 2]);
    observer(x);
    x.storage[0] = 9;
    expect(observer.getTensorValue().map((t) => t.toArray())).toEqual([[1, 2]]);
  });

  test('a placeholder with a compute dtype is dynamic', () => {
    expect(new PlaceholderObserver({ computeDtype: 'quint8' }).isDynamic).toBe(true);
    expect(new PlaceholderObserver({ dtype: 'float16' }).isDynamic).toBe(false);
  });

  test('FixedQParamsObserver keeps its parameters', () => {
    const observer = new FixedQParamsObserver({ scale: 1 / 256, zeroPoint: 0 });
    observer(tensor([-100, 100]));
    expect(qparams(observer)).toEqual([[1 / 256], [0]]);
    expect([...observer.stateDict().keys()]).toEqual(['scale', 'zero_point']);
  });
});

test('a class of one’s own works', () => {
  class MeanObserver extends ObserverBase {
    mean = 0;
    constructor(options: { readonly factor?: number } = {}) {
      super('qint8');
      this.mean = options.factor ?? 1;
    }
    forward(x: Tensor): Tensor {
      this.mean = x.item();
      return x;
    }
    calculateQParams(): ObservedQParams {
      return { scale: tensor([this.mean]), zeroPoint: tensor([0], { dtype: 'int32' }) };
    }
    hasObserved(): boolean {
      return true;
    }
    merge(): void {}
  }
  const factory: ObserverFactory = MeanObserver.withArgs({ factor: 3 });
  expect(qparams(factory())).toEqual([[3], [0]]);
  expect(factory()).not.toBe(factory());
  expect(factory.withArgs({ factor: 4 })().calculateQParams().scale.item()).toBe(4);
});
