import { ArgumentError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Linear } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import type { ModuleClass } from '../backend/patterns.ts';
import { defaultDynamicQConfig, getDefaultQConfig, type QConfig } from '../qconfig.ts';
import { convert, swapModules } from './convert.ts';
import type { TransformOptions } from './fuse-modules.ts';
import { prepare } from './prepare.ts';
import { propagateQConfig, type QConfigSpec } from './propagate-qconfig.ts';

/** What to quantize dynamically: classes and names, or a map from them to qconfigs. */
export type DynamicSpec = Iterable<string | ModuleClass> | QConfigSpec;

/** Options of {@link quantizeDynamic}. */
export interface DynamicOptions extends TransformOptions {
  /** Type of the weights. */
  readonly dtype?: 'qint8';
}

/**
 * Static quantization in one call: prepares a copy in evaluation mode, hands it to `calibrate`, converts it. A model
 * without any qconfig gets the default one. Source: `torch.ao.quantization.quantize`.
 *
 * @param calibrate Runs representative data through the prepared model; gradients are off meanwhile.
 * @example
 * const int8 = quantize(model, (m) => { for (const x of samples) m(x); });
 */
export function quantize<M extends AnyModule>(
  model: M,
  calibrate: (prepared: M) => void,
  options: TransformOptions = {},
): M {
  const target = options.inplace ? model : deepCopy(model);
  target.eval();
  if (!target.modules().some((m) => m.qconfig !== undefined)) target.qconfig = getDefaultQConfig();
  prepare(target, { inplace: true });
  noGrad(() => calibrate(target));
  return convert(target, { inplace: true });
}

/**
 * Dynamic quantization in one call: weights become int8 now, activations are quantized call by call. Without a spec
 * every Linear layer is taken. Source: `torch.ao.quantization.quantize_dynamic`.
 *
 * @example
 * const small = quantizeDynamic(model);                    // every Linear
 * const some = quantizeDynamic(model, ['encoder', Linear]); // by name and class
 */
export function quantizeDynamic<M extends AnyModule>(
  model: M,
  spec?: DynamicSpec,
  options: DynamicOptions = {},
): M {
  const dtype: string = options.dtype ?? 'qint8';
  if (dtype !== 'qint8') {
    throw new ArgumentError({
      fn: 'quantizeDynamic',
      argument: 'dtype',
      expected: "'qint8'",
      got: `'${dtype}'`,
    });
  }
  const target = options.inplace ? model : deepCopy(model);
  target.eval();
  propagateQConfig(target, dynamicSpec(spec));
  return swapModules(target, 'dynamic', { inplace: true });
}

function dynamicSpec(spec: DynamicSpec | undefined): QConfigSpec {
  if (spec instanceof Map) return spec as QConfigSpec;
  const targets = (spec ?? [Linear]) as Iterable<string | ModuleClass>;
  return new Map([...targets].map((t): [string | ModuleClass, QConfig] => [t, defaultDynamicQConfig]));
}
