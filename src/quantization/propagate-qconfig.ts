import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { type BackendConfig, backendOf } from './backend/backend-config.ts';
import type { ModuleClass, Pattern } from './backend/pattern.ts';
import type { QConfig } from './qconfig.ts';
import { QConfigMapping } from './qconfig-mapping.ts';

/** QConfigs by dotted module name (`''` for the whole model) or by class; null keeps what it names float. */
export type QConfigSpec = ReadonlyMap<string | ModuleClass, QConfig | null>;

/** A {@link QConfigSpec}, or an object where names are enough: `{ '': getDefaultQConfig(), head: null }`. */
export type QConfigDict = QConfigSpec | Readonly<Record<string, QConfig | null>>;

/** Options of {@link propagateQConfig}. */
export interface PropagateOptions {
  /** Rows of your own, which go before those of the backend table. */
  readonly patterns?: readonly Pattern[];
  /** Another table than the library's own. */
  readonly backendConfig?: BackendConfig;
}

/**
 * Gives every module the qconfig it shall be quantized with: its own where it has one (null included), otherwise the
 * one the spec gives for its name, otherwise for its class, otherwise its parent's. With a {@link QConfigMapping} it is
 * its own or that of what it is in, otherwise what the mapping says; a fused module is of the class it starts with, and
 * order is that of registration. Tables of your own say what fused modules of yours start with. Source: `torch.ao.quantization.propagate_qconfig_`.
 *
 * @throws {@link ArgumentError} for names that no module has.
 * @example
 * propagateQConfig(model, { '': getDefaultQConfig(), 'head.fc': null });
 * propagateQConfig(model, new Map([[nn.Linear, defaultQConfig]]));
 */
export function propagateQConfig(
  model: AnyModule,
  dict: QConfigDict | QConfigMapping = new Map(),
  options: PropagateOptions = {},
): void {
  if (dict instanceof QConfigMapping) {
    const named = new Map(dict.paths.map((path): [string, null] => [path, null]));
    requirePaths(model, named, 'propagateQConfig', 'mapping');
    visitMapped(model, '', 0, undefined, dict, backendOf(options));
    return;
  }
  const spec = dict instanceof Map ? (dict as QConfigSpec) : new Map(Object.entries(dict));
  requirePaths(model, spec, 'propagateQConfig', 'dict');
  visit(model, '', undefined, spec);
}

/**
 * Throws where a spec names modules that are not there.
 *
 * @throws {@link ArgumentError} listing them.
 */
export function requirePaths(model: AnyModule, spec: QConfigSpec, fn: string, argument: string): void {
  const names = [...spec.keys()].filter((key) => typeof key === 'string');
  if (names.length === 0) return;
  const paths = new Set(model.namedModules().map(([path]) => path));
  const unknown = names.filter((name) => !paths.has(name));
  if (unknown.length === 0) return;
  throw new ArgumentError({
    fn,
    argument,
    expected: `classes, or paths of modules inside ${model.typeName}`,
    got: unknown.map((name) => `'${name}'`).join(', '),
    fix: 'model.namedModules() lists the paths; pass the class itself rather than its name.',
  });
}

function visit(
  module: AnyModule,
  path: string,
  inherited: QConfig | null | undefined,
  spec: QConfigSpec,
): void {
  let own = module.qconfig;
  if (own === undefined) own = spec.get(path);
  if (own === undefined) own = spec.get(module.constructor as ModuleClass);
  if (own === undefined) own = inherited;
  if (own !== undefined) module.qconfig = own;
  for (const [name, child] of module.namedChildren())
    visit(child, path === '' ? name : `${path}.${name}`, own, spec);
}

function visitMapped(
  module: AnyModule,
  path: string,
  order: number,
  inherited: QConfig | null | undefined,
  mapping: QConfigMapping,
  backend: BackendConfig,
): void {
  const own = module.qconfig === undefined ? inherited : module.qconfig;
  const type = module.constructor as ModuleClass;
  const startsWith = backend.patternOf(module)?.sequence[0];
  module.qconfig = own === undefined ? mapping.qconfigFor({ path, type, order, startsWith }) : own;
  const seen = new Map<unknown, number>();
  for (const [name, child] of module.namedChildren()) {
    const before = seen.get(child.constructor) ?? 0;
    seen.set(child.constructor, before + 1);
    visitMapped(child, path === '' ? name : `${path}.${name}`, before, own, mapping, backend);
  }
}
