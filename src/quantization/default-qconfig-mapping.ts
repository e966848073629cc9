import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose1d,
  ConvTranspose2d,
  Hardsigmoid,
  LayerNorm,
  Linear,
  ReLU,
  Sigmoid,
  Softmax,
  Tanh,
} from '../nn/index.ts';
import {
  defaultFixedQParamsRange0To1FakeQuant,
  defaultFixedQParamsRangeNeg1To1FakeQuant,
  defaultWeightFakeQuant,
} from './fake-quantize/defaults.ts';
import {
  defaultFixedQParamsRange0To1Observer,
  defaultFixedQParamsRangeNeg1To1Observer,
  defaultPlaceholderObserver,
  defaultWeightObserver,
} from './observers/defaults.ts';
import type { ObserverFactory } from './observers/observer.ts';
import {
  defaultReuseInputQConfig,
  getDefaultQatQConfig,
  getDefaultQConfig,
  type QConfig,
  type QuantizationBackend,
} from './qconfig.ts';
import { type ObjectType, QConfigMapping } from './qconfig-mapping.ts';

const SAME: readonly ObjectType[] = [
  ...[Conv1d, Conv2d, Conv3d, Linear, ReLU, BatchNorm1d, BatchNorm2d, BatchNorm3d],
  ...['conv1d', 'conv2d', 'conv3d', 'linear', 'relu'],
];
const TRANSPOSED: readonly ObjectType[] = [
  ConvTranspose1d,
  ConvTranspose2d,
  'convTranspose1d',
  'convTranspose2d',
];
const FROM_0_TO_1: readonly ObjectType[] = [Hardsigmoid, 'hardsigmoid', Sigmoid, 'sigmoid', Softmax];
const FROM_NEG_1_TO_1: readonly ObjectType[] = [Tanh, 'tanh'];

/** Backends whose weights are per channel, except those of transposed convolutions. */
const TRANSPOSED_PER_TENSOR: readonly QuantizationBackend[] = ['wasm', 'fbgemm', 'x86'];

/** What observes outputs whose range is known, and the weights that a backend cannot take per channel. */
interface Kit {
  readonly zeroToOne: ObserverFactory;
  readonly negOneToOne: ObserverFactory;
  readonly weight: ObserverFactory;
}

/**
 * {@link getDefaultQConfig} for everything, with what single layers need: fixed parameters for sigmoid, hardsigmoid,
 * softmax and tanh, per-tensor weights for transposed convolutions, float weights for layer normalization.
 * Source: `torch.ao.quantization.get_default_qconfig_mapping`.
 *
 * @throws {@link ArgumentError} for a backend or version that does not exist.
 * @example
 * const prepared = prepare(model, { qconfigMapping: getDefaultQConfigMapping().setModuleName('head', null) });
 */
export function getDefaultQConfigMapping(
  backend: QuantizationBackend = 'wasm',
  version: 0 = 0,
): QConfigMapping {
  return mappingOf(getDefaultQConfig(backend, version), backend, {
    zeroToOne: defaultFixedQParamsRange0To1Observer,
    negOneToOne: defaultFixedQParamsRangeNeg1To1Observer,
    weight: defaultWeightObserver,
  });
}

/**
 * {@link getDefaultQConfigMapping} for training.
 * Source: `torch.ao.quantization.get_default_qat_qconfig_mapping`.
 *
 * @throws {@link ArgumentError} for a backend or version that does not exist.
 */
export function getDefaultQatQConfigMapping(
  backend: QuantizationBackend = 'wasm',
  version: 0 | 1 = 1,
): QConfigMapping {
  return mappingOf(getDefaultQatQConfig(backend, version), backend, {
    zeroToOne: defaultFixedQParamsRange0To1FakeQuant,
    negOneToOne: defaultFixedQParamsRangeNeg1To1FakeQuant,
    weight: defaultWeightFakeQuant,
  });
}

function mappingOf(qconfig: QConfig, backend: QuantizationBackend, kit: Kit): QConfigMapping {
  const { activation } = qconfig;
  const { weight } = kit;
  const mapping = new QConfigMapping().setGlobal(qconfig).setObjectType('reshape', defaultReuseInputQConfig);
  const set = (types: readonly ObjectType[], q: QConfig): void => {
    for (const type of types) mapping.setObjectType(type, q);
  };
  set(SAME, qconfig);
  set(TRANSPOSED, TRANSPOSED_PER_TENSOR.includes(backend) ? { activation, weight } : qconfig);
  set([LayerNorm, 'layerNorm'], { activation, weight: defaultPlaceholderObserver });
  set(FROM_0_TO_1, { activation: kit.zeroToOne, weight });
  set(FROM_NEG_1_TO_1, { activation: kit.negOneToOne, weight });
  return mapping;
}
