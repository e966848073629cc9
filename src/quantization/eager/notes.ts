import { BatchNorm1d, BatchNorm2d, BatchNorm3d, Embedding, EmbeddingBag } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { Pattern } from '../backend/pattern.ts';
import { type PatternLookup, quantizedClasses } from '../backend/patterns.ts';
import { FloatFunctional } from '../float-functional.ts';
import { Quantize } from '../layers/quantized/index.ts';
import type { Note } from '../notes.ts';
import { ObserverBase } from '../observers/observer.ts';
import { isDynamicQConfig } from '../qconfig-support.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';

/** How a walk over a model finds rows, and which form is being made. */
interface Walk {
  readonly form: 'static' | 'dynamic';
  readonly lookup: PatternLookup;
  readonly converted: ReadonlySet<unknown>;
  readonly notes: Note[];
  /** The first layer that will only take quantized tensors. */
  firstStatic: [path: string, type: string] | null;
  hasStub: boolean;
}

/**
 * What `convert` (or `quantizeDynamic`) would leave float in a model that has its qconfigs, with the reasons: switched off,
 * never reached, no quantized form; and layers that take quantized tensors only where nothing makes any.
 */
export function notesOf(
  model: AnyModule,
  form: 'static' | 'dynamic',
  lookup: PatternLookup,
  patterns: readonly Pattern[] = [],
): Note[] {
  const walk: Walk = {
    form,
    lookup,
    converted: quantizedClasses(patterns),
    notes: [],
    firstStatic: null,
    hasStub: false,
  };
  visit(walk, model, '');
  if (walk.firstStatic && !walk.hasStub) {
    const [path, type] = walk.firstStatic;
    walk.notes.push({
      path,
      type,
      reason: 'no QuantStub in the model: float tensors would reach it',
      fix: 'Wrap the model in QuantWrapper, or call a QuantStub before this layer in forward; additions and concatenations in forward need a FloatFunctional each.',
    });
  }
  return walk.notes;
}

function visit(walk: Walk, module: AnyModule, path: string): void {
  if (module instanceof ObserverBase) return;
  if (module instanceof Quantize) walk.hasStub = true;
  if (walk.converted.has(module.constructor)) return;
  const pattern = walk.lookup(module);
  const inParts = pattern?.custom && module.constructor === pattern.custom.observed;
  if (pattern && !inParts) {
    const form = walk.form === 'static' && isDynamicQConfig(module.qconfig) ? 'dynamic' : walk.form;
    const willSwap =
      module.qconfig && (pattern[form] || (form === 'dynamic' && module.constructor === pattern.qatDynamic));
    if (willSwap || (form === 'static' && module.qconfig && pattern.custom)) {
      noteStatic(walk, module, path, form);
      return;
    }
    if (module.parameters().length) {
      walk.notes.push({ path, type: module.typeName, ...whyFloat(module, pattern, form) });
      return;
    }
  } else if (!pattern && module.ownParameters().length) {
    walk.notes.push({ path, type: module.typeName, ...whyFloat(module, undefined, walk.form) });
  }
  for (const [name, child] of module.namedChildren())
    visit(walk, child, path === '' ? name : `${path}.${name}`);
}

/** Remembers stubs, and the first layer whose static form needs one. */
function noteStatic(walk: Walk, module: AnyModule, path: string, form: 'static' | 'dynamic'): void {
  if (form !== 'static') return;
  if (module instanceof QuantStub) walk.hasStub = true;
  else if (!TAKES_ANYTHING.some((c) => module instanceof c)) walk.firstStatic ??= [path, module.typeName];
}

const TAKES_ANYTHING = [DeQuantStub, FloatFunctional, Embedding, EmbeddingBag] as const;
const BATCH_NORMS = [BatchNorm1d, BatchNorm2d, BatchNorm3d] as const;

function whyFloat(
  module: AnyModule,
  pattern: Pattern | undefined,
  form: 'static' | 'dynamic',
): Pick<Note, 'reason' | 'fix'> {
  if (module.qconfig === null) return { reason: 'its qconfig is null', fix: null };
  if (!module.qconfig) return { reason: 'no qconfig reached it', fix: null };
  const keep = 'set its qconfig to null to keep it float';
  if (BATCH_NORMS.some((c) => module instanceof c)) {
    return {
      reason: `no ${form} form of this class on its own`,
      fix: `Fuse it into the layer before it with fuseModules, or ${keep}.`,
    };
  }
  if (pattern?.dynamic && form === 'static') {
    return {
      reason: 'no static form of this class, only a dynamic one',
      fix: `Give it defaultDynamicQConfig, or ${keep}.`,
    };
  }
  if (pattern?.static && form === 'dynamic') {
    return {
      reason: 'no dynamic form of this class, only a static one',
      fix: `Give it getDefaultQConfig() and stubs around it, or ${keep}.`,
    };
  }
  return {
    reason: 'no quantized form of this class',
    fix: `Describe one in the option patterns, or ${keep}.`,
  };
}
