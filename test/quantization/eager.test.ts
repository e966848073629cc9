import { beforeEach, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError, DTypeError, QuantizationError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { deepCopy } from '../../src/nn/deep-copy.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { noGrad, softmax } from '../../src/ops/index.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQConfig,
  defaultQConfig,
  FloatFunctional,
  fuseModules,
  getDefaultQConfig,
  prepare,
  QuantStub,
  QuantWrapper,
  quantize,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { rand } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

class Net extends Module {
  quant: AnyModule = new QuantStub();
  conv: AnyModule = new nn.Conv2d(3, 4, 3);
  bn: AnyModule = new nn.BatchNorm2d(4);
  relu: AnyModule = new nn.ReLU();
  body: AnyModule = new nn.Sequential(new nn.Conv2d(4, 4, 1), new nn.ReLU());
  flatten: AnyModule = new nn.Flatten();
  fc: AnyModule = new nn.Linear(64, 5);
  dequant: AnyModule = new DeQuantStub();

  forward(x: Tensor): Tensor {
    const y = this.body(this.relu(this.bn(this.conv(this.quant(x)))));
    return this.dequant(this.fc(this.flatten(y)));
  }
}

const LISTS = [
  ['conv', 'bn', 'relu'],
  ['body.0', 'body.1'],
];

const types = (model: AnyModule): Record<string, string> =>
  Object.fromEntries(model.namedModules().map(([path, m]) => [path, m.typeName]));

const error = (run: () => unknown): Error => {
  try {
    run();
  } catch (e) {
    return e as Error;
  }
  throw new Error('nothing was thrown');
};

let net: Net;
let x: Tensor;

beforeEach(() => {
  manualSeed(3);
  net = new Net().eval();
  x = rand([2, 3, 6, 6]);
});

function calibrated(model: AnyModule): AnyModule {
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return prepared;
}

describe('qconfig', () => {
  test('null switches a subtree off, the rest is quantized', () => {
    const model = new nn.Sequential(
      new QuantWrapper(new nn.Linear(4, 4)),
      new nn.Sequential(new nn.Linear(4, 2)),
    );
    model.qconfig = defaultQConfig;
    model.at(1).qconfig = null;
    const prepared = prepare(model.eval());
    noGrad(() => prepared(rand([2, 4])));
    expect(types(convert(prepared))).toMatchObject({ '0.module': 'QuantizedLinear', '1.0': 'Linear' });
  });

  test('on a submodule alone quantizes that submodule alone', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new QuantWrapper(new nn.Linear(4, 2)));
    model.at(1).qconfig = defaultQConfig;
    const prepared = prepare(model.eval());
    noGrad(() => prepared(rand([2, 4])));
    const int8 = convert(prepared);
    expect(types(int8)).toMatchObject({
      '0': 'Linear',
      '1.quant': 'Quantize',
      '1.module': 'QuantizedLinear',
    });
    expect(noGrad(() => int8(rand([2, 4]))).dtype).toBe('float32');
  });

  test('prepare without any throws', () => {
    expect(() => prepare(net)).toThrow(QuantizationError);
    expect(error(() => prepare(net)).message).toMatch(/qconfig/);
  });
});

describe('fuseModules', () => {
  test('one list or several, on a copy; fused modules compute what the parts did', () => {
    const before = noGrad(() => net(x));
    const once = fuseModules(net, ['conv', 'bn', 'relu']);
    expect(types(once)).toMatchObject({
      conv: 'ConvReLU2d',
      bn: 'Identity',
      relu: 'Identity',
      'body.0': 'Conv2d',
    });
    const all = fuseModules(net, LISTS);
    expect(types(all)).toMatchObject({ conv: 'ConvReLU2d', 'body.0': 'ConvReLU2d', 'body.1': 'Identity' });
    expect(types(net)).toMatchObject({ conv: 'Conv2d', bn: 'BatchNorm2d' });
    const after = noGrad(() => all(x)).numbers();
    for (const [i, v] of [...before.numbers()].entries()) expect(after[i]).toBeCloseTo(v, 5);
  });

  test('in place changes the model itself', () => {
    expect(fuseModules(net, LISTS, { inplace: true })).toBe(net);
    expect(types(net)).toMatchObject({ conv: 'ConvReLU2d' });
  });

  test.each([
    ['training mode', () => fuseModules(net.train(), LISTS), /eval/],
    ['an unknown sequence', () => fuseModules(net, ['relu', 'flatten']), /ReLU → Flatten/],
    ['the wrong order', () => fuseModules(net, ['relu', 'conv']), /ReLU → Conv2d/],
    ['a single name', () => fuseModules(net, ['conv']), /at least two/],
    ['a name that is not there', () => fuseModules(net, ['conv', 'bn7']), /bn7/],
  ])('%s is an error that says so', (_, run, message) => {
    expect(error(run).message).toMatch(message);
  });
});

describe('convert', () => {
  test('keeps hooks and drops the observers', () => {
    const calls: string[] = [];
    net.fc.registerForwardPreHook(() => {
      calls.push('before');
      return undefined;
    });
    net.fc.registerForwardHook((module) => {
      calls.push(module.typeName);
    });
    net.qconfig = getDefaultQConfig();
    const int8 = convert(calibrated(fuseModules(net, LISTS)));
    calls.length = 0;
    noGrad(() => int8(x));
    expect(calls).toEqual(['before', 'QuantizedLinear']);
    expect(String(int8)).not.toContain('activation_post_process');
  });

  test('names the module that was never observed', () => {
    net.qconfig = getDefaultQConfig();
    const e = error(() => convert(prepare(fuseModules(net, LISTS))));
    expect(e).toBeInstanceOf(QuantizationError);
    expect((e as QuantizationError).modulePath).toBe('quant');
    const partly = prepare(fuseModules(net, LISTS));
    noGrad(() => partly.conv(partly.quant(x)));
    expect((error(() => convert(partly)) as QuantizationError).modulePath).toBe('body.0');
  });

  test('takes a functional that only ever met plain numbers', () => {
    class Shift extends Module {
      quant: AnyModule = new QuantStub();
      f: any = new FloatFunctional();
      dequant: AnyModule = new DeQuantStub();
      forward(input: Tensor): Tensor {
        return this.dequant(this.f.mulScalar(this.f.addScalar(this.quant(input), 1), 2));
      }
    }
    const model = new Shift().eval();
    model.qconfig = defaultQConfig;
    const int8 = convert(calibrated(model));
    const [want, got] = noGrad(() => [model(x), int8(x)]).map((t) => t.numbers());
    for (let i = 0; i < want.length; i++) expect(Math.abs(want[i] - got[i])).toBeLessThan(0.03);
    expect(() => convert(prepare(model))).toThrow(QuantizationError);
  });

  test('a float tensor into a quantized layer names its path and the stub', () => {
    net.qconfig = getDefaultQConfig();
    const int8 = convert(calibrated(fuseModules(net, LISTS)));
    int8.setSubmodule('quant', new nn.Identity());
    const e = error(() => noGrad(() => int8(x)));
    expect(e).toBeInstanceOf(DTypeError);
    expect(e.message).toMatch(/QuantStub/);
    expect(e.message).toMatch(/in conv, a QuantizedConvReLU2d/);
  });

  test('a quantized tensor into a float-only operator names dequantize and the stub', () => {
    class Tail extends Module {
      quant: AnyModule = new QuantStub();
      fc: AnyModule = new nn.Linear(6, 3);
      loss: AnyModule = new nn.GELU();
      forward(input: Tensor): Tensor {
        return this.loss(this.fc(this.quant(input)));
      }
    }
    const model = new Tail().eval();
    model.qconfig = defaultQConfig;
    const int8 = convert(calibrated(model));
    const e = error(() => noGrad(() => int8(x)));
    expect(e).toBeInstanceOf(DTypeError);
    expect(e.message).toMatch(/dequantize\(\)/);
    expect(e.message).toMatch(/DeQuantStub/);
    expect(e.message).toMatch(/in loss, a GELU/);
  });
});

describe('one call', () => {
  test('QuantWrapper takes over mode and qconfig', () => {
    const inner = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU()).eval();
    inner.qconfig = defaultQConfig;
    const wrapped = new QuantWrapper(inner);
    expect([wrapped.training, wrapped.qconfig]).toEqual([false, defaultQConfig]);
    const int8 = quantize(wrapped, (m) => m(rand([8, 4])));
    expect(types(int8)).toMatchObject({
      quant: 'Quantize',
      'module.0': 'QuantizedLinear',
      dequant: 'DeQuantize',
    });
    expect(noGrad(() => int8(rand([2, 4]))).shape).toEqual([2, 3]);
  });

  test('quantize leaves the float model alone, and works in place when told to', () => {
    const int8 = quantize(fuseModules(net, LISTS), (m) => m(x));
    expect(types(int8)).toMatchObject({ conv: 'QuantizedConvReLU2d', fc: 'QuantizedLinear' });
    expect(types(net)).toMatchObject({ conv: 'Conv2d' });
    expect(quantize(net, (m) => m(x), { inplace: true })).toBe(net);
    expect(types(net).fc).toBe('QuantizedLinear');
  });

  test.each([
    ['nothing', undefined, { '0': 'DynamicQuantizedLinear', '1.0': 'DynamicQuantizedLinear' }],
    ['a class', [nn.Linear], { '0': 'DynamicQuantizedLinear', '1.0': 'DynamicQuantizedLinear' }],
    ['a name', ['1'], { '0': 'Linear', '1.0': 'DynamicQuantizedLinear' }],
    ['a set', new Set(['0']), { '0': 'DynamicQuantizedLinear', '1.0': 'Linear' }],
    ['a map', new Map([['1.0', defaultDynamicQConfig]]), { '0': 'Linear', '1.0': 'DynamicQuantizedLinear' }],
  ] as const)('quantizeDynamic with %s', (_, spec, wanted) => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.Sequential(new nn.Linear(4, 2))).eval();
    const int8 = quantizeDynamic(model, spec as any);
    expect(types(int8)).toMatchObject(wanted);
    expect(types(model)).toMatchObject({ '0': 'Linear', '1.0': 'Linear' });
    expect(
      softmax(
        noGrad(() => int8(rand([3, 4]))),
        1,
      ).shape,
    ).toEqual([3, 2]);
  });

  test('quantizeDynamic refuses a type of weights it does not have', () => {
    expect(() => quantizeDynamic(net, undefined, { dtype: 'int3' as any })).toThrow(ArgumentError);
  });
});

test('copies of a quantized model compute the same and keep their own parameters', () => {
  const int8 = quantize(fuseModules(net, LISTS), (m) => m(x)) as any;
  const copy = deepCopy(int8);
  const before = noGrad(() => int8(x)).toArray();
  expect(noGrad(() => copy(x)).toArray()).toEqual(before);
  copy.fc.scale *= 2;
  expect(noGrad(() => int8(x)).toArray()).toEqual(before);
  expect(noGrad(() => copy(x)).toArray()).not.toEqual(before);
});
