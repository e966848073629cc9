import type { AnyModule } from '../../nn/module.ts';
import { floatNote } from './meet-modules.ts';
import type { Record } from './record.ts';
import { type AutoQuantizationState, type CallNote, stateOf } from './state.ts';

/** What stays float of a recorded model, and why: layers, quantizable calls, and operators between quantized ones. */
export function notesOf(root: AnyModule, state: AutoQuantizationState, record: Record): CallNote[] {
  const notes: CallNote[] = [];
  const { ops } = record;
  for (const [path, meeting] of state.meetings) {
    const module = root.getSubmodule(path);
    if (meeting === 'float') {
      const note = floatNote(path, module, state.backend);
      if (note) notes.push({ kind: 'module', ...note });
    }
    if (meeting === 'recorded' && !ops.some((op) => op.kind === 'module' && op.target === path)) {
      const reason = 'not called with the example inputs';
      const fix = 'Give prepareDbr inputs that lead through it (moreExamples).';
      notes.push({ kind: 'module', path, type: module.typeName, reason, fix });
    }
  }
  for (const { owner, kind, target, row, reason, fix } of ops)
    if (kind === 'operator' && !row) notes.push({ kind, path: owner, type: target, reason, fix });
  for (const note of record.floats.values()) notes.push({ kind: 'operator', ...note });
  return notes;
}

/** One operator that a model under define-by-run quantization calls, as `suite.coverage` lists it. */
export interface OperatorRow {
  /** Path of the module that calls it. */
  readonly path: string;
  readonly type: string;
  readonly status: 'quantized' | 'observed' | 'float';
  readonly reason: string;
}

/** What became of the operators that were recorded: fused ones under the names of all parts (`add + relu`). */
export function recordedOperators(model: AnyModule): OperatorRow[] {
  const state = stateOf(model);
  if (!state) return [];
  const status = state.phase === 'converted' ? 'quantized' : 'observed';
  const rows: OperatorRow[] = [];
  for (const op of state.ops) {
    if (op.kind === 'module' || op.isPart || !op.row) continue;
    let type = op.target;
    for (let part = op.next; part; part = part.next) type += ` + ${part.target}`;
    rows.push({ path: op.owner, type, status, reason: '' });
  }
  for (const { kind, path, type, reason } of state.notes)
    if (kind === 'operator') rows.push({ path, type, status: 'float', reason });
  return rows;
}
