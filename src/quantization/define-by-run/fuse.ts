import { deepCopy } from '../../nn/deep-copy.ts';
import { ReLU } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import { fusionOf } from '../backend/patterns.ts';
import type { Record } from './record.ts';
import type { SeenOp } from './seen-op.ts';

/** A run of calls that one fused call takes the place of. */
export interface Fusion {
  readonly ops: readonly SeenOp[];
  /** The module that computes all of them; null where an operator does. */
  readonly module: AnyModule | null;
}

/** What {@link findFusions} looks things up in. */
export interface FusionSources {
  readonly record: Record;
  readonly backend: BackendConfig;
  readonly moduleAt: (path: string) => AnyModule;
  /** True where normalizations are to be trained on, and not folded. */
  readonly training: boolean;
}

/**
 * The runs of calls within one `forward` that the backend table fuses, longest first: each call's result goes to the next one
 * and nowhere else, whenever the module runs. A module that is called in several places is fused in none of them.
 * Source: `torch.ao.quantization._dbr.fusion.get_module_fusion_fqns`.
 */
export function findFusions(sources: FusionSources): Fusion[] {
  const called = sources.record.ops;
  const found: Fusion[] = [];
  const fused = new Set<SeenOp>();
  const isShared = (op: SeenOp): boolean =>
    op.kind === 'module' && called.some((other) => other !== op && other.matches(op));
  for (const head of called) {
    if (fused.has(head) || !head.row || isShared(head)) continue;
    const chain = chainFrom(head, sources.record);
    for (let length = chain.length; length > 1; length--) {
      const fusion = fusionFor(chain.slice(0, length), sources);
      if (!fusion) continue;
      found.push(fusion);
      for (const op of fusion.ops) fused.add(op);
      break;
    }
  }
  return found;
}

/** The calls that a result goes through one by one, from `head` on. */
function chainFrom(head: SeenOp, { uses, feeds }: Record): SeenOp[] {
  const chain = [head];
  for (let last = head; ; ) {
    const use = uses.get(last);
    if (!use || use.elsewhere || use.by.size !== 1) return chain;
    const [next] = use.by;
    const from = feeds.get(next);
    if (next.owner !== last.owner || next.index <= last.index || from?.size !== 1 || !from.has(last))
      return chain;
    chain.push(next);
    last = next;
  }
}

function fusionFor(ops: readonly SeenOp[], sources: FusionSources): Fusion | null {
  if (ops[0].kind === 'operator') {
    if (ops.some((op) => op.kind === 'module')) return null;
    return sources.backend.operatorPatternOf(...ops.map((op) => op.target)) ? { ops, module: null } : null;
  }
  const modules = ops.map((op) => moduleFor(op, sources));
  if (modules.some((m) => m === null)) return null;
  const all = modules as AnyModule[];
  const row = fusionOf(all, sources.backend.patterns, []);
  const fuse = sources.training ? (row?.fuseQat ?? row?.fuse) : row?.fuse;
  return fuse ? { ops, module: fuse(...all) } : null;
}

/**
 * The module that is called; for an operator that rows fuse behind layers, a copy of the module that stands for it, which
 * stays where it is. A relu needs none: it has no settings.
 */
function moduleFor(op: SeenOp, { moduleAt, backend }: FusionSources): AnyModule | null {
  if (op.kind === 'module') return moduleAt(op.target);
  const type = backend.operatorPatternOf(op.target)?.sequence[0];
  const isPart = backend.patterns.some((p) => p.fuse && p.sequence.some((c, i) => i > 0 && c === type));
  if (!type || !isPart) return null;
  if (type === ReLU) return new ReLU();
  const module = op.within === null ? null : moduleAt(op.within);
  return module?.constructor === type ? deepCopy(module) : null;
}
