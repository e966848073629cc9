import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { type GraphModule, Node, nodesIn } from '../../fx/index.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { type BackendConfig, backendOf } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { FloatReason } from './annotate.ts';
import { type ConvertFxOptions, convertFx, convertToReferenceFx } from './convert.ts';
import { PrepareCustomConfig } from './custom-config.ts';
import { fuseGraph } from './fuse.ts';
import { moduleOf } from './match.ts';
import { finish } from './prepare.ts';
import type { QuantizedGraphModule } from './quantized-graph.ts';
import {
  type Annotations,
  type AnyQuantizationSpec,
  DerivedQuantizationSpec,
  type EdgeOrNode,
  QuantizationSpec,
  SharedQuantizationSpec,
} from './specs.ts';

/**
 * Says what shall be quantized in a graph, and how: what a backend of your own is described by. `preparePt2e` places
 * observers as it says; `convertPt2e` makes the reference graph from them. A quantizer neither inserts nor converts.
 * Source: `torch.ao.quantization.quantizer.Quantizer`.
 *
 * @example
 * class LinearOnly implements Quantizer {
 *   annotate(model: fx.GraphModule): Annotations {
 *     const own = new QuantizationSpec(MinMaxObserver.withArgs({ dtype: 'quint8' }));
 *     const weight = new QuantizationSpec(defaultWeightObserver);
 *     return new Map(
 *       model.graph.nodes
 *         .filter((n) => n.op === 'call_module' && model.getSubmodule(n.targetName) instanceof nn.Linear)
 *         .map((n) => [n, { inputs: new Map([[n.args[0] as fx.Node, own]]), output: own, weight }]),
 *     );
 *   }
 * }
 */
export interface Quantizer {
  /** Rewrites the graph, in place, before it is annotated. */
  transformForAnnotation?(model: GraphModule<any, any>): void;
  /** How every node that shall be quantized is to be; nodes that are left out stay float. */
  annotate(model: GraphModule<any, any>): Annotations;
  /** Throws where the backend cannot do what was annotated. */
  validate?(model: GraphModule<any, any>, annotations: Annotations): void;
}

/** Options of {@link preparePt2e}. */
export interface PreparePt2eOptions {
  readonly patterns?: readonly Pattern[];
  readonly backendConfig?: BackendConfig;
}

/**
 * Prepares a traced model in evaluation mode as a quantizer says. Layers that the backend table fuses (convolution, batch
 * normalization and relu, …) are fused before the quantizer sees them. The traced model stays as it is.
 * Source: `torch.ao.quantization.quantize_pt2e.prepare_pt2e`.
 *
 * @throws {@link ArgumentError} for annotations that name what is not there, naming the node.
 * @example
 * const prepared = preparePt2e(symbolicTrace(model.eval(), [x]), new XNNPACKQuantizer());
 * noGrad(() => { for (const x of samples) prepared(x); });
 * const int8 = convertPt2e(prepared);
 */
export function preparePt2e<Args extends unknown[], Out>(
  model: GraphModule<Args, Out>,
  quantizer: Quantizer,
  options: PreparePt2eOptions = {},
): GraphModule<Args, Out> {
  const fn = 'preparePt2e';
  if (model.training) {
    throw new QuantizationError({
      fn,
      argument: 'model',
      expected: 'a graph of a model in evaluation mode',
      got: `${model.typeName} in training mode`,
      fix: 'Call model.eval() before symbolicTrace.',
    });
  }
  const copy = deepCopy(model);
  const backend = backendOf(options);
  fuseGraph(copy, false, fn, backend);
  quantizer.transformForAnnotation?.(copy);
  const annotations = quantizer.annotate(copy);
  checkAnnotations(copy, annotations, fn);
  quantizer.validate?.(copy, annotations);
  for (const [node, { weight, output }] of annotations) {
    const module = moduleOf(copy, node);
    if (!module || !(weight instanceof QuantizationSpec)) continue;
    const activation = output instanceof QuantizationSpec ? output.observer : weight.observer;
    module.qconfig = { activation, weight: weight.observer };
  }
  const float = new Map<Node, FloatReason>();
  for (const node of copy.graph.nodes) {
    if (annotations.has(node) || node.target === 'getitem') continue;
    if (node.op === 'call_module' || node.op === 'call_function')
      float.set(node, { reason: 'the quantizer did not annotate it', fix: null });
  }
  finish(copy, { annotations, float }, { custom: new PrepareCustomConfig(), backend });
  return copy;
}

/**
 * Turns a calibrated graph into int8, or into its reference: {@link convertFx}, for graphs that a quantizer annotated.
 * Source: `torch.ao.quantization.quantize_pt2e.convert_pt2e`.
 *
 * @param options `reference: true` leaves float operators between quantize and dequantize nodes, for a backend of your own to
 *   lower.
 */
export function convertPt2e<Args extends unknown[], Out>(
  model: GraphModule<Args, Out>,
  options: ConvertFxOptions & { readonly reference?: boolean } = {},
): QuantizedGraphModule<Args, Out> {
  return options.reference ? convertToReferenceFx(model, options) : convertFx(model, options);
}

/** Throws unless annotations speak of nodes of the graph, and of places that are annotated. */
function checkAnnotations(model: GraphModule<any, any>, annotations: Annotations, fn: string): void {
  const nodes = new Set(model.graph.nodes);
  const fault = (node: Node, expected: string, got: string): ArgumentError =>
    new ArgumentError({ fn, argument: `annotation of ${node.name}`, expected, got });
  for (const [node, { inputs, output }] of annotations) {
    if (!nodes.has(node)) throw fault(node, 'a node of the graph that annotate was given', 'another one');
    const given = new Set(nodesIn(node.args));
    for (const input of inputs.keys()) {
      if (given.has(input)) continue;
      const names = [...given].map((n) => n.name).join(', ') || 'none';
      throw fault(node, `inputs of the node (${names})`, input.name);
    }
    for (const spec of [...inputs.values(), ...(output ? [output] : [])]) {
      for (const place of placesOf(spec)) {
        if (!isAnnotated(place, annotations))
          throw fault(node, 'a place that is annotated to share with or derive from', nameOf(place));
      }
    }
  }
}

function placesOf(spec: AnyQuantizationSpec): readonly EdgeOrNode[] {
  if (spec instanceof SharedQuantizationSpec) return [spec.with];
  return spec instanceof DerivedQuantizationSpec ? spec.from : [];
}

function isAnnotated(place: EdgeOrNode, annotations: Annotations): boolean {
  if (place instanceof Node) return annotations.get(place)?.output != null;
  const [input, user] = place;
  return annotations.get(user)?.inputs.has(input) === true || annotations.get(input)?.output != null;
}

function nameOf(place: EdgeOrNode): string {
  return place instanceof Node ? place.name : `${place[0].name} → ${place[1].name}`;
}
