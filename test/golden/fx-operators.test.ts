import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { noGrad } from '../../src/ops/index.ts';
import {
  convertFx,
  getDefaultQatQConfigMapping,
  getDefaultQConfigMapping,
  prepareFx,
  prepareQatFx,
} from '../../src/quantization/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import {
  IntegerRecorder,
  type IntegerRow,
  type ObserverRow,
  observersOf,
  placed,
  sharing,
  takeQParams,
} from '../support/fx-rows.ts';
import { fill, noiseTensor } from '../support/hashed-weights.ts';
import { around, ENTER, NAMED } from '../support/operator-cases.ts';

/** What `fx_operators.py` writes for one operator. */
interface Golden {
  readonly rank: 2 | 3 | 4 | 5;
  readonly observers: readonly ObserverRow[];
  /** Fake-quantizes for training; without their parameters. */
  readonly trained: readonly (readonly [string, number, readonly string[], string])[];
  readonly integers?: Readonly<Record<string, IntegerRow>>;
  readonly output?: readonly number[];
  /** What PyTorch says where its converted model does not run. */
  readonly fails?: string;
}

const golden = JSON.parse(readFileSync(new URL('data/fx_operators.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

/** Where ours is another way, and why. */
interface Difference {
  /** What differs: where observers stand, which of PyTorch's steps has no counterpart, or the integers. */
  readonly in: 'placement' | 'steps' | 'integers';
  readonly reason: string;
}

const kept: Difference = {
  in: 'placement',
  reason: 'takes elements out of a quantized tensor, which PyTorch does in float and quantizes again',
};
const numberRelu: Difference = {
  in: 'steps',
  reason: "an operator with a number, and a relu on its result, in place of PyTorch's one step",
};

const DIFFERENCES: Readonly<Record<string, Difference>> = {
  glu: { in: 'placement', reason: 'made of operators: a chunk, a sigmoid and a product, all in integers' },
  dropout: { in: 'placement', reason: 'does nothing in evaluation, and is no call then' },
  detach: { in: 'placement', reason: 'is the same tensor, and no call' },
  repeatInterleave: { in: 'placement', reason: 'made of unsqueeze, expand and flatten under one observer' },
  size: {
    in: 'placement',
    reason: 'sizes are plain numbers here; in PyTorch 1.13 the nodes of sizes keep what takes them float',
  },
  groupNorm: { in: 'steps', reason: 'in integers here; PyTorch has a row and does not lower it' },
  'interpolate bilinear': {
    in: 'integers',
    reason: "one rounding is on a tie: PyTorch's channels-last and contiguous kernels differ there",
  },
  'nn.PReLU': {
    in: 'integers',
    reason: 'PyTorch 1.13 never shows the slopes to their observer, and rounds them to whole numbers',
  },
  'add number, relu': numberRelu,
  'mul number, relu': numberRelu,
  ...Object.fromEntries(
    ['amax', 'slice', 'select', 'pad', 'flip', 'expand', 'chunk', 'split', 'unbind'].map((name) => [
      name,
      kept,
    ]),
  ),
  'nn.Upsample': {
    in: 'placement',
    reason: 'in integers like the function; PyTorch has no row for the module',
  },
  'nn.Flatten': {
    in: 'placement',
    reason: 'in integers like the function; PyTorch has no row for the module',
  },
  'nn.GroupNorm': { in: 'steps', reason: 'in integers here; PyTorch has no row for the module' },
  'nn.ConvTranspose3d': { in: 'steps', reason: 'in integers here; PyTorch has a row and does not lower it' },
};

/** What PyTorch calls a node of ours where the name is another. */
const NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  instanceNorm: { group_norm: 'instance_norm', 'group_norm#0': 'instance_norm#0' },
};

test('every operator of the golden file is compared', () => {
  expect(NAMED).toEqual(Object.keys(golden));
  expect(NAMED).toEqual(expect.arrayContaining(Object.keys(DIFFERENCES)));
});

describe('one operator in graph mode, against PyTorch FX', () => {
  const counts = { placed: 0, trained: 0, integers: 0, outputs: 0 };

  test.each(NAMED)('%s', (name) => {
    const { rank, observers, integers = {}, output = [] } = golden[name];
    const { shape } = ENTER[rank];
    const model = around(name, rank);
    fill(model);
    const prepared = prepareFx(model, getDefaultQConfigMapping('qnnpack'), [noiseTensor(shape, 990)]);
    noGrad(() => {
      for (const b of [0, 1]) prepared(noiseTensor(shape, 900 + 10 * b));
    });
    const named = (node: string): string => NAMES[name]?.[node] ?? node;
    const ours = observersOf(prepared).map(
      ([source, observer, users, ...rest]): ObserverRow => [
        named(source),
        observer,
        users.map(named),
        ...rest,
      ],
    );
    const expected = DIFFERENCES[name]?.in;
    const placement = (rows: readonly ObserverRow[]): string[][] => [placed(rows), sharing(rows)];
    if (expected === 'placement') {
      expect(placement(ours)).not.toEqual(placement(observers));
      const converted = convertFx(prepared);
      expect(
        noGrad(() => converted(noiseTensor(shape, 990)))
          .numbers()
          .every(Number.isFinite),
      ).toBe(true);
      return;
    }
    expect(placement(ours)).toEqual(placement(observers));
    counts.placed += ours.length;
    takeQParams(prepared, observers, named);
    const converted = convertFx(prepared);
    const recorder = new IntegerRecorder(converted);
    const result = noGrad(() => recorder.run(noiseTensor(shape, 990))) as Tensor;
    const found = new Map([...recorder.integers].map(([node, row]) => [named(node), row]));
    const missing = Object.keys(integers).filter((node) => !found.has(node));
    const differing = Object.entries(integers)
      .filter(([node, row]) => found.has(node) && JSON.stringify(found.get(node)) !== JSON.stringify(row))
      .map(([node]) => node);
    const values = result.numbers();
    const outputs = output.filter((v, i) => v !== values[i]).length;
    counts.integers += Object.keys(integers).length - missing.length;
    counts.outputs += output.length;
    expect(missing.length > 0, `missing: ${missing}`).toBe(expected === 'steps');
    if (expected === 'integers') expect(outputs).toBeGreaterThan(0);
    else if (expected !== 'steps') expect(differing).toEqual([]);
    if (expected !== 'integers') expect(outputs).toBe(0);
  });

  test.each(NAMED)('%s, for training', (name) => {
    const { rank, trained } = golden[name];
    const named = (node: string): string => NAMES[name]?.[node] ?? node;
    const x = noiseTensor(ENTER[rank].shape, 990);
    const prepared = prepareQatFx(around(name, rank).train(), getDefaultQatQConfigMapping('qnnpack'), [x]);
    const ours = observersOf(prepared).map(
      ([source, observer, users, type]): ObserverRow => [
        named(source),
        observer,
        users.map(named),
        type,
        null,
      ],
    );
    const theirs = trained.map((row): ObserverRow => [...row, null]);
    const isAlike =
      JSON.stringify([placed(ours), sharing(ours)]) === JSON.stringify([placed(theirs), sharing(theirs)]);
    if (isAlike) counts.trained += ours.length;
    expect(isAlike).toBe(DIFFERENCES[name]?.in !== 'placement');
  });

  afterAll(() => {
    console.log(
      `${counts.placed} observers and ${counts.trained} fake-quantizes placed and shared alike; integers of ${counts.integers} results and ` +
        `${counts.outputs} outputs compared; ${Object.keys(DIFFERENCES).length} of ${NAMED.length} operators ` +
        'another way, each with its reason',
    );
  });
});
