import { ArgumentError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Embedding, EmbeddingBag, GRU, GRUCell, Linear, LSTM, LSTMCell, RNNCell } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import type { ModuleClass } from '../backend/pattern.ts';
import { propagateQConfig, type QConfigSpec, requirePaths } from '../propagate-qconfig.ts';
import {
  defaultDynamicQConfig,
  float16DynamicQConfig,
  floatQParamsWeightOnlyQConfig,
  floatQParamsWeightOnlyQConfig4bit,
  getDefaultQConfig,
  type QConfig,
} from '../qconfig.ts';
import { convert, type SwapOptions, swapModules } from './convert.ts';
import { givenQConfigs, type PrepareOptions, prepare } from './prepare.ts';

/** What to quantize dynamically: classes and names, or a map from them to qconfigs. */
export type DynamicSpec = Iterable<string | ModuleClass> | QConfigSpec;

/** Types {@link quantizeDynamic} gives weights: int8 and float16 for layers that multiply, the others for embeddings. */
export type DynamicDType = 'qint8' | 'float16' | 'quint8' | 'quint4x2';

/** Options of {@link quantizeDynamic}. */
export interface DynamicOptions extends SwapOptions {
  /** Type of the weights; 'qint8' where not given. A spec that maps to qconfigs says it itself. */
  readonly dtype?: DynamicDType;
}

const PRODUCTS: readonly ModuleClass[] = [Linear, LSTM, GRU, LSTMCell, RNNCell, GRUCell];

/** The configuration for each type of weights, and the classes that get it where no spec is given. */
const DYNAMIC: Readonly<
  Record<DynamicDType, { readonly qconfig: QConfig; readonly classes: readonly ModuleClass[] }>
> = {
  qint8: { qconfig: defaultDynamicQConfig, classes: PRODUCTS },
  float16: { qconfig: float16DynamicQConfig, classes: PRODUCTS },
  quint8: { qconfig: floatQParamsWeightOnlyQConfig, classes: [EmbeddingBag, Embedding] },
  quint4x2: { qconfig: floatQParamsWeightOnlyQConfig4bit, classes: [EmbeddingBag] },
};

/**
 * Static quantization in one call: prepares a copy in evaluation mode, hands it to `calibrate`, converts it. A model
 * without any qconfig gets the default one. Source: `torch.ao.quantization.quantize`; there is no `quantize_static` in
 * PyTorch, this is what it would be.
 *
 * @param calibrate Runs representative data through the prepared model; gradients are off meanwhile.
 * @example
 * const int8 = quantize(model, (m) => { for (const x of samples) m(x); });
 */
export function quantize<M extends AnyModule>(
  model: M,
  calibrate: (prepared: M) => void,
  options: PrepareOptions = {},
): M {
  const target = options.inplace ? model : deepCopy(model);
  target.eval();
  if (!givenQConfigs('quantize', options) && !target.modules().some((m) => m.qconfig !== undefined))
    target.qconfig = getDefaultQConfig();
  const prepared = prepare(target, { ...options, inplace: true });
  noGrad(() => calibrate(prepared));
  return convert(prepared, { ...options, inplace: true });
}

/**
 * Dynamic quantization in one call: weights become small now, activations are quantized call by call. Without a spec
 * `qint8` and `float16` take Linear, LSTM, GRU and the recurrent cells, `quint8` embeddings, `quint4x2` embedding bags.
 * Source: `torch.ao.quantization.quantize_dynamic`.
 *
 * @param spec Classes and dotted names (which hold for all below) to quantize to `dtype`, or a Map from them to
 *   qconfigs; null in a Map keeps what it names float.
 * @throws {@link ArgumentError} for another dtype, or for names that no module has.
 * @example
 * const small = quantizeDynamic(model);                      // int8, the default layers
 * const half = quantizeDynamic(model, undefined, { dtype: 'float16' });
 * const some = quantizeDynamic(model, ['encoder', Linear]);  // by name and class
 * const each = quantizeDynamic(model, new Map([[LSTM, perChannelDynamicQConfig], ['head', null]]));
 */
export function quantizeDynamic<M extends AnyModule>(
  model: M,
  spec?: DynamicSpec,
  options: DynamicOptions = {},
): M {
  const qconfigs = dynamicSpec(spec, options.dtype ?? 'qint8');
  requirePaths(model, qconfigs, 'quantizeDynamic', 'spec');
  const target = options.inplace ? model : deepCopy(model);
  target.eval();
  propagateQConfig(target, qconfigs);
  return swapModules(target, 'dynamic', { ...options, inplace: true }, 'quantizeDynamic');
}

function dynamicSpec(spec: DynamicSpec | undefined, dtype: DynamicDType): QConfigSpec {
  if (spec instanceof Map) return spec as QConfigSpec;
  if (!Object.hasOwn(DYNAMIC, dtype)) {
    throw new ArgumentError({
      fn: 'quantizeDynamic',
      argument: 'dtype',
      expected: Object.keys(DYNAMIC).join(', '),
      got: `'${dtype}'`,
    });
  }
  const { qconfig, classes } = DYNAMIC[dtype];
  const targets = (spec ?? classes) as Iterable<string | ModuleClass>;
  return new Map([...targets].map((t): [string | ModuleClass, QConfig] => [t, qconfig]));
}
