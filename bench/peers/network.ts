/**
 * A traced program as the peers get it: batch norms folded into convolutions, activations and zero padding attached to
 * them, so that a peer starts from its best case.
 */
import { BatchSize, mapArg, Node, nodesIn } from '../../src/fx/node.ts';
import type { jit, Tensor } from '../../src/index.ts';
import type { PackedWeights } from '../../src/ops/quantized/packed.ts';
import type { ConvGeometry } from '../../src/ops/signatures/layer.ts';

export type Activation = 'relu' | 'relu6' | null;

/** Zeros before and after each spatial dimension. */
export interface Pads {
  readonly begin: readonly number[];
  readonly end: readonly number[];
}

interface StepBase {
  /** The node whose value the step makes. */
  readonly out: Node;
}

/** A float convolution. */
export interface ConvStep extends StepBase {
  readonly kind: 'conv';
  readonly input: Node;
  /** [out, in / groups, height, width]. */
  readonly weight: Float32Array;
  readonly shape: readonly number[];
  readonly bias: Float32Array;
  readonly geometry: ConvGeometry;
  readonly pads: Pads;
  readonly activation: Activation;
}

/** A convolution of quantized tensors; a relu is part of its output's range. */
export interface QuantizedConvStep extends StepBase {
  readonly kind: 'quantizedConv';
  readonly input: Node;
  readonly packed: PackedWeights;
  readonly geometry: ConvGeometry;
  readonly pads: Pads;
  readonly relu: boolean;
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Any other operator: its arguments, with nodes for values that steps or inputs make and attributes in place. */
export interface OpStep extends StepBase {
  readonly kind: 'op';
  readonly op: string;
  readonly args: readonly any[];
}

export type Step = ConvStep | QuantizedConvStep | OpStep;

export class Network {
  readonly input: Node;
  /** The first tensor of what the program returns. */
  readonly output: Node;
  readonly steps: readonly Step[];

  constructor(program: jit.Program) {
    const { graph } = program;
    this.input = graph.inputNodes()[0];
    this.output = nodesIn(graph.outputNode?.args ?? [])[0];
    const batch = graph.batch?.example ?? 1;
    const done = new Set<Node>();
    const pads = new Map<Node, { input: Node; pads: Pads }>();
    const resolve = (arg: any): unknown =>
      mapArg(arg, (leaf) => {
        if (leaf instanceof BatchSize) return leaf.at(batch);
        return leaf instanceof Node && leaf.op === 'get_attr' ? program.attribute(leaf.targetName) : leaf;
      });
    const steps: Step[] = [];
    for (const node of graph.nodes) {
      if (node.op !== 'call_function' || done.has(node)) continue;
      const op = node.targetName;
      const args = node.args.map(resolve) as any[];
      if (op === 'pad' && isConvPadding(node)) {
        const [left, right, top, bottom] = args[1];
        pads.set(node, { input: args[0], pads: { begin: [top, left], end: [bottom, right] } });
      } else if (op === 'conv2d') {
        steps.push(floatConv(node, args, pads, done, resolve));
      } else if (op === 'quantized::conv2d' || op === 'quantized::conv2d_relu') {
        const [x, packed, scale, zeroPoint] = args as [Node, PackedWeights, number, number];
        const geometry = packed.geometry as ConvGeometry;
        steps.push({
          kind: 'quantizedConv',
          out: node,
          ...padded(x, geometry, pads),
          packed,
          geometry,
          relu: op.endsWith('relu'),
          scale,
          zeroPoint,
        });
      } else steps.push({ kind: 'op', out: node, op, args });
    }
    this.steps = steps;
  }
}

/** The elements of a float tensor in row-major order. */
export function floats(x: Tensor): Float32Array {
  return x.data as Float32Array;
}

/** The transpose of a matrix [rows, columns]. */
export function transposed<T extends Float32Array | Int8Array | Uint8Array>(
  matrix: T,
  rows: number,
  columns: number,
): T {
  const out = matrix.slice() as T;
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) out[c * rows + r] = matrix[r * columns + c];
  return out;
}

function soleUser(node: Node): Node | null {
  return node.users.size === 1 ? [...node.users][0] : null;
}

function isConvPadding(node: Node): boolean {
  const [, pads, mode, value] = node.args;
  return (
    (pads as number[]).length === 4 &&
    mode === 'constant' &&
    value === 0 &&
    [...node.users].every((user) => /^(quantized::)?conv2d(_relu)?$/.test(user.targetName))
  );
}

function padded(
  x: Node,
  { padding }: ConvGeometry,
  found: ReadonlyMap<Node, { input: Node; pads: Pads }>,
): { input: Node; pads: Pads } {
  const before = found.get(x);
  const sum = (extra: readonly number[] | undefined): number[] =>
    padding.map((p, i) => p + (extra?.[i] ?? 0));
  return {
    input: before?.input ?? x,
    pads: { begin: sum(before?.pads.begin), end: sum(before?.pads.end) },
  };
}

function floatConv(
  node: Node,
  args: readonly any[],
  pads: ReadonlyMap<Node, { input: Node; pads: Pads }>,
  done: Set<Node>,
  resolve: (arg: any) => unknown,
): ConvStep {
  const [x, w, b, geometry] = args as [Node, Tensor, Tensor | null, ConvGeometry];
  let weight = floats(w);
  let bias = b ? floats(b) : new Float32Array(w.shape[0]);
  let out = node;
  const norm = soleUser(out);
  if (norm?.targetName === 'batchNormEval') {
    const [, mean, variance, gain, shift, eps] = norm.args.map(resolve) as [Node, Tensor, Tensor, ...any[]];
    [weight, bias] = [weight.slice(), bias.slice()];
    const size = weight.length / bias.length;
    for (let c = 0; c < bias.length; c++) {
      const factor = (gain ? floats(gain)[c] : 1) / Math.sqrt(floats(variance)[c] + eps);
      for (let i = c * size; i < (c + 1) * size; i++) weight[i] *= factor;
      bias[c] = (bias[c] - floats(mean)[c]) * factor + (shift ? floats(shift)[c] : 0);
    }
    done.add(norm);
    out = norm;
  }
  let activation: Activation = null;
  const next = soleUser(out);
  if (next?.targetName === 'relu' || next?.targetName === 'relu6') {
    activation = next.targetName;
    done.add(next);
    out = next;
  }
  return {
    kind: 'conv',
    out,
    ...padded(x, geometry, pads),
    weight,
    shape: w.shape,
    bias,
    geometry,
    activation,
  };
}
