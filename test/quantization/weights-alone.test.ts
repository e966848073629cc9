import { describe, expect, test } from 'vitest';
import {
  jit,
  linear,
  manualSeed,
  nn,
  noGrad,
  quantization,
  randn,
  relu,
  suite,
  type Tensor,
} from '../../src/index.ts';

const {
  convertDbr,
  convertFx,
  convertToReferenceFx,
  defaultDynamicQConfig,
  float16DynamicQConfig,
  prepareDbr,
  prepareFx,
  QConfigMapping,
  quantizeDynamic,
} = quantization;

/** A layer, an operator with its relu, a recurrent layer and a fused pair. */
class Mixed extends nn.Module {
  enter = new nn.Linear(12, 16);
  table = new nn.Parameter(randn([16, 16]));
  shift = new nn.Parameter(randn([16]));
  lstm = new nn.LSTM(16, 8, { batchFirst: true });
  last = new nn.Sequential(new nn.Linear(8, 6), new nn.ReLU());

  forward(x: Tensor): Tensor {
    const y = relu(linear(this.enter(x), this.table, this.shift));
    return this.last(this.lstm(y)[0]);
  }
}

/** A convolution with a parameter as its kernel. */
class Convolving extends nn.Module {
  kernel = new nn.Parameter(randn([4, 3, 3, 3]));

  forward(x: Tensor): Tensor {
    return nn.functional.conv2d(x, this.kernel, null, { padding: 1 });
  }
}

function prepared(qconfig: quantization.QConfig): { model: Mixed; graph: any; x: Tensor } {
  manualSeed(5);
  const model = new Mixed().eval();
  const x = randn([3, 5, 12]);
  return { model, graph: prepareFx(model, new QConfigMapping().setGlobal(qconfig), [x]), x };
}

const targets = (graph: any): string[] =>
  graph.graph.nodes.flatMap((n: any) => (n.op === 'call_function' ? [n.targetName] : []));

describe('graph mode with weights alone quantized', () => {
  test('int8: products take their relu along, and nothing stays float', () => {
    const { model, graph, x } = prepared(defaultDynamicQConfig);
    const int8 = convertFx(graph);
    expect(targets(int8)).toEqual(['quantized::linear_relu_dynamic', 'getitem']);
    expect(suite.coverage(int8).filter((row) => row.status === 'float')).toEqual([]);
    const [want, got] = noGrad(() => [model(x), int8(x)]) as Tensor[];
    expect(suite.sqnr(want, got)).toBeGreaterThan(30);
  });

  test('float16: layers, operators and recurrent layers; the reference graph computes the same', () => {
    const { model, graph, x } = prepared(float16DynamicQConfig);
    const reference = convertToReferenceFx(graph);
    const half = convertFx(graph);
    expect(targets(reference)).toEqual(['to', 'to', 'linear', 'relu', 'getitem']);
    expect(targets(half)).toEqual(['quantized::linear_relu_dynamic_fp16', 'getitem']);
    expect(suite.coverage(half).filter((row) => row.status === 'float')).toEqual([]);
    const [float, meant, got] = noGrad(() => [model(x), reference(x), half(x)]) as Tensor[];
    expect(suite.sqnr(float, got)).toBeGreaterThan(60);
    // The recurrent layer keeps its float weights in the reference.
    expect(suite.maxError(meant, got)).toBeLessThan(1e-3);
    const keys = [...half.stateDict().keys()];
    expect(keys).not.toContain('table');
    const packed = half.stateDict().get('_packed_weight_0') as unknown as [Tensor, Tensor];
    expect([packed[0].dtype, packed[1].shape]).toEqual(['float16', [16]]);
  });

  test('a layer in float16 gives what eager mode gives, and states load', () => {
    const { model, graph, x } = prepared(float16DynamicQConfig);
    const half = convertFx(graph);
    const eager = quantizeDynamic(model, undefined, { dtype: 'float16' });
    const y = randn([4, 12]);
    const layer = (half as unknown as { enter: nn.Module }).enter;
    expect(noGrad(() => layer(y)).numbers()).toEqual(noGrad(() => eager.enter(y)).numbers());
    const other = convertFx(prepared(float16DynamicQConfig).graph);
    noGrad(() => (other as any).table?.fill_(0));
    other.loadStateDict(half.stateDict());
    expect((noGrad(() => other(x)) as Tensor).numbers()).toEqual((noGrad(() => half(x)) as Tensor).numbers());
    const program = jit.trace(half, [x]);
    expect((program.run(x) as Tensor).numbers()).toEqual((noGrad(() => half(x)) as Tensor).numbers());
  });
});

describe('define-by-run with weights alone quantized', () => {
  test.each([
    ['int8', defaultDynamicQConfig],
    ['float16', float16DynamicQConfig],
  ])('%s: operators and layers give what graph mode gives, and states load', (_name, qconfig) => {
    const { model, graph, x } = prepared(qconfig);
    const mapping = new QConfigMapping().setGlobal(qconfig);
    const made = convertDbr(prepareDbr(model, mapping, [x]));
    const rows = suite.coverage(made).filter((row) => row.type === 'linear');
    expect(rows.map((row) => row.status)).toEqual(['quantized']);
    const run = (m: unknown): number[] =>
      Array.from((noGrad(() => (m as nn.AnyModule)(x)) as Tensor).numbers());
    expect(run(made)).toEqual(run(convertFx(graph)));
    const other = convertDbr(prepareDbr(new Mixed().eval(), mapping, [x]));
    expect(run(other)).not.toEqual(run(made));
    other.loadStateDict(made.stateDict());
    expect(run(other)).toEqual(run(made));
    const convolving = new Convolving().eval();
    const image = randn([2, 3, 6, 6]);
    const float = noGrad(() => convolving(image)) as Tensor;
    const byRun = convertDbr(prepareDbr(convolving, mapping, [image]));
    const error = suite.maxError(float, noGrad(() => byRun(image)) as Tensor);
    // Convolutions have no form in half precision and stay as they are.
    if (qconfig === float16DynamicQConfig) expect(error).toBe(0);
    else expect([error > 0, error < 0.2]).toEqual([true, true]);
  });
});
