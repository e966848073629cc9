/** Quantized operators in ONNX: float operators between QuantizeLinear and DequantizeLinear, and dynamic products. */
import type { Node } from '../../../src/fx/node.ts';
import type { PackedWeights } from '../../../src/ops/quantized/packed.ts';
import { isPerChannel, type QParams } from '../../../src/tensor/qparams.ts';
import { type QuantizedConvStep, transposed } from '../network.ts';
import type { OnnxBuilder } from './builder.ts';
import type { Exporter, Quantization, Rule } from './export.ts';
import { convAttributes } from './float.ts';

function uint8(scale: number, zeroPoint: number): Quantization {
  return { scale, zeroPoint, type: 'uint8' };
}

function integers({ weight }: PackedWeights): Int8Array {
  if (weight.dtype !== 'qint8') throw new Error(`weights of ${weight.dtype} are not written`);
  const q = weight.qparams as QParams;
  const zeros = isPerChannel(q) ? [...q.zeroPoints] : [q.zeroPoint];
  if (zeros.some((z) => z !== 0)) throw new Error('weights with a zero point are not written');
  return weight.data as Int8Array;
}

/** Weights as DequantizeLinear of int8, one scale per output channel, and the bias as that of int32. */
function constants(
  e: Exporter,
  packed: PackedWeights,
  input: Node,
  weight: Int8Array,
  shape: readonly number[],
  axis: number,
): string[] {
  const { builder } = e;
  const scales = packed.weightScales;
  const values = builder.constant('weight', weight, shape);
  const scale = builder.constant('weight_scale', scales, [scales.length]);
  const zero = builder.constant('weight_zero', new Int8Array(scales.length), [scales.length]);
  const dequantized = [builder.node('DequantizeLinear', [values, scale, zero], { axis })];
  if (!packed.bias) return dequantized;
  const inputScale = e.quantization(input)?.scale as number;
  const biasScales = scales.map((s) => s * inputScale);
  const rounded = Int32Array.from(packed.bias.data as Float32Array, (b, c) => Math.round(b / biasScales[c]));
  const bias = [
    builder.constant('bias', rounded, [rounded.length]),
    builder.constant('bias_scale', biasScales, [rounded.length]),
    builder.constant('bias_zero', new Int32Array(rounded.length), [rounded.length]),
  ];
  return [...dequantized, builder.node('DequantizeLinear', bias, { axis: 0 })];
}

/** Where zero is the lowest level, saturation is the relu. */
function withRelu(e: Exporter, name: string, relu: boolean, zeroPoint: number): string {
  return relu && zeroPoint !== 0 ? e.builder.node('Relu', [name]) : name;
}

export function quantizedConv(e: Exporter, step: QuantizedConvStep): void {
  const { packed, input } = step;
  const { shape } = packed.weight;
  const inputs = [e.name(input), ...constants(e, packed, input, integers(packed), shape, 0)];
  const name = withRelu(
    e,
    e.builder.node('Conv', inputs, convAttributes(shape, step)),
    step.relu,
    step.zeroPoint,
  );
  e.setQuantized(step.out, name, uint8(step.scale, step.zeroPoint));
}

function linear(relu: boolean): Rule {
  return (e, [x, packed, scale, zeroPoint], out) => {
    const [rows, columns] = packed.weight.shape;
    const weight = transposed(integers(packed), rows, columns);
    const inputs = [e.name(x), ...constants(e, packed, x, weight, [columns, rows], 1)];
    e.setQuantized(
      out,
      withRelu(e, e.builder.node('Gemm', inputs), relu, zeroPoint),
      uint8(scale, zeroPoint),
    );
  };
}

function add(relu: boolean): Rule {
  return (e, [a, b, scale, zeroPoint], out) => {
    const sum = e.builder.node('Add', [e.name(a), e.name(b)]);
    e.setQuantized(out, withRelu(e, sum, relu, zeroPoint), uint8(scale, zeroPoint));
  };
}

/**
 * As onnxruntime's `quantize_dynamic` writes a product: the input is quantized once for all layers that read it.
 *
 * @param shared Quantized inputs by the name of the float ones.
 */
export function dynamicProduct(
  builder: OnnxBuilder,
  input: string,
  packed: PackedWeights,
  shared: Map<string, readonly string[]>,
): string {
  const [rows, columns] = packed.weight.shape;
  const quantized = shared.get(input) ?? builder.nodes('DynamicQuantizeLinear', [input], 3);
  shared.set(input, quantized);
  const [values, scale, zero] = quantized;
  const weight = builder.constant('weight', transposed(integers(packed), rows, columns), [columns, rows]);
  const weightZero = builder.constant('weight_zero', Int8Array.of(0), []);
  const scales = packed.weightScales;
  const weightScale = scales.every((s) => s === scales[0])
    ? builder.float('weight_scale', scales[0])
    : builder.constant('weight_scale', scales, [rows]);
  const sums = builder.node('MatMulInteger', [values, weight, zero, weightZero]);
  const factor = builder.node('Mul', [scale, weightScale]);
  const product = builder.node('Mul', [builder.node('Cast', [sums], { to: 1 }), factor]);
  if (!packed.bias) return product;
  const bias = builder.constant('bias', packed.bias.data as Float32Array, [rows]);
  return builder.node('Add', [product, bias]);
}

/** By the names of our operators. */
export const QUANTIZED_RULES: Readonly<Record<string, Rule>> = {
  quantizePerTensor: (e, [x, scale, zeroPoint, dtype], out) =>
    e.setQuantized(out, e.name(x), { scale, zeroPoint, type: dtype === 'quint8' ? 'uint8' : 'int8' }),
  dequantize: (e, [x], out) => e.set(out, e.name(x)),
  'quantized::linear': linear(false),
  'quantized::linear_relu': linear(true),
  'quantized::add': add(false),
  'quantized::add_relu': add(true),
  'quantized::cat': (e, [tensors, scale, zeroPoint, axis], out) => {
    const joined = e.builder.node(
      'Concat',
      tensors.map((x: Node) => e.name(x)),
      { axis },
    );
    e.setQuantized(out, joined, uint8(scale, zeroPoint));
  },
  'quantized::linear_dynamic': (e, [x, packed], out) =>
    e.set(out, dynamicProduct(e.builder, e.name(x), packed, e.shared)),
};
