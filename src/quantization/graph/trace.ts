import { ArgumentError } from '../../core/errors.ts';
import { GraphModule } from '../../fx/index.ts';
import { isLeafModule } from '../../fx/leaf.ts';
import { traceGraph } from '../../fx/trace-graph.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { FloatFunctional, FXFloatFunctional } from '../float-functional.ts';
import { DeQuantStub, QuantStub } from '../stubs.ts';
import type { PrepareCustomConfig } from './custom-config.ts';

/** A model as a graph, and what its modules were before they became parts of it. */
export interface TracedModel {
  readonly module: GraphModule<any, any>;
  /** Class of every module of the model by path; `''` is the model itself. */
  readonly types: ReadonlyMap<string, unknown>;
}

/** What tracing for quantization takes. */
export interface TraceForQuantization {
  readonly fn: string;
  readonly custom: PrepareCustomConfig;
  readonly batchDim: number;
  /** What the graph is to become. */
  readonly into?: new (
    ...parts: ConstructorParameters<typeof GraphModule>
  ) => GraphModule<any, any>;
}

/**
 * Traces a copy of a model. Stubs vanish, for graphs need none; the operations of a FloatFunctional become operators;
 * standalone, non-traceable and custom modules stay one node each.
 */
export function traceForQuantization(
  model: AnyModule,
  exampleInputs: readonly unknown[],
  { fn, custom, batchDim, into = GraphModule }: TraceForQuantization,
): TracedModel {
  const root = deepCopy(model);
  requireNames(root, fn, custom);
  for (const module of root.modules()) {
    for (const [name, child] of module.namedChildren()) {
      if (child instanceof FloatFunctional) module.addModule(name, new FXFloatFunctional());
    }
  }
  const names = new Set([...custom.standaloneModuleNames.keys(), ...custom.nonTraceableModuleNames]);
  const classes = new Set<unknown>([
    ...custom.standaloneModuleClasses.keys(),
    ...custom.nonTraceableModuleClasses,
    ...custom.floatToObservedMapping.keys(),
  ]);
  const isLeaf = (module: AnyModule, path: string): boolean => {
    if (names.has(path) || classes.has(module.constructor)) return true;
    return isLeafModule(module) && !(module instanceof QuantStub || module instanceof DeQuantStub);
  };
  const { graph, constants } = traceGraph(root, exampleInputs, {
    fn,
    isLeaf,
    keepWrapped: true,
    batchDim,
    leafAdvice:
      'keep the module float with PrepareCustomConfig.setNonTraceableModuleNames, quantize the parts of the model one by one or with prepareDbr',
  });
  const module = new into(root, graph, { constants });
  for (const name of custom.preservedAttributes) preserve(root, module, name, fn);
  return { module, types: new Map(root.namedModules().map(([path, m]) => [path, m.constructor])) };
}

/** Gives `to` the field that `from` has under this name. */
export function preserve(from: AnyModule, to: AnyModule, name: string, fn: string): void {
  if (!(name in from)) {
    throw new ArgumentError({
      fn,
      argument: 'preservedAttributes',
      expected: `fields of ${from.typeName}`,
      got: `'${name}'`,
    });
  }
  (to as unknown as Record<string, unknown>)[name] = (from as unknown as Record<string, unknown>)[name];
}

function requireNames(root: AnyModule, fn: string, custom: PrepareCustomConfig): void {
  const paths = new Set(root.namedModules().map(([path]) => path));
  const named = [...custom.standaloneModuleNames.keys(), ...custom.nonTraceableModuleNames];
  const unknown = named.filter((name) => !paths.has(name));
  if (unknown.length === 0) return;
  throw new ArgumentError({
    fn,
    argument: 'prepareCustomConfig',
    expected: `paths of modules inside ${root.typeName}`,
    got: unknown.map((name) => `'${name}'`).join(', '),
    fix: 'model.namedModules() lists the paths.',
  });
}
