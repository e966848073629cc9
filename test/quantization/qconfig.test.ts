import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ConvTranspose2d, Linear } from '../../src/nn/index.ts';
import { FakeQuantize, FusedMovingAvgObsFakeQuantize } from '../../src/quantization/fake-quantize/index.ts';
import {
  HistogramObserver,
  MinMaxObserver,
  MovingAverageMinMaxObserver,
  PerChannelMinMaxObserver,
} from '../../src/quantization/observers/index.ts';
import {
  activationIsMemoryless,
  assertValidQConfig,
  defaultDynamicQatQConfig,
  defaultDynamicQConfig,
  defaultPerChannelQConfig,
  defaultQatQConfig,
  defaultQConfig,
  defaultReuseInputQConfig,
  getDefaultQatQConfig,
  getDefaultQConfig,
  isReuseInputQConfig,
  type QuantizationBackend,
  qconfigEquals,
} from '../../src/quantization/qconfig.ts';

describe('backends', () => {
  test.each([
    ['wasm', [0, 255], true],
    ['fbgemm', [0, 127], true],
    ['x86', [0, 127], true],
    ['qnnpack', [0, 255], false],
    ['onednn', [0, 255], true],
  ] as const)('%s', (backend, range, perChannel) => {
    const { activation, weight } = getDefaultQConfig(backend);
    const observer = activation();
    expect(observer).toBeInstanceOf(HistogramObserver);
    expect([(observer as HistogramObserver).quantMin, (observer as HistogramObserver).quantMax]).toEqual(
      range,
    );
    expect(weight()).toBeInstanceOf(perChannel ? PerChannelMinMaxObserver : MinMaxObserver);
    expect(weight().dtype).toBe('qint8');
    const fused = getDefaultQatQConfig(backend).activation() as FusedMovingAvgObsFakeQuantize;
    expect(fused).toBeInstanceOf(FusedMovingAvgObsFakeQuantize);
    expect([fused.quantMin, fused.quantMax]).toEqual(range);
    const plain = getDefaultQatQConfig(backend, 0).activation();
    expect(plain).toBeInstanceOf(FakeQuantize);
    expect(plain).not.toBeInstanceOf(FusedMovingAvgObsFakeQuantize);
  });

  test('wasm is the default, others are refused', () => {
    expect(qconfigEquals(getDefaultQConfig(), getDefaultQConfig('wasm'))).toBe(true);
    expect(() => getDefaultQConfig('cuda' as QuantizationBackend)).toThrow(/wasm, fbgemm/);
    expect(() => getDefaultQConfig('wasm', 1 as 0)).toThrow(/version/);
  });
});

test('every layer gets observers of its own', () => {
  expect(defaultQConfig.activation()).not.toBe(defaultQConfig.activation());
});

test('qconfigEquals compares classes and options, nested observers included', () => {
  expect(qconfigEquals(getDefaultQConfig('fbgemm'), getDefaultQConfig('x86'))).toBe(true);
  expect(qconfigEquals(getDefaultQConfig('fbgemm'), getDefaultQConfig('wasm'))).toBe(false);
  expect(qconfigEquals(defaultQConfig, defaultPerChannelQConfig)).toBe(false);
  expect(qconfigEquals(null, null)).toBe(true);
  expect(qconfigEquals(defaultQConfig, null)).toBe(false);
  const nested = (averagingConstant: number) => ({
    activation: FakeQuantize.withArgs({
      observer: MovingAverageMinMaxObserver.withArgs({ averagingConstant }),
    }),
    weight: defaultQConfig.weight,
  });
  expect(qconfigEquals(nested(1), nested(1))).toBe(true);
  expect(qconfigEquals(nested(1), nested(0.5))).toBe(false);
});

test('assertValidQConfig names what is wrong', () => {
  const layer = new Linear(2, 2);
  assertValidQConfig(null, layer);
  assertValidQConfig(defaultPerChannelQConfig, layer);
  const instance = { activation: new MinMaxObserver() as never, weight: defaultQConfig.weight };
  expect(() => assertValidQConfig(instance, layer)).toThrow(/withArgs/);
  expect(() => assertValidQConfig(defaultPerChannelQConfig, new ConvTranspose2d(2, 2, 3))).toThrow(
    /per-channel/,
  );
});

test('questions about configurations', () => {
  expect(defaultDynamicQConfig.activation().isDynamic).toBe(true);
  expect(defaultQConfig.activation().isDynamic).toBe(false);
  expect(activationIsMemoryless(defaultDynamicQatQConfig)).toBe(true);
  expect(activationIsMemoryless(defaultQatQConfig)).toBe(false);
  expect(isReuseInputQConfig(defaultReuseInputQConfig)).toBe(true);
  expect(isReuseInputQConfig(defaultQConfig)).toBe(false);
});
