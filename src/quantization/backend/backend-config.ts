import { formatTable } from '../../core/table.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Pattern } from './pattern.ts';
import {
  type OperatorLookup,
  operatorLookup,
  PATTERNS,
  type PatternLookup,
  patternLookup,
} from './patterns.ts';

/** One way in which a backend computes a pattern; null where there is no weight or bias. Source: `DTypeConfig`. */
export interface DTypeConfig {
  readonly input: DType;
  readonly output: DType;
  readonly weight: DType | null;
  readonly bias: DType | null;
  /** True where inputs come in float and are quantized call by call. */
  readonly isDynamic: boolean;
}

/** One row of a {@link BackendConfig} as plain data. */
export interface BackendConfigRow {
  readonly pattern: string;
  /** Names of the float classes that run one after the other. */
  readonly modules: readonly string[];
  /** Names of the operators that do the same. */
  readonly operators: readonly string[];
  /** The types it computes in. */
  readonly dtypes: readonly DTypeConfig[];
  /** Where graphs take the parameters of the result from; null where they leave it float. */
  readonly output: 'own' | 'shared' | 'kept' | 'fixed' | 'float' | null;
  /** True where the sequence of modules becomes one module. */
  readonly fuses: boolean;
  /** What it becomes: a class, an operator, or itself. */
  readonly quantized: string | null;
  readonly dynamic: string | null;
  readonly qat: string | null;
}

/**
 * What a backend can compute in integers: the rows of its table, in the order they are tried.
 * Source: `torch.ao.quantization.backend_config.BackendConfig`.
 *
 * @example
 * print(getNativeBackendConfig()); // a table of all rows
 * const mine = getNativeBackendConfig().with([myRow]); // mine goes first
 * prepareFx(model, qconfigMapping, [x], { backendConfig: mine });
 */
export class BackendConfig {
  readonly name: string;
  readonly patterns: readonly Pattern[];
  /** The row of a module, by its exact class. */
  readonly patternOf: PatternLookup;
  /** The row of an operator, or of operators that run one after the other. */
  readonly operatorPatternOf: OperatorLookup;

  constructor(name: string, patterns: readonly Pattern[]) {
    this.name = name;
    this.patterns = Object.freeze([...patterns]);
    this.patternOf = patternLookup(patterns, null);
    this.operatorPatternOf = operatorLookup(patterns, null);
    Object.freeze(this);
  }

  /** The same with more rows, which go first. */
  with(patterns: readonly Pattern[]): BackendConfig {
    return patterns.length === 0 ? this : new BackendConfig(this.name, [...patterns, ...this.patterns]);
  }

  /** The rows as plain data. Source: `to_dict`. */
  toRows(): BackendConfigRow[] {
    return this.patterns.map((p) => ({
      pattern: p.name,
      modules: p.sequence.map((c) => c.name),
      operators: p.operator?.names ?? [],
      dtypes: dtypeConfigs(p),
      output: p.fixedOutput ? 'fixed' : (p.output ?? null),
      fuses: p.fuse !== undefined,
      quantized:
        p.static?.name ??
        p.operator?.quantized ??
        (p.output === 'shared' || p.output === 'kept' || p.fixedOutput ? 'itself' : null),
      dynamic: p.dynamic?.name ?? p.operator?.dynamic ?? null,
      qat: p.qat?.name ?? null,
    }));
  }

  /** The rows as a table. */
  toString(): string {
    const titles = ['pattern', 'operators', 'output', 'quantized', 'dynamic', 'qat'];
    return formatTable(
      titles.map((title) => ({ title })),
      this.toRows().map((r) => [
        r.pattern,
        r.operators.join(' + '),
        r.output ?? '',
        r.quantized ?? '',
        r.dynamic ?? '',
        r.qat ?? '',
      ]),
    );
  }
}

/** What follows from the forms of a row: static ones take signed and unsigned activations. */
function dtypeConfigs(p: Pattern): DTypeConfig[] {
  const config = (
    input: DType,
    output: DType,
    weight: DType | null,
    bias: DType | null,
    isDynamic = false,
  ): DTypeConfig => ({ input, output, weight, bias, isDynamic });
  if (p.output === 'float')
    return (['quint8', 'quint4x2'] as const).map((weight) => config('float32', 'float32', weight, null));
  const place = p.operator?.weight;
  const weight = p.weighted || place?.pack ? 'qint8' : place ? 'float32' : null;
  const bias = weight && 'float32';
  const configs = p.output ? (['quint8', 'qint8'] as const).map((x) => config(x, x, weight, bias)) : [];
  if (p.dynamic || p.operator?.dynamic) configs.push(config('quint8', 'float32', 'qint8', 'float32', true));
  if (p.halfWeights) configs.push(config('float16', 'float32', 'float16', 'float32', true));
  return configs;
}

const NATIVE = new BackendConfig('native', PATTERNS);

/** The backend table of the library's own kernels. Source: `get_native_backend_config`. */
export function getNativeBackendConfig(): BackendConfig {
  return NATIVE;
}

/** What options say: another table, the library's own, or rows before it. */
export function backendOf(options: {
  readonly backendConfig?: BackendConfig;
  readonly patterns?: readonly Pattern[];
}): BackendConfig {
  return (options.backendConfig ?? NATIVE).with(options.patterns ?? []);
}
