import type { BackendConfig } from '../backend/backend-config.ts';

/** What a backend table fuses into calls before it, and what stands for single operators. */
export interface Parts {
  /** Operators that are fused into calls before them. */
  readonly operators: ReadonlySet<string>;
  /** Classes of modules that are fused behind others and do no single operator's work: normalizations. */
  readonly modules: ReadonlySet<unknown>;
}

const known = new WeakMap<BackendConfig, Parts>();

/** The parts that the rows of a table name. */
export function partsOf(backend: BackendConfig): Parts {
  let parts = known.get(backend);
  if (!parts) {
    parts = findParts(backend);
    known.set(backend, parts);
  }
  return parts;
}

function findParts({ patterns }: BackendConfig): Parts {
  const behind = new Set<unknown>(patterns.flatMap((p) => (p.fuse ? p.sequence.slice(1) : [])));
  const operators = new Set<string>(patterns.flatMap((p) => p.operator?.names.slice(1) ?? []));
  const modules = new Set(behind);
  for (const { operator, sequence, output } of patterns) {
    if (!operator || sequence.length !== 1) continue;
    modules.delete(sequence[0]);
    // Others are recorded by themselves, or are of known range and never fused.
    if (behind.has(sequence[0]) && (output === 'shared' || output === 'kept'))
      operators.add(operator.names[0]);
  }
  return { operators, modules };
}
