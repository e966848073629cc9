import { QuantizationError } from '../../core/errors.ts';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, Embedding, EmbeddingBag } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { Pattern } from '../backend/pattern.ts';
import { type PatternLookup, quantizedClasses } from '../backend/patterns.ts';
import { FloatFunctional } from '../float-functional.ts';
import { Quantize } from '../layers/quantized/index.ts';
import { ObserverBase } from '../observers/observer.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';
import { isDynamicQConfig } from './qconfig-support.ts';

/** Something about one module that quantization leaves as it is, and why. */
export interface Note {
  readonly path: string;
  readonly type: string;
  readonly reason: string;
  /** What to do about it; null where the user asked for it. */
  readonly fix: string | null;
}

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

/**
 * Throws where a note is not what the user asked for: what `strict` means.
 *
 * @throws {@link QuantizationError} with every such module, its reason and the fix; `modulePath` is the first one's.
 */
export function refuseNotes(fn: string, notes: readonly Note[]): void {
  const open = notes.filter((n) => n.fix !== null);
  if (open.length === 0) return;
  const error = new QuantizationError({
    fn,
    argument: 'model',
    expected: 'every layer that a qconfig reached to be quantized (strict)',
    got: open.map((n) => `${n.path || '(root)'}: ${n.type}: ${n.reason}`).join('; '),
    fix: [...new Set(open.map((n) => n.fix))].join(' '),
  });
  error.locate(open[0].path, open[0].type);
  throw error;
}

const NOTE = Symbol('why this module was left as it is');

/** Writes each note down on its module, so that `coverage` can tell after the qconfigs are gone. */
export function recordNotes(model: AnyModule, notes: readonly Note[]): void {
  for (const note of notes) {
    Object.defineProperty(model.getSubmodule(note.path), NOTE, {
      value: note,
      writable: true,
      configurable: true,
    });
  }
}

/** The reason that the last `prepare`, `convert` or `quantizeDynamic` gave for leaving a module as it is. */
export function recordedReason(module: AnyModule): string | undefined {
  return (module as unknown as Record<symbol, Note | undefined>)[NOTE]?.reason;
}
