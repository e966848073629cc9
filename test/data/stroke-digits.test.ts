import { expect, test } from 'vitest';
import { strokeDigits } from '../../src/data/index.ts';

test('the same seed draws the same digits, another seed others', () => {
  const a = strokeDigits({ count: 20, seed: 5 });
  const b = strokeDigits({ count: 20, seed: 5 });
  const c = strokeDigits({ count: 20, seed: 6 });
  expect(a.images.shape).toEqual([20, 1, 28, 28]);
  expect(a.labels.dtype).toBe('int64');
  expect(b.images.storage).toEqual(a.images.storage);
  expect(b.labels.storage).toEqual(a.labels.storage);
  expect(c.images.storage).not.toEqual(a.images.storage);
});

test('every digit comes about as often, every image has ink, values stay in range', () => {
  const { images, labels } = strokeDigits({ count: 2000, seed: 1, dtype: 'uint8' });
  const counts = new Array<number>(10).fill(0);
  for (const digit of labels.storage) counts[digit]++;
  for (const n of counts) expect(n).toBeGreaterThan(150);
  for (let i = 0; i < 2000; i++) {
    const pixels = images.storage.subarray(i * 784, (i + 1) * 784);
    const bright = (pixels as Uint8Array).reduce((n, v) => n + (v > 120 ? 1 : 0), 0);
    expect(bright, `image ${i}`).toBeGreaterThan(8);
    expect(bright, `image ${i}`).toBeLessThan(400);
  }
});

test('a nearest-mean classifier does clearly better than chance and clearly worse than perfect', () => {
  const train = strokeDigits({ count: 2000, seed: 1 });
  const probe = strokeDigits({ count: 1000, seed: 2 });
  const means = Array.from({ length: 10 }, () => new Float64Array(784));
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 2000; i++) {
    const digit = train.labels.storage[i];
    counts[digit]++;
    for (let j = 0; j < 784; j++) means[digit][j] += train.images.storage[i * 784 + j];
  }
  let right = 0;
  for (let i = 0; i < 1000; i++) {
    const distances = means.map((mean, d) => {
      let sum = 0;
      for (let j = 0; j < 784; j++) sum += (probe.images.storage[i * 784 + j] - mean[j] / counts[d]) ** 2;
      return sum;
    });
    if (distances.indexOf(Math.min(...distances)) === probe.labels.storage[i]) right++;
  }
  expect(right / 1000).toBeGreaterThan(0.4);
  expect(right / 1000).toBeLessThan(0.95);
});

test('difficulty 0 leaves only the choice of skeleton and little of the pen', () => {
  const { images, labels } = strokeDigits({ count: 300, seed: 3, difficulty: 0 });
  const zero: number[] = [];
  for (let i = 0; i < 300; i++)
    if (labels.storage[i] === 1) zero.push(images.storage[i * 784 + 14 * 28 + 14]);
  expect(Math.max(...zero)).toBeGreaterThan(0.9);
  expect(images.storage[0]).toBe(0);
  expect(() => strokeDigits({ count: -1 })).toThrow(/count/);
});

test('other sizes', () => {
  expect(strokeDigits({ count: 2, size: 32 }).images.shape).toEqual([2, 1, 32, 32]);
});
