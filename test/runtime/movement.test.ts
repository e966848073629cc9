import { describe, expect, test } from 'vitest';
import { Module } from '../../src/nn/index.ts';
import { cat, quantizePerTensor, stack } from '../../src/ops/index.ts';
import { trace } from '../../src/runtime/index.ts';
import { rand } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { eagerly, planned } from '../support/plan.ts';
import { bits } from '../support/same-bits.ts';

/** A module of one function. */
class Apply extends Module {
  readonly f: (x: Tensor) => unknown;
  constructor(f: (x: Tensor) => unknown) {
    super();
    this.f = f;
  }
  forward(x: Tensor): any {
    return this.f(x);
  }
}

const cases: [string, (x: Tensor) => unknown][] = [
  ['view', (x) => x.view(-1, 5)],
  ['view of turned axes', (x) => x.permute(0, 2, 1, 3).reshape(x.shape[0], 4, 15)],
  ['flatten a turned tensor', (x) => x.transpose(1, 3).flatten(1)],
  ['unflatten', (x) => x.unflatten(2, [2, -1])],
  ['permute twice', (x) => x.permute(3, 2, 1, 0).permute(3, 0, 2, 1)],
  ['squeeze and unsqueeze', (x) => x.unsqueeze(1).unsqueeze(-1).squeeze(1).squeeze()],
  ['narrow and select', (x) => x.narrow(2, 1, 2).select(1, -1)],
  ['expand', (x) => x.unsqueeze(1).expand(-1, 3, -1, -1, -1)],
  ['expand and copy', (x) => x.select(1, 0).unsqueeze(1).expand(-1, 6, -1, -1).contiguous()],
  ['split', (x) => x.split([1, 2], 1)],
  ['chunk', (x) => x.chunk(3, 3)],
  ['unbind', (x) => x.unbind(2)],
  ['contiguous', (x) => x.transpose(2, 3).contiguous()],
  ['channels last', (x) => x.contiguous('channelsLast')],
  ['cat of parts', (x) => cat([x.narrow(1, 0, 1), x, x.narrow(1, 1, 2)], 1)],
  ['cat of turned parts', (x) => cat([x.transpose(1, 2), x.transpose(1, 2)], -1)],
  ['stack', (x) => stack([x.select(1, 0), x.select(1, 2)], 1)],
  ['pad', (x) => x.pad([1, 2, 0, 3], { value: 0.5 })],
  ['pad that crops', (x) => x.pad([-1, 2, 1, -2])],
  ['repeat', (x) => x.repeat(2, 1, 2, 1, 3)],
  ['clone', (x) => x.clone().transpose(1, 2)],
];

describe('movement in plans', () => {
  test.each(cases)('%s: the bits of the eager operator, without running it', (_, f) => {
    let compared = 0;
    const inputs: ((n: number) => Tensor)[] = [
      (n) => rand([n, 3, 4, 5]),
      (n) => rand([n, 3, 4, 5]).contiguous('channelsLast'),
      (n) => quantizePerTensor(rand([n, 3, 4, 5]), 0.01, 3, 'quint8'),
      (n) => quantizePerTensor(rand([n, 3, 4, 5]), 0.01, -3, 'qint8').contiguous('channelsLast'),
      (n) => rand([n, 3, 4, 5]).gt(0.5),
      (n) => rand([n, 3, 4, 5]).mul(100).to('int64'),
    ];
    for (const input of inputs) {
      const program = trace(new Apply(f), [input(2)]);
      for (const n of [1, 2, 7]) {
        const x = input(n);
        const { result, operators } = planned(program, x);
        expect(operators).toEqual([]);
        expect(bits(result)).toEqual(bits(eagerly(program, x)));
        compared++;
      }
    }
    expect(compared).toBe(18);
  });

  test('views of inputs and constants keep what they look at', () => {
    class Uses extends Module<[Tensor], Tensor[]> {
      forward(x: Tensor): Tensor[] {
        const first = x.transpose(0, 1);
        const y = cat([x, x], 1);
        const z = cat([y, y], 1);
        return [first, z.select(1, 0), y.narrow(1, 3, 2)];
      }
    }
    const program = trace(new Uses(), [rand([2, 5])]);
    for (const n of [1, 2, 7]) {
      const x = rand([n, 5]);
      const { result, operators } = planned(program, x);
      expect(operators).toEqual([]);
      expect(bits(result)).toEqual(bits(eagerly(program, x)));
    }
  });
});
