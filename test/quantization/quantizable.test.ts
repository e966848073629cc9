import { describe, expect, test } from 'vitest';
import { Generator, manualSeed } from '../../src/core/random.ts';
import { LSTM, Module, MultiheadAttention, PackedSequence, packSequence } from '../../src/nn/index.ts';
import * as nn from '../../src/nn-public.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convert,
  DeQuantStub,
  getDefaultQatQConfig,
  getDefaultQConfig,
  MinMaxObserver,
  prepare,
  prepareQat,
  QuantStub,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { sqnr } from '../../src/suite/index.ts';
import { rand, randn, type Tensor, tensor } from '../../src/tensor/index.ts';

class Tagger extends Module {
  quant = new QuantStub();
  rnn: Module<any, any>;
  head = new nn.Linear(24, 5);
  dequant = new DeQuantStub();

  constructor(rnn: Module<any, any>) {
    super();
    this.rnn = rnn;
  }

  forward(x: Tensor): Tensor {
    const [y] = this.rnn(this.quant(x));
    return this.dequant(this.head(y));
  }
}

class SelfAttention extends Module {
  quant = new QuantStub();
  attention: Module<any, any>;
  dequant = new DeQuantStub();

  constructor(attention: Module<any, any>) {
    super();
    this.attention = attention;
  }

  forward(x: Tensor): Tensor {
    const q = this.quant(x);
    const [y] = this.attention(q, q, q);
    return this.dequant(y);
  }
}

/** Ranges that hold everything: histograms clip the few numbers of these tests. */
const QCONFIG = { activation: MinMaxObserver.withArgs({}), weight: getDefaultQConfig().weight };

const draw = (shape: number[], seed: number): Tensor => randn(shape, { generator: new Generator(seed) });

function quantized<M extends Module>(model: M, x: Tensor): M {
  model.eval().qconfig = QCONFIG;
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return convert(prepared);
}

describe('LSTM', () => {
  const options = { numLayers: 2, bidirectional: true, batchFirst: true } as const;

  test('prepare takes it apart without changing what it computes; convert follows it', () => {
    manualSeed(0);
    const model = new Tagger(new LSTM(7, 24, { numLayers: 2, batchFirst: true })).eval();
    const x = draw([3, 9, 7], 1);
    model.qconfig = QCONFIG;
    const prepared = prepare(model);
    expect(prepared.rnn).toBeInstanceOf(nn.quantizable.LSTM);
    expect(model.rnn).toBeInstanceOf(LSTM);
    const float = noGrad(() => model(x));
    expect(
      sqnr(
        float,
        noGrad(() => prepared(x)),
      ),
    ).toBeGreaterThan(100);
    const int8 = convert(prepared);
    expect(int8.rnn).toBeInstanceOf(nn.quantized.LSTM);
    expect(int8.modules().some((m) => m instanceof nn.Linear)).toBe(false);
    expect(sqnr(float, int8(x))).toBeGreaterThan(30);
  });

  test('a saved int8 model loads into a skeleton', () => {
    const model = new Tagger(new LSTM(7, 12, options));
    const x = draw([3, 9, 7], 1);
    const int8 = quantized(model, x);
    const skeleton = convert(prepare(model), { allowUnobserved: true });
    skeleton.loadStateDict(int8.stateDict());
    expect(skeleton(x).toArray()).toEqual(int8(x).toArray());
  });

  test('states go in and come out quantized, and continue a sequence', () => {
    manualSeed(2);
    const rnn = new LSTM(4, 6);
    const x = draw([10, 2, 4], 3);
    class Stream extends Module<[Tensor, (readonly [Tensor, Tensor])?], any> {
      quant = new QuantStub();
      rnn: Module<any, any> = rnn;
      forward(input: Tensor, state?: readonly [Tensor, Tensor]): any {
        return this.rnn(this.quant(input), state);
      }
    }
    const int8 = quantized(new Stream() as unknown as Module, x) as unknown as Stream;
    const [whole] = int8(x);
    const [, state] = int8(x.narrow(0, 0, 6));
    expect(state.map((s: Tensor) => s.dtype)).toEqual(['quint8', 'quint8']);
    const [rest] = int8(x.narrow(0, 6, 4), state);
    expect(rest.intRepr().toArray()).toEqual(whole.narrow(0, 6, 4).intRepr().toArray());
    expect(() => int8(x, [state[0].narrow(1, 0, 1), state[1]])).toThrow(
      /expected \[1, 2, 6\], got \[1, 1, 6\]/,
    );
  });

  test('null keeps it float, dynamic quantization takes the float class', () => {
    const model = new Tagger(new LSTM(7, 12, options)).eval();
    model.qconfig = QCONFIG;
    model.rnn.qconfig = null;
    expect(prepare(model).rnn).toBeInstanceOf(LSTM);
    const dynamic = quantizeDynamic(new Tagger(new LSTM(7, 12, options)));
    expect(dynamic.rnn).toBeInstanceOf(nn.quantized.dynamic.LSTM);
  });

  test('prepareQat takes it apart too', () => {
    const model = new Tagger(new LSTM(7, 24, { batchFirst: true })).train();
    model.qconfig = getDefaultQatQConfig();
    const prepared = prepareQat(model);
    const x = draw([3, 9, 7], 1);
    // Ranges are moving averages over time steps, which begin at zero state.
    noGrad(() => {
      for (let i = 0; i < 40; i++) prepared(x);
    });
    const int8 = convert(prepared.eval());
    expect(int8.rnn).toBeInstanceOf(nn.quantized.LSTM);
    expect(
      sqnr(
        noGrad(() => model.eval()(x)),
        int8(x),
      ),
    ).toBeGreaterThan(20);
  });

  test('unbatched and packed inputs are refused with the shape wanted', () => {
    const lstm = new nn.quantizable.LSTM(4, 6);
    expect(() => lstm(rand([5, 4]))).toThrow(/expected \[time, batch, 4\], got \[5, 4\]/);
    const packed = packSequence([rand([5, 4]), rand([3, 4])]);
    expect(packed).toBeInstanceOf(PackedSequence);
    expect(() => lstm(packed as unknown as Tensor)).toThrow(/a packed sequence/);
  });
});

describe('MultiheadAttention', () => {
  test.each([[{}], [{ batchFirst: true }], [{ bias: false }], [{ addBiasKv: true, addZeroAttn: true }]])(
    '%o: same function when prepared, close when converted, loads again',
    (options) => {
      manualSeed(4);
      const model = new SelfAttention(new MultiheadAttention(16, 4, options)).eval();
      const x = draw([5, 3, 16], 5);
      model.qconfig = QCONFIG;
      const prepared = prepare(model);
      expect(prepared.attention).toBeInstanceOf(nn.quantizable.MultiheadAttention);
      const float = noGrad(() => model(x));
      expect(
        sqnr(
          float,
          noGrad(() => prepared(x)),
        ),
      ).toBeGreaterThan(100);
      const int8 = convert(prepared);
      expect(int8.attention).toBeInstanceOf(nn.quantized.MultiheadAttention);
      expect(sqnr(float, int8(x))).toBeGreaterThan(20);
      const skeleton = convert(prepare(model), { allowUnobserved: true });
      skeleton.loadStateDict(int8.stateDict());
      expect(skeleton(x).toArray()).toEqual(int8(x).toArray());
    },
  );

  test('masks and keys of other sizes', () => {
    manualSeed(6);
    const attention = new MultiheadAttention(8, 2, { kdim: 6, vdim: 10 });
    class Cross extends Module<[Tensor, Tensor, Tensor], Tensor> {
      quants = new nn.ModuleList([new QuantStub(), new QuantStub(), new QuantStub()]);
      attention: Module<any, any> = attention;
      dequant = new DeQuantStub();
      forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
        const inputs = [q, k, v].map((x, i) => this.quants.children()[i](x));
        const keyPaddingMask = tensor([[false, false, true]]);
        return this.dequant(this.attention(...inputs, { keyPaddingMask, needWeights: false })[0]);
      }
    }
    const cross = new Cross().eval();
    cross.qconfig = QCONFIG;
    const inputs = [draw([4, 1, 8], 1), draw([3, 1, 6], 2), draw([3, 1, 10], 3)] as const;
    const prepared = prepare(cross);
    const float = noGrad(() => cross(...inputs));
    expect(
      sqnr(
        float,
        noGrad(() => prepared(...inputs)),
      ),
    ).toBeGreaterThan(100);
    expect(sqnr(float, convert(prepared)(...inputs))).toBeGreaterThan(20);
  });
});
