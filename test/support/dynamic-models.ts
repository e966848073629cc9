import { manualSeed } from '../../src/core/random.ts';
import { engine } from '../../src/kernels/engine.ts';
import { bert, create, demucs, type G2p, g2p, wordLanguageModel } from '../../src/models/index.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/index.ts';
import { quantizeDynamic } from '../../src/quantization/index.ts';
import { trace } from '../../src/runtime/index.ts';
import { rand, randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { eagerly, planned } from './plan.ts';
import { bits, tensorsIn } from './same-bits.ts';

/** The first of what a layer gives. */
export class FirstOf extends Module {
  layer: AnyModule;
  constructor(layer: AnyModule) {
    super();
    this.layer = layer;
  }
  forward(x: Tensor): Tensor {
    return this.layer(x)[0];
  }
}

/** The encoder of the pronouncing model, whose decoder branches on what it said. */
class Encoder extends Module {
  model: G2p;
  constructor(model: G2p) {
    super();
    this.model = model;
  }
  forward(graphemes: Tensor): Tensor {
    return this.model.encode(graphemes);
  }
}

/** A model whose layers can be quantized dynamically, and what it is fed. */
interface DynamicModel {
  readonly make: () => AnyModule;
  readonly input: (batch: number) => Tensor;
  readonly batchDim?: number;
}

const MODELS: Readonly<Record<string, DynamicModel>> = {
  charLstm: { make: () => create('charLstm'), input: (n) => randint(0, 65, [n, 9]) },
  wordLanguageModel: {
    make: () => wordLanguageModel({ vocabSize: 301, embeddingSize: 33, hiddenSize: 18 }),
    input: (n) => randint(0, 301, [7, n]),
    batchDim: 1,
  },
  bert: {
    make: () =>
      bert({
        vocabSize: 100,
        hiddenSize: 48,
        numHiddenLayers: 2,
        numAttentionHeads: 4,
        intermediateSize: 100,
      }),
    input: (n) => randint(0, 100, [n, 19]),
  },
  g2p: { make: () => new Encoder(g2p({ hiddenSize: 40 })), input: (n) => randint(0, 29, [n, 6]) },
  demucs: { make: () => demucs({ hidden: 8, depth: 3 }), input: (n) => randn([n, 1, 500]) },
  mlp: { make: () => create('mlp'), input: (n) => rand([n, 1, 28, 28]) },
  dsCnn: { make: () => create('dsCnn'), input: (n) => rand([n, 1, 49, 10]) },
  'gated recurrent units': {
    make: () => new FirstOf(new nn.GRU(6, 16, { numLayers: 2, bidirectional: true, batchFirst: true })),
    input: (n) => randn([n, 5, 6]),
  },
};

/** What {@link compareDynamic} found. */
export interface Comparison {
  /** The kernels that ran. */
  readonly build: string;
  readonly compared: number;
  readonly differing: number;
  /** The largest difference, as a share of the largest magnitude of its tensor. */
  readonly worst: number;
  /** Results that steps cut into parts gave otherwise. */
  readonly tornBits: number;
  readonly operators: readonly string[];
}

/** Names of the models that {@link compareDynamic} knows. */
export const dynamicModels: readonly string[] = Object.keys(MODELS);

/** Compares the plan of a dynamically quantized model with its operators run one by one, at batches of 1, 2 and 7. */
export function compareDynamic(name: string): Comparison {
  manualSeed(4);
  const { make, input, batchDim = 0 } = MODELS[name];
  const types = [nn.Linear, nn.LSTM, nn.GRU, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d];
  const model = quantizeDynamic(make().eval(), types);
  const program = trace(model, [input(1)], { batchDim });
  let compared = 0;
  let differing = 0;
  let worst = 0;
  let tornBits = 0;
  const operators = new Set<string>();
  for (const n of [1, 2, 7]) {
    const x = input(n);
    const { result, inParts, operators: outside } = planned(program, x);
    for (const op of outside) operators.add(op);
    if (JSON.stringify(bits(inParts)) !== JSON.stringify(bits(result))) tornBits++;
    const expected = tensorsIn(eagerly(program, x));
    for (const [i, t] of tensorsIn(result).entries()) {
      const [got, wanted] = [t.numbers(), expected[i].numbers()];
      let largest = 0;
      for (const v of wanted) largest = Math.max(largest, Math.abs(v));
      compared += Math.max(got.length, wanted.length);
      for (let j = 0; j < wanted.length; j++) {
        if (got[j] === wanted[j]) continue;
        differing++;
        worst = Math.max(worst, Math.abs(got[j] - wanted[j]) / largest);
      }
    }
  }
  return { build: engine.build, compared, differing, worst, tornBits, operators: [...operators] };
}
