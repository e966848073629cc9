import { formatTable } from '../core/table.ts';
import type { AnyModule } from '../nn/module.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import { patternLookup, quantizedClasses } from '../quantization/backend/patterns.ts';
import { recordedOperators } from '../quantization/define-by-run/notes.ts';
import { stateOf } from '../quantization/define-by-run/state.ts';
import { graphCalls } from '../quantization/graph/calls.ts';
import { recordedReason } from '../quantization/notes.ts';
import { ObserverBase } from '../quantization/observers/observer.ts';
import { requireModels } from './require-models.ts';

/** What became of one module. */
export interface CoverageRow {
  readonly path: string;
  readonly type: string;
  readonly status: 'quantized' | 'observed' | 'float';
  /** Why it is float, or what is amiss with a quantized layer; empty otherwise. */
  readonly reason: string;
}

/**
 * Lists the modules that compute, with what `prepare` or `convert` made of them: quantized, observed, or float and why.
 * Containers are left out; so are observers. The reasons are those that `strict` makes errors of. Of models under
 * define-by-run quantization, operators follow, under the path of the module that calls them; of graphs, every call is listed in
 * the order it runs.
 *
 * @param patterns The rows of your own that were given to `prepare` and `convert`.
 * @example
 * print(formatCoverage(coverage(convert(prepared))));
 */
export function coverage(model: AnyModule, patterns: readonly Pattern[] = []): CoverageRow[] {
  requireModels('coverage', { model });
  const rows: CoverageRow[] = [];
  const quantized = quantizedClasses(patterns);
  const graphs: string[] = [];
  for (const [path, module] of model.namedModules()) {
    if (graphs.some((graph) => graph === '' || path.startsWith(`${graph}.`))) continue;
    const calls = graphCalls(module, patterns);
    if (calls) {
      graphs.push(path);
      for (const call of calls) rows.push({ ...call, path: [path, call.path].filter(Boolean).join('.') });
      continue;
    }
    if (module instanceof ObserverBase || path.split('.').includes('activation_post_process')) continue;
    if (quantized.has(module.constructor)) {
      rows.push({ path, type: module.typeName, status: 'quantized', reason: recordedReason(module) ?? '' });
      continue;
    }
    const observed = module.activationPostProcess instanceof ObserverBase;
    if (observed) {
      rows.push({ path, type: module.typeName, status: 'observed', reason: recordedReason(module) ?? '' });
      continue;
    }
    const isLeaf = module.children().length === 0;
    const hasWeights = module.ownParameters().length > 0;
    if (!isLeaf && !hasWeights) continue;
    if (module.typeName === 'Identity') continue;
    const meeting = stateOf(model)?.meetings.get(path);
    const passesOn = !hasWeights && (meeting === 'open' || meeting === 'as is');
    const reason = passesOn ? 'works on what it is given, integers or floats' : floatReason(module, patterns);
    rows.push({ path, type: module.typeName, status: 'float', reason });
  }
  return [...rows, ...recordedOperators(model)];
}

/** The rows of {@link coverage} as a table. */
export function formatCoverage(rows: readonly CoverageRow[]): string {
  return formatTable(
    [{ title: 'module' }, { title: 'type' }, { title: 'status' }, { title: 'why' }],
    rows.map((r) => [r.path === '' ? '(root)' : r.path, r.type, r.status, r.reason]),
  );
}

function floatReason(module: AnyModule, patterns: readonly Pattern[]): string {
  const recorded = recordedReason(module);
  if (recorded !== undefined) return recorded;
  const pattern = patternLookup(patterns)(module);
  if (pattern?.fixedOutput) return 'acts on quantized tensors as it is';
  if (module.ownParameters().length === 0) return 'has no weights';
  if (!pattern) return 'no quantized form of this class';
  if (module.qconfig === null) return 'its qconfig is null';
  return 'no qconfig reached it';
}
