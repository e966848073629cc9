import { formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import { PATTERNS, patternOf } from '../quantization/backend/patterns.ts';
import { ObserverBase } from '../quantization/observers/observer.ts';

/** What became of one module. */
export interface CoverageRow {
  readonly path: string;
  readonly type: string;
  readonly status: 'quantized' | 'observed' | 'float';
  /** Why it is float; empty otherwise. */
  readonly reason: string;
}

const quantizedClasses = new Set<unknown>(PATTERNS.flatMap((p) => [p.static, p.dynamic]).filter(Boolean));

/**
 * Lists the modules that compute, with what `prepare` or `convert` made of them: quantized, observed, or float and why.
 * Containers are left out; so are observers.
 *
 * @example
 * print(formatCoverage(coverage(convert(prepared))));
 */
export function coverage(model: AnyModule): CoverageRow[] {
  const rows: CoverageRow[] = [];
  for (const [path, module] of model.namedModules()) {
    if (module instanceof ObserverBase || path.split('.').includes('activation_post_process')) continue;
    if (quantizedClasses.has(module.constructor)) {
      rows.push({ path, type: module.typeName, status: 'quantized', reason: '' });
      continue;
    }
    const observed = module.activationPostProcess instanceof ObserverBase;
    if (observed) {
      rows.push({ path, type: module.typeName, status: 'observed', reason: '' });
      continue;
    }
    const isLeaf = module.children().length === 0;
    const hasWeights = module.ownParameters().length > 0;
    if (!isLeaf && !hasWeights) continue;
    if (module.typeName === 'Identity') continue;
    rows.push({ path, type: module.typeName, status: 'float', reason: floatReason(module) });
  }
  return rows;
}

/** The rows of {@link coverage} as a table. */
export function formatCoverage(rows: readonly CoverageRow[]): string {
  return formatTable(
    [{ title: 'module' }, { title: 'type' }, { title: 'status' }, { title: 'why' }],
    rows.map((r) => [r.path === '' ? '(root)' : r.path, r.type, r.status, r.reason]),
  );
}

function floatReason(module: AnyModule): string {
  const pattern = patternOf(module);
  if (!pattern || pattern.fixedOutput)
    return module.ownParameters().length
      ? 'no quantized form of this class'
      : 'acts on quantized tensors as it is';
  if (module.qconfig === null) return 'qconfig is null';
  if (!pattern.static) return 'no static form of this class';
  return 'no qconfig reached it';
}
