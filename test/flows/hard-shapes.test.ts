import { describe, expect, test } from 'vitest';
import {
  add,
  cat,
  flatten,
  fx,
  gt,
  jit,
  manualSeed,
  mul,
  nn,
  noGrad,
  quantization,
  rand,
  randn,
  relu,
  sigmoid,
  suite,
  type Tensor,
  where,
} from '../../src/index.ts';

const {
  convertFx,
  defaultQConfig,
  getDefaultQConfigMapping,
  PrepareCustomConfig,
  prepareFx,
  QConfigMapping,
} = quantization;

type Graph<A extends unknown[], O> = ReturnType<typeof convertFx<A, O>>;

/** Prepares, calibrates on the samples, converts. */
function quantized<A extends unknown[], O>(
  model: nn.Module<A, O>,
  samples: readonly A[],
  options: quantization.PrepareFxOptions = {},
): Graph<A, O> {
  const mapping = new QConfigMapping().setGlobal(defaultQConfig);
  const prepared = prepareFx(model.eval() as nn.Module<A, O>, mapping, samples[0] as never, options);
  noGrad(() => {
    for (const sample of samples) prepared(...sample);
  });
  return convertFx(prepared);
}

const targets = (m: { graph: { nodes: readonly { targetName: string }[] } }): string[] =>
  m.graph.nodes.map((n) => n.targetName);
const close = (f: Tensor, q: Tensor): number => suite.sqnr(f, q);
const run = <T>(body: () => T): T => noGrad(body);

describe('the twelve hardest shapes of models', () => {
  test('1. a residual addition without FloatFunctional', () => {
    class Residual extends nn.Module {
      conv = new nn.Conv2d(4, 4, 3, { padding: 1 });
      forward(x: Tensor): Tensor {
        return add(this.conv(x), x);
      }
    }
    manualSeed(1);
    const model = new Residual();
    const x = randn([2, 4, 8, 8]);
    const int8 = quantized(model, [[x]]);
    expect(targets(int8)).toContain('quantized::add');
    expect(
      close(
        run(() => model(x)),
        run(() => int8(x)),
      ),
    ).toBeGreaterThan(30);
  });

  test('2. a functional relu, fused into the layer before it', () => {
    class Functional extends nn.Module {
      conv = new nn.Conv2d(4, 4, 3);
      bn = new nn.BatchNorm2d(4);
      forward(x: Tensor): Tensor {
        return relu(this.bn(this.conv(x)));
      }
    }
    manualSeed(1);
    const int8 = quantized(new Functional(), [[randn([2, 4, 8, 8])]]);
    expect(targets(int8).slice(3)).toEqual(['quantizePerTensor', 'conv', 'dequantize', 'output']);
    expect(int8.getSubmodule('conv').typeName).toBe('QuantizedConvReLU2d');
  });

  test('3. one activation module in several places', () => {
    class Reused extends nn.Module {
      a = new nn.Linear(6, 6);
      b = new nn.Linear(6, 6);
      relu = new nn.ReLU();
      forward(x: Tensor): Tensor {
        return this.relu(this.b(this.relu(this.a(x))));
      }
    }
    manualSeed(1);
    const int8 = quantized(new Reused(), [[randn([16, 6])]]);
    for (const path of ['a', 'b']) expect(int8.getSubmodule(path).typeName).toBe('QuantizedLinearReLU');
  });

  test('4. a layer called twice: one weight, a scale for each call', () => {
    class Shared extends nn.Module {
      fc = new nn.Linear(6, 6);
      forward(x: Tensor): Tensor {
        return this.fc(mul(relu(this.fc(x)), 3));
      }
    }
    manualSeed(1);
    const model = new Shared();
    const x = randn([32, 6]);
    const int8 = quantized(model, [[x]]);
    const [a, b] = ['fc', 'fc_1'].map((path) => int8.getSubmodule(path) as unknown as nn.quantized.Linear);
    expect(a.weight().intRepr().toArray()).toEqual(b.weight().intRepr().toArray());
    expect(a.scale).not.toBe(b.scale);
    expect(
      close(
        run(() => model(x)),
        run(() => int8(x)),
      ),
    ).toBeGreaterThan(25);
  });

  test('5. concatenation of what is scaled differently: parts share one grid, or are rescaled where they cannot', () => {
    class Cat extends nn.Module {
      small = new nn.Linear(6, 6);
      large = new nn.Linear(6, 6);
      forward(x: Tensor): Tensor {
        return cat([sigmoid(this.small(x)), this.large(x)], 1);
      }
    }
    manualSeed(1);
    const model = new Cat();
    for (const w of model.large.parameters()) for (let i = 0; i < w.numel; i++) w.storage[i] *= 40;
    const x = randn([32, 6]);
    const int8 = quantized(model, [[x]]);
    expect(targets(int8)).toContain('quantized::cat');
    // PyTorch gives both the range of the sigmoid, which cuts the larger part off.
    expect(
      close(
        run(() => model(x)),
        run(() => int8(x)),
      ),
    ).toBeGreaterThan(25);
  });

  test('6. an operation in place is refused, naming module, line and what to write', () => {
    class InPlace extends nn.Module {
      fc = new nn.Linear(6, 6);
      forward(x: Tensor): Tensor {
        const y = this.fc(x);
        y.add_(x);
        return y;
      }
    }
    const prepare = (): unknown => quantized(new InPlace(), [[randn([2, 6])]]);
    expect(prepare).toThrow(/add_\(\).*in place.*hard-shapes\.test\.ts:\d+.*in InPlace/s);
    // Activations that say they are in place are layers like any other.
    manualSeed(1);
    const layers = new nn.Sequential(new nn.Linear(6, 6), new nn.ReLU({ inplace: true }));
    expect(quantized(layers, [[randn([4, 6])]]).getSubmodule('0').typeName).toBe('QuantizedLinearReLU');
  });

  test('7. a view with the batch size in it runs at other batch sizes', () => {
    class Viewed extends nn.Module {
      conv = new nn.Conv2d(3, 4, 3);
      fc = new nn.Linear(4 * 36, 5);
      forward(x: Tensor): Tensor {
        const y = this.conv(x);
        return this.fc(y.view([y.shape[0], 4 * 36]));
      }
    }
    manualSeed(1);
    const int8 = quantized(new Viewed(), [[randn([2, 3, 8, 8])]]);
    const x = randn([7, 3, 8, 8]);
    const whole = run(() => int8(x));
    expect(whole.shape).toEqual([7, 5]);
    const first = run(() => int8(x.narrow(0, 0, 1)));
    expect(first.toArray()).toEqual(whole.narrow(0, 0, 1).toArray());
  });

  test('8. dicts and lists in and out', () => {
    interface In {
      readonly image: Tensor;
      readonly extra: readonly Tensor[];
    }
    interface Out {
      readonly logits: Tensor;
      readonly features: readonly Tensor[];
    }
    class Structured extends nn.Module<[In], Out> {
      a = new nn.Linear(4, 4);
      b = new nn.Linear(4, 2);
      forward({ image, extra }: In): Out {
        const y = relu(this.a(add(image, extra[0])));
        return { logits: this.b(y), features: [y, image] };
      }
    }
    manualSeed(1);
    const model = new Structured();
    const sample: In = { image: randn([8, 4]), extra: [randn([8, 4])] };
    const int8 = quantized(model, [[sample]]);
    const [want, got] = run(() => [model(sample), int8(sample)]);
    expect(Object.keys(got)).toEqual(['logits', 'features']);
    expect(got.logits.isQuantized || got.features[0].isQuantized).toBe(false);
    expect(close(want.logits, got.logits)).toBeGreaterThan(25);
    expect(() => int8({ image: sample.image } as In)).toThrow(/input 0/);
  });

  test('9. control flow on a shape takes the way of the example, and says so at other sizes', () => {
    class OnShape extends nn.Module {
      near = new nn.Linear(4, 2);
      far = new nn.Linear(4, 2);
      forward(x: Tensor): Tensor {
        return x.shape[0] === 1 ? this.near(x) : this.far(x);
      }
    }
    manualSeed(1);
    const int8 = quantized(new OnShape(), [[randn([1, 4])]]);
    expect(targets(int8)).toContain('near');
    expect(() => int8(randn([3, 4]))).toThrow(/batch size 1, the one that was traced.*far/s);
  });

  test('10. control flow on a value is refused with module and line; `where` or define-by-run do it', () => {
    class OnValue extends nn.Module {
      fc = new nn.Linear(4, 4);
      forward(x: Tensor): Tensor {
        const y = this.fc(x);
        return y.sum().item() > 0 ? y : y.neg();
      }
    }
    const x = randn([8, 4]);
    expect(() => quantized(new OnValue(), [[x]])).toThrow(
      /item\(\).*hard-shapes\.test\.ts:\d+.*where.*prepareDbr.*in OnValue/s,
    );
    class Written extends OnValue {
      override forward(y: Tensor): Tensor {
        const z = this.fc(y);
        return where(gt(z.sum(), 0), z, z.neg());
      }
    }
    manualSeed(1);
    const model = new Written();
    const int8 = quantized(model, [[x]]);
    expect(
      close(
        run(() => model(x)),
        run(() => int8(x)),
      ),
    ).toBeGreaterThan(25);
    const prepared = quantization.prepareDbr(new OnValue().eval(), { '': defaultQConfig }, [x]);
    run(() => prepared(x));
    expect(run(() => quantization.convertDbr(prepared)(x)).shape).toEqual([8, 4]);
  });

  test('11. a call of foreign code stays as it is, once it is wrapped or its module is not to be looked into', () => {
    /** Foreign code: looks at every number. */
    const clipped = (x: Tensor): Tensor => x.clamp(-1, Math.max(...x.numbers()) / 2);
    class Foreign extends nn.Module {
      fc = new nn.Linear(4, 4);
      readonly clip: (x: Tensor) => Tensor;
      constructor(clip: (x: Tensor) => Tensor) {
        super();
        this.clip = clip;
      }
      forward(x: Tensor): Tensor {
        return this.fc(this.clip(this.fc(x)));
      }
    }
    const x = randn([8, 4]);
    expect(() => quantized(new Foreign(clipped), [[x]])).toThrow(/numbers\(\).*wrap\(\)/s);
    manualSeed(1);
    const model = new Foreign(fx.wrap(clipped));
    const int8 = quantized(model, [[x]]);
    expect(targets(int8)).toContain('clipped');
    expect(
      close(
        run(() => model(x)),
        run(() => int8(x)),
      ),
    ).toBeGreaterThan(20);
    class Clip extends nn.Module {
      forward(y: Tensor): Tensor {
        return clipped(y);
      }
    }
    const custom = new PrepareCustomConfig().setNonTraceableModuleClasses([Clip]);
    const layers = new nn.Sequential(new nn.Linear(4, 4), new Clip());
    expect(targets(quantized(layers, [[x]], { prepareCustomConfig: custom }))).toContain('1');
  });

  test('12. a module that was left in training mode is named', () => {
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.Sequential(new nn.Dropout(0.5))).eval();
    model.getSubmodule('1.0').train();
    const prepare = (): unknown => prepareFx(model, getDefaultQConfigMapping(), [randn([2, 4])]);
    expect(prepare).toThrow(/1\.0 \(Dropout\) in training mode.*model\.eval\(\)/s);
  });
});

describe('what became of a graph', () => {
  class Mixed extends nn.Module {
    conv = new nn.Conv2d(3, 4, 3);
    pool = new nn.MaxPool2d(2);
    act = new nn.GELU();
    fc = new nn.Linear(36, 5);
    forward(x: Tensor): Tensor {
      return this.fc(flatten(this.act(this.pool(relu(this.conv(x)))), 1));
    }
  }

  test('is listed call by call, with the reasons', () => {
    manualSeed(1);
    const mapping = getDefaultQConfigMapping().setModuleName('fc', null);
    const prepared = prepareFx(new Mixed().eval(), mapping, [rand([2, 3, 8, 8])]);
    run(() => prepared(rand([2, 3, 8, 8])));
    const table = (m: nn.Module): string[] =>
      suite.coverage(m).map((r) => `${r.path} ${r.type} ${r.status}${r.reason && `: ${r.reason}`}`);
    expect(table(prepared)).toEqual([
      'conv ConvReLU2d observed',
      'pool MaxPool2d observed',
      'act GELU float: no row of the backend table is about it',
      ' flatten observed',
      'fc Linear float: its qconfig is null',
    ]);
    expect(table(convertFx(prepared))).toEqual([
      'conv QuantizedConvReLU2d quantized',
      'pool MaxPool2d quantized',
      'act GELU float: no row of the backend table is about it',
      ' flatten quantized',
      'fc Linear float: its qconfig is null',
    ]);
  });

  test('a converted graph is traced into a program of quantized operators', async () => {
    manualSeed(1);
    const x = rand([2, 3, 8, 8]);
    const int8 = quantized(new Mixed(), [[x]]);
    const program = jit.trace(int8, [x]);
    const names = program.graph.nodes.map((n) => n.targetName);
    expect(names).toContain('quantized::conv2d_relu');
    expect(names).toContain('quantized::linear');
    const again = jit.readProgram(jit.writeProgram(program));
    expect((again.run(x) as Tensor).toArray()).toEqual(run(() => int8(x)).toArray());
  });
});
