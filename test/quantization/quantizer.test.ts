import { describe, expect, test } from 'vitest';
import {
  add,
  fx,
  linear,
  manualSeed,
  models,
  nn,
  noGrad,
  quantization,
  relu,
  suite,
  type Tensor,
} from '../../src/index.ts';
import { noiseTensor } from '../support/hashed-weights.ts';

const {
  convertFx,
  convertPt2e,
  DerivedQuantizationSpec,
  defaultWeightObserver,
  FixedQParamsQuantizationSpec,
  getDefaultQConfigMapping,
  getSymmetricQuantizationConfig,
  MinMaxObserver,
  ObserverBase,
  prepareFx,
  preparePt2e,
  QuantizationSpec,
  SharedQuantizationSpec,
  WasmQuantizer,
  XNNPACKQuantizer,
} = quantization;

const x = noiseTensor([2, 3, 33, 33], 1);

function squeezeNet(): models.SqueezeNet {
  manualSeed(1);
  return models.squeezenet1_1({ numClasses: 10 }).eval();
}

describe('quantizers', () => {
  test('the wasm quantizer says what prepareFx does: the same observers, the same integers', () => {
    const model = squeezeNet();
    const annotated = preparePt2e(fx.symbolicTrace(model, [x]), new WasmQuantizer());
    const prepared = prepareFx(model, getDefaultQConfigMapping(), [x]);
    noGrad(() => [annotated(x), prepared(x)]);
    expect(annotated.code).toBe(prepared.code);
    const [a, b] = noGrad(() => [convertPt2e(annotated)(x), convertFx(prepared)(x)]);
    expect(suite.maxError(a, b)).toBe(0);
  });

  test('XNNPACK: signed activations, weights per channel, and its layers alone', () => {
    const model = new nn.Sequential(squeezeNet(), new nn.Linear(10, 6), new nn.Hardswish()).eval();
    const quantizer = new XNNPACKQuantizer().setGlobal(
      getSymmetricQuantizationConfig({ isPerChannel: true }),
    );
    const prepared = preparePt2e(fx.symbolicTrace(model, [x]), quantizer);
    noGrad(() => prepared(x));
    const int8 = convertPt2e(prepared);
    const conv = int8.getSubmodule('0.features.0') as unknown as nn.quantized.Conv2d;
    expect(conv.weight().qscheme()).toBe('per_channel_affine');
    expect(Math.min(...conv.weight().intRepr().numbers())).toBeGreaterThanOrEqual(-127);
    expect(int8.getSubmodule('2').typeName).toBe('Hardswish');
    const node = int8.graph.nodes.find((n) => n.target === 'quantizePerTensor');
    expect(node?.args[3]).toBe('qint8');
    const [f, q] = noGrad(() => [model(x), int8(x)]);
    const db = suite.sqnr(f, q);
    console.log(`XNNPACK quantizer on SqueezeNet: ${db.toFixed(1)} dB`);
    expect(db).toBeGreaterThan(20);
    const part = preparePt2e(fx.symbolicTrace(model, [x]), new XNNPACKQuantizer().setModuleName('0', null));
    expect(part.graph.nodes.filter((n) => n.targetName.startsWith('activation_post')).length).toBe(2);
  });

  /** A layer with its weight and bias as arguments, and a residual. */
  class Functional extends nn.Module {
    weight = new nn.Parameter(noiseTensor([8, 8], 2));
    bias = new nn.Parameter(noiseTensor([8], 3));
    forward(y: Tensor): Tensor {
      return relu(add(linear(y, this.weight, this.bias), y));
    }
  }

  /** Signed linear layers whose bias lies on the grid of the products; results on a fixed grid. */
  class Mine implements quantization.Quantizer {
    annotate(model: fx.GraphModule<any, any>): quantization.Annotations {
      const activation = new QuantizationSpec(MinMaxObserver.withArgs({ dtype: 'qint8' }));
      const weight = new QuantizationSpec(defaultWeightObserver);
      const annotations: quantization.Annotations = new Map();
      for (const node of model.graph.nodes) {
        if (node.target === 'linear') {
          const [input, w, b] = node.args as fx.Node[];
          const bias = new DerivedQuantizationSpec(
            [
              [input, node],
              [w, node],
            ],
            'qint32',
            ([p, q]) => ({
              scale: Math.fround(p.scale * q.scale),
              zeroPoint: 0,
            }),
          );
          const inputs = new Map<fx.Node, quantization.AnyQuantizationSpec>([
            [input, activation],
            [w, weight],
            [b, bias],
          ]);
          annotations.set(node, {
            inputs,
            output: new FixedQParamsQuantizationSpec({ dtype: 'qint8', scale: 0.05, zeroPoint: 3 }),
          });
        }
        if (node.target === 'add') {
          const [a, b] = node.args as fx.Node[];
          annotations.set(node, {
            inputs: new Map([
              [a, activation],
              [b, activation],
            ]),
            output: null,
          });
        }
        if (node.target === 'relu') annotations.set(node, { inputs: new Map(), output: activation });
      }
      return annotations;
    }
  }

  test('a quantizer of one’s own: weights and a derived bias as arguments, fixed parameters, a fused pair', () => {
    const model = new Functional().eval();
    const [y, z] = [noiseTensor([5, 8], 4), noiseTensor([5, 8], 5)];
    const prepared = preparePt2e(fx.symbolicTrace(model, [y]), new Mine());
    noGrad(() => prepared(y));
    const reference = convertPt2e(prepared, { reference: true });
    const int8 = convertPt2e(prepared);
    const names = int8.graph.nodes.map((n) => n.targetName);
    expect(names.filter((n) => n.startsWith('quantized::'))).toEqual([
      'quantized::linear',
      'quantized::add_relu',
    ]);
    expect(names.filter((n) => n === 'quantizePerTensor')).toHaveLength(1);
    const bias = reference.graph.nodes.find((n) => n.args[3] === 'qint32');
    expect(bias).toBeDefined();
    const [f, r, q] = noGrad(() => [model(z), reference(z), int8(z)]);
    expect(suite.maxError(r, q)).toBe(0);
    expect(suite.sqnr(f, q)).toBeGreaterThan(25);
  });

  test('places that share have one observer', () => {
    class Pair extends nn.Module {
      a = new nn.Linear(4, 4);
      b = new nn.Linear(4, 4);
      forward(y: Tensor): Tensor {
        return add(this.a(y), this.b(y));
      }
    }
    const sharing: quantization.Quantizer = {
      annotate(model) {
        const [, a, b, sum] = model.graph.nodes;
        const own = new QuantizationSpec(MinMaxObserver.withArgs({ dtype: 'quint8' }));
        const weight = new QuantizationSpec(defaultWeightObserver);
        const [input] = a.args as fx.Node[];
        const both = new Map<fx.Node, quantization.AnyQuantizationSpec>([
          [a, own],
          [b, new SharedQuantizationSpec([a, sum])],
        ]);
        return new Map([
          [a, { inputs: new Map([[input, own]]), output: own, weight }],
          [b, { inputs: new Map([[input, own]]), output: own, weight }],
          [sum, { inputs: both, output: own }],
        ]);
      },
    };
    const y = noiseTensor([5, 4], 1);
    const prepared = preparePt2e(fx.symbolicTrace(new Pair().eval(), [y]), sharing);
    noGrad(() => prepared(y));
    const observers = prepared.namedModules().filter(([, m]) => m instanceof ObserverBase);
    const calls = prepared.graph.nodes.filter((n) => n.targetName.startsWith('activation_post'));
    expect([observers.length, calls.length]).toEqual([3, 4]);
    const int8 = convertPt2e(prepared);
    const [a, b] = ['a', 'b'].map((path) => int8.getSubmodule(path) as unknown as nn.quantized.Linear);
    expect([a.scale, a.zeroPoint]).toEqual([b.scale, b.zeroPoint]);
  });

  test('annotations of what is not there are refused by name; validate has its say', () => {
    const y = noiseTensor([5, 8], 4);
    const traced = fx.symbolicTrace(new Functional().eval(), [y]);
    const own = new QuantizationSpec(MinMaxObserver.withArgs({ dtype: 'quint8' }));
    const node = (model: fx.GraphModule<any, any>, target: string): fx.Node =>
      model.graph.nodes.find((n) => n.target === target) as fx.Node;
    const run = (annotate: quantization.Quantizer['annotate']): unknown => preparePt2e(traced, { annotate });
    expect(() =>
      run((m) => new Map([[node(m, 'relu'), { inputs: new Map([[node(m, 'linear'), own]]), output: null }]])),
    ).toThrow(/annotation of relu.*inputs of the node \(add\).*linear/s);
    expect(() =>
      run(
        (m) =>
          new Map([
            [node(m, 'relu'), { inputs: new Map(), output: new SharedQuantizationSpec(node(m, 'add')) }],
          ]),
      ),
    ).toThrow(/annotation of relu.*a place that is annotated.*add/s);
    expect(() => run(() => new Map([[node(traced, 'relu'), { inputs: new Map(), output: own }]]))).toThrow(
      /a node of the graph that annotate was given/,
    );
    class Strict extends Mine implements quantization.Quantizer {
      validate(): void {
        throw new RangeError('no add here');
      }
    }
    expect(() => preparePt2e(traced, new Strict())).toThrow('no add here');
    expect(() => preparePt2e(fx.symbolicTrace(new Functional(), [y]), new Mine())).toThrow(/evaluation mode/);
  });

  test('specs are frozen values', () => {
    const own = new QuantizationSpec(MinMaxObserver.withArgs({ dtype: 'quint8' }));
    const fixed = new FixedQParamsQuantizationSpec({ dtype: 'quint8', scale: 1, zeroPoint: 0 });
    for (const spec of [own, fixed]) expect(Object.isFrozen(spec)).toBe(true);
  });
});
