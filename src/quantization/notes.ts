import { QuantizationError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';

/** Something about one module that quantization leaves as it is, and why. */
export interface Note {
  readonly path: string;
  readonly type: string;
  readonly reason: string;
  /** What to do about it; null where the user asked for it. */
  readonly fix: string | null;
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

/** The reason that the last preparation or conversion gave for leaving a module as it is. */
export function recordedReason(module: AnyModule): string | undefined {
  return (module as unknown as Record<symbol, Note | undefined>)[NOTE]?.reason;
}
