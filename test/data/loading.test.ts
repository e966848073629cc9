import { describe, expect, test } from 'vitest';
import { Generator } from '../../src/core/random.ts';
import {
  BatchSampler,
  ConcatDataset,
  DataLoader,
  type Dataset,
  defaultCollate,
  MappedDataset,
  RandomSampler,
  randomSplit,
  SequentialSampler,
  Subset,
  TensorDataset,
  WeightedRandomSampler,
} from '../../src/data/index.ts';
import { arange, tensor, zeros } from '../../src/tensor/creation.ts';
import { viewOf } from '../../src/tensor/tensor.ts';

const ten = (): TensorDataset<any> =>
  new TensorDataset(arange(0, 30, 1, { dtype: 'float32' }), arange(100, 130));

describe('datasets', () => {
  test('TensorDataset gives rows as views, whatever the strides', () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const columns = viewOf(x, [3, 2], [1, 3]);
    const [row] = new TensorDataset(columns).get(1);
    expect(row.toArray()).toEqual([2, 5]);
    expect(row.storage).toBe(x.storage);
    expect(() => new TensorDataset(zeros([2]), zeros([3]))).toThrow(/tensors\[1\]: expected 2 rows/);
    expect(() => new TensorDataset(x).get(2)).toThrow(/from 0 to 1, got 2/);
  });

  test('subsets, concatenations and mapped datasets compose', () => {
    const numbers: Dataset<number> = { length: 5, get: (i) => i };
    const both = new ConcatDataset([new Subset(numbers, [4, 2]), new MappedDataset(numbers, (x) => x * 10)]);
    expect(Array.from({ length: both.length }, (_, i) => both.get(i))).toEqual([4, 2, 0, 10, 20, 30, 40]);
    expect(() => both.get(7)).toThrow(/index/);
    expect(() => new Subset(numbers, [5])).toThrow(/index/);
  });

  test('randomSplit covers everything once, by counts and by fractions', () => {
    const numbers: Dataset<number> = { length: 11, get: (i) => i };
    for (const lengths of [
      [7, 4],
      [0.7, 0.3],
    ]) {
      const parts = randomSplit(numbers, lengths, { generator: new Generator(1) });
      expect(parts.map((p) => p.length)).toEqual(lengths[0] === 7 ? [7, 4] : [8, 3]);
      const all = parts.flatMap((p) => Array.from({ length: p.length }, (_, i) => p.get(i)));
      expect(all.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
    expect(() => randomSplit(numbers, [5, 5])).toThrow(/add up to 11/);
  });
});

describe('samplers', () => {
  const source = { length: 7 };

  test('sequential, random and batches', () => {
    expect([...new SequentialSampler(source)]).toEqual([0, 1, 2, 3, 4, 5, 6]);
    const random = new RandomSampler(source, { generator: new Generator(3) });
    const [first, second] = [[...random], [...random]];
    expect(first).not.toEqual(second);
    expect([...first].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect([...new RandomSampler(source, { generator: new Generator(3) })]).toEqual(first);
    expect([...new RandomSampler(source, { numSamples: 17 })].length).toBe(17);
    expect([...new RandomSampler(source, { replacement: true, numSamples: 50 })].length).toBe(50);
    expect([...new BatchSampler(new SequentialSampler(source), 3)]).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
    const dropping = new BatchSampler(new SequentialSampler(source), 3, true);
    expect([[...dropping].length, dropping.length]).toEqual([2, 2]);
    expect(() => new BatchSampler(random, 0)).toThrow(/batchSize/);
  });

  test('weighted draws follow the weights', () => {
    const weights = [1, 0, 3, 6];
    const counts = [0, 0, 0, 0];
    for (const i of new WeightedRandomSampler(weights, 20_000, { generator: new Generator(5) })) counts[i]++;
    expect(counts[1]).toBe(0);
    for (const i of [0, 2, 3]) expect(counts[i] / 20_000).toBeCloseTo(weights[i] / 10, 1);
    // Without replacement the first draw has the same odds.
    const firsts = [0, 0, 0, 0];
    const generator = new Generator(6);
    for (let n = 0; n < 4000; n++) {
      const drawn = [...new WeightedRandomSampler(weights, 3, { replacement: false, generator })];
      expect([...drawn].sort()).toEqual([0, 2, 3]);
      firsts[drawn[0]]++;
    }
    for (const i of [0, 2, 3]) expect(Math.abs(firsts[i] / 4000 - weights[i] / 10)).toBeLessThan(0.03);
    expect(() => new WeightedRandomSampler([0, 0], 1)).toThrow(/not all 0/);
    expect(() => new WeightedRandomSampler(weights, 4, { replacement: false })).toThrow(/at most 3/);
  });
});

describe('collate', () => {
  test('joins tensors, labels, flags, names and structures', () => {
    const batch = defaultCollate([
      { x: tensor([1, 2]), y: 3, ok: true, name: 'a', pair: [tensor([1]), 5] as const },
      { x: tensor([3, 4]), y: 4, ok: false, name: 'b', pair: [tensor([2]), 6] as const },
    ]);
    expect(batch.x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect([batch.y.dtype, batch.y.toArray()]).toEqual(['int64', [3, 4]]);
    expect([batch.ok.dtype, batch.ok.toArray()]).toEqual(['bool', [1, 0]]);
    expect(batch.name).toEqual(['a', 'b']);
    expect(batch.pair[0].shape).toEqual([2, 1]);
    expect(batch.pair[1].toArray()).toEqual([5, 6]);
  });

  test('says what does not fit', () => {
    expect(() => defaultCollate([[tensor([1])], [tensor([1, 2])]])).toThrow(/samples\[1\]\[0\].*shape \[1\]/);
    expect(() => defaultCollate([1, 1.5])).toThrow(/fractional number 1.5/);
    expect(() => defaultCollate([null])).toThrow(/got null/);
  });
});

describe('DataLoader', () => {
  test('batches, with and without the rest', () => {
    const loader = new DataLoader(ten(), { batchSize: 8 });
    const batches = [...loader] as any[];
    expect(loader.length).toBe(4);
    expect(batches.map((b) => b[0].shape[0])).toEqual([8, 8, 8, 6]);
    expect(batches[1][1].toArray()).toEqual([108, 109, 110, 111, 112, 113, 114, 115]);
    expect([...new DataLoader(ten(), { batchSize: 8, dropLast: true })].length).toBe(3);
  });

  test('shuffles anew at every iteration, the same for the same seed', () => {
    const order = (loader: DataLoader<any, any>): number[] => [...loader].flatMap((b: any) => b[1].toArray());
    const make = () => new DataLoader(ten(), { batchSize: 7, shuffle: true, generator: new Generator(9) });
    const loader = make();
    const [first, second] = [order(loader), order(loader)];
    expect(first).not.toEqual(second);
    expect([...first].sort()).toEqual([...second].sort());
    expect(order(make())).toEqual(first);
  });

  test('waits for samples that come later, in order', async () => {
    const slow: Dataset<Promise<number>> = {
      length: 5,
      get: (i) => new Promise((resolve) => setTimeout(() => resolve(i), 5 - i)),
    };
    const seen: unknown[] = [];
    for await (const batch of new DataLoader(slow, { batchSize: 2 })) seen.push(batch.toArray());
    expect(seen).toEqual([[0, 1], [2, 3], [4]]);
    expect(() => [...new DataLoader(slow)]).toThrow(/for await/);
    const failing: Dataset<Promise<number>> = {
      length: 3,
      get: (i) => (i === 2 ? Promise.reject(Error('disk')) : Promise.resolve(i)),
    };
    const read: number[] = [];
    await expect(async () => {
      for await (const batch of new DataLoader(failing)) read.push(batch.item());
    }).rejects.toThrow('disk');
    expect(read).toEqual([0, 1]);
  });

  test('refuses two ways to order', () => {
    expect(() => new DataLoader(ten(), { shuffle: true, sampler: new SequentialSampler(ten()) })).toThrow(
      /shuffle and sampler/,
    );
    expect(
      () =>
        new DataLoader(ten(), {
          batchSize: 2,
          batchSampler: new BatchSampler(new SequentialSampler(ten()), 2),
        }),
    ).toThrow(/batchSampler and batchSize/);
  });
});
