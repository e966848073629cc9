import type { ModuleClass } from '../backend/pattern.ts';
import type { QConfigMapping } from '../qconfig-mapping.ts';

/** How a standalone module is quantized: on its own, as one node of the model around it. */
export interface StandaloneModuleConfig {
  /** What it is traced on. */
  readonly exampleInputs: readonly unknown[];
  /** The qconfig of the module's node for all of it where not given. */
  readonly qconfigMapping?: QConfigMapping;
  readonly prepareCustomConfig?: PrepareCustomConfig;
}

/**
 * What `prepareFx` does otherwise in parts of a model. Setters return the configuration.
 * Source: `torch.ao.quantization.fx.custom_config.PrepareCustomConfig`.
 *
 * @example
 * const prepareCustomConfig = new PrepareCustomConfig()
 *   .setNonTraceableModuleNames(['decoder'])
 *   .setStandaloneModuleName('head', { exampleInputs: [rand([1, 512])] })
 *   .setInputQuantizedIndexes([0]);
 */
export class PrepareCustomConfig {
  readonly standaloneModuleNames: Map<string, StandaloneModuleConfig> = new Map();
  readonly standaloneModuleClasses: Map<ModuleClass, StandaloneModuleConfig> = new Map();
  readonly floatToObservedMapping: Map<ModuleClass, ModuleClass & { fromFloat(module: any): any }> =
    new Map();
  nonTraceableModuleNames: readonly string[] = [];
  nonTraceableModuleClasses: readonly ModuleClass[] = [];
  inputQuantizedIndexes: readonly number[] = [];
  outputQuantizedIndexes: readonly number[] = [];
  preservedAttributes: readonly string[] = [];

  /** The module at a path is traced and quantized on its own. Source: `set_standalone_module_name`. */
  setStandaloneModuleName(path: string, config: StandaloneModuleConfig): this {
    this.standaloneModuleNames.set(path, config);
    return this;
  }

  /** Modules of a class are traced and quantized on their own. Source: `set_standalone_module_class`. */
  setStandaloneModuleClass(type: ModuleClass, config: StandaloneModuleConfig): this {
    this.standaloneModuleClasses.set(type, config);
    return this;
  }

  /**
   * Modules of a float class are observed part by part: `prepareFx` puts `observed.fromFloat(module)` in their place.
   * Source: `set_float_to_observed_mapping`.
   *
   * @example
   * new PrepareCustomConfig().setFloatToObservedMapping(nn.LSTM, nn.quantizable.LSTM);
   */
  setFloatToObservedMapping(
    float: ModuleClass,
    observed: ModuleClass & { fromFloat(module: any): any },
  ): this {
    this.floatToObservedMapping.set(float, observed);
    return this;
  }

  /** Modules that tracing must not look into; they stay float. Source: `set_non_traceable_module_names`. */
  setNonTraceableModuleNames(paths: readonly string[]): this {
    this.nonTraceableModuleNames = paths;
    return this;
  }

  /** Source: `set_non_traceable_module_classes`. */
  setNonTraceableModuleClasses(types: readonly ModuleClass[]): this {
    this.nonTraceableModuleClasses = types;
    return this;
  }

  /** Inputs, by their place, that come in quantized as quint8. Source: `set_input_quantized_indexes`. */
  setInputQuantizedIndexes(indexes: readonly number[]): this {
    this.inputQuantizedIndexes = indexes;
    return this;
  }

  /** Outputs, by their place, that go out quantized. Source: `set_output_quantized_indexes`. */
  setOutputQuantizedIndexes(indexes: readonly number[]): this {
    this.outputQuantizedIndexes = indexes;
    return this;
  }

  /** Fields of the model that the graph module has too. Source: `set_preserved_attributes`. */
  setPreservedAttributes(names: readonly string[]): this {
    this.preservedAttributes = names;
    return this;
  }
}

/**
 * What `convertFx` does otherwise. Source: `torch.ao.quantization.fx.custom_config.ConvertCustomConfig`.
 *
 * @example
 * new ConvertCustomConfig().setObservedToQuantizedMapping(ObservedGate, QuantizedGate);
 */
export class ConvertCustomConfig {
  readonly observedToQuantizedMapping: Map<ModuleClass, { fromObserved(module: any): any }> = new Map();
  preservedAttributes: readonly string[] = [];

  /** Source: `set_observed_to_quantized_mapping`. */
  setObservedToQuantizedMapping(observed: ModuleClass, quantized: { fromObserved(module: any): any }): this {
    this.observedToQuantizedMapping.set(observed, quantized);
    return this;
  }

  /** Fields of the prepared model that the result has too, besides those that were kept before. */
  setPreservedAttributes(names: readonly string[]): this {
    this.preservedAttributes = names;
    return this;
  }
}
