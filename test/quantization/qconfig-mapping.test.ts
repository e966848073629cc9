import { beforeEach, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { ArgumentError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import type { AnyModule } from '../../src/nn/module.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convert,
  defaultQConfig,
  fuseModules,
  getDefaultQatQConfigMapping,
  getDefaultQConfig,
  getDefaultQConfigMapping,
  prepare,
  prepareQat,
  propagateQConfig,
  QConfigMapping,
  QuantWrapper,
  quantize,
} from '../../src/quantization/index.ts';
import { sqnr } from '../../src/suite/index.ts';
import { rand } from '../../src/tensor/creation.ts';

beforeEach(() => {
  manualSeed(3);
});

const network = (): AnyModule =>
  new QuantWrapper(
    new nn.Sequential(
      new nn.Conv2d(3, 8, 3),
      new nn.ReLU(),
      new nn.ConvTranspose2d(8, 4, 2),
      new nn.LayerNorm([7, 7]),
      new nn.Sigmoid(),
      new nn.Flatten(),
      new nn.Linear(196, 12),
      new nn.Tanh(),
      new nn.Linear(12, 3),
    ),
  ).eval();

const types = (model: AnyModule): Record<string, string> =>
  Object.fromEntries(model.namedModules().map(([path, m]) => [path, m.typeName]));

describe('qconfig mappings in eager mode', () => {
  test('the default one quantizes a network with layers of every kind', () => {
    const model = network();
    const x = rand([2, 3, 8, 8]);
    const int8 = quantize(model, (m) => m(x), { qconfigMapping: getDefaultQConfigMapping() });
    expect(types(int8)).toMatchObject({
      'module.0': 'QuantizedConv2d',
      'module.2': 'QuantizedConvTranpose2d',
      'module.3': 'QuantizedLayerNorm',
      'module.6': 'QuantizedLinear',
      'module.8': 'QuantizedLinear',
    });
    const [want, got] = noGrad(() => [model(x), int8(x)]);
    expect(sqnr(want, got)).toBeGreaterThan(20);
  });

  test('type, expression, name and order each leave out what they name', () => {
    const left = (mapping: QConfigMapping): string[] => {
      const model = network();
      propagateQConfig(model, mapping.setGlobal(defaultQConfig));
      return model
        .namedModules()
        .flatMap(([path, m]) => (m.qconfig === null ? [path] : []))
        .toSorted();
    };
    expect(left(new QConfigMapping().setObjectType(nn.Linear, null))).toEqual(['module.6', 'module.8']);
    expect(left(new QConfigMapping().setModuleNameRegex('.*[67]$', null))).toEqual(['module.6', 'module.7']);
    expect(left(new QConfigMapping().setModuleNameRegex('odule', null))).toEqual([]);
    expect(left(new QConfigMapping().setModuleName('module', null))).toHaveLength(10);
    expect(left(new QConfigMapping().setModuleNameObjectTypeOrder('module', nn.Linear, 1, null))).toEqual([
      'module.8',
    ]);
  });

  test('what no entry names stays float; what a module has of its own comes first', () => {
    const model = network();
    model.getSubmodule('module.6').qconfig = defaultQConfig;
    propagateQConfig(model, new QConfigMapping());
    const reached = model.namedModules().flatMap(([path, m]) => (m.qconfig ? [path] : []));
    expect(reached).toEqual(['module.6']);
  });

  test('a fused module takes the qconfig of the class it starts with', () => {
    const fused = fuseModules(network(), [['module.0', 'module.1']]);
    const own = { ...defaultQConfig };
    propagateQConfig(fused, new QConfigMapping().setGlobal(defaultQConfig).setObjectType(nn.Conv2d, own));
    expect(fused.getSubmodule('module.0').typeName).toBe('ConvReLU2d');
    expect(fused.getSubmodule('module.0').qconfig).toBe(own);
  });

  test('trains', () => {
    const qconfigMapping = getDefaultQatQConfigMapping().setModuleName('module.8', null);
    const model = network().train();
    const prepared = prepareQat(model, { qconfigMapping });
    prepared(rand([4, 3, 8, 8]));
    const int8 = convert(prepared.eval());
    expect(types(int8)).toMatchObject({ 'module.6': 'QuantizedLinear', 'module.8': 'Linear' });
  });

  test('refuses unknown names, unknown keys, broken expressions, and two sources at once', () => {
    const mapping = getDefaultQConfigMapping();
    expect(() => prepare(network(), { qconfigMapping: mapping, qconfigDict: {} })).toThrow(ArgumentError);
    expect(() => propagateQConfig(network(), new QConfigMapping().setModuleName('tail', null))).toThrow(
      /'tail'/,
    );
    expect(() => QConfigMapping.fromDict({ modules: [] } as never)).toThrow(/'modules'/);
    expect(() => new QConfigMapping().setModuleNameRegex('(', null)).toThrow(ArgumentError);
    expect(() => getDefaultQConfigMapping('arm' as never)).toThrow(ArgumentError);
  });

  test('prints its entries', () => {
    const mapping = new QConfigMapping()
      .setGlobal(getDefaultQConfig('fbgemm'))
      .setObjectType(nn.Linear, null)
      .setModuleNameObjectTypeOrder('head', nn.ReLU, 1, null);
    expect(String(mapping)).toBe(`QConfigMapping (
 global
  activation=HistogramObserver, weight=PerChannelMinMaxObserver
 object_type
  Linear: null
 module_name_regex
 module_name
 module_name_object_type_order
  (head, ReLU, 1): null
)`);
  });
});
