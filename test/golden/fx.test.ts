import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  add,
  cat,
  fx,
  hardswish,
  leakyRelu,
  linear,
  matmul,
  maxPool2d,
  mean,
  models,
  mul,
  nn,
  noGrad,
  quantization,
  relu,
  select,
  sigmoid,
  Tensor,
  zeros,
} from '../../src/index.ts';
import { crc32 } from '../../src/io/crc32.ts';
import { inDoubles } from '../support/double-arithmetic.ts';
import { fill, noiseTensor } from '../support/hashed-weights.ts';

const {
  ConvertCustomConfig,
  convertFx,
  defaultDynamicQConfig,
  defaultPerChannelWeightObserver,
  getDefaultQatQConfigMapping,
  getDefaultQConfigMapping,
  MinMaxObserver,
  ObserverBase,
  PrepareCustomConfig,
  prepareFx,
  prepareQatFx,
} = quantization;

/** [observed node, its observer by first use, the users of the observed tensor, class, scale and zero point]. */
type ObserverRow = [string, number, string[], string, [number, number] | null];
/** [checksum of the integers, shape, scale, zero point]. */
type IntegerRow = [number, number[], number, number];

/** What `fx.py` writes for one model. */
interface Golden {
  readonly shapes: number[][];
  readonly observers: ObserverRow[];
  readonly integers: Record<string, IntegerRow>;
  readonly output: number[];
  readonly preparedKeys: string[];
  readonly convertedKeys: string[];
  /** Scale and zero point of the observers inside modules that are observed in parts, by path. */
  readonly inner: Record<string, [number, number]>;
  /** Observers for training; without their parameters. */
  readonly trained?: [string, number, string[], string][];
}

const golden = JSON.parse(readFileSync(new URL('data/fx.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

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

interface Case {
  readonly make: () => nn.Module<any, any>;
  readonly mapping?: () => quantization.QConfigMapping;
  readonly options?: quantization.PrepareFxOptions;
}

const CASES: Readonly<Record<string, Case>> = {
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
  'lstm, static': {
    make: () => new StaticLstm(),
    options: {
      batchDim: 1,
      prepareCustomConfig: new PrepareCustomConfig().setFloatToObservedMapping(nn.LSTM, nn.quantizable.LSTM),
    },
  },
  encoder: { make: () => new Encoder() },
  functional: { make: () => new Functional() },
};

/** Our names of nodes as PyTorch spells them. */
function spelled(name: string): string {
  return name
    .replace(/^quantized_/, '')
    .replace(/^select/, 'getitem_1')
    .replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

function observersOf(prepared: fx.GraphModule<any, any>): ObserverRow[] {
  const seen: unknown[] = [];
  return prepared.graph.nodes.flatMap((node): ObserverRow[] => {
    const observer = node.op === 'call_module' ? prepared.getSubmodule(node.targetName) : null;
    if (!(observer instanceof ObserverBase)) return [];
    if (!seen.includes(observer)) seen.push(observer);
    const users = [...node.users].map((user) => spelled(user.name));
    const source = spelled((node.args[0] as fx.Node).name);
    const found = observer.isDynamic ? null : observer.calculateQParams();
    const qparams: ObserverRow[4] = found && [found.scale.item(), found.zeroPoint.item()];
    return [[source, seen.indexOf(observer), users, observer.typeName, qparams]];
  });
}

class Recorder extends fx.Interpreter {
  readonly integers = new Map<string, IntegerRow>();
  readonly #counts = new Map<string, number>();

  /** Quantized operators by their name and how many of it ran before; other nodes by theirs. */
  #nameOf(node: fx.Node): string {
    if (!node.targetName.startsWith('quantized::')) return spelled(node.name);
    const base = node.targetName.replace('quantized::', '').replace(/_scalar$/, '');
    const count = this.#counts.get(base) ?? 0;
    this.#counts.set(base, count + 1);
    return `${base}#${count}`;
  }

  override runNode(node: fx.Node): unknown {
    const result = super.runNode(node);
    if (result instanceof Tensor && result.isQuantized) {
      const data = result.intRepr().contiguous().data;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const row: IntegerRow = [crc32(bytes), [...result.shape], result.qScale(), result.qZeroPoint()];
      this.integers.set(this.#nameOf(node), row);
    }
    return result;
  }
}

/** Groups of observed nodes that have one observer between them. */
function sharing(rows: readonly ObserverRow[]): string[] {
  const groups = new Map<number, string[]>();
  for (const [source, index] of rows) groups.set(index, [...(groups.get(index) ?? []), source]);
  return [...groups.values()].map((g) => g.sort().join(' = ')).sort();
}

/** Observed node, class, users: one line each, in any order. */
function placed(rows: readonly ObserverRow[]): string[] {
  return rows
    .map(([source, , users, type]) => `${source} → ${type} → ${[...users].sort().join(', ')}`)
    .sort();
}

/** Observers whose parameters are not equal as float32 numbers: what was observed, and both parameters. */
function differentQParams(ours: readonly ObserverRow[], theirs: readonly ObserverRow[]): string[] {
  const place = ([source, , users, type]: ObserverRow): string =>
    [source, type, ...[...users].sort()].join(' ');
  const byPlace = new Map(theirs.map((row) => [place(row), JSON.stringify(row[4])]));
  return ours
    .filter((row) => byPlace.get(place(row)) !== JSON.stringify(row[4]))
    .map((row) => `${row[0]}: ${JSON.stringify(row[4])}, not ${byPlace.get(place(row))}`);
}

/** Runs the two batches that `fx.py` calibrates with. */
function calibrate(prepared: fx.GraphModule<any, any>, shapes: readonly number[][]): void {
  for (const b of [0, 1]) {
    const batch = shapes.map((s, i) => noiseTensor(s, 900 + 10 * b + i));
    noGrad(() => inDoubles(() => (prepared as any)(...batch)));
  }
}

/** Scale and zero point of the observers that stand inside modules, by path. */
function innerQParams(prepared: fx.GraphModule<any, any>): Golden['inner'] {
  const observers = prepared
    .namedModules()
    .filter(([path, module]) => path.includes('.') && module instanceof ObserverBase);
  return Object.fromEntries(
    observers.map(([path, module]) => {
      const { scale, zeroPoint } = (module as quantization.ObserverBase).calculateQParams();
      return [path, [scale.item(), zeroPoint.item()]];
    }),
  );
}

/** Names under which `quantized::cat` keeps the parameters of its result; PyTorch's `cat` takes those of its first tensor. */
function keysOfCats(converted: fx.GraphModule<any, any>): Set<string> {
  const cats = converted.graph.nodes.filter((node) => node.target === 'quantized::cat');
  return new Set(
    cats.flatMap((node) => [node.args[1], node.args[2]].map((arg) => (arg as fx.Node).targetName)),
  );
}

const sorted = (keys: Iterable<string>): string[] => [...keys].sort();

describe('graph mode against PyTorch FX', () => {
  test.each(Object.keys(CASES))('%s', (name) => {
    const { make, mapping, options } = CASES[name];
    const { shapes, observers, inner, integers, output, preparedKeys, convertedKeys } = golden[name];
    const model = make().eval();
    fill(model);
    const inputs = shapes.map((s, i) => noiseTensor(s, 990 + i));
    const prepared = prepareFx(
      model,
      mapping?.() ?? getDefaultQConfigMapping('qnnpack'),
      inputs as never,
      options,
    );
    calibrate(prepared, shapes);
    const ours = observersOf(prepared);
    expect(placed(ours)).toEqual(placed(observers));
    expect(sharing(ours)).toEqual(sharing(observers));
    const otherwise = differentQParams(ours, observers);
    expect(innerQParams(prepared)).toEqual(inner);
    expect(sorted(prepared.stateDict().keys())).toEqual(sorted(preparedKeys));
    const converted = convertFx(prepared, { convertCustomConfig: new ConvertCustomConfig() });
    const cats = keysOfCats(converted);
    const keys = [...converted.stateDict().keys()].filter((key) => !cats.has(key));
    expect(sorted(keys)).toEqual(sorted(convertedKeys));
    const recorder = new Recorder(converted.graph, converted);
    const result = noGrad(() => inDoubles(() => recorder.run(...inputs))) as Tensor;
    const differing = Object.entries(integers).filter(
      ([node, row]) => JSON.stringify(recorder.integers.get(node)) !== JSON.stringify(row),
    );
    const values = result.numbers().slice(0, output.length);
    const outputsDiffer = output.filter((v, i) => v !== values[i]).length;
    console.log(
      `${name}: ${ours.length} observers placed and shared alike, and ${Object.keys(inner).length} inside modules; ` +
        `${otherwise.length} have other parameters; ` +
        `${preparedKeys.length} and ${convertedKeys.length} keys alike; ` +
        `integers of ${Object.keys(integers).length} results compared, ${differing.length} differ; ` +
        `${output.length} outputs compared, ${outputsDiffer} differ`,
    );
    expect(otherwise).toEqual([]);
    expect(differing.map(([node]) => node)).toEqual([]);
    expect(outputsDiffer).toBe(0);
  });

  test.each(Object.keys(CASES).filter((name) => golden[name].trained))('%s, for training', (name) => {
    const { shapes, trained } = golden[name];
    const inputs = shapes.map((s, i) => noiseTensor(s, 990 + i));
    const prepared = prepareQatFx(
      CASES[name].make().train(),
      getDefaultQatQConfigMapping('qnnpack'),
      inputs as never,
    );
    const theirs = (trained ?? []).map((row) => [...row, null] as ObserverRow);
    const ours = observersOf(prepared);
    expect(placed(ours)).toEqual(placed(theirs));
    expect(sharing(ours)).toEqual(sharing(theirs));
    console.log(`${name}: ${ours.length} fake-quantizes placed and shared alike`);
  });
});
