import type { AnyModule } from '../../nn/module.ts';
import type { ModuleClass } from '../backend/patterns.ts';
import type { QConfig } from '../qconfig.ts';

/** QConfigs by dotted module name or by class; null keeps what it names float. */
export type QConfigSpec = ReadonlyMap<string | ModuleClass, QConfig | null>;

/**
 * Gives every module the qconfig it shall be quantized with: its own where it has one (null included), otherwise the
 * one the spec gives for its name, otherwise for its class, otherwise its parent's.
 * Source: `torch.ao.quantization.propagate_qconfig_`.
 */
export function propagateQConfig(model: AnyModule, spec: QConfigSpec = new Map()): void {
  visit(model, '', undefined, spec);
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
