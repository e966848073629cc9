import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import type { QConfig } from './qconfig.ts';

/** A class of modules, or the name of an operator (`'sigmoid'`, `'reshape'`). */
export type ObjectType = (abstract new (...args: any[]) => AnyModule) | string;

/** One place in a model, as {@link QConfigMapping.qconfigFor} is asked about it. */
export interface QConfigQuery {
  /** Dotted path of the module; for an operator, of the module that calls it. */
  readonly path: string;
  readonly type: ObjectType;
  /** How many of the same type come before it: among its siblings, or for an operator in the same module. */
  readonly order?: number;
  /** Of a fused module: the class it starts with, whose qconfig it takes where its own class has none. */
  readonly startsWith?: ObjectType;
  /** Of a fused module: the class that was counted for `order`; `type` where not given. */
  readonly orderType?: ObjectType;
  /** Of an operator: the class of the module that calls it, which goes before the operator's name. */
  readonly holder?: ObjectType;
}

/** A {@link QConfigMapping} as a plain object of lists. */
export interface QConfigMappingDict {
  readonly ''?: QConfig | null;
  readonly object_type?: readonly (readonly [ObjectType, QConfig | null])[];
  readonly module_name_regex?: readonly (readonly [string, QConfig | null])[];
  readonly module_name?: readonly (readonly [string, QConfig | null])[];
  readonly module_name_object_type_order?: readonly (readonly [string, ObjectType, number, QConfig | null])[];
}

interface OrderEntry {
  readonly path: string;
  readonly type: ObjectType;
  readonly index: number;
  readonly qconfig: QConfig | null;
}

/**
 * Which part of a model is quantized how, apart from the model itself. Later ones win over earlier ones: the global
 * qconfig, those by type, by regular expression, by name, by name, type and order. null keeps a part float, and so does
 * being named by nothing. Setters return the mapping. Source: `torch.ao.quantization.QConfigMapping`.
 *
 * @example
 * const qconfigMapping = new QConfigMapping()
 *   .setGlobal(getDefaultQConfig())
 *   .setObjectType(nn.Linear, defaultPerChannelQConfig)
 *   .setModuleNameRegex('features\\.[0-3]\\.', null)
 *   .setModuleName('head', null);
 * const prepared = prepare(model, { qconfigMapping });
 */
export class QConfigMapping {
  globalQConfig: QConfig | null = null;
  readonly objectTypeQConfigs: Map<ObjectType, QConfig | null> = new Map();
  readonly moduleNameRegexQConfigs: Map<string, QConfig | null> = new Map();
  readonly moduleNameQConfigs: Map<string, QConfig | null> = new Map();
  readonly #order: Map<string, OrderEntry[]> = new Map();

  /** What nothing else names. Source: `set_global`. */
  setGlobal(qconfig: QConfig | null): this {
    this.globalQConfig = qconfig;
    return this;
  }

  /**
   * Modules of exactly this class, or an operator by its name (for graphs: modules are all that `prepare` sees).
   * Source: `set_object_type`.
   */
  setObjectType(type: ObjectType, qconfig: QConfig | null): this {
    this.objectTypeQConfigs.set(type, qconfig);
    return this;
  }

  /**
   * Modules whose path the expression matches from its beginning. The first that was set wins: put special ones first.
   * Source: `set_module_name_regex`.
   *
   * @throws {@link ArgumentError} for what is no regular expression.
   */
  setModuleNameRegex(regex: string, qconfig: QConfig | null): this {
    try {
      fromStart(regex);
    } catch (cause) {
      throw new ArgumentError(
        {
          fn: 'QConfigMapping.setModuleNameRegex',
          argument: 'regex',
          expected: 'a regular expression of JavaScript',
          got: `'${regex}'`,
        },
        { cause },
      );
    }
    this.moduleNameRegexQConfigs.set(regex, qconfig);
    return this;
  }

  /** The module at a path and all below. Source: `set_module_name`. */
  setModuleName(path: string, qconfig: QConfig | null): this {
    this.moduleNameQConfigs.set(path, qconfig);
    return this;
  }

  /**
   * The child number `index` (from 0) of a type in the module at `path`, counted among those of the same type.
   * Source: `set_module_name_object_type_order`.
   */
  setModuleNameObjectTypeOrder(path: string, type: ObjectType, index: number, qconfig: QConfig | null): this {
    const entries = this.#order.get(path) ?? [];
    const at = entries.findIndex((e) => e.type === type && e.index === index);
    entries.splice(at < 0 ? entries.length : at, 1, { path, type, index, qconfig });
    this.#order.set(path, entries);
    return this;
  }

  /** The paths that were named, by themselves or with type and order. */
  get paths(): string[] {
    return [...new Set([...this.moduleNameQConfigs.keys(), ...this.#order.keys()])];
  }

  /**
   * The qconfig for one place in a model; null where it stays float.
   * Source: `maybe_adjust_qconfig_for_module_type_or_name`, `maybe_adjust_qconfig_for_module_name_object_type_order`.
   *
   * @example
   * mapping.qconfigFor({ path: 'features.0', type: nn.Conv2d, order: 0 });
   */
  qconfigFor({ path, type, order, startsWith, orderType = type, holder }: QConfigQuery): QConfig | null {
    const within = typeof type === 'string' ? path : parentOf(path);
    const entry = this.#order.get(within)?.find((e) => e.type === orderType && e.index === order);
    if (entry) return entry.qconfig;
    for (let at = path; at !== ''; at = parentOf(at)) {
      const named = this.moduleNameQConfigs.get(at);
      if (named !== undefined) return named;
    }
    for (const [regex, qconfig] of this.moduleNameRegexQConfigs)
      if (fromStart(regex).test(path)) return qconfig;
    const held = holder === undefined ? undefined : this.objectTypeQConfigs.get(holder);
    if (held !== undefined) return held;
    const typed = this.objectTypeQConfigs.get(type);
    if (typed !== undefined) return typed;
    const first = startsWith === undefined ? undefined : this.objectTypeQConfigs.get(startsWith);
    return first === undefined ? this.globalQConfig : first;
  }

  /** The mapping as a plain object with PyTorch's keys. Source: `to_dict`. */
  toDict(): Required<QConfigMappingDict> {
    return {
      '': this.globalQConfig,
      object_type: [...this.objectTypeQConfigs],
      module_name_regex: [...this.moduleNameRegexQConfigs],
      module_name: [...this.moduleNameQConfigs],
      module_name_object_type_order: [...this.#order.values()]
        .flat()
        .map(({ path, type, index, qconfig }) => [path, type, index, qconfig] as const),
    };
  }

  /**
   * The mapping that {@link toDict} wrote, or one written by hand; every key may be left out. Source: `from_dict`.
   *
   * @throws {@link ArgumentError} for other keys.
   */
  static fromDict(dict: QConfigMappingDict): QConfigMapping {
    const mapping = new QConfigMapping();
    const unknown = Object.keys(dict).filter((key) => !Object.hasOwn(mapping.toDict(), key));
    if (unknown.length > 0) {
      throw new ArgumentError({
        fn: 'QConfigMapping.fromDict',
        argument: 'dict',
        expected: `the keys ${Object.keys(mapping.toDict())
          .map((key) => `'${key}'`)
          .join(', ')}`,
        got: unknown.map((key) => `'${key}'`).join(', '),
      });
    }
    mapping.setGlobal(dict[''] ?? null);
    for (const [type, qconfig] of dict.object_type ?? []) mapping.setObjectType(type, qconfig);
    for (const [regex, qconfig] of dict.module_name_regex ?? []) mapping.setModuleNameRegex(regex, qconfig);
    for (const [path, qconfig] of dict.module_name ?? []) mapping.setModuleName(path, qconfig);
    for (const [path, type, index, qconfig] of dict.module_name_object_type_order ?? [])
      mapping.setModuleNameObjectTypeOrder(path, type, index, qconfig);
    return mapping;
  }

  /** One line per entry, under the five kinds in the order of their precedence. */
  toString(): string {
    const dict = this.toDict();
    const kinds: [string, string[]][] = [
      ['global', [describe(dict[''])]],
      ['object_type', dict.object_type.map(([t, q]) => `${typeName(t)}: ${describe(q)}`)],
      ['module_name_regex', dict.module_name_regex.map(([r, q]) => `${r}: ${describe(q)}`)],
      ['module_name', dict.module_name.map(([p, q]) => `${p}: ${describe(q)}`)],
      [
        'module_name_object_type_order',
        dict.module_name_object_type_order.map(
          ([p, t, i, q]) => `(${p}, ${typeName(t)}, ${i}): ${describe(q)}`,
        ),
      ],
    ];
    const lines = kinds.flatMap(([kind, entries]) => [` ${kind}`, ...entries.map((e) => `  ${e}`)]);
    return ['QConfigMapping (', ...lines, ')'].join('\n');
  }
}

function fromStart(regex: string): RegExp {
  return new RegExp(`^(?:${regex})`);
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('.'), 0));
}

function typeName(type: ObjectType): string {
  return typeof type === 'string' ? type : type.name;
}

function describe(qconfig: QConfig | null): string {
  if (!qconfig) return 'null';
  const { activation, weight } = qconfig;
  return `activation=${activation.observerClass.name}, weight=${weight.observerClass.name}`;
}
