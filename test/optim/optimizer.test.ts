import { describe, expect, test } from 'vitest';
import { ArgumentError, StateDictError } from '../../src/core/errors.ts';
import { Generator } from '../../src/core/random.ts';
import { Parameter } from '../../src/nn/parameter.ts';
import { Adam, AdamW, type Optimizer, RMSprop, SGD, StepLR } from '../../src/optim/index.ts';
import { ones, randn, tensor, zeros } from '../../src/tensor/creation.ts';
import { channelsLastStrides } from '../../src/tensor/shape.ts';
import { Tensor, viewOf } from '../../src/tensor/tensor.ts';

const makers: Record<string, (params: Tensor[]) => Optimizer<any>> = {
  SGD: (p) => new SGD(p, { lr: 0.05, momentum: 0.9 }),
  Adam: (p) => new Adam(p, { lr: 0.05, amsgrad: true }),
  AdamW: (p) => new AdamW(p, { lr: 0.05 }),
  RMSprop: (p) => new RMSprop(p, { momentum: 0.5, centered: true }),
};

function train(optimizer: Optimizer<any>, params: Tensor[], from: number, to: number): void {
  for (let step = from; step < to; step++) {
    const generator = new Generator(step);
    for (const p of params) p.grad = randn(p.shape, { generator });
    optimizer.step();
  }
}

describe.each(Object.entries(makers))('%s', (_name, make) => {
  test('continues from a state dict as if it had not stopped', () => {
    const straight = [new Parameter(ones([2, 3])), new Parameter(zeros([4]))];
    train(make(straight), straight, 0, 6);

    const first = [new Parameter(ones([2, 3])), new Parameter(zeros([4]))];
    const before = make(first);
    train(before, first, 0, 3);
    const second = first.map(
      (p) => new Parameter(tensor(p.storage.slice() as Float32Array, { shape: p.shape })),
    );
    const after = make(second);
    after.loadStateDict(before.stateDict());
    train(after, second, 3, 6);
    second.forEach((p, i) => {
      expect(p.data).toEqual(straight[i].data);
    });
  });

  test('does not depend on the memory layout of parameters and gradients', () => {
    const shape = [2, 3, 4, 5];
    const values = randn(shape, { generator: new Generator(1) });
    const plain = new Parameter(tensor(values.storage.slice() as Float32Array, { shape }));
    const strides = channelsLastStrides(shape);
    const last = new Parameter(
      new Tensor({ storage: values.layOut(strides), shape, strides, dtype: 'float32' }),
    );
    const padded = new Float32Array(2 * values.numel);
    for (let i = 0; i < values.numel; i++) padded[2 * i] = values.storage[i];
    const spread = new Parameter(viewOf(tensor(padded), shape, [120, 40, 10, 2], 0));
    const params = [plain, last, spread];
    const optimizer = make(params);
    for (let step = 0; step < 3; step++) {
      const grad = randn(shape, { generator: new Generator(step) });
      plain.grad = grad;
      last.grad = grad;
      spread.grad = new Tensor({ storage: grad.layOut(strides), shape, strides, dtype: 'float32' });
      optimizer.step();
    }
    expect(last.data).toEqual(plain.data);
    expect(spread.data).toEqual(plain.data);
    expect(padded.filter((_, i) => i % 2 === 1).every((v) => v === 0)).toBe(true);
  });

  test('leaves a parameter without gradient alone', () => {
    const params = [new Parameter(ones([2])), new Parameter(ones([2]))];
    const optimizer = make(params);
    params[0].grad = ones([2]);
    optimizer.step();
    expect(params[0].toArray()).not.toEqual([1, 1]);
    expect(params[1].toArray()).toEqual([1, 1]);
    expect(optimizer.state.has(params[1])).toBe(false);
    optimizer.zeroGrad();
    expect(params[0].grad).toBeNull();
  });
});

describe.each([
  ['SGD', (p: Tensor[]) => new SGD(p, { lr: 0.05, momentum: 0.9, dampening: 0.3, weightDecay: 0.1 })],
  ['nesterov', (p: Tensor[]) => new SGD(p, { lr: 0.05, momentum: 0.9, nesterov: true })],
  ['Adam', (p: Tensor[]) => new Adam(p, { lr: 0.05, weightDecay: 0.1 })],
  ['AdamW', (p: Tensor[]) => new AdamW(p, { lr: 0.05, weightDecay: 0.1 })],
] as [string, (params: Tensor[]) => Optimizer<any>][])('%s', (_name, make) => {
  test('in float64 and in float32 differ by rounding only', () => {
    const n = 5003;
    const start = randn([n], { generator: new Generator(7) });
    const narrow = new Parameter(tensor(start.storage.slice() as Float32Array));
    const wide = new Parameter(tensor(Float64Array.from(start.storage)));
    const optimizers = [make([narrow]), make([wide])];
    for (let step = 0; step < 5; step++) {
      narrow.grad = randn([n], { generator: new Generator(step) });
      wide.grad = tensor(Float64Array.from(narrow.grad.storage));
      for (const optimizer of optimizers) optimizer.step();
    }
    for (let i = 0; i < n; i++) expect(Math.abs(narrow.storage[i] - wide.storage[i])).toBeLessThan(2e-6);
  });
});

test('groups have settings of their own, and schedules scale each from its base', () => {
  const [a, b] = [new Parameter(zeros([1])), new Parameter(zeros([1]))];
  const optimizer = new SGD([{ params: [a] }, { params: [b], lr: 1 }], { lr: 0.1 });
  const scheduler = new StepLR(optimizer, 1);
  for (const p of [a, b]) p.grad = ones([1]);
  optimizer.step();
  expect([a.item(), b.item()]).toEqual([Math.fround(-0.1), -1]);
  scheduler.step();
  expect(scheduler.getLastLr()[1]).toBeCloseTo(0.1, 12);
});

test('a schedule continues from its state dict', () => {
  const make = () => {
    const optimizer = new SGD([new Parameter(zeros([1]))], { lr: 1 });
    return { optimizer, scheduler: new StepLR(optimizer, 2) };
  };
  const one = make();
  for (let i = 0; i < 3; i++) one.scheduler.step();
  const two = make();
  two.optimizer.loadStateDict(one.optimizer.stateDict());
  two.scheduler.loadStateDict(one.scheduler.stateDict());
  one.scheduler.step();
  two.scheduler.step();
  expect(two.scheduler.getLastLr()).toEqual(one.scheduler.getLastLr());
});

test('step returns what its closure computed', () => {
  const p = new Parameter(ones([1]));
  const loss = new SGD([p], { lr: 0.5 }).step(() => {
    p.grad = ones([1]);
    return tensor([3]);
  });
  expect(loss.item()).toBe(3);
  expect(p.item()).toBe(0.5);
});

test('refuses what cannot work', () => {
  const p = new Parameter(zeros([2]));
  expect(() => new SGD([], { lr: 0.1 })).toThrow(ArgumentError);
  expect(() => new SGD([p, p], { lr: 0.1 })).toThrow(/every parameter once/);
  expect(() => new SGD([p], { lr: -1 })).toThrow(/lr: expected a number from 0 up, got -1/);
  expect(() => new SGD([p], { lr: 1, nesterov: true })).toThrow(/momentum above 0/);
  expect(() => new Adam([p], { betas: [1, 0.9] })).toThrow(/betas\[0\]/);
  const optimizer = new SGD([p], { lr: 0.1, momentum: 0.9 });
  p.grad = zeros([3]);
  expect(() => optimizer.step()).toThrow(/grad: expected shape \[2\]/);
  const other = new SGD([new Parameter(zeros([3]))], { lr: 0.1, momentum: 0.9 });
  other.paramGroups[0].params[0].grad = zeros([3]);
  other.step();
  expect(() => optimizer.loadStateDict(other.stateDict())).toThrow(StateDictError);
  expect(() => optimizer.loadStateDict(new Map())).toThrow(/an empty Map/);
});
