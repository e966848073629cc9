import type { GraphModule } from '../../fx/index.ts';
import {
  AdaptiveAvgPool2d,
  Conv1d,
  Conv2d,
  Hardtanh,
  Linear,
  MaxPool2d,
  ReLU,
  ReLU6,
} from '../../nn/index.ts';
import { BackendConfig, getNativeBackendConfig } from '../backend/backend-config.ts';
import type { ModuleClass } from '../backend/pattern.ts';
import { getDefaultQConfigMapping } from '../default-qconfig-mapping.ts';
import { HistogramObserver } from '../observers/histogram.ts';
import { MinMaxObserver } from '../observers/min-max.ts';
import { PerChannelMinMaxObserver } from '../observers/per-channel.ts';
import type { QConfig } from '../qconfig.ts';
import { QConfigMapping } from '../qconfig-mapping.ts';
import { annotateGraph } from './annotate.ts';
import { PrepareCustomConfig } from './custom-config.ts';
import { moduleOf } from './match.ts';
import { nodeQConfigs } from './node-qconfigs.ts';
import type { Quantizer } from './quantizer.ts';
import { type Annotations, QuantizationSpec } from './specs.ts';

/**
 * A quantizer that goes by qconfigs and a backend table: what `prepareFx` does, as annotations.
 *
 * @example
 * preparePt2e(traced, new WasmQuantizer(getDefaultQConfigMapping().setModuleName('head', null)));
 */
export class WasmQuantizer implements Quantizer {
  readonly mapping: QConfigMapping;
  readonly backend: BackendConfig;

  constructor(
    mapping: QConfigMapping = getDefaultQConfigMapping(),
    backend: BackendConfig = getNativeBackendConfig(),
  ) {
    this.mapping = mapping;
    this.backend = backend;
  }

  annotate(model: GraphModule<any, any>): Annotations {
    const qconfigs = nodeQConfigs(model, new Map(), this.mapping, this.backend);
    const custom = new PrepareCustomConfig();
    const { annotations } = annotateGraph(model, {
      qconfigs,
      backend: this.backend,
      custom,
      training: false,
    });
    for (const [node, annotation] of annotations) {
      const module = moduleOf(model, node);
      const weight = qconfigs.get(node)?.weight;
      const row = module && this.backend.patternOf(module);
      if (weight && row?.weighted)
        annotations.set(node, { ...annotation, weight: new QuantizationSpec(weight) });
    }
    return annotations;
  }
}

/** Options of {@link getSymmetricQuantizationConfig}. */
export interface SymmetricOptions {
  /** A scale for every output channel of a weight; false where not given. */
  readonly isPerChannel?: boolean;
}

/**
 * Signed activations with a zero point, weights in −127…127 without one.
 * Source: `torch.ao.quantization.quantizer.xnnpack_quantizer.get_symmetric_quantization_config`.
 */
export function getSymmetricQuantizationConfig(options: SymmetricOptions = {}): QConfig {
  const weight = { dtype: 'qint8', quantMin: -127, quantMax: 127, eps: 2 ** -12 } as const;
  return {
    activation: HistogramObserver.withArgs({ dtype: 'qint8', qscheme: 'per_tensor_affine', eps: 2 ** -12 }),
    weight: options.isPerChannel
      ? PerChannelMinMaxObserver.withArgs({ ...weight, qscheme: 'per_channel_symmetric' })
      : MinMaxObserver.withArgs({ ...weight, qscheme: 'per_tensor_symmetric' }),
  };
}

/** What XNNPACK computes in int8: rows of the native table with these classes first, or these operators. */
const LAYERS: ReadonlySet<unknown> = new Set<ModuleClass>([
  ...[Conv1d, Conv2d, Linear, ReLU, ReLU6, Hardtanh, MaxPool2d, AdaptiveAvgPool2d],
]);
const OPERATORS: ReadonlySet<string> = new Set(
  'add mul cat mean view reshape flatten permute transpose squeeze unsqueeze pad slice select'.split(' '),
);

const XNNPACK = new BackendConfig(
  'xnnpack',
  getNativeBackendConfig().patterns.filter(
    (row) => LAYERS.has(row.sequence[0]) || OPERATORS.has(row.operator?.names[0] ?? ''),
  ),
);

/**
 * Quantizes for XNNPACK's kernels: symmetric int8, and only what XNNPACK has; the rest stays float. Setters return the
 * quantizer. Source: `torch.ao.quantization.quantizer.xnnpack_quantizer.XNNPACKQuantizer`.
 *
 * @example
 * const quantizer = new XNNPACKQuantizer()
 *   .setGlobal(getSymmetricQuantizationConfig({ isPerChannel: true }))
 *   .setModuleName('head', null);
 */
export class XNNPACKQuantizer implements Quantizer {
  readonly #mapping: QConfigMapping = new QConfigMapping().setGlobal(getSymmetricQuantizationConfig());

  /** What nothing else names. Source: `set_global`. */
  setGlobal(config: QConfig | null): this {
    this.#mapping.setGlobal(config);
    return this;
  }

  /** An operator by its name. Source: `set_operator_type`. */
  setOperatorType(name: string, config: QConfig | null): this {
    this.#mapping.setObjectType(name, config);
    return this;
  }

  /** Modules of a class. Source: `set_module_type`. */
  setModuleType(type: ModuleClass, config: QConfig | null): this {
    this.#mapping.setObjectType(type, config);
    return this;
  }

  /** The module at a path and all below. Source: `set_module_name`. */
  setModuleName(path: string, config: QConfig | null): this {
    this.#mapping.setModuleName(path, config);
    return this;
  }

  annotate(model: GraphModule<any, any>): Annotations {
    return new WasmQuantizer(this.#mapping, XNNPACK).annotate(model);
  }
}
