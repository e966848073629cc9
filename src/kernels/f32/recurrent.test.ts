import { describe, expect, test } from 'vitest';
import { createEngine, supportedBuilds } from '../engine.ts';
import { referenceGruCell, referenceLstmCell } from '../reference/f32-layers.ts';
import { gruCellF32, lstmCellF32 } from './recurrent.ts';

/** Numbers up to `size` of both signs; some 0 and, where they are large, some that saturate. */
function numbers(n: number, size: number, seed: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) =>
    i % 13 === 5 ? 0 : size * Math.sin((i + 1) * 12.9898 * (seed + 1)),
  );
}

/** The largest difference in parts of the wanted number, or of the size of what it is the difference of. */
function furthest(got: ArrayLike<number>, want: readonly number[], size: number): number {
  expect(got.length).toBe(want.length);
  return want.reduce((most, v, i) => Math.max(most, Math.abs(got[i] - v) / Math.max(size, Math.abs(v))), 0);
}

const engines = supportedBuilds().map((build) => createEngine(build));

describe('recurrent cells', () => {
  test.each(engines.map((engine) => [engine.build, engine] as const))('LSTM (%s)', (_, engine) => {
    let compared = 0;
    for (const hidden of [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 23, 200])
      for (const rows of [1, 3])
        for (const size of [0.01, 2, 100]) {
          const gates = numbers(4 * rows * hidden, size, hidden);
          const cell = numbers(rows * hidden, size, hidden + 1);
          const [h, next] = lstmCellF32(gates, cell, rows, hidden, engine);
          const [wantedH, wantedNext] = referenceLstmCell(gates, cell, rows, hidden);
          expect(furthest(h, wantedH, Math.min(1, size))).toBeLessThan(6e-7);
          expect(furthest(next, wantedNext, Math.min(1, size))).toBeLessThan(6e-7);
          expect([h, next]).toEqual(lstmCellF32(gates, cell, rows, hidden, engines[0]));
          compared += 2 * h.length;
        }
    console.log(`${compared} states compared`);
  });

  test.each(engines.map((engine) => [engine.build, engine] as const))('GRU (%s)', (_, engine) => {
    let compared = 0;
    for (const hidden of [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 23, 200])
      for (const rows of [1, 3])
        for (const size of [0.01, 2, 100]) {
          const [x, y] = [1, 2].map((seed) => numbers(3 * rows * hidden, size, hidden + seed));
          const state = numbers(rows * hidden, 1, hidden);
          const next = gruCellF32(x, y, state, rows, hidden, engine);
          // A sum of gates is rounded by its size, and the candidate moves with it.
          const bound = 1e-6 * Math.max(1, size);
          expect(furthest(next, referenceGruCell(x, y, state, rows, hidden), 1)).toBeLessThan(bound);
          expect(next).toEqual(gruCellF32(x, y, state, rows, hidden, engines[0]));
          compared += next.length;
        }
    console.log(`${compared} states compared`);
  });
});
