/**
 * The word language model with ONNX's own LSTM operator, which runs faster there than the steps one by one; dynamically
 * quantized as onnxruntime's `quantize_dynamic` writes it.
 */
import { type models, nn, type Tensor } from '../../../src/index.ts';
import type { PackedWeights } from '../../../src/ops/quantized/packed.ts';
import { floats, transposed } from '../network.ts';
import { OnnxBuilder } from './builder.ts';
import { dynamicProduct } from './quantized.ts';

/** PyTorch orders gates i, f, g, o; ONNX i, o, f, g. */
const GATES = [0, 3, 1, 2];

/** An ONNX file's bytes for the model in float or dynamic int8. */
export function exportLanguageModel(model: models.WordLanguageModel, input: Tensor): Promise<Uint8Array> {
  const builder = new OnnxBuilder();
  const [time, batch] = input.shape;
  const ids = builder.input('input', 'int64', input.shape);
  const { weight } = model.encoder as nn.Embedding;
  let x = builder.node('Gather', [builder.constant('table', floats(weight), weight.shape), ids]);
  for (let layer = 0; layer < model.rnn.numLayers; layer++) {
    const weights = model.rnn.weights(layer);
    const y = weights.weightIh.isQuantized
      ? quantizedLayer(builder, weights, x)
      : floatLayer(builder, weights, x);
    x = builder.node('Squeeze', [y, builder.int64s('axes', [1])]);
  }
  builder.output(builder.identity(decoder(builder, model, x), 'output'), 'float32', [
    time,
    batch,
    weight.shape[0],
  ]);
  return builder.encode();
}

type Weights = ReturnType<nn.LSTM['weights']>;

/** Rows in ONNX's order of gates. */
function reordered<T extends Float32Array | Int8Array>(rows: T): T {
  const out = rows.slice() as T;
  const size = rows.length / 4;
  GATES.forEach((from, to) => {
    out.set(rows.subarray(from * size, (from + 1) * size), to * size);
  });
  return out;
}

function biases(builder: OnnxBuilder, { biasIh, biasHh }: Weights): string {
  const both = [biasIh, biasHh].flatMap((b) => Array.from(reordered(floats(b as Tensor))));
  return builder.constant('bias', Float32Array.from(both), [1, both.length]);
}

function floatLayer(builder: OnnxBuilder, weights: Weights, x: string): string {
  const [w, r] = [weights.weightIh, weights.weightHh].map((t) =>
    builder.constant('weight', reordered(floats(t)), [1, ...t.shape]),
  );
  const inputs = [x, w, r, biases(builder, weights)];
  return builder.node('LSTM', inputs, { hidden_size: weights.weightHh.shape[1] });
}

function quantizedLayer(builder: OnnxBuilder, weights: Weights, x: string): string {
  const parts = [weights.weightIh, weights.weightHh].map((t) => {
    const [rows, columns] = t.shape;
    const values = transposed(reordered(t.data as Int8Array), rows, columns);
    return {
      weight: builder.constant('weight', values, [1, columns, rows]),
      scale: builder.constant('weight_scale', Float32Array.of(t.qScale()), [1]),
      zero: builder.constant('weight_zero', Int8Array.of(t.qZeroPoint()), [1]),
    };
  });
  const [w, r] = parts;
  const inputs = [x, w.weight, r.weight, biases(builder, weights), '', '', '', ''];
  return builder.node('com.microsoft::DynamicQuantizeLSTM', [...inputs, w.scale, w.zero, r.scale, r.zero], {
    hidden_size: weights.weightHh.shape[1],
  });
}

function decoder(builder: OnnxBuilder, model: models.WordLanguageModel, x: string): string {
  const layer = model.decoder;
  if (!(layer instanceof nn.Linear)) {
    const { packed } = layer as unknown as { readonly packed: PackedWeights };
    return dynamicProduct(builder, x, packed, new Map());
  }
  const [rows, columns] = layer.weight.shape;
  const weight = builder.constant('weight', transposed(floats(layer.weight), rows, columns), [columns, rows]);
  const bias = builder.constant('bias', floats(layer.bias as Tensor), [rows]);
  return builder.node('Add', [builder.node('MatMul', [x, weight]), bias]);
}
