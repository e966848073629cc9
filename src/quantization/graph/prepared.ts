import { QuantizationError } from '../../core/errors.ts';
import type { GraphModule } from '../../fx/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { FloatReason } from './annotate.ts';
import type { PrepareCustomConfig } from './custom-config.ts';

/** What `prepare` leaves for `convert`, by the names of nodes, which copies of a graph keep. */
export interface Prepared {
  /** Nodes that are to be quantized. */
  readonly quantized: Set<string>;
  /** Nodes that have a qconfig, whether or not they can be quantized. */
  readonly configured: Set<string>;
  /** Nodes that stay float, and why. */
  readonly float: Map<string, FloatReason>;
  /** Inputs that come in quantized. */
  readonly given: Set<string>;
  /** Nodes whose modules are quantized on their own. */
  readonly standalone: Set<string>;
  /** Nodes that join tensors into one with the observer of the first of them; empty before the reference graph. */
  readonly joined: ReadonlySet<string>;
  readonly custom: PrepareCustomConfig;
  /** The table that decided. */
  readonly backend: BackendConfig;
  /** Class of every module of the model before it was fused, by path. */
  readonly types: ReadonlyMap<string, unknown>;
}

const PREPARED = Symbol('prepared');

/** Leaves {@link Prepared} with a graph module; copies of it have it too. */
export function setPrepared(module: GraphModule<any, any>, prepared: Prepared): void {
  Object.defineProperty(module, PREPARED, {
    value: Object.freeze(prepared),
    writable: true,
    configurable: true,
    enumerable: false,
  });
}

/** What was left with a module; undefined for one that was never prepared. */
export function preparedOf(module: AnyModule): Prepared | undefined {
  return (module as unknown as Record<symbol, Prepared | undefined>)[PREPARED];
}

/**
 * What was left with a module.
 *
 * @throws {@link QuantizationError} where it was not prepared.
 */
export function requirePrepared(module: GraphModule<any, any>, fn: string): Prepared {
  const prepared = preparedOf(module);
  if (prepared) return prepared;
  throw new QuantizationError({
    fn,
    argument: 'model',
    expected: 'a graph that prepareFx, prepareQatFx or preparePt2e made',
    got: module.typeName,
    fix: 'Call prepareFx(model, qconfigMapping, exampleInputs), run calibration data, then this.',
  });
}
