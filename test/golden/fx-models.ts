import {
  add,
  cat,
  hardswish,
  leakyRelu,
  linear,
  matmul,
  maxPool2d,
  mean,
  models,
  mul,
  nn,
  quantization,
  relu,
  select,
  sigmoid,
  type Tensor,
  zeros,
} from '../../src/index.ts';

const {
  defaultDynamicQConfig,
  defaultPerChannelWeightObserver,
  getDefaultQConfigMapping,
  MinMaxObserver,
  PrepareCustomConfig,
} = quantization;

class Lstm extends nn.Module {
  enter = new nn.Linear(12, 16);
  lstm = new nn.LSTM(16, 24, { numLayers: 2, batchFirst: true });
  leave = new nn.Linear(24, 10);

  forward(x: Tensor): Tensor {
    const [y] = this.lstm(this.enter(x));
    return this.leave(select(y, 1, -1));
  }
}

class StaticLstm extends nn.Module<[Tensor, Tensor, Tensor], Tensor> {
  enter = new nn.Linear(12, 16);
  lstm = new nn.LSTM(16, 24);
  leave = new nn.Linear(24, 10);

  forward(x: Tensor, h: Tensor, c: Tensor): Tensor {
    return this.leave(this.lstm(this.enter(x), [h, c])[0]);
  }
}

class MovedLstm extends nn.Module<[Tensor, Tensor, Tensor], Tensor> {
  enter = new nn.Linear(12, 16);
  lstm = new nn.LSTM(16, 16);
  leave = new nn.Linear(16, 10);

  forward(x: Tensor, h: Tensor, c: Tensor): Tensor {
    const y = this.enter(x);
    const [out] = this.lstm(y, [h, c]);
    return this.leave(add(out.permute(1, 0, 2), y.permute(1, 0, 2)));
  }
}

class Encoder extends nn.Module {
  q = new nn.Linear(32, 32);
  k = new nn.Linear(32, 32);
  v = new nn.Linear(32, 32);
  o = new nn.Linear(32, 32);
  softmax = new nn.Softmax(-1);
  norm1 = new nn.LayerNorm(32);
  fc1 = new nn.Linear(32, 64);
  fc2 = new nn.Linear(64, 32);
  norm2 = new nn.LayerNorm(32);

  split(x: Tensor): Tensor {
    return x.reshape([-1, 6, 2, 16]).permute([0, 2, 1, 3]);
  }

  forward(x: Tensor): Tensor {
    const [q, k, v] = [this.q, this.k, this.v].map((layer) => this.split(layer(x)));
    const scores = this.softmax(mul(matmul(q, k.transpose(-2, -1)), 0.25));
    const mixed = matmul(scores, v).permute([0, 2, 1, 3]).reshape([-1, 6, 32]);
    const y = this.norm1(add(x, this.o(mixed)));
    return this.norm2(add(y, this.fc2(relu(this.fc1(y)))));
  }
}

class Functional extends nn.Module {
  kernel = new nn.Parameter(zeros([6, 4, 3, 3]));
  shift = new nn.Parameter(zeros([6]));
  table = new nn.Parameter(zeros([5, 6]));

  forward(x: Tensor): Tensor {
    const y = relu(nn.functional.conv2d(x, this.kernel, this.shift));
    const z = mul(hardswish(maxPool2d(y, 2)), 2);
    const t = linear(mean(z, [2, 3]), this.table);
    const s = mul(sigmoid(t), t);
    return cat([s, leakyRelu(add(s, 1), 0.1)], 1);
  }
}

/** A model of `fx.py`, and how it is prepared there; by the default mapping where none is given. */
export interface Case {
  readonly make: () => nn.Module<any, any>;
  readonly mapping?: () => quantization.QConfigMapping;
  readonly options?: quantization.PrepareFxOptions;
}

const observedInParts: quantization.PrepareFxOptions = {
  batchDim: 1,
  prepareCustomConfig: new PrepareCustomConfig().setFloatToObservedMapping(nn.LSTM, nn.quantizable.LSTM),
};

/** The models of `fx.py`, by name. */
export const CASES: Readonly<Record<string, Case>> = {
  resnet18: { make: models.resnet18 },
  mobilenetV2: { make: models.mobilenetV2 },
  squeezenet1_1: { make: models.squeezenet1_1 },
  'squeezenet1_1 in parts': {
    make: models.squeezenet1_1,
    mapping: () =>
      getDefaultQConfigMapping('qnnpack')
        .setModuleName('classifier', null)
        .setModuleNameRegex('features\\.[4-6].*', {
          activation: MinMaxObserver.withArgs({ dtype: 'quint8' }),
          weight: defaultPerChannelWeightObserver,
        }),
  },
  dsCnn: { make: models.dsCnn },
  lstm: { make: () => new Lstm() },
  'lstm, dynamic': {
    make: () => new Lstm(),
    mapping: () => getDefaultQConfigMapping('qnnpack').setObjectType(nn.LSTM, defaultDynamicQConfig),
  },
  'lstm, static': { make: () => new StaticLstm(), options: observedInParts },
  'lstm, static, moved': { make: () => new MovedLstm(), options: observedInParts },
  encoder: { make: () => new Encoder() },
  functional: { make: () => new Functional() },
};
