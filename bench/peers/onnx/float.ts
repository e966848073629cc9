/** Float operators in ONNX, and those that work on quantized values as they do on floats. */
import type { Node } from '../../../src/fx/node.ts';
import type { Tensor } from '../../../src/index.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../../../src/ops/signatures/layer.ts';
import { type ConvStep, floats, transposed } from '../network.ts';
import type { AttributeValue } from './builder.ts';
import type { Exporter, Rule } from './export.ts';

/** Attributes of ONNX's Conv. */
export function convAttributes(
  shape: readonly number[],
  { geometry, pads }: Pick<ConvStep, 'geometry' | 'pads'>,
): Record<string, AttributeValue> {
  return {
    kernel_shape: shape.slice(2),
    strides: geometry.stride,
    dilations: geometry.dilation,
    group: geometry.groups,
    pads: [...pads.begin, ...pads.end],
  };
}

export function floatConv(e: Exporter, step: ConvStep): void {
  const { builder } = e;
  const weight = builder.constant('weight', step.weight, step.shape);
  const bias = builder.constant('bias', step.bias, [step.bias.length]);
  let name = builder.node('Conv', [e.name(step.input), weight, bias], convAttributes(step.shape, step));
  if (step.activation === 'relu') name = builder.node('Relu', [name]);
  if (step.activation === 'relu6') name = relu6(e, name);
  e.set(step.out, name);
}

function relu6(e: Exporter, name: string): string {
  return e.builder.node('Clip', [name, e.builder.float('low', 0), e.builder.float('high', 6)]);
}

const linear: Rule = (e, [x, weight, bias]: readonly any[], out) => {
  const { builder } = e;
  const [rows, columns] = weight.shape;
  const shift = bias && builder.constant('bias', floats(bias), [rows]);
  if (out.meta.shape?.length === 2) {
    const w = builder.constant('weight', floats(weight), weight.shape);
    e.set(out, builder.node('Gemm', [e.name(x), w, ...(shift ? [shift] : [])], { transB: 1 }));
    return;
  }
  const w = builder.constant('weight', transposed(floats(weight), rows, columns), [columns, rows]);
  const product = builder.node('MatMul', [e.name(x), w]);
  e.set(out, shift ? builder.node('Add', [product, shift]) : product);
};

/** Operators of one input that keep a quantized input's parameters. */
function unary(op: string): Rule {
  return (e, [x], out) => e.setLike(out, e.builder.node(op, [e.name(x)]), x);
}

/** Operators of two operands, of which any may be a number or a constant. */
function binary(op: string): Rule {
  return (e, [a, b], out) => e.set(out, e.builder.node(op, [operand(e, a), operand(e, b)]));
}

function operand(e: Exporter, value: Node | Tensor | number): string {
  if (typeof value === 'number') return e.builder.float('number', value);
  if ('data' in value) return e.builder.constant('tensor', floats(value), value.shape);
  return e.name(value);
}

function windowAttributes(g: PoolGeometry): Record<string, AttributeValue> {
  return {
    kernel_shape: g.kernelSize,
    strides: g.stride,
    pads: [...g.padding, ...g.padding],
    ceil_mode: Number(g.ceilMode),
  };
}

const avgPool: Rule = (e, [x, geometry]: readonly any[], out) => {
  const g = geometry as AvgPoolGeometry;
  const global = x.meta.shape.slice(2).join() === g.kernelSize.join() && g.padding.every((p) => p === 0);
  const name = global
    ? e.builder.node('GlobalAveragePool', [e.name(x)])
    : e.builder.node('AveragePool', [e.name(x)], {
        ...windowAttributes(g),
        count_include_pad: Number(g.countIncludePad),
      });
  e.setLike(out, name, x);
};

const globalAverage: Rule = (e, [x, size]: readonly any[], out) => {
  if (size.some((s: number) => s !== 1))
    throw new Error(`adaptive average pooling to ${size} is not written`);
  e.setLike(out, e.builder.node('GlobalAveragePool', [e.name(x)]), x);
};

const reshape: Rule = (e, [x], out) => {
  const shape = e.builder.int64s('shape', out.meta.shape as readonly number[]);
  e.setLike(out, e.builder.node('Reshape', [e.name(x), shape]), x);
};

const gelu: Rule = (e, [x], out) => {
  const { builder } = e;
  const erf = builder.node('Erf', [builder.node('Div', [e.name(x), builder.float('root', Math.SQRT2)])]);
  const both = builder.node('Mul', [e.name(x), builder.node('Add', [erf, builder.float('one', 1)])]);
  e.set(out, builder.node('Mul', [both, builder.float('half', 0.5)]));
};

/** By the names of our operators. */
export const FLOAT_RULES: Readonly<Record<string, Rule>> = {
  linear,
  gelu,
  reshape,
  view: reshape,
  flatten: (e, [x], out) => e.setLike(out, e.builder.node('Flatten', [e.name(x)], { axis: 1 }), x),
  relu: unary('Relu'),
  tanh: unary('Tanh'),
  sigmoid: unary('Sigmoid'),
  relu6: (e, [x], out) => e.set(out, relu6(e, e.name(x))),
  add: (e, [a, b, alpha], out) => {
    if (alpha !== 1) throw new Error(`an addition with factor ${alpha} is not written`);
    binary('Add')(e, [a, b], out);
  },
  sub: binary('Sub'),
  mul: binary('Mul'),
  matmul: binary('MatMul'),
  cat: (e, [tensors, axis], out) =>
    e.set(
      out,
      e.builder.node(
        'Concat',
        tensors.map((x: Node) => e.name(x)),
        { axis },
      ),
    ),
  maxPool2d: (e, [x, g], out) =>
    e.setLike(
      out,
      e.builder.node('MaxPool', [e.name(x)], { ...windowAttributes(g), dilations: g.dilation }),
      x,
    ),
  avgPool2d: avgPool,
  adaptiveAvgPool2d: globalAverage,
  permute: (e, [x, perm], out) => e.setLike(out, e.builder.node('Transpose', [e.name(x)], { perm }), x),
  transpose: (e, [x, a, b], out) => {
    const perm = (x.meta.shape as number[]).map((_, i) => i);
    const [from, to] = [a, b].map((d: number) => (d < 0 ? d + perm.length : d));
    [perm[from], perm[to]] = [to, from];
    e.setLike(out, e.builder.node('Transpose', [e.name(x)], { perm }), x);
  },
  softmax: (e, [x, axis], out) => e.set(out, e.builder.node('Softmax', [e.name(x)], { axis })),
  embedding: (e, [ids, weight], out) => {
    const table = e.builder.constant('table', floats(weight), weight.shape);
    e.set(out, e.builder.node('Gather', [table, e.name(ids)]));
  },
  layerNorm: (e, [x, shape, weight, bias, epsilon], out) => {
    const [scale, shift] = [weight, bias].map((t: Tensor) => e.builder.constant('norm', floats(t), t.shape));
    e.set(
      out,
      e.builder.node('LayerNormalization', [e.name(x), scale, shift], { axis: -shape.length, epsilon }),
    );
  },
};
