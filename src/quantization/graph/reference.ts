import { locating } from '../../core/errors.ts';
import { type GraphModule, Node, nodesIn } from '../../fx/index.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Parameter } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { quantizePerTensorDynamic } from '../../ops/functions/quantize.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { type DType, isQuantizedDType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import { firstLayer, layerParameters, observeWeight, quantizeWeight } from '../layers/weights.ts';
import { appliedQParams, observedQParams } from '../observed-qparams.ts';
import type { ObserverBase } from '../observers/observer.ts';
import type { PlaceholderObserver } from '../observers/passive.ts';
import { isPerChannelScheme } from '../observers/uniform.ts';
import { swap } from '../swap.ts';
import { quantizedOutputs } from './annotate.ts';
import type { ConvertCustomConfig } from './custom-config.ts';
import { observerOf } from './insert.ts';
import { moduleOf } from './match.ts';
import { type Prepared, requirePrepared, setPrepared } from './prepared.ts';
import { QuantizedGraphModule } from './quantized-graph.ts';

/** The name under which a reference layer keeps what quantized its weight. */
export const WEIGHT_OBSERVER = 'weight_observer';

/** What {@link toReference} goes by. */
export interface ReferenceOptions {
  readonly fn: string;
  readonly backend: BackendConfig;
  readonly custom: ConvertCustomConfig;
  /** Nodes that shall stay float after all. */
  readonly skip: ReadonlySet<string>;
  /** What becomes of standalone modules. */
  readonly standalone: (module: GraphModule<any, any>) => AnyModule;
}

/**
 * Turns a calibrated graph into the reference of what its quantized form means: the same float operators, between nodes
 * that quantize and dequantize; weights are rounded to what their int8 form holds.
 *
 * ```
 * x ──► obs0 ──► conv ──► obs1 ──►
 * x ──► quantizePerTensor ──► dequantize ──► conv (rounded) ──► quantizePerTensor ──► dequantize ──►
 * ```
 *
 * Source: `torch.ao.quantization.fx.convert`.
 */
export function toReference(
  observed: GraphModule<any, any>,
  { fn, backend, custom, skip, standalone }: ReferenceOptions,
): QuantizedGraphModule<any, any> {
  const prepared = requirePrepared(observed, fn);
  const copy = deepCopy(observed);
  const owner = new QuantizedGraphModule<any, any>(copy, copy.graph, { className: observed.typeName });
  const { graph } = owner;
  const quantized = new Set([...prepared.quantized].filter((name) => !skip.has(name)));
  const inside = new Set<Node>();
  for (const node of [...graph.nodes]) {
    if (prepared.given.has(node.name)) dequantizeAfter(owner, node);
    const module = moduleOf(owner, node);
    if (!module) continue;
    const observer = observerOf(owner, node);
    if (observer) {
      const [source] = node.args as readonly [Node];
      if (inside.has(source)) dropObserver(node, source);
      else replaceObserver(owner, node, observer, prepared, skip);
    } else if (prepared.standalone.has(node.name)) {
      convertStandalone(owner, node, standalone);
    } else if (quantized.has(node.name)) {
      if (becomesCustom(owner, node, custom, backend)) inside.add(node);
      else locating(node.targetName, module.typeName, () => roundWeights(owner, node, module, backend));
    }
  }
  keepOutputsQuantized(owner, prepared);
  graph.eliminateDeadCode();
  owner.deleteUnusedSubmodules();
  graph.lint(owner);
  setPrepared(owner, { ...prepared, quantized, joined: joinedAlike(observed) });
  return owner;
}

/** Names of the nodes that join tensors into one with the observer of the first. */
function joinedAlike(observed: GraphModule<any, any>): Set<string> {
  const alike = observed.graph.nodes.filter((node) => {
    const [parts] = node.args;
    const [user] = node.users;
    if (!Array.isArray(parts) || node.users.size !== 1) return false;
    const observer = observerOf(observed, user);
    return observer !== undefined && observer === observerOf(observed, parts[0] as Node);
  });
  return new Set(alike.map((node) => node.name));
}

/** Puts `quantize` and `dequantize` in the place of an observer; one that measures nothing just goes. */
function replaceObserver(
  owner: QuantizedGraphModule<any, any>,
  node: Node,
  observer: ObserverBase,
  prepared: Prepared,
  skip: ReadonlySet<string>,
): void {
  const { graph } = owner;
  const [source] = node.args as readonly [Node];
  const around = [source, ...node.users];
  const switchedOff =
    around.some((n) => skip.has(n.name)) &&
    around.every((n) => skip.has(n.name) || !prepared.quantized.has(n.name));
  const isHalf = halfDType(observer) === 'float16';
  // Products with weights in half precision take activations as they are.
  if (switchedOff || (observer.isDynamic ? isHalf : !isHalf && !isQuantizedDType(observer.dtype))) {
    dropObserver(node, source);
    return;
  }
  if (isHalf) {
    const rounded = graph.insertingBefore(node, () =>
      graph.callFunction('to', [graph.callFunction('to', [source, 'float16']), 'float32']),
    );
    Object.assign(rounded.meta, source.meta);
    node.replaceAllUsesWith(rounded);
    graph.eraseNode(node);
    return;
  }
  // A weight is there to be seen without calibration. Source: `run_weight_observers`.
  if (source.op === 'get_attr' && !observer.isDynamic && !observer.hasObserved())
    noGrad(() => observer(owner.constantOf(source) as Tensor));
  const result = graph.insertingBefore(node, () => {
    const q = quantizeNode(owner, node, source, observer, prepared);
    return graph.callFunction('dequantize', [q]);
  });
  Object.assign(result.meta, source.meta);
  Object.assign((result.args[0] as Node).meta, { origin: node.name });
  node.replaceAllUsesWith(result);
  graph.eraseNode(node);
}

/** The type that an observer's tensors are rounded to: call by call, or once. */
function halfDType(observer: ObserverBase): DType {
  return (observer.isDynamic && (observer as PlaceholderObserver).computeDtype) || observer.dtype;
}

/** The tensor that was rounded to half precision on its way into a node; undefined where none was. */
export function halvedBehind(node: unknown): Node | undefined {
  if (!(node instanceof Node) || node.target !== 'to' || node.args[1] !== 'float32') return undefined;
  const [half] = node.args;
  if (!(half instanceof Node) || half.target !== 'to' || half.args[1] !== 'float16') return undefined;
  const [source] = half.args;
  return source instanceof Node ? source : undefined;
}

function quantizeNode(
  owner: QuantizedGraphModule<any, any>,
  node: Node,
  source: Node,
  observer: ObserverBase,
  prepared: Prepared,
): Node {
  const { graph } = owner;
  if (observer.isDynamic) {
    const dtype = (observer as PlaceholderObserver).computeDtype ?? observer.dtype;
    return graph.callFunction(quantizePerTensorDynamic, [source, dtype]);
  }
  const base = attributeBase(node, source, prepared);
  if (isPerChannelScheme(observer.qscheme)) {
    const { scale, zeroPoint } = appliedQParams(observer);
    const places = [
      owner.addTensor(`${base}_scale_`, scale),
      owner.addTensor(`${base}_zero_point_`, zeroPoint),
    ].map((name) => graph.getAttr(name));
    return graph.callFunction('quantizePerChannel', [source, ...places, observer.chAxis, observer.dtype]);
  }
  const { scale, zeroPoint, dtype } = locating(source.targetName, observer.typeName, () =>
    observedQParams(observer, 'convertFx'),
  );
  const places = [
    owner.addNumber(`${base}_scale_`, scale),
    owner.addNumber(`${base}_zero_point_`, zeroPoint),
  ];
  const nodes = places.map((name) => graph.getAttr(name));
  const q = graph.callFunction('quantizePerTensor', [source, ...nodes, dtype]);
  q.meta.shape = source.meta.shape;
  q.meta.dtype = dtype;
  return q;
}

/**
 * How the numbers of a place are called: by the module that makes the tensor, or (`_input`) by the one that takes it where
 * the other has no qconfig. Source: `torch.ao.quantization.fx.convert.get_module_path_and_prefix`.
 */
function attributeBase(node: Node, source: Node, prepared: Prepared): string {
  const isInput = !prepared.configured.has(source.name);
  const users = [...node.users];
  const named = isInput ? (users.find((user) => user.target === 'linear') ?? users[0] ?? source) : source;
  const path = named.op === 'call_module' ? named.targetName : (named.meta.modulePath ?? '');
  return path.replaceAll('.', '_') + (isInput ? '_input' : '');
}

function dropObserver(node: Node, source: Node): void {
  node.replaceAllUsesWith(source);
  node.graph.eraseNode(node);
}

function dequantizeAfter(owner: GraphModule<any, any>, node: Node): void {
  const { graph } = owner;
  const users = [...node.users];
  const dq = graph.insertingAfter(node, () => graph.callFunction('dequantize', [node]));
  Object.assign(dq.meta, node.meta);
  for (const user of users) user.replaceInputWith(node, dq);
}

/** The tensor behind a dequantize node; undefined for other nodes. */
export function quantizedBehind(node: unknown): Node | undefined {
  if (!(node instanceof Node) || node.target !== 'dequantize') return undefined;
  const [source] = node.args;
  return source instanceof Node ? source : undefined;
}

/**
 * Makes a node's layer the float layer whose weight is rounded, once: a layer that is called twice is rounded at the
 * first call.
 */
function roundWeights(
  owner: GraphModule<any, any>,
  node: Node,
  module: AnyModule,
  backend: BackendConfig,
): void {
  const row = backend.patternOf(module);
  if (!row?.weighted || WEIGHT_OBSERVER in firstLayer(module)) return;
  owner.setSubmodule(node.targetName, referenceLayer(module));
}

/** A float layer with its weight rounded as the weight observer says. */
function referenceLayer(module: AnyModule): AnyModule {
  const fn = 'convertToReferenceFx';
  const { weight, bias } = layerParameters(module);
  const observer = observeWeight(module, weight, fn);
  const isTrained = 'toFloat' in module;
  const float = isTrained ? (module as unknown as { toFloat(): AnyModule }).toFloat() : module;
  const layer = firstLayer(float) as AnyModule & { weight: Parameter; bias: Parameter | null };
  if (isQuantizedDType(observer.dtype) && observer.dtype !== 'quint4x2') {
    const rounded = noGrad(() => dispatch('dequantize', quantizeWeight(weight, observer, fn)));
    layer.weight = new Parameter(rounded, false);
  } else if (observer.dtype === 'float16') {
    const half = noGrad(() => dispatch('to', dispatch('to', weight, 'float16'), 'float32'));
    layer.weight = new Parameter(half, false);
  } else layer.weight = new Parameter(weight, false);
  if (bias && isTrained) layer.bias = new Parameter(bias, false);
  layer.addModule(WEIGHT_OBSERVER, observer);
  float.qconfig = module.qconfig;
  float.train(module.training);
  if (float !== module) float.adoptHooks(module);
  return float;
}

/** Converts a module that was observed in parts; it takes and gives quantized tensors. */
function becomesCustom(
  owner: GraphModule<any, any>,
  node: Node,
  custom: ConvertCustomConfig,
  backend: BackendConfig,
): boolean {
  const module = moduleOf(owner, node) as AnyModule;
  const type = module.constructor as never;
  const own = custom.observedToQuantizedMapping.get(type);
  const row = backend.patternOf(module);
  const isObserved = row?.custom?.observed === type;
  if (!own && !isObserved) return false;
  const converted = own
    ? own.fromObserved(module)
    : swap(module, node.targetName, 'static', backend.patternOf);
  owner.setSubmodule(node.targetName, converted);
  for (const input of nodesIn(node.args)) {
    const q = quantizedBehind(input);
    if (q) node.replaceInputWith(input, q);
  }
  dequantizeResults(owner, node);
  return true;
}

/** Dequantizes what a module gives: its result, or the tensors taken out of it. */
function dequantizeResults(owner: GraphModule<any, any>, node: Node): void {
  const items = [...node.users].filter((user) => user.target === 'getitem');
  if (items.length === 0) dequantizeAfter(owner, node);
  else for (const item of items) dequantizeResults(owner, item);
}

function convertStandalone(
  owner: GraphModule<any, any>,
  node: Node,
  convert: (module: GraphModule<any, any>) => AnyModule,
): void {
  const module = moduleOf(owner, node) as GraphModule<any, any>;
  const { custom } = requirePrepared(module, 'convertFx');
  for (const index of custom.inputQuantizedIndexes) {
    const argument = node.args[index];
    const q = quantizedBehind(argument);
    if (q) node.replaceInputWith(argument as Node, q);
  }
  if (custom.outputQuantizedIndexes.length > 0) dequantizeAfter(owner, node);
  owner.setSubmodule(node.targetName, convert(module));
}

function keepOutputsQuantized(owner: GraphModule<any, any>, { custom }: Prepared): void {
  const { outputNode } = owner.graph;
  if (!outputNode || custom.outputQuantizedIndexes.length === 0) return;
  for (const node of quantizedOutputs(outputNode, custom)) {
    const q = quantizedBehind(node);
    if (q) outputNode.replaceInputWith(node, q);
  }
}
