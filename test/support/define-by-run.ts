import { expect } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convert,
  convertDbr,
  defaultQConfig,
  fuseModules,
  prepare,
  prepareDbr,
  QConfigMapping,
} from '../../src/quantization/index.ts';
import { coverage } from '../../src/suite/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

export const global = (): QConfigMapping => new QConfigMapping().setGlobal(defaultQConfig);
export const mapping: QConfigMapping = global();

/** Prepares, calibrates on all inputs and converts. */
export function int8<M extends AnyModule>(
  model: M,
  inputs: readonly (readonly unknown[])[],
  options = {},
): M {
  const prepared = prepareDbr(model, mapping, inputs[0], options);
  noGrad(() => {
    for (const x of inputs) prepared(...x);
  });
  return convertDbr(prepared);
}

/** The same by hand: stubs in the model, `names` fused. */
export function eager<M extends AnyModule>(
  model: M,
  inputs: readonly (readonly unknown[])[],
  names: string[][],
): M {
  const fused = names.length ? fuseModules(model, names) : model;
  fused.qconfig = defaultQConfig;
  const prepared = prepare(fused);
  noGrad(() => {
    for (const x of inputs) prepared(...x);
  });
  return convert(prepared);
}

/** How many numbers differ; what dequantized integers of one scale are, their integers are. */
export function differing(a: unknown, b: unknown): number {
  const [x, y] = [(a as Tensor).numbers(), (b as Tensor).numbers()];
  expect(x.length).toBe(y.length);
  let count = 0;
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) count++;
  console.log(`integers compared ${x.length}, differing ${count}`);
  return count;
}

export function operators(model: AnyModule): string[] {
  return coverage(model)
    .filter((row) => row.type === row.type.toLowerCase() || row.type.includes(' + '))
    .map((row) => `${row.path || '(root)'} ${row.type}: ${row.status}`);
}

/** Two layers and whatever lies between them. */
export class Pair extends Module {
  fc1: Module = new nn.Linear(6, 8);
  fc2: Module = new nn.Linear(8, 4);
  between: (x: Tensor, model: Pair) => Tensor;

  constructor(between: (x: Tensor, model: Pair) => Tensor) {
    super();
    this.between = between;
  }

  forward(x: Tensor): Tensor {
    return this.fc2(this.between(this.fc1(x), this));
  }
}
