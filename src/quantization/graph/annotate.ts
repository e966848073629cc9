import { type GraphModule, Node, nodesIn } from '../../fx/index.ts';
import { isQuantizedDType } from '../../tensor/dtype.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { Pattern, WeightArgument } from '../backend/pattern.ts';
import type { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import type { ObserverFactory } from '../observers/observer.ts';
import { isReuseInputQConfig, type QConfig } from '../qconfig.ts';
import { isDynamicQConfig } from '../qconfig-support.ts';
import type { PrepareCustomConfig, StandaloneModuleConfig } from './custom-config.ts';
import { matchRows, moduleOf, type RowMatch } from './match.ts';
import {
  type Annotations,
  type AnyQuantizationSpec,
  FixedQParamsQuantizationSpec,
  QuantizationSpec,
  SharedQuantizationSpec,
} from './specs.ts';

/** What {@link annotateGraph} goes by. */
export interface AnnotateOptions {
  readonly qconfigs: ReadonlyMap<Node, QConfig | null>;
  readonly backend: BackendConfig;
  readonly custom: PrepareCustomConfig;
  readonly training: boolean;
}

/** Why a call stays float. */
export interface FloatReason {
  readonly reason: string;
  /** What to do about it; null where the user asked for it, or where there is nothing to quantize. */
  readonly fix: string | null;
}

/** What {@link annotateGraph} decided. */
export interface Decisions {
  readonly annotations: Annotations;
  /** The calls that stay float, with the reasons. */
  readonly float: Map<Node, FloatReason>;
}

/**
 * Decides, from qconfigs and the backend table alone, how every call of a graph is to be quantized.
 *
 * ```
 * x ──► conv ──► relu6 ──► cat ──►         conv    inputs { x: own }       output own
 *                y ──────► cat             relu6   inputs { conv: own }    output shared with its input
 *                                          cat     inputs { relu6: own,
 *                                                    y: shared with relu6 } output shared with its input
 * ```
 *
 * Source: `torch.ao.quantization.fx.prepare`, and the annotations of `torch.ao.quantization.quantizer`.
 */
export function annotateGraph(owner: GraphModule<any, any>, options: AnnotateOptions): Decisions {
  const { qconfigs, backend, custom, training } = options;
  const annotations: Annotations = new Map();
  const float = new Map<Node, FloatReason>();
  const rows = matchRows(owner, backend);
  for (const node of owner.graph.nodes) {
    if (node.op !== 'call_module' && node.op !== 'call_function') continue;
    if (node.target === 'getitem') continue;
    const qconfig = qconfigs.get(node) ?? null;
    const standalone = standaloneConfig(owner, node, custom);
    if (standalone) {
      annotateStandalone(annotations, node, qconfig, standalone);
      continue;
    }
    const module = moduleOf(owner, node);
    if (module && custom.floatToObservedMapping.has(module.constructor as never)) {
      if (qconfig && !isDynamicQConfig(qconfig)) annotateCustom(annotations, node, qconfig);
      else float.set(node, whyNot(qconfig, 'a module observed in parts needs a static qconfig'));
      continue;
    }
    const match = rows.get(node);
    if (!match) {
      float.set(node, whyNot(qconfig, 'no row of the backend table is about it', NO_ROW));
      continue;
    }
    // A fused pair is decided once, by the qconfig of its last operator, as in PyTorch.
    if (node !== match.nodes[0]) continue;
    const own = qconfigs.get(match.nodes[match.nodes.length - 1]) ?? null;
    const reason = annotateRow(annotations, match, own, training);
    if (reason) for (const member of match.nodes) float.set(member, reason);
  }
  annotateBorders(owner, annotations, options);
  return { annotations, float };
}

const NO_ROW = 'Describe it in the option patterns, or set its qconfig to null.';

/** Annotates the nodes of a row, or says why they stay float. */
function annotateRow(
  annotations: Annotations,
  { row, nodes }: RowMatch,
  qconfig: QConfig | null,
  training: boolean,
): FloatReason | null {
  const first = nodes[0];
  const last = nodes[nodes.length - 1];
  if (!qconfig) return whyNot(qconfig, '');
  const inputs = new Map<Node, AnyQuantizationSpec>();
  const leaveFloat = new Map<Node, AnyQuantizationSpec>();
  const activation = qconfig.activation();
  if (row.output === 'float') {
    if (activation.dtype !== 'float32')
      return {
        reason: 'its weights alone can be quantized, and its qconfig quantizes activations',
        fix: null,
      };
    annotations.set(first, { inputs: leaveFloat, output: null });
    return null;
  }
  if (!last.meta.dtype && row.output === 'kept') return annotateParts(annotations, first, qconfig);
  if (!last.meta.dtype && !row.dynamic) return { reason: 'its result is not one tensor', fix: null };
  if (isDynamicQConfig(qconfig)) {
    const form = row.dynamic ?? row.operator?.dynamic;
    if (!form) return { reason: `no dynamic form of ${row.name}`, fix: 'Give it a static qconfig, or null.' };
    if (first.args[0] instanceof Node) inputs.set(first.args[0], new QuantizationSpec(qconfig.activation));
    annotateWeight(inputs, first, row.operator?.weight, qconfig.weight);
    annotations.set(first, { inputs, output: null });
    return null;
  }
  if (!row.output) {
    const fix = row.dynamic ? 'Give it defaultDynamicQConfig, or null.' : null;
    return { reason: `no static form of ${row.name}`, fix };
  }
  if (!isQuantizedDType(activation.dtype))
    return { reason: `its qconfig keeps activations in ${activation.dtype}`, fix: null };
  const tensors = tensorArguments(first, row);
  if (tensors.length === 0) return { reason: 'no float tensor goes in', fix: null };
  if (last.meta.dtype !== 'float32') return { reason: `its result is ${last.meta.dtype}`, fix: null };
  const [source, ...others] = tensors;
  if (row.output === 'kept' && !annotations.get(source)?.output)
    return { reason: 'what goes in is float', fix: null };
  const withNumber = row.operator?.withNumber !== undefined && !(first.args[1] instanceof Node);
  const own = new QuantizationSpec(qconfig.activation);
  const reuse = isReuseInputQConfig(qconfig);
  const isShared = row.output === 'shared' || row.output === 'kept' || withNumber || reuse;
  const shared = new SharedQuantizationSpec([source, first]);
  if (!reuse) {
    inputs.set(source, own);
    for (const other of others) inputs.set(other, isShared ? shared : own);
    annotateWeight(inputs, first, row.operator?.weight, qconfig.weight);
  }
  const output = isShared
    ? shared
    : row.fixedOutput
      ? fixedSpec(row.fixedOutput, activation.dtype, training)
      : own;
  if (first === last) annotations.set(first, { inputs, output });
  else {
    annotations.set(first, { inputs, output: null });
    annotations.set(last, { inputs: leaveFloat, output });
  }
  return null;
}

/** An operator that gives several tensors: each of them is quantized like what they are taken out of. */
function annotateParts(annotations: Annotations, node: Node, { activation }: QConfig): FloatReason | null {
  const [source] = node.args;
  const { dtype } = activation();
  if (!isQuantizedDType(dtype)) return { reason: `its qconfig keeps activations in ${dtype}`, fix: null };
  if (!(source instanceof Node) || !annotations.get(source)?.output)
    return { reason: 'what goes in is float', fix: null };
  annotations.set(node, { inputs: new Map([[source, new QuantizationSpec(activation)]]), output: null });
  const output = new SharedQuantizationSpec([source, node]);
  for (const part of node.users)
    if (part.target === 'getitem' && part.meta.dtype === 'float32')
      annotations.set(part, { inputs: new Map(), output });
  return null;
}

/** The float tensors that go into a row and are activations: those of a list in order. */
function tensorArguments(node: Node, row: Pattern): Node[] {
  const weight = row.operator?.weight;
  const places =
    node.op === 'call_function'
      ? node.args.filter((_, i) => i !== weight?.weight && i !== weight?.bias)
      : node.args;
  const found = [...new Set(places.flatMap((arg) => nodesIn(arg)))];
  return found.every((n) => n.meta.dtype === undefined || n.meta.dtype === 'float32') ? found : [];
}

function annotateWeight(
  inputs: Map<Node, AnyQuantizationSpec>,
  node: Node,
  place: WeightArgument | undefined,
  weight: ObserverFactory,
): void {
  if (node.op !== 'call_function' || !place?.pack) return;
  const argument = node.args[place.weight];
  if (argument instanceof Node) inputs.set(argument, new QuantizationSpec(weight));
}

/** The known parameters of a row, in the dtype of the qconfig, as an observer or (in training) a fake-quantize. */
function fixedSpec(
  fakeQuantize: ObserverFactory,
  dtype: string,
  training: boolean,
): FixedQParamsQuantizationSpec {
  if (dtype === 'quint8') {
    const factory = (fakeQuantize.args as { readonly observer: ObserverFactory }).observer;
    return new FixedQParamsQuantizationSpec(training ? fakeQuantize : factory);
  }
  // Signed tensors have the same step; the zero point is the same distance from the lowest integer.
  const { scale, zeroPoint } = (fakeQuantize() as FakeQuantizeBase).appliedQParams();
  return new FixedQParamsQuantizationSpec({
    dtype: 'qint8',
    scale: scale.item(),
    zeroPoint: zeroPoint.item() - 128,
  });
}

/** How the module that a node calls is quantized on its own, by its path or else its class; undefined where it is not. */
export function standaloneConfig(
  owner: GraphModule<any, any>,
  node: Node,
  custom: PrepareCustomConfig,
): StandaloneModuleConfig | undefined {
  const module = moduleOf(owner, node);
  if (!module) return undefined;
  return (
    custom.standaloneModuleNames.get(node.targetName) ??
    custom.standaloneModuleClasses.get(module.constructor as never)
  );
}

/** Inputs that a standalone module takes quantized are observed here; its result it observes itself. */
function annotateStandalone(
  annotations: Annotations,
  node: Node,
  qconfig: QConfig | null,
  { prepareCustomConfig }: StandaloneModuleConfig,
): void {
  const indexes = prepareCustomConfig?.inputQuantizedIndexes ?? [];
  const inputs = new Map<Node, AnyQuantizationSpec>();
  for (const index of indexes) {
    const argument = node.args[index];
    if (argument instanceof Node && qconfig) inputs.set(argument, new QuantizationSpec(qconfig.activation));
  }
  annotations.set(node, { inputs, output: null });
}

/** Everything that goes into a module that is observed in parts is quantized; so is the result, by the module itself. */
function annotateCustom(annotations: Annotations, node: Node, qconfig: QConfig): void {
  const own = new QuantizationSpec(qconfig.activation);
  const inputs = new Map(node.args.flatMap((arg) => nodesIn(arg)).map((input) => [input, own] as const));
  annotations.set(node, { inputs, output: node.meta.dtype === undefined ? null : own });
}

/** Quantized inputs and outputs of the whole graph. */
function annotateBorders(
  owner: GraphModule<any, any>,
  annotations: Annotations,
  { custom, qconfigs }: AnnotateOptions,
): void {
  const { outputNode } = owner.graph;
  if (custom.outputQuantizedIndexes.length === 0 || !outputNode) return;
  const inputs = new Map<Node, AnyQuantizationSpec>();
  for (const node of quantizedOutputs(outputNode, custom)) {
    const qconfig = qconfigs.get(node);
    if (qconfig) inputs.set(node, new QuantizationSpec(qconfig.activation));
  }
  annotations.set(outputNode, { inputs, output: null });
}

/** What a graph gives at the places that go out quantized; one result goes whole. */
export function quantizedOutputs(outputNode: Node, custom: PrepareCustomConfig): Node[] {
  const [result] = outputNode.args;
  const chosen = Array.isArray(result) ? custom.outputQuantizedIndexes.map((i) => result[i]) : [result];
  return chosen.flatMap((arg) => nodesIn(arg));
}

function whyNot(qconfig: QConfig | null, reason: string, fix: string | null = null): FloatReason {
  return qconfig ? { reason, fix } : { reason: 'its qconfig is null', fix: null };
}
