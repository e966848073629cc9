import { locating } from '../../core/errors.ts';
import { type Arg, mapNodes, Node, nodesIn } from '../../fx/index.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { quantizePerTensorDynamic } from '../../ops/functions/quantize.ts';
import { PackedWeights } from '../../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../../ops/quantized/packed-half.ts';
import type { QuantizedOps } from '../../ops/signatures/index.ts';
import type { ConvGeometry } from '../../ops/signatures/layer.ts';
import type { QuantizedDType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { OperatorForm, Pattern, QuantizedClass, WeightArgument } from '../backend/pattern.ts';
import { firstLayer, plainBias } from '../layers/weights.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import { FixedQParamsObserver } from '../observers/fixed.ts';
import type { ObserverBase } from '../observers/observer.ts';
import { isRelu, moduleOf, rowEndingAt, rowOf } from './match.ts';
import { preparedOf, setPrepared } from './prepared.ts';
import type { QuantizedGraphModule } from './quantized-graph.ts';
import { halvedBehind, quantizedBehind, WEIGHT_OBSERVER } from './reference.ts';

/**
 * Turns reference patterns into the quantized layers and operators that compute them in integers. What has no such form, and
 * what was to stay float, is left as it is, so the result computes what the reference means either way.
 *
 * ```
 * q ──► dequantize ──► conv ──► quantizePerTensor ──►        q ──► quantized.Conv2d ──►
 * ```
 *
 * Source: `torch.ao.quantization.fx._lower_to_native_backend`.
 */
export function lower<M extends QuantizedGraphModule<any, any>>(reference: M, backend: BackendConfig): M {
  const owner = deepCopy(reference);
  const { graph } = owner;
  const prepared = preparedOf(reference);
  const wanted = (node: Node): boolean => prepared === undefined || prepared.quantized.has(node.name);
  const lowering = new Lowering(owner, backend, wanted, prepared?.joined ?? new Set());
  for (const node of [...graph.nodes]) {
    if (!graph.nodes.includes(node)) continue;
    if (node.target === 'quantizePerTensor') lowering.static(node);
    else if (wanted(node)) lowering.withoutOutput(node);
  }
  graph.eliminateDeadCode();
  lowering.dropPacked();
  owner.deleteUnusedSubmodules();
  for (const module of owner.modules()) module.qconfig = undefined;
  graph.lint(owner);
  if (prepared) setPrepared(owner, prepared);
  return owner;
}

/** Scale and zero point of a `quantizePerTensor` node, as nodes and as numbers. */
interface Output {
  readonly nodes: readonly [Arg, Arg];
  readonly scale: number;
  readonly zeroPoint: number;
  readonly dtype: QuantizedDType;
}

class Lowering {
  readonly #owner: QuantizedGraphModule<any, any>;
  readonly #backend: BackendConfig;
  readonly #wanted: (node: Node) => boolean;
  readonly #joined: ReadonlySet<string>;
  /** Paths of the float weights and biases that were packed. */
  readonly #packedFrom = new Set<string>();
  /** Modules that were converted, by what they became. */
  readonly #converted = new Map<AnyModule, { readonly to: AnyModule; readonly key: string }>();

  constructor(
    owner: QuantizedGraphModule<any, any>,
    backend: BackendConfig,
    wanted: (node: Node) => boolean,
    joined: ReadonlySet<string>,
  ) {
    this.#owner = owner;
    this.#backend = backend;
    this.#wanted = wanted;
    this.#joined = joined;
  }

  /** Lowers `dequantize → row → q`, where nothing else reads the float result. */
  static(q: Node): void {
    const [last] = q.args;
    if (!(last instanceof Node) || last.users.size !== 1 || !this.#wanted(last)) return;
    if (last.target === 'getitem') {
      this.#lowerParts(last.args[0] as Node);
      return;
    }
    const match = rowEndingAt(this.#owner, last, this.#backend);
    if (!match || match.row.output === undefined || match.row.output === 'float') return;
    const [first] = match.nodes;
    if (!this.#wanted(first)) return;
    const output = this.#output(q);
    const { row } = match;
    if (first.op === 'call_module') {
      if (!this.#takesQuantized(first)) return;
      if (row.output === 'own' && row.static) this.#swapModule(first, q, row.static, output);
      else if (this.#keeps(row, first, output)) this.#runOnQuantized(first, q);
      return;
    }
    if (row.operator) this.#lowerOperator(row, row.operator, match.nodes, q, output);
  }

  /** Lowers what gives floats: dynamic layers, and layers of which only the weights are quantized. */
  withoutOutput(node: Node): void {
    const row = rowOf(this.#owner, node, this.#backend);
    if (!row) return;
    const module = moduleOf(this.#owner, node);
    if (row.output === 'float') {
      if (module && row.dynamic) this.#swap(node, module, row.dynamic, null);
      return;
    }
    const source = this.#dynamicInput(node);
    if (!module) {
      this.#lowerDynamicOperator(row, node, source);
      return;
    }
    const isHalf = row.halfWeights && module.qconfig?.weight().dtype === 'float16';
    if (!row.dynamic || !(source || isHalf)) return;
    this.#swap(node, module, row.dynamic, null);
    if (source) node.args = [source, ...node.args.slice(1)];
  }

  /** A product whose input is quantized call by call, or whose weight is in half precision; with its relu if it has one. */
  #lowerDynamicOperator(single: Pattern, node: Node, source: Node | undefined): void {
    const [user] = node.users;
    const pair =
      node.users.size === 1 && isRelu(this.#owner, user)
        ? this.#backend.operatorPatternOf(node.targetName, 'relu')
        : undefined;
    const row = pair?.operator?.dynamic ? pair : single;
    const last = row === pair ? user : node;
    const form = row.operator;
    const { graph } = this.#owner;
    if (source && form?.dynamic && form.weight?.pack) {
      const packed = this.#packed(node, form.weight);
      if (!packed) return;
      const call = graph.insertingBefore(node, () =>
        graph.callFunction(form.dynamic as string, [source, packed, false]),
      );
      this.#replace(node, last, call);
    } else if (form?.half && form.weight) {
      const packed = this.#packedHalf(node, form.weight);
      if (!packed) return;
      const call = graph.insertingBefore(node, () =>
        graph.callFunction(form.half as string, [node.args[0], packed]),
      );
      this.#replace(node, last, call);
    }
  }

  /** The float tensor that is quantized call by call on its way into a node. */
  #dynamicInput(node: Node): Node | undefined {
    const q = quantizedBehind(node.args[0]);
    if (!q || q.target !== quantizePerTensorDynamic) return undefined;
    return q.args[0] as Node;
  }

  #output(q: Node): Output {
    const [, scale, zeroPoint, dtype] = q.args;
    const number = (arg: Arg): number =>
      arg instanceof Node ? (this.#owner.attribute(arg.targetName) as number) : (arg as number);
    return {
      nodes: [scale, zeroPoint],
      scale: number(scale),
      zeroPoint: number(zeroPoint),
      dtype: dtype as QuantizedDType,
    };
  }

  /** True where every tensor argument was dequantized. */
  #takesQuantized(node: Node, places: readonly Arg[] = node.args): boolean {
    const inputs = places
      .flatMap((arg) => nodesIn(arg))
      .filter((input) => input.op !== 'get_attr' || input.meta.dtype === 'float32');
    return inputs.length > 0 && inputs.every((input) => quantizedBehind(input) !== undefined);
  }

  /**
   * True where a row that works on quantized tensors as it is gives the parameters that are asked for: those of its input
   * where it shares them, the known ones where they are fixed.
   */
  #keeps(row: Pattern, node: Node, output: Output): boolean {
    if (row.fixedOutput) {
      const { scale, zeroPoint } = fixedQParams(row.fixedOutput());
      const signed = output.dtype === 'qint8' ? 128 : 0;
      return scale === output.scale && zeroPoint - signed === output.zeroPoint;
    }
    if (row.output !== 'shared' && row.output !== 'kept') return false;
    return nodesIn(node.args).every((input) => {
      const q = quantizedBehind(input);
      const given = q && this.#qparamsOf(q);
      return !!given && given.scale === output.scale && given.zeroPoint === output.zeroPoint;
    });
  }

  /** The parameters that a quantized node's result has; undefined where only a run would tell. */
  #qparamsOf(node: Node): { readonly scale: number; readonly zeroPoint: number } | undefined {
    if (node.target === 'quantizePerTensor') return this.#output(node);
    return this.#known.get(node);
  }

  readonly #known = new Map<Node, Output>();

  #swapModule(node: Node, q: Node, into: QuantizedClass, output: Output): void {
    const module = moduleOf(this.#owner, node) as AnyModule;
    this.#swap(node, module, into, output);
    this.#runOnQuantized(node, q);
  }

  /**
   * Puts the quantized form of a layer in its place: that of an earlier call where its result has the same parameters,
   * otherwise one of its own, for one module has one scale.
   */
  #swap(node: Node, module: AnyModule, into: QuantizedClass, output: Output | null): void {
    const key = output ? `${output.scale},${output.zeroPoint},${output.dtype}` : '';
    const others = this.#owner.graph.nodes.filter((n) => n !== node && moduleOf(this.#owner, n) === module);
    const made = this.#converted.get(module);
    if (made && made.key === key) {
      this.#point(node, made.to, others.length > 0);
      return;
    }
    const to = locating(node.targetName, module.typeName, () => quantizedForm(module, into, output));
    this.#converted.set(module, { to, key });
    this.#point(node, to, others.length > 0);
  }

  /** Makes a node call a module: at its own path, or beside it where other nodes still call what is there. */
  #point(node: Node, module: AnyModule, isShared: boolean): void {
    if (!isShared) {
      this.#owner.setSubmodule(node.targetName, module);
      return;
    }
    const cut = node.targetName.lastIndexOf('.');
    const parent = this.#owner.getSubmodule(cut < 0 ? '' : node.targetName.slice(0, cut));
    const name = node.targetName.slice(cut + 1);
    let free = name;
    for (let n = 1; free in parent; n++) free = `${name}_${n}`;
    parent.addModule(free, module);
    node.target = cut < 0 ? free : `${node.targetName.slice(0, cut)}.${free}`;
  }

  /** Makes a node take and give quantized tensors: past the dequantize nodes before it and `q` behind it. */
  #runOnQuantized(node: Node, q: Node): void {
    node.args = node.args.map((arg) => mapNodes(arg, (input) => quantizedBehind(input) ?? input));
    this.#known.set(node, this.#output(q));
    q.replaceAllUsesWith(node);
    node.meta.dtype = this.#output(q).dtype;
    node.meta.origin = q.meta.origin;
    this.#owner.graph.eraseNode(q);
  }

  /** Lowers an operator that gives several tensors, where all of them keep the parameters of its input. */
  #lowerParts(node: Node): void {
    const row = rowOf(this.#owner, node, this.#backend);
    if (row?.output !== 'kept' || !this.#wanted(node)) return;
    const parts = [...node.users].filter((part) => part.meta.dtype === 'float32');
    const quantized = parts.flatMap((part) => (part.users.size === 1 ? [...part.users] : []));
    const areKept = quantized.every(
      (q) => q.target === 'quantizePerTensor' && this.#keeps(row, node, this.#output(q)),
    );
    if (quantized.length !== parts.length || !areKept) return;
    node.args = node.args.map((arg) => mapNodes(arg, (input) => quantizedBehind(input) ?? input));
    parts.forEach((part, i) => {
      const q = quantized[i];
      const output = this.#output(q);
      this.#known.set(part, output);
      part.meta.dtype = output.dtype;
      part.meta.origin = q.meta.origin;
      node.meta.dtype = output.dtype;
      q.replaceAllUsesWith(part);
      this.#owner.graph.eraseNode(q);
    });
  }

  #lowerOperator(row: Pattern, form: OperatorForm, nodes: readonly Node[], q: Node, output: Output): void {
    const [first] = nodes;
    const { weight } = form;
    const activations = first.args.filter((_, i) => i !== weight?.weight && i !== weight?.bias);
    if (!this.#takesQuantized(first, activations)) return;
    if (form.withNumber && typeof first.args[1] === 'number') {
      this.#lowerWithNumber(form, nodes, q, output);
      return;
    }
    if (!form.quantized) {
      if (this.#keeps(row, first, output)) this.#runOnQuantized(nodes[nodes.length - 1], q);
      return;
    }
    // On quantized tensors such an operator gives the parameters of the first, and needs none of its own.
    if (row.output === 'shared' && this.#joined.has(first.name)) {
      this.#runOnQuantized(first, q);
      return;
    }
    // The factor of the second operand is not among the arguments of the quantized operator.
    if (form.withNumber && first.target === 'add' && first.args[2] !== 1) return;
    let args: readonly Arg[] = first.args.map((arg) =>
      mapNodes(arg, (input) => quantizedBehind(input) ?? input),
    );
    if (weight?.pack) {
      const packed = this.#packed(first, weight);
      if (!packed) return;
      args = args.map((arg, i) => (i === weight.weight ? packed : arg));
    }
    const { graph } = this.#owner;
    const make = form.args as NonNullable<OperatorForm['args']>;
    const call = graph.insertingBefore(q, () =>
      graph.callFunction(form.quantized as keyof QuantizedOps, make<Arg>(args, ...output.nodes)),
    );
    this.#known.set(call, output);
    this.#replace(first, q, call, output.dtype);
  }

  /**
   * A tensor and a number: the quantized operator finds the parameters of its result itself. Operators behind it take
   * them as they come.
   */
  #lowerWithNumber(form: OperatorForm, nodes: readonly Node[], q: Node, output: Output): void {
    const [first] = nodes;
    const [x, number, alpha = 1] = first.args;
    const source = quantizedBehind(x);
    if (!source || typeof number !== 'number' || typeof alpha !== 'number') return;
    const { graph } = this.#owner;
    const call = graph.insertingBefore(q, () => {
      const made = graph.callFunction(form.withNumber as string, [source, number * alpha]);
      return nodes.length === 1 ? made : graph.callFunction('relu', [made]);
    });
    this.#known.set(call, output);
    this.#replace(first, q, call, output.dtype);
  }

  /** Puts `call` in the place of the nodes from `first` to `last`, under its metadata. */
  #replace(first: Node, last: Node, call: Node, dtype = last.meta.dtype): void {
    const { shape = first.meta.shape, origin } = last.meta;
    Object.assign(call.meta, first.meta, { shape, dtype, origin });
    last.replaceAllUsesWith(call);
    this.#owner.graph.eliminateDeadCode();
  }

  /** Deletes float weights that only their packed forms stand for. */
  dropPacked(): void {
    for (const node of this.#owner.graph.nodes)
      if (node.op === 'get_attr') this.#packedFrom.delete(node.targetName);
    for (const path of this.#packedFrom) {
      const cut = path.lastIndexOf('.');
      Reflect.deleteProperty(
        this.#owner.getSubmodule(cut < 0 ? '' : path.slice(0, cut)),
        path.slice(cut + 1),
      );
    }
  }

  /** A node that reads the packed form of a weight that is quantized in the graph; undefined where it is not. */
  #packed(node: Node, { weight, bias, pack }: WeightArgument): Node | undefined {
    const q = quantizedBehind(node.args[weight]);
    const source = q?.args[0];
    const biasNode = node.args[bias];
    if (!q || !(source instanceof Node) || source.op !== 'get_attr') return undefined;
    const biasSource = biasNode instanceof Node ? (quantizedBehind(biasNode)?.args[0] ?? biasNode) : null;
    if (biasSource instanceof Node && biasSource.op !== 'get_attr') return undefined;
    for (const from of [source, biasSource]) if (from instanceof Node) this.#packedFrom.add(from.targetName);
    const quantized = this.#owner.constantOf(q);
    const given = biasNode instanceof Node ? this.#owner.constantOf(biasNode) : null;
    const geometry = pack === 'conv' ? (node.args[bias + 1] as unknown as ConvGeometry) : null;
    if (!(quantized instanceof Tensor)) return undefined;
    return this.#keepPacked(node, new PackedWeights(quantized, plainBias(given as Tensor | null), geometry));
  }

  /** The same of a weight that is rounded to half precision. */
  #packedHalf(node: Node, { weight, bias }: WeightArgument): Node | undefined {
    const source = halvedBehind(node.args[weight]);
    const biasNode = node.args[bias];
    if (source?.op !== 'get_attr' || (biasNode instanceof Node && biasNode.op !== 'get_attr'))
      return undefined;
    for (const from of [source, biasNode]) if (from instanceof Node) this.#packedFrom.add(from.targetName);
    const given = biasNode instanceof Node ? (this.#owner.constantOf(biasNode) as Tensor) : null;
    const float = this.#owner.constantOf(source) as Tensor;
    return this.#keepPacked(node, new PackedHalfWeights(float, plainBias(given)));
  }

  #keepPacked(node: Node, packed: PackedWeights | PackedHalfWeights): Node {
    const path = (node.meta.modulePath ?? '').replaceAll('.', '_');
    const { graph } = this.#owner;
    const name = this.#owner.addPacked(`${path}_packed_weight_`, packed);
    return graph.insertingBefore(node, () => graph.getAttr(name));
  }
}

function fixedQParams(observer: ObserverBase): { readonly scale: number; readonly zeroPoint: number } {
  const fixed = observer as unknown as { scale: Tensor; zeroPoint: Tensor };
  return { scale: fixed.scale.item(), zeroPoint: fixed.zeroPoint.item() };
}

/** Makes the quantized form of a reference layer, as eager `convert` makes it of an observed one. */
function quantizedForm(module: AnyModule, into: QuantizedClass, output: Output | null): AnyModule {
  const layer = firstLayer(module);
  const observer = (layer as unknown as Record<string, ObserverBase | undefined>)[WEIGHT_OBSERVER];
  const fields = module as unknown as Record<string, unknown>;
  if (observer) {
    Object.defineProperty(module, 'weightFakeQuant', {
      value: observer,
      configurable: true,
      enumerable: false,
    });
  }
  if (output) {
    const { scale, zeroPoint, dtype } = output;
    module.addModule(POST_PROCESS, new FixedQParamsObserver({ scale, zeroPoint, dtype }));
  }
  try {
    const made = into.fromFloat(module);
    made.train(module.training);
    made.adoptHooks(module);
    return made;
  } finally {
    if (observer) Reflect.deleteProperty(module, 'weightFakeQuant');
    delete fields[POST_PROCESS];
  }
}
