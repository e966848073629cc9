import { ArgumentError, QuantizationError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import {
  defaultDynamicFakeQuant,
  defaultEmbeddingFakeQuant,
  defaultEmbeddingFakeQuant4bit,
  defaultFakeQuant,
  defaultFusedActFakeQuant,
  defaultFusedPerChannelWtFakeQuant,
  defaultFusedWtFakeQuant,
  defaultPerChannelWeightFakeQuant,
  defaultWeightFakeQuant,
  fusedPerChannelWtFakeQuantRangeNeg127To127,
  fusedWtFakeQuantRangeNeg127To127,
} from './fake-quantize/defaults.ts';
import { FakeQuantize, FakeQuantizeBase } from './fake-quantize/fake-quantize.ts';
import { FusedMovingAvgObsFakeQuantize } from './fake-quantize/fused.ts';
import {
  defaultDebugObserver,
  defaultDynamicQuantObserver,
  defaultFloatQParamsObserver,
  defaultFloatQParamsObserver4bit,
  defaultObserver,
  defaultPerChannelWeightObserver,
  defaultPlaceholderObserver,
  defaultReuseInputObserver,
  defaultWeightObserver,
  perChannelWeightObserverRangeNeg127To127,
  weightObserverRangeNeg127To127,
} from './observers/defaults.ts';
import { HistogramObserver } from './observers/histogram.ts';
import { MovingAverageMinMaxObserver } from './observers/moving-average.ts';
import type { ObserverFactory } from './observers/observer.ts';
import {
  IdentityObserver,
  NoopObserver,
  PlaceholderObserver,
  ReuseInputObserver,
} from './observers/passive.ts';
import { isPerChannelScheme } from './observers/uniform.ts';

/**
 * How to quantize a layer or a part of a network: what observes its activations and what its weights. Both are
 * factories, since every layer gets observers of its own. Source: `torch.ao.quantization.QConfig`.
 *
 * @example
 * model.qconfig = {
 *   activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
 *   weight: PerChannelMinMaxObserver.withArgs({ dtype: 'qint8', qscheme: 'per_channel_symmetric' }),
 * };
 */
export interface QConfig {
  readonly activation: ObserverFactory;
  readonly weight: ObserverFactory;
}

/**
 * What the int8 kernels are going to run on. `wasm` is zeropoint's own: activations use all eight bits and weights are
 * quantized per channel. The others are PyTorch's, for models that have to match it.
 */
export type QuantizationBackend = 'wasm' | 'fbgemm' | 'qnnpack' | 'x86' | 'onednn';

/** Source: `default_qconfig`. */
export const defaultQConfig: QConfig = { activation: defaultObserver, weight: defaultWeightObserver };

/** Keeps copies of all activations. Source: `default_debug_qconfig`. */
export const defaultDebugQConfig: QConfig = {
  activation: defaultDebugObserver,
  weight: defaultWeightObserver,
};

/** Source: `default_per_channel_qconfig`. */
export const defaultPerChannelQConfig: QConfig = {
  activation: defaultObserver,
  weight: defaultPerChannelWeightObserver,
};

/** Activations quantized call by call. Source: `default_dynamic_qconfig`. */
export const defaultDynamicQConfig: QConfig = {
  activation: defaultDynamicQuantObserver,
  weight: defaultWeightObserver,
};

/** Weights in float16, activations converted call by call. Source: `float16_dynamic_qconfig`. */
export const float16DynamicQConfig: QConfig = {
  activation: PlaceholderObserver.withArgs({ dtype: 'float16', computeDtype: 'float16' }),
  weight: PlaceholderObserver.withArgs({ dtype: 'float16' }),
};

/** Weights and activations in float16. Source: `float16_static_qconfig`. */
export const float16StaticQConfig: QConfig = {
  activation: PlaceholderObserver.withArgs({ dtype: 'float16' }),
  weight: PlaceholderObserver.withArgs({ dtype: 'float16' }),
};

/** Dynamic, with weights per channel. Source: `per_channel_dynamic_qconfig`. */
export const perChannelDynamicQConfig: QConfig = {
  activation: defaultDynamicQuantObserver,
  weight: defaultPerChannelWeightObserver,
};

/** Embeddings: rows with a float zero point each. Source: `float_qparams_weight_only_qconfig`. */
export const floatQParamsWeightOnlyQConfig: QConfig = {
  activation: defaultPlaceholderObserver,
  weight: defaultFloatQParamsObserver,
};

/** Embeddings in four bits. Source: `float_qparams_weight_only_qconfig_4bit`. */
export const floatQParamsWeightOnlyQConfig4bit: QConfig = {
  activation: defaultPlaceholderObserver,
  weight: defaultFloatQParamsObserver4bit,
};

/** Quantization-aware training. Source: `default_qat_qconfig`. */
export const defaultQatQConfig: QConfig = { activation: defaultFakeQuant, weight: defaultWeightFakeQuant };

/** Training for dynamic quantization. Source: `default_dynamic_qat_qconfig`. */
export const defaultDynamicQatQConfig: QConfig = {
  activation: defaultDynamicFakeQuant,
  weight: defaultWeightFakeQuant,
};

/** Trains quantized weights under float activations. Source: `default_weight_only_qconfig`. */
export const defaultWeightOnlyQConfig: QConfig = {
  activation: IdentityObserver.withArgs(),
  weight: defaultWeightFakeQuant,
};

/** Trains quantized activations with float weights. Source: `default_activation_only_qconfig`. */
export const defaultActivationOnlyQConfig: QConfig = {
  activation: defaultFakeQuant,
  weight: IdentityObserver.withArgs(),
};

/** Quantization-aware training, fused. Source: `default_qat_qconfig_v2`. */
export const defaultQatQConfigV2: QConfig = {
  activation: defaultFusedActFakeQuant,
  weight: defaultFusedWtFakeQuant,
};

/** Outputs that share their input's observer. Source: `default_reuse_input_qconfig`. */
export const defaultReuseInputQConfig: QConfig = {
  activation: defaultReuseInputObserver,
  weight: NoopObserver.withArgs(),
};

/** Embedding training. Source: `default_embedding_qat_qconfig`. */
export const defaultEmbeddingQatQConfig: QConfig = {
  activation: NoopObserver.withArgs({ dtype: 'float32' }),
  weight: defaultEmbeddingFakeQuant,
};

/** Embedding training in four bits. Source: `default_embedding_qat_qconfig_4bit`. */
export const defaultEmbeddingQatQConfig4bit: QConfig = {
  activation: NoopObserver.withArgs({ dtype: 'float32' }),
  weight: defaultEmbeddingFakeQuant4bit,
};

const SIGNED_HISTOGRAM: ObserverFactory = HistogramObserver.withArgs({
  dtype: 'qint8',
  reduceRange: false,
  eps: 2 ** -12,
});

const SIGNED_FUSED: ObserverFactory = FusedMovingAvgObsFakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  quantMin: -128,
  quantMax: 127,
  dtype: 'qint8',
  reduceRange: false,
  eps: 2 ** -12,
});

/** Signed activations, weights in −127…127. Source: `default_symmetric_qnnpack_qconfig`. */
export const defaultSymmetricQnnpackQConfig: QConfig = {
  activation: SIGNED_HISTOGRAM,
  weight: weightObserverRangeNeg127To127,
};

/** The same with weights per channel. Source: `default_per_channel_symmetric_qnnpack_qconfig`. */
export const defaultPerChannelSymmetricQnnpackQConfig: QConfig = {
  activation: SIGNED_HISTOGRAM,
  weight: perChannelWeightObserverRangeNeg127To127,
};

/** For training. Source: `default_symmetric_qnnpack_qat_qconfig`. */
export const defaultSymmetricQnnpackQatQConfig: QConfig = {
  activation: SIGNED_FUSED,
  weight: fusedWtFakeQuantRangeNeg127To127,
};

/** For training, with weights per channel. Source: `default_per_channel_symmetric_qnnpack_qat_qconfig`. */
export const defaultPerChannelSymmetricQnnpackQatQConfig: QConfig = {
  activation: SIGNED_FUSED,
  weight: fusedPerChannelWtFakeQuantRangeNeg127To127,
};

/** What sets the backends apart: whether activations give up a bit, and whether weights are per channel. */
const BACKENDS: Readonly<
  Record<QuantizationBackend, { readonly reduceRange?: boolean; readonly perChannel: boolean }>
> = {
  wasm: { reduceRange: false, perChannel: true },
  fbgemm: { reduceRange: true, perChannel: true },
  qnnpack: { reduceRange: false, perChannel: false },
  x86: { reduceRange: true, perChannel: true },
  onednn: { perChannel: true },
};

/** The backends by name, ours first. */
export const quantizationBackends: readonly QuantizationBackend[] = Object.keys(
  BACKENDS,
) as QuantizationBackend[];

/**
 * The configuration for static quantization on a backend: histogram observers for activations, symmetric qint8
 * weights. Source: `torch.ao.quantization.get_default_qconfig`.
 *
 * @throws {@link ArgumentError} for a backend or version that does not exist.
 * @example
 * model.qconfig = getDefaultQConfig();
 */
export function getDefaultQConfig(backend: QuantizationBackend = 'wasm', version: 0 = 0): QConfig {
  const { reduceRange = false, perChannel } = backendRow('getDefaultQConfig', backend, version, [0]);
  return {
    activation: HistogramObserver.withArgs({ reduceRange }),
    weight: perChannel ? defaultPerChannelWeightObserver : defaultWeightObserver,
  };
}

/**
 * The configuration for quantization-aware training on a backend. Version 1 (the default) fuses observing and
 * rounding, version 0 keeps them apart. Source: `torch.ao.quantization.get_default_qat_qconfig`.
 *
 * @throws {@link ArgumentError} for a backend or version that does not exist.
 */
export function getDefaultQatQConfig(backend: QuantizationBackend = 'wasm', version: 0 | 1 = 1): QConfig {
  const { reduceRange, perChannel } = backendRow('getDefaultQatQConfig', backend, version, [0, 1]);
  const args = {
    observer: MovingAverageMinMaxObserver,
    quantMin: 0,
    quantMax: 255,
    ...(reduceRange === undefined ? {} : { reduceRange }),
  };
  if (version === 0) {
    return {
      activation: FakeQuantize.withArgs(args),
      weight: perChannel ? defaultPerChannelWeightFakeQuant : defaultWeightFakeQuant,
    };
  }
  return {
    activation: FusedMovingAvgObsFakeQuantize.withArgs(args),
    weight: perChannel ? defaultFusedPerChannelWtFakeQuant : defaultFusedWtFakeQuant,
  };
}

function backendRow(
  fn: string,
  backend: QuantizationBackend,
  version: number,
  versions: readonly number[],
): (typeof BACKENDS)[QuantizationBackend] {
  if (!Object.hasOwn(BACKENDS, backend)) {
    throw new ArgumentError({
      fn,
      argument: 'backend',
      expected: Object.keys(BACKENDS).join(', '),
      got: JSON.stringify(backend),
    });
  }
  if (!versions.includes(version)) {
    throw new ArgumentError({
      fn,
      argument: 'version',
      expected: versions.join(' or '),
      got: String(version),
    });
  }
  return BACKENDS[backend];
}

/** True where two configurations make the same observers with the same options. Source: `qconfig_equals`. */
export function qconfigEquals(a: QConfig | null | undefined, b: QConfig | null | undefined): boolean {
  if (!a || !b) return a === b;
  return observerFactoryEquals(a.activation, b.activation) && observerFactoryEquals(a.weight, b.weight);
}

/** True where two factories make the same class with the same options. Source: `obs_or_fq_ctr_equals`. */
export function observerFactoryEquals(a: ObserverFactory, b: ObserverFactory): boolean {
  if (a.observerClass !== b.observerClass) return false;
  const [mine, its] = [a.args, b.args] as Readonly<Record<string, unknown>>[];
  const keys = new Set([...Object.keys(mine), ...Object.keys(its)]);
  return [...keys].every((key) => {
    const [x, y] = [mine[key], its[key]];
    return x === y || (isFactory(x) && isFactory(y) && observerFactoryEquals(x, y));
  });
}

function isFactory(value: unknown): value is ObserverFactory {
  return typeof value === 'function' && 'observerClass' in value;
}

/**
 * Checks what a user put into `qconfig`: factories on both sides, and nothing per channel for a transposed
 * convolution. Source: `assert_valid_qconfig`.
 *
 * @throws {@link QuantizationError} naming the fault and the fix.
 */
export function assertValidQConfig(qconfig: QConfig | null | undefined, module: AnyModule): void {
  if (!qconfig) return;
  for (const side of ['activation', 'weight'] as const) {
    if (isFactory(qconfig[side])) continue;
    throw new QuantizationError({
      fn: 'qconfig',
      argument: side,
      expected: 'a factory of observers',
      got: typeof qconfig[side] === 'function' ? 'an observer or a class' : String(qconfig[side]),
      fix: 'Pass MinMaxObserver.withArgs({ … }): every layer needs an observer of its own.',
    });
  }
  if (module.typeName.startsWith('ConvTranspose') && isPerChannelScheme(qconfig.weight().qscheme)) {
    throw new QuantizationError({
      fn: 'qconfig',
      argument: 'weight',
      expected: `a per-tensor observer for ${module.typeName}`,
      got: 'a per-channel one',
      fix: 'Give this layer a qconfig with defaultWeightObserver.',
    });
  }
}

/** True where activations are observed without memory (a moving average of constant 1). Source: `activation_is_memoryless`. */
export function activationIsMemoryless(qconfig: QConfig): boolean {
  const made = qconfig.activation();
  const observer = made instanceof FakeQuantizeBase ? made.activationPostProcess : made;
  return 'averagingConstant' in observer && observer.averagingConstant === 1;
}

/** True for configurations whose outputs share their input's observer. Source: `is_reuse_input_qconfig`. */
export function isReuseInputQConfig(qconfig: QConfig | null | undefined): boolean {
  return (
    !!qconfig &&
    qconfig.activation() instanceof ReuseInputObserver &&
    qconfig.weight() instanceof NoopObserver
  );
}
