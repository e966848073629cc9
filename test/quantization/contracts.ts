import type { AnyModule } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import {
  convert,
  DeQuantStub,
  defaultDynamicQatQConfig,
  defaultDynamicQConfig,
  defaultEmbeddingQatQConfig,
  floatQParamsWeightOnlyQConfig,
  getDefaultQatQConfig,
  getDefaultQConfig,
  prepare,
  type QConfig,
  QuantStub,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** A module class, as the namespaces export it. */
export type Class = (new (...args: any[]) => AnyModule) & { fromFloat?(module: AnyModule): AnyModule };

/**
 * What goes in and out: `static` quantized tensors, `dynamic` floats around int8 weights, `float` floats with or without
 * simulated rounding, `indices` whole numbers in and floats out, `enter` and `leave` from one kind to the other.
 */
export type Kind = 'static' | 'dynamic' | 'float' | 'indices' | 'enter' | 'leave';

/** What a class is held to. */
export interface Contract {
  readonly kind: Kind;
  /** The name it prints, which is PyTorch's. */
  readonly printed: string;
  /** Makes one with weights and parameters, from its float form where there is one. */
  readonly made: () => AnyModule;
  /** Calls the constructor, with the arguments that the float form was made with (`own`: with those PyTorch's class takes). */
  readonly constructed: () => AnyModule;
  /** True where PyTorch's class takes other arguments than the float one: its output parameters, its gains. */
  readonly own?: boolean;
  readonly input: () => readonly Tensor[];
  /** How it is called, where not as a function of its inputs. */
  readonly call?: (module: any, ...inputs: readonly Tensor[]) => unknown;
  /** Fields or methods that give its quantized weights. */
  readonly weights?: readonly string[];
  /** Fixed rather than learned output parameters: nothing of it is in the state dict. */
  readonly withoutState?: boolean;
  /** True for what rearranges elements of either kind, as PyTorch's classes do. */
  readonly either?: boolean;
  /** True where one of its parts quantizes to quint8 whatever comes in. */
  readonly quint8Only?: boolean;
}

const STATIC: QConfig = getDefaultQConfig('qnnpack');
const QAT: QConfig = getDefaultQatQConfig('qnnpack');

/** A float module between stubs, calibrated. */
function observed(float: AnyModule, input: () => readonly Tensor[]): AnyModule {
  const model = new nn.Sequential(new QuantStub(), float, new DeQuantStub()).eval();
  model.qconfig = STATIC;
  const prepared = prepare(model);
  prepared(...(input() as [Tensor]));
  return prepared.getSubmodule('1');
}

const inputs =
  (...shape: number[]) =>
  () =>
    [randn(shape)] as const;

interface Options {
  readonly own?: readonly unknown[];
  readonly weights?: readonly string[];
  readonly withoutState?: boolean;
  readonly either?: boolean;
}

/** A static layer whose constructor takes what the float one takes, or `own`. */
function fixed(
  quantized: Class,
  printed: string,
  float: () => AnyModule,
  args: readonly unknown[],
  input: () => readonly Tensor[],
  options: Options = {},
): Contract {
  return {
    kind: 'static',
    printed,
    made: () => quantized.fromFloat!(observed(float(), input)),
    constructed: () => new quantized(...(options.own ?? args)),
    own: options.own !== undefined,
    input,
    weights: options.weights,
    withoutState: options.withoutState,
    either: options.either,
  };
}

const SPACE = { 1: [7], 2: [7, 6], 3: [4, 5, 4] } as const;
const RANKS = [1, 2, 3] as const;
const CONV = { stride: 2, padding: 1, groups: 2, bias: true };

type Table = Record<string, Contract>;

function ofRanks(make: (rank: 1 | 2 | 3, name: string) => Table): Table {
  return Object.assign({}, ...RANKS.map((rank) => make(rank, `${rank}d`)));
}

const q = nn.quantized as unknown as Record<string, Class>;
const d = nn.quantized.dynamic as unknown as Record<string, Class>;
const iq = nn.intrinsic.quantized as unknown as Record<string, Class>;
const f = nn as unknown as Record<string, Class>;
const i = nn.intrinsic as unknown as Record<string, Class>;
const qat = nn.qat as unknown as Record<string, Class>;
const iqat = nn.intrinsic.qat as unknown as Record<string, Class>;

const WEIGHT = { weights: ['weight'] };

const convolutions: Table = ofRanks((rank, r) => {
  const input = inputs(2, 4, ...SPACE[rank]);
  const args = [4, 6, 3, CONV];
  return {
    [`quantized.Conv${r}`]: fixed(
      q[`Conv${r}`],
      `QuantizedConv${r}`,
      () => new f[`Conv${r}`](...args),
      args,
      input,
      WEIGHT,
    ),
    [`quantized.ConvTranspose${r}`]: fixed(
      q[`ConvTranspose${r}`],
      `QuantizedConvTranpose${r}`,
      () => new f[`ConvTranspose${r}`](...args),
      args,
      input,
      WEIGHT,
    ),
    [`intrinsic.quantized.ConvReLU${r}`]: fixed(
      iq[`ConvReLU${r}`],
      `QuantizedConvReLU${r}`,
      () => new i[`ConvReLU${r}`](new f[`Conv${r}`](...args), new nn.ReLU()),
      args,
      input,
      WEIGHT,
    ),
  };
});

const gains = [randn([4]), randn([4])];
const OUT = [0.05, 100];

const normalizations: Table = {
  ...Object.assign(
    {},
    ...([2, 3] as const).map((rank) => {
      const input = inputs(3, 4, ...SPACE[rank]);
      const norm = () => trainedNorm(new f[`BatchNorm${rank}d`](4), input);
      return {
        [`quantized.BatchNorm${rank}d`]: fixed(
          q[`BatchNorm${rank}d`],
          `QuantizedBatchNorm${rank}d`,
          norm,
          [4],
          input,
        ),
        [`intrinsic.quantized.BNReLU${rank}d`]: fixed(
          iq[`BNReLU${rank}d`],
          `QuantizedBNReLU${rank}d`,
          () => new i[`BNReLU${rank}d`](norm(), new nn.ReLU()),
          [4],
          input,
        ),
      };
    }),
  ),
  ...ofRanks((rank, r) => ({
    [`quantized.InstanceNorm${r}`]: fixed(
      q[`InstanceNorm${r}`],
      `QuantizedInstanceNorm${r}`,
      () => new f[`InstanceNorm${r}`](4, { affine: true }),
      [],
      inputs(2, 4, ...SPACE[rank]),
      { own: [4, ...gains, ...OUT, { affine: true }] },
    ),
  })),
  'quantized.LayerNorm': fixed(
    q.LayerNorm,
    'QuantizedLayerNorm',
    () => new nn.LayerNorm(4),
    [],
    inputs(3, 4),
    {
      own: [4, ...gains, ...OUT],
    },
  ),
  'quantized.GroupNorm': fixed(
    q.GroupNorm,
    'QuantizedGroupNorm',
    () => new nn.GroupNorm(2, 4),
    [],
    inputs(2, 4, 5),
    {
      own: [2, 4, ...gains, ...OUT],
    },
  ),
};

/** A batch norm whose statistics are those of some data. */
function trainedNorm(norm: AnyModule, input: () => readonly Tensor[]): AnyModule {
  norm(...(input() as [Tensor]));
  return norm.eval();
}

const activations: Table = {
  'quantized.ReLU6': fixed(q.ReLU6, 'QuantizedReLU6', () => new nn.ReLU6(), [], inputs(3, 5), {
    withoutState: true,
  }),
  'quantized.Hardswish': fixed(
    q.Hardswish,
    'QuantizedHardswish',
    () => new nn.Hardswish(),
    [],
    inputs(3, 5),
    { own: OUT },
  ),
  'quantized.ELU': fixed(q.ELU, 'QuantizedELU', () => new nn.ELU(0.7), [], inputs(3, 5), {
    own: [...OUT, 0.7],
  }),
  'quantized.LeakyReLU': fixed(
    q.LeakyReLU,
    'QuantizedLeakyReLU',
    () => new nn.LeakyReLU(0.2),
    [],
    inputs(3, 5),
    {
      own: [...OUT, 0.2],
    },
  ),
  'quantized.PReLU': fixed(
    q.PReLU,
    'QuantizedPReLU',
    () => new nn.PReLU({ numParameters: 5 }),
    [],
    inputs(3, 5),
    {
      own: [...OUT, 5],
      weights: ['weight'],
    },
  ),
  // Their float classes work on quantized tensors; these learn their output parameters instead of fixing them.
  'quantized.Sigmoid': observedBy('Sigmoid', 'Sigmoid', () => new nn.Sigmoid(), OUT),
  'quantized.Softmax': observedBy('Softmax', 'QuantizedSoftmax', () => new nn.Softmax(1), [1, ...OUT]),
};

function observedBy(
  name: string,
  printed: string,
  float: () => AnyModule,
  own: readonly unknown[],
): Contract {
  const made = (): AnyModule => {
    const module = float();
    module.addModule('activation_post_process', STATIC.activation());
    (module.activationPostProcess as AnyModule)(module(randn([3, 5]).mul(4)));
    return q[name].fromFloat!(module);
  };
  return {
    kind: 'static',
    printed,
    made,
    constructed: () => new q[name](...own),
    own: true,
    input: inputs(3, 5),
  };
}

const products: Table = {
  'quantized.Linear': fixed(
    q.Linear,
    'QuantizedLinear',
    () => new nn.Linear(5, 4),
    [5, 4],
    inputs(3, 5),
    WEIGHT,
  ),
  'intrinsic.quantized.LinearReLU': fixed(
    iq.LinearReLU,
    'QuantizedLinearReLU',
    () => new nn.intrinsic.LinearReLU(new nn.Linear(5, 4), new nn.ReLU()),
    [5, 4],
    inputs(3, 5),
    WEIGHT,
  ),
  'quantized.MaxPool2d': {
    kind: 'static',
    printed: 'MaxPool2d',
    made: () => new nn.quantized.MaxPool2d(2),
    constructed: () => new nn.quantized.MaxPool2d(2),
    input: inputs(2, 3, 6, 6),
    withoutState: true,
    either: true,
  },
  'quantized.Dropout': fixed(q.Dropout, 'QuantizedDropout', () => new nn.Dropout(0.3), [0.3], inputs(3, 5), {
    withoutState: true,
    either: true,
  }),
  'quantized.Quantize': {
    kind: 'enter',
    printed: 'Quantize',
    made: () => {
      const stub = new QuantStub();
      const model = new nn.Sequential(stub).eval();
      model.qconfig = STATIC;
      const prepared = prepare(model);
      prepared(randn([3, 5]));
      return q.Quantize.fromFloat!(prepared.getSubmodule('0'));
    },
    constructed: () => new nn.quantized.Quantize(0.1, 3, 'quint8'),
    own: true,
    input: inputs(3, 5),
  },
  'quantized.DeQuantize': {
    kind: 'leave',
    printed: 'DeQuantize',
    made: () => q.DeQuantize.fromFloat!(new DeQuantStub()),
    constructed: () => new nn.quantized.DeQuantize(),
    input: inputs(3, 5),
    withoutState: true,
  },
};

/** Float bags average where nothing is said, quantized ones add up, as in PyTorch. */
const mode = { mode: 'mean' };
const indices = (): readonly Tensor[] => [randint(0, 9, [3, 4])];

const embeddings: Table = Object.fromEntries(
  ['Embedding', 'EmbeddingBag'].map((name): [string, Contract] => [
    `quantized.${name}`,
    {
      kind: 'indices',
      printed: `Quantized${name}`,
      made: () => {
        const float = new f[name](9, 6, mode);
        float.qconfig = floatQParamsWeightOnlyQConfig;
        return q[name].fromFloat!(float);
      },
      constructed: () => new q[name](9, 6, mode),
      input: indices,
      weights: ['weight'],
    },
  ]),
);

const add = (m: any, a: Tensor, b: Tensor): unknown => m.add(a, b);
const pair = (): readonly Tensor[] => [randn([3, 5]), randn([3, 5])];

const functionals: Table = {
  'quantized.FloatFunctional': {
    kind: 'float',
    printed: 'FloatFunctional',
    made: () => new nn.quantized.FloatFunctional(),
    constructed: () => new nn.quantized.FloatFunctional(),
    input: pair,
    call: add,
    withoutState: true,
  },
  'quantized.FXFloatFunctional': {
    kind: 'float',
    printed: 'FXFloatFunctional',
    made: () => new nn.quantized.FXFloatFunctional(),
    constructed: () => new nn.quantized.FXFloatFunctional(),
    input: pair,
    call: add,
    withoutState: true,
  },
  'quantized.QFunctional': {
    kind: 'static',
    printed: 'QFunctional',
    made: () => {
      const float = new nn.quantized.FloatFunctional().eval();
      float.qconfig = STATIC;
      const prepared = prepare(float);
      const [a, b] = pair();
      prepared.add(a, b);
      return q.QFunctional.fromFloat!(prepared);
    },
    constructed: () => new nn.quantized.QFunctional(),
    input: pair,
    call: add,
  },
};

const sequence = (): readonly Tensor[] => [randn([4, 2, 5])];
const three = (): readonly Tensor[] => [randn([4, 2, 6]), randn([4, 2, 6]), randn([4, 2, 6])];

/** Forms made of parts: converted as a whole. */
function composed(
  name: 'LSTM' | 'MultiheadAttention',
  args: readonly unknown[],
  input: () => readonly Tensor[],
): Table {
  const convertFloat = (calibrated: boolean): AnyModule => {
    const model = new nn.ModuleList([new f[name](...args).eval()]);
    model.qconfig = STATIC;
    const prepared = prepare(model);
    if (calibrated) prepared.children()[0](...input());
    return convert(prepared, { allowUnobserved: !calibrated }).children()[0];
  };
  const observe = (): AnyModule => {
    const float = new f[name](...args).eval();
    float.qconfig = STATIC;
    return (nn.quantizable as unknown as Record<string, Class>)[name].fromFloat!(float);
  };
  return {
    [`quantized.${name}`]: {
      kind: 'static',
      printed: `Quantized${name}`,
      made: () => convertFloat(true),
      constructed: () => convertFloat(false),
      own: true,
      input,
      quint8Only: name === 'MultiheadAttention',
    },
    [`quantizable.${name}`]: {
      kind: 'float',
      printed: name === 'LSTM' ? 'QuantizableLSTM' : 'QuantizableMultiheadAttention',
      made: observe,
      constructed: () => new (nn.quantizable as unknown as Record<string, Class>)[name](...args),
      input,
    },
  };
}

const ARGS = { LSTM: [5, 3, { numLayers: 2, bidirectional: true }], MultiheadAttention: [6, 2] };

const quantizable: Table = {
  ...composed('LSTM', ARGS.LSTM, sequence),
  ...composed('MultiheadAttention', ARGS.MultiheadAttention, three),
  'quantizable.LSTMCell': {
    kind: 'float',
    printed: 'QuantizableLSTMCell',
    made: () => new nn.quantizable.LSTMCell(5, 3),
    constructed: () => new nn.quantizable.LSTMCell(5, 3),
    input: inputs(2, 5),
  },
};

/** A dynamic layer: made by quantizeDynamic, constructed as the float one. */
function dynamic(
  name: string,
  printed: string,
  args: readonly unknown[],
  input: () => readonly Tensor[],
  weights: readonly string[] = ['weight'],
): Contract {
  return {
    kind: 'dynamic',
    printed,
    made: () => {
      const model = new nn.ModuleList([new f[name](...args).eval()]);
      return quantizeDynamic(model, new Map([[f[name], defaultDynamicQConfig]])).children()[0];
    },
    constructed: () => new d[name](...args),
    input,
    weights,
  };
}

const GATES = ['weights'];

const dynamics: Table = {
  ...ofRanks((rank, r) => {
    const input = inputs(2, 4, ...SPACE[rank]);
    return {
      [`quantized.dynamic.Conv${r}`]: dynamic(`Conv${r}`, `DynamicQuantizedConv${r}`, [4, 6, 3, CONV], input),
      [`quantized.dynamic.ConvTranspose${r}`]: dynamic(
        `ConvTranspose${r}`,
        `DynamicQuantizedConvTranpose${r}`,
        [4, 6, 3, CONV],
        input,
      ),
    };
  }),
  'quantized.dynamic.Linear': dynamic('Linear', 'DynamicQuantizedLinear', [5, 4], inputs(3, 5)),
  'quantized.dynamic.LinearReLU': relu(),
  'intrinsic.quantized.dynamic.LinearReLU': relu(),
  'quantized.dynamic.RNN': dynamic('RNN', 'DynamicQuantizedRNN', [5, 3], sequence, GATES),
  'quantized.dynamic.LSTM': dynamic('LSTM', 'DynamicQuantizedLSTM', ARGS.LSTM, sequence, GATES),
  'quantized.dynamic.GRU': dynamic('GRU', 'DynamicQuantizedGRU', [5, 3], sequence, GATES),
  'quantized.dynamic.RNNCell': dynamic('RNNCell', 'DynamicQuantizedRNNCell', [5, 3], inputs(2, 5), GATES),
  'quantized.dynamic.LSTMCell': dynamic('LSTMCell', 'DynamicQuantizedLSTMCell', [5, 3], inputs(2, 5), GATES),
  'quantized.dynamic.GRUCell': dynamic('GRUCell', 'DynamicQuantizedGRUCell', [5, 3], inputs(2, 5), GATES),
};

function relu(): Contract {
  return {
    kind: 'dynamic',
    printed: 'DynamicQuantizedLinearReLU',
    made: () => {
      const fused = new nn.intrinsic.LinearReLU(new nn.Linear(5, 4), new nn.ReLU());
      fused.qconfig = defaultDynamicQConfig;
      return nn.intrinsic.quantized.dynamic.LinearReLU.fromFloat(fused);
    },
    constructed: () => new nn.intrinsic.quantized.dynamic.LinearReLU(5, 4),
    input: inputs(3, 5),
    weights: ['weight'],
  };
}

/** A layer of quantization-aware training, after a step in training mode. */
function trained(
  form: Class,
  printed: string,
  float: () => AnyModule,
  args: readonly unknown[],
  input: () => readonly Tensor[],
  qconfig: QConfig = QAT,
): Contract {
  return {
    kind: qconfig === defaultEmbeddingQatQConfig ? 'indices' : 'float',
    printed,
    made: () => {
      const module = float();
      module.qconfig = qconfig;
      const made = form.fromFloat!(module);
      made(...(input() as [Tensor]));
      return made;
    },
    constructed: () => {
      const options = args.at(-1);
      const [plain, last] = typeof options === 'object' ? [args.slice(0, -1), options] : [args, {}];
      return new form(...plain, { ...last, qconfig });
    },
    input,
    weights: ['weightFakeQuant'],
  };
}

const training: Table = {
  ...ofRanks((rank, r) => {
    const input = inputs(3, 4, ...SPACE[rank]);
    const args = [4, 6, 3, CONV];
    const conv = (): AnyModule => new f[`Conv${r}`](...args);
    const norm = (): AnyModule => new f[`BatchNorm${r}`](6);
    const part = (name: string, ...parts: (() => AnyModule)[]): Table => ({
      [`intrinsic.qat.${name}${r}`]: trained(
        iqat[`${name}${r}`],
        `${name}${r}`,
        () => new i[`${name}${r}`](...parts.map((make) => make())),
        args,
        input,
      ),
    });
    return {
      [`qat.Conv${r}`]: trained(qat[`Conv${r}`], `Conv${r}`, conv, args, input),
      ...part('ConvReLU', conv, () => new nn.ReLU()),
      ...part('ConvBn', conv, norm),
      ...part('ConvBnReLU', conv, norm, () => new nn.ReLU()),
    };
  }),
  'qat.Linear': trained(qat.Linear, 'Linear', () => new nn.Linear(5, 4), [5, 4], inputs(3, 5)),
  'qat.dynamic.Linear': trained(
    nn.qat.dynamic.Linear,
    'Linear',
    () => new nn.Linear(5, 4),
    [5, 4],
    inputs(3, 5),
    defaultDynamicQatQConfig,
  ),
  'intrinsic.qat.LinearReLU': trained(
    iqat.LinearReLU,
    'LinearReLU',
    () => new nn.intrinsic.LinearReLU(new nn.Linear(5, 4), new nn.ReLU()),
    [5, 4],
    inputs(3, 5),
  ),
  'intrinsic.qat.LinearBn1d': trained(
    iqat.LinearBn1d,
    'LinearBn1d',
    () => new nn.intrinsic.LinearBn1d(new nn.Linear(5, 4), new nn.BatchNorm1d(4)),
    [5, 4],
    inputs(3, 5),
  ),
  'qat.Embedding': trained(
    qat.Embedding,
    'Embedding',
    () => new nn.Embedding(9, 6),
    [9, 6],
    indices,
    defaultEmbeddingQatQConfig,
  ),
  'qat.EmbeddingBag': trained(
    qat.EmbeddingBag,
    'EmbeddingBag',
    () => new nn.EmbeddingBag(9, 6),
    [9, 6],
    indices,
    defaultEmbeddingQatQConfig,
  ),
};

/** One contract per class, under its name in `nn`. */
export const CONTRACTS: Readonly<Table> = {
  ...convolutions,
  ...products,
  ...normalizations,
  ...activations,
  ...embeddings,
  ...functionals,
  ...quantizable,
  ...dynamics,
  ...training,
};
