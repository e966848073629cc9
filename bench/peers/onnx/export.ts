/**
 * Programs as ONNX models: float ones as they are, statically quantized ones as QuantizeLinear / DequantizeLinear pairs
 * around float operators, dynamic layers as DynamicQuantizeLinear and MatMulInteger.
 */
import type { Node } from '../../../src/fx/node.ts';
import type { jit, Tensor } from '../../../src/index.ts';
import { Network, type Step } from '../network.ts';
import { type ElementType, OnnxBuilder } from './builder.ts';
import { FLOAT_RULES, floatConv } from './float.ts';
import { QUANTIZED_RULES, quantizedConv } from './quantized.ts';

/** Parameters of a quantized value. */
export interface Quantization {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly type: 'uint8' | 'int8';
}

/** What the rules write to. */
export class Exporter {
  readonly builder: OnnxBuilder = new OnnxBuilder();
  readonly #names = new Map<Node, string>();
  readonly #quantized = new Map<Node, Quantization>();
  /** What dynamic layers share: the quantized form of a value, by its name. */
  readonly shared: Map<string, readonly string[]> = new Map();

  /** The name of a node's value; of the float values where it is quantized. */
  name(node: Node): string {
    const name = this.#names.get(node);
    if (name === undefined) throw new Error(`${node.name} has no value yet`);
    return name;
  }

  quantization(node: Node): Quantization | undefined {
    return this.#quantized.get(node);
  }

  set(node: Node, name: string): void {
    this.#names.set(node, name);
  }

  /** Says that a node's value is `name` after rounding to `q`. */
  setQuantized(node: Node, name: string, q: Quantization): void {
    const { builder } = this;
    const scale = builder.float('scale', q.scale);
    const zero = q.type === 'uint8' ? Uint8Array.of(q.zeroPoint) : Int8Array.of(q.zeroPoint);
    const zeroPoint = builder.constant('zero_point', zero, []);
    const rounded = builder.node('QuantizeLinear', [name, scale, zeroPoint]);
    this.#names.set(node, builder.node('DequantizeLinear', [rounded, scale, zeroPoint]));
    this.#quantized.set(node, q);
  }

  /** Sets a node's value, with the quantization of `like` where that has one. */
  setLike(node: Node, name: string, like: Node): void {
    const q = this.quantization(like);
    if (q) this.setQuantized(node, name, q);
    else this.set(node, name);
  }
}

/** How one operator is written. */
export type Rule = (exporter: Exporter, args: readonly any[], out: Node) => void;

const RULES: Readonly<Record<string, Rule>> = { ...FLOAT_RULES, ...QUANTIZED_RULES };

/** An ONNX file's bytes for a program with one input, whose first output is kept. */
export function exportProgram(program: jit.Program, input: Tensor): Promise<Uint8Array> {
  const network = new Network(program);
  const exporter = new Exporter();
  const { builder } = exporter;
  exporter.set(network.input, builder.input('input', input.dtype as ElementType, input.shape));
  for (const step of network.steps) write(exporter, step);
  const name = builder.identity(exporter.name(network.output), 'output');
  builder.output(name, 'float32', network.output.meta.shape as readonly number[]);
  return builder.encode();
}

function write(exporter: Exporter, step: Step): void {
  if (step.kind === 'conv') floatConv(exporter, step);
  else if (step.kind === 'quantizedConv') quantizedConv(exporter, step);
  else {
    const rule = RULES[step.op];
    if (!rule) throw new Error(`no ONNX rule for ${step.op} (${step.out.name})`);
    rule(exporter, step.args, step.out);
  }
}
