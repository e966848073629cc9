import { describe, expect, test } from 'vitest';
import { product } from '../../core/math.ts';
import { createEngine, supportedBuilds } from '../../kernels/engine.ts';
import { stridesInOrder } from '../../ops/float/layout.ts';
import type { DType } from '../../tensor/dtype.ts';
import { copyStrided } from '../../tensor/tensor.ts';
import { PlanBuilder } from './builder.ts';
import { Constants } from './constants.ts';
import { copyCalls, fillCalls } from './copy.ts';
import { type Block, heapView } from './memory.ts';
import { bindCall, type KernelCall, placeCall } from './step.ts';
import { storedBytes, type Value } from './value.ts';

const builds = supportedBuilds();
const dtypes: DType[] = ['uint8', 'qint8', 'int16', 'float32', 'int64'];

/** A small generator, so that failures repeat. */
function numbers(seed: number): (below: number) => number {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function shuffled(rank: number, next: (below: number) => number): number[] {
  const order = Array.from({ length: rank }, (_, d) => d);
  for (let i = rank - 1; i > 0; i--) {
    const j = next(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

describe.each(builds)('copies (%s)', (build) => {
  const engine = createEngine(build);
  const builder = new PlanBuilder({
    constants: new Constants(engine),
    metas: new Map(),
    batch: 1,
    attributes: new Map(),
  });
  const place = (bytes: number): Block => ({
    bytes,
    ptr: engine.alloc(bytes + 64, 'arena').ptr,
    first: 0,
    last: 0,
  });
  const runInParts = (calls: readonly KernelCall[], next: (below: number) => number): void => {
    for (const call of calls) {
      const run = bindCall(placeCall(call), engine.kernels);
      const cut = Math.min(call.units, call.grain * next(Math.ceil(call.units / call.grain) + 1));
      // The later part first: the order must not matter.
      if (cut < call.units) run(cut, call.units);
      if (cut > 0) run(0, cut);
    }
  };

  test('move every element of any shape between any strides, whatever the partition', () => {
    let compared = 0;
    for (let seed = 0; seed < 120; seed++) {
      const next = numbers(seed);
      const rank = next(6);
      const large = seed % 5 === 0;
      const shape = Array.from({ length: rank }, () => 1 + next(large ? 18 : 6));
      const dtype = dtypes[next(dtypes.length)];
      // Repeated, cropped and turned sources; destinations with gaps.
      const from = stridesInOrder(shape, shuffled(rank, next)).map((s) =>
        next(6) === 0 ? 0 : s * (1 + next(2)),
      );
      const whole = shape.map((size) => size + next(2));
      const to = stridesInOrder(whole, shuffled(rank, next));
      const value = (strides: number[], offset: number, elements: number, flipped: boolean): Value => ({
        shape,
        dtype,
        qparams: null,
        strides,
        offset,
        flipped: flipped && dtype === 'qint8',
        block: place(elements * storedBytes(dtype)),
      });
      const span = from.reduce((sum, s, d) => sum + s * (shape[d] - 1), 1);
      const source = value(from, 3, span + 3, next(2) === 1);
      const target = value(to, 0, product(whole), next(2) === 1);
      const heap = heapView(engine.heap, dtype);
      const base = source.block.ptr / storedBytes(dtype);
      for (let i = 0; i < span + 3; i++) heap[base + i] = next(100) - 50;
      const at = target.block.ptr / storedBytes(dtype);
      heap.fill(77, at, at + product(whole));
      const expected = heap.slice(at, at + product(whole));
      const read = heap.slice(base, base + span + 3);
      if (source.flipped !== target.flipped) for (let i = 0; i < read.length; i++) read[i] ^= -128;
      copyStrided(read, 3, from, expected, 0, to, shape);
      runInParts(copyCalls(builder, source, target), next);
      expect(heapView(engine.heap, dtype).slice(at, at + product(whole))).toEqual(expected);
      compared += expected.length;
    }
    console.log(`copies: ${compared} elements compared`);
  });

  test('fill values with one element', () => {
    const elements: [DType, Uint8Array][] = [
      ['uint8', Uint8Array.of(9)],
      ['int16', Uint8Array.of(1, 2)],
      ['float32', new Uint8Array(Float32Array.of(-1.5).buffer)],
      ['int64', new Uint8Array(Float64Array.of(12345).buffer)],
    ];
    for (const [dtype, element] of elements) {
      for (const size of [1, 3, 16, 17, 1000, 5000]) {
        const block = place(size * element.length + 8);
        engine.heap.u8.fill(0xee, block.ptr, block.ptr + block.bytes);
        const value: Value = {
          shape: [size],
          strides: [1],
          dtype,
          qparams: null,
          offset: 0,
          flipped: false,
          block,
        };
        runInParts(fillCalls(value, element), numbers(size));
        const got = engine.heap.u8.slice(block.ptr, block.ptr + block.bytes);
        const expected = new Uint8Array(block.bytes).fill(0xee);
        for (let i = 0; i < size * element.length; i++) expected[i] = element[i % element.length];
        expect(got).toEqual(expected);
      }
    }
  });
});
