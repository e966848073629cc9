import type { GraphModule } from '../../fx/index.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { type BackendConfig, backendOf } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { QConfigMapping } from '../qconfig-mapping.ts';
import { showZeroToUnobserved } from '../swap.ts';
import { ConvertCustomConfig } from './custom-config.ts';
import { lower } from './lower.ts';
import { nodeQConfigs } from './node-qconfigs.ts';
import { requirePrepared } from './prepared.ts';
import type { QuantizedGraphModule } from './quantized-graph.ts';
import { toReference } from './reference.ts';
import { preserve } from './trace.ts';

/** Options of {@link convertFx} and {@link convertToReferenceFx}. */
export interface ConvertFxOptions {
  readonly convertCustomConfig?: ConvertCustomConfig;
  /** The mapping of `prepareFx` again, with null for what shall stay float after all. */
  readonly qconfigMapping?: QConfigMapping;
  /** The rows of your own that `prepareFx` was given. */
  readonly patterns?: readonly Pattern[];
  /** The table that `prepareFx` was given. */
  readonly backendConfig?: BackendConfig;
  /**
   * Convert even where an observer never saw data, with placeholder parameters: for the skeleton that a saved quantized
   * state dict is loaded into.
   */
  readonly allowUnobserved?: boolean;
}

/**
 * Turns a calibrated (or trained) graph into its int8 form: makes the reference graph, then lowers it. The prepared graph
 * stays as it is. Source: `torch.ao.quantization.quantize_fx.convert_fx`.
 *
 * @throws {@link QuantizationError} for a graph that was not prepared, and where an observer never saw data, naming the
 *   module.
 * @example
 * const int8 = convertFx(prepared);
 * jit.save('model.safetensors', jit.trace(int8, [x]));
 */
export function convertFx<Args extends unknown[], Out>(
  model: GraphModule<Args, Out>,
  options: ConvertFxOptions = {},
): QuantizedGraphModule<Args, Out> {
  const backend = backendOf(options);
  const standalone = (module: GraphModule<any, any>): AnyModule => convertFx(module, options);
  return lower(reference(model, options, backend, 'convertFx', standalone), backend);
}

/** {@link convertFx} by the table that the graph was prepared with. */
export function convertTrained(model: GraphModule<any, any>): QuantizedGraphModule<any, any> {
  const { backend } = requirePrepared(model, 'convertFx');
  return lower(reference(model, {}, backend, 'convertFx', convertTrained), backend);
}

/**
 * Turns a calibrated graph into the reference of its quantized form: float operators between nodes that quantize and
 * dequantize, with weights rounded to what int8 holds. It runs anywhere floats run, says what the int8 model means, and is
 * what other backends start from. Source: `torch.ao.quantization.quantize_fx.convert_to_reference_fx`.
 *
 * @throws {@link QuantizationError} as {@link convertFx}.
 * @example
 * const reference = convertToReferenceFx(prepared);
 * maxError(reference(x), convertFx(prepared)(x)); // 0, but for sums that float32 rounds
 */
export function convertToReferenceFx<Args extends unknown[], Out>(
  model: GraphModule<Args, Out>,
  options: ConvertFxOptions = {},
): QuantizedGraphModule<Args, Out> {
  const backend = backendOf(options);
  const standalone = (module: GraphModule<any, any>): AnyModule => convertToReferenceFx(module, options);
  return reference(model, options, backend, 'convertToReferenceFx', standalone);
}

/**
 * The int8 form of a reference graph; the second half of {@link convertFx}.
 * Source: `torch.ao.quantization.quantize_fx._convert_fx`, `lower_to_qnnpack`.
 */
export function lowerToQuantized<Args extends unknown[], Out>(
  model: QuantizedGraphModule<Args, Out>,
  options: Pick<ConvertFxOptions, 'patterns' | 'backendConfig'> = {},
): QuantizedGraphModule<Args, Out> {
  return lower(model, backendOf(options));
}

function reference<Args extends unknown[], Out>(
  model: GraphModule<Args, Out>,
  options: ConvertFxOptions,
  backend: BackendConfig,
  fn: string,
  standalone: (module: GraphModule<any, any>) => AnyModule,
): QuantizedGraphModule<Args, Out> {
  const { custom: prepareCustom, types } = requirePrepared(model, fn);
  const custom = options.convertCustomConfig ?? new ConvertCustomConfig();
  const observed = options.allowUnobserved ? deepCopy(model) : model;
  if (options.allowUnobserved) showZeroToUnobserved(observed);
  const skip = new Set<string>();
  if (options.qconfigMapping) {
    for (const [node, qconfig] of nodeQConfigs(model, types, options.qconfigMapping, backend))
      if (!qconfig && !node.targetName.startsWith('activation_post_process_')) skip.add(node.name);
  }
  const made = toReference(observed, { fn, backend, custom, skip, standalone });
  for (const name of [...prepareCustom.preservedAttributes, ...custom.preservedAttributes])
    preserve(model, made, name, fn);
  return made as QuantizedGraphModule<Args, Out>;
}
