import { QuantizationError } from '../../core/errors.ts';
import { GraphModule, type Node } from '../../fx/index.ts';
import type { AnyModule, Module } from '../../nn/module.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type BackendConfig, backendOf } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import { attachObservers } from '../observation.ts';
import { propagateQConfig } from '../propagate-qconfig.ts';
import type { QConfig } from '../qconfig.ts';
import { QConfigMapping } from '../qconfig-mapping.ts';
import { swap } from '../swap.ts';
import { annotateGraph, type Decisions, standaloneConfig } from './annotate.ts';
import { PrepareCustomConfig } from './custom-config.ts';
import { followMode } from './follow-mode.ts';
import { fuseGraph } from './fuse.ts';
import { insertObservers } from './insert.ts';
import { moduleOf } from './match.ts';
import { nodeQConfigs } from './node-qconfigs.ts';
import { setPrepared } from './prepared.ts';
import { refuseFloat } from './strict.ts';
import { type TracedModel, traceForQuantization } from './trace.ts';
import { TrainingGraphModule } from './training.ts';

/** Options of {@link prepareFx} and {@link prepareQatFx}. */
export interface PrepareFxOptions {
  readonly prepareCustomConfig?: PrepareCustomConfig;
  /** Rows of your own, which go before those of the backend table. */
  readonly patterns?: readonly Pattern[];
  /** Another table than the library's own. */
  readonly backendConfig?: BackendConfig;
  /**
   * Throw where something that has a qconfig would stay float for want of a quantized form. Without it
   * `suite.coverage` tells.
   */
  readonly strict?: boolean;
  /** Which dimension of the inputs counts samples; 0. */
  readonly batchDim?: number;
}

/** Options of {@link fuseFx}. */
export interface FuseFxOptions {
  /** Fields of the model that the result has too. */
  readonly preservedAttributes?: readonly string[];
  readonly patterns?: readonly Pattern[];
  readonly backendConfig?: BackendConfig;
  readonly batchDim?: number;
}

/**
 * Traces a model in evaluation mode and fuses convolutions, linear layers, batch normalizations and relus wherever they
 * follow one another, relus as modules or as operators. The model stays as it is.
 * Source: `torch.ao.quantization.quantize_fx.fuse_fx`.
 *
 * @throws {@link QuantizationError} where a batch normalization is in training mode.
 * @example
 * const fused = fuseFx(model.eval(), [rand([1, 3, 224, 224])]);
 */
export function fuseFx<Args extends unknown[] = [Tensor], Out = Tensor>(
  model: Module<Args, Out>,
  exampleInputs: NoInfer<Args>,
  options: FuseFxOptions = {},
): GraphModule<Args, Out> {
  const custom = new PrepareCustomConfig().setPreservedAttributes(options.preservedAttributes ?? []);
  const { module } = traceForQuantization(model, exampleInputs, {
    fn: 'fuseFx',
    custom,
    batchDim: options.batchDim ?? 0,
  });
  fuseGraph(module, model.training, 'fuseFx', backendOf(options));
  return module as GraphModule<Args, Out>;
}

/**
 * Prepares a model for static (and, by qconfig, dynamic) quantization without touching its code: traces it on example
 * inputs, fuses, decides what every call needs, and places observers. Additions, products, concatenations and functional
 * activations are quantized like layers; stubs are not needed. Run representative data through the result, then
 * {@link convertFx} it. The model stays as it is.
 *
 * Where observers go, and which share, is PyTorch's `prepare_fx` node by node. Calls whose qconfig is null stay float.
 *
 * Source: `torch.ao.quantization.quantize_fx.prepare_fx`.
 *
 * @throws {@link QuantizationError} where the model or a part of it is in training mode.
 * @throws {@link TraceError} where the model cannot be traced, naming module and line: make that module non-traceable, or
 *   quantize its children one by one.
 * @example
 * const prepared = prepareFx(resnet18().eval(), getDefaultQConfigMapping(), [rand([1, 3, 224, 224])]);
 * noGrad(() => { for (const x of samples) prepared(x); });
 * const int8 = convertFx(prepared);
 */
export function prepareFx<Args extends unknown[] = [Tensor], Out = Tensor>(
  model: Module<Args, Out>,
  qconfigMapping: QConfigMapping,
  exampleInputs: NoInfer<Args>,
  options: PrepareFxOptions = {},
): GraphModule<Args, Out> {
  requireEvaluation(model, 'prepareFx');
  return prepareGraph(model, qconfigMapping, exampleInputs, options, false, 'prepareFx') as GraphModule<
    Args,
    Out
  >;
}

/**
 * {@link prepareFx} for training through quantization: layers become their training forms and observers fake-quantizes. The
 * result has parameters of its own (give those to the optimizer). Train it, call `eval()`, then {@link convertFx} it. In
 * evaluation mode it predicts what that gives to the integer, while all fake-quantizes are switched on; modules whose quantized
 * class only the `convertCustomConfig` of `convertFx` will name are simulated.
 * Source: `torch.ao.quantization.quantize_fx.prepare_qat_fx`.
 *
 * @throws {@link QuantizationError} where the model is in evaluation mode.
 * @example
 * const prepared = prepareQatFx(model.train(), getDefaultQatQConfigMapping(), [x]);
 * trainOneEpoch(prepared, new optim.SGD(prepared.parameters(), { lr: 1e-3 }));
 * const int8 = convertFx(prepared.eval());
 */
export function prepareQatFx<Args extends unknown[] = [Tensor], Out = Tensor>(
  model: Module<Args, Out>,
  qconfigMapping: QConfigMapping,
  exampleInputs: NoInfer<Args>,
  options: PrepareFxOptions = {},
): GraphModule<Args, Out> {
  if (!model.training) {
    throw new QuantizationError({
      fn: 'prepareQatFx',
      argument: 'model',
      expected: 'a model in training mode',
      got: `${model.typeName} in evaluation mode`,
      fix: 'Call model.train() first, or use prepareFx for quantization without training.',
    });
  }
  return prepareGraph(model, qconfigMapping, exampleInputs, options, true, 'prepareQatFx') as GraphModule<
    Args,
    Out
  >;
}

/** What both do, and standalone modules with them. */
function prepareGraph(
  model: AnyModule,
  mapping: QConfigMapping,
  exampleInputs: readonly unknown[],
  options: PrepareFxOptions,
  training: boolean,
  fn: string,
): GraphModule<any, any> {
  const custom = options.prepareCustomConfig ?? new PrepareCustomConfig();
  const into = training ? TrainingGraphModule : GraphModule;
  const batchDim = options.batchDim ?? 0;
  const traced = traceForQuantization(model, exampleInputs, { fn, custom, batchDim, into });
  if (training) followMode(traced.module, fn);
  const backend = backendOf(options);
  fuseGraph(traced.module, training, fn, backend);
  const qconfigs = configure(traced, mapping, training, backend);
  prepareStandalone(traced.module, qconfigs, custom, options, training, fn);
  const decisions = annotateGraph(traced.module, { qconfigs, backend, custom, training });
  if (options.strict) refuseFloat(fn, decisions.float);
  const configured = [...qconfigs].flatMap(([node, qconfig]) => (qconfig ? [node] : []));
  finish(traced.module, decisions, { custom, backend, types: traced.types, configured });
  return traced.module;
}

/** Finds the qconfig of every call, and leaves those of modules with them for `convert`. */
function configure(
  { module, types }: TracedModel,
  mapping: QConfigMapping,
  training: boolean,
  backend: BackendConfig,
): Map<Node, QConfig | null> {
  const qconfigs = nodeQConfigs(module, types, mapping, backend);
  for (const [node, qconfig] of qconfigs) {
    const called = moduleOf(module, node);
    if (called) called.qconfig = qconfig;
  }
  if (training) swap(module, '', 'qat', backend.patternOf);
  return qconfigs;
}

/** What {@link finish} goes by. */
export interface FinishOptions {
  readonly custom: PrepareCustomConfig;
  readonly backend: BackendConfig;
  /** Class of every module before it was fused, by path. */
  readonly types?: ReadonlyMap<string, unknown>;
  /** Nodes that have a qconfig; those that were annotated where not given. */
  readonly configured?: Iterable<Node>;
}

/** Places observers as decided, takes apart what is observed in parts, and leaves what `convert` needs. */
export function finish(
  module: GraphModule<any, any>,
  { annotations, float }: Decisions,
  { custom, backend, types = new Map(), configured = annotations.keys() }: FinishOptions,
): void {
  const given = new Set(
    custom.inputQuantizedIndexes.flatMap((i) => {
      const input = module.graph.inputs[i];
      return input !== null && typeof input === 'object' && 'op' in input ? [input as Node] : [];
    }),
  );
  insertObservers(module, annotations, new Set([...given, ...madeInside(module, custom)]));
  for (const node of annotations.keys()) {
    const called = moduleOf(module, node);
    const observed = called && custom.floatToObservedMapping.get(called.constructor as never);
    if (!called || !observed) continue;
    const made = observed.fromFloat(called);
    if (made.qconfig === undefined) made.qconfig = called.qconfig;
    propagateQConfig(made);
    attachObservers(made, backend.patternOf);
    module.setSubmodule(node.targetName, made);
  }
  setPrepared(module, {
    quantized: new Set([...annotations.keys()].map((node) => node.name)),
    configured: new Set([...configured].map((node) => node.name)),
    float: new Map([...float].map(([node, reason]) => [node.name, reason])),
    given: new Set([...given].map((node) => node.name)),
    standalone: new Set(
      module.graph.nodes.filter((node) => standaloneConfig(module, node, custom)).map((node) => node.name),
    ),
    joined: new Set(),
    custom,
    backend,
    types,
  });
}

/** What is taken out of the results of modules that are observed in parts: those observe it themselves. */
function madeInside(owner: GraphModule<any, any>, custom: PrepareCustomConfig): Node[] {
  const found = new Set<Node>();
  for (const node of owner.graph.nodes) {
    const [from] = node.args;
    const isItem = node.target === 'getitem' && from !== undefined;
    const called = isItem ? moduleOf(owner, from as Node) : undefined;
    if (
      isItem &&
      (found.has(from as Node) || (called && custom.floatToObservedMapping.has(called.constructor as never)))
    )
      found.add(node);
  }
  return [...found];
}

/** Prepares each standalone module on its own and puts the result in its place. */
function prepareStandalone(
  owner: GraphModule<any, any>,
  qconfigs: ReadonlyMap<Node, QConfig | null>,
  custom: PrepareCustomConfig,
  options: PrepareFxOptions,
  training: boolean,
  fn: string,
): void {
  for (const node of owner.graph.nodes) {
    const module = moduleOf(owner, node);
    if (!module) continue;
    const config = standaloneConfig(owner, node, custom);
    if (!config) continue;
    const mapping = config.qconfigMapping ?? new QConfigMapping().setGlobal(qconfigs.get(node) ?? null);
    const own = { ...options, prepareCustomConfig: config.prepareCustomConfig };
    owner.setSubmodule(
      node.targetName,
      prepareGraph(module, mapping, config.exampleInputs, own, training, fn),
    );
  }
}

function requireEvaluation(model: AnyModule, fn: string): void {
  const found = model.namedModules().find(([, module]) => module.training);
  if (!found) return;
  const [path, module] = found;
  const error = new QuantizationError({
    fn,
    argument: 'model',
    expected: 'a model in evaluation mode, every part of it',
    got:
      path === '' ? `${module.typeName} in training mode` : `${path} (${module.typeName}) in training mode`,
    fix: 'Call model.eval() first; prepareQatFx is for models in training.',
  });
  error.locate(path, module.typeName);
  throw error;
}
