import { expect, test } from 'vitest';
import { createEngine, type Engine, supportedBuilds } from '../engine.ts';
import { addF32, mulF32, reluF32, reluGradF32, scaleF32 } from './elementwise.ts';
import { MAP_FUNCTIONS, mapF32 } from './map.ts';
import { expF32, layerNormF32, logSoftmaxF32, softmaxF32 } from './softmax.ts';

const engines = supportedBuilds().map((build) => createEngine(build));
const fusing = engines.filter(({ build }) => build !== 'baseline');

/** Numbers of all sizes and both signs; every 97th is an infinity, a zero or none. */
const numbers = Float32Array.from({ length: 4099 }, (_, i) =>
  i % 97 === 96
    ? [Infinity, -Infinity, Number.NaN, -0][i % 4]
    : Math.sin(i * 12.9898) * 10 ** (((i * 7) % 40) / 10 - 2),
);
const finite = numbers.map((v) => (Number.isFinite(v) ? v : 1));

/** Runs on every build and expects the same bits, NaN aside. */
function expectSame(name: string, run: (engine: Engine) => Float32Array, among = engines): void {
  const [first, ...others] = among.map((engine) => run(engine));
  for (const other of others) expect(other, name).toEqual(first);
}

test('every build gives the same bits, whichever way it packs vectors', () => {
  let compared = 0;
  for (const n of [1, 4, 5, 8, 12, 61, numbers.length]) {
    const x = numbers.subarray(0, n);
    const y = numbers.slice(-n).reverse();
    for (const fn of MAP_FUNCTIONS)
      expectSame(fn, (engine) => mapF32(x, fn, { p: 0.3, q: 20, engine }), fn === 'gelu' ? fusing : engines);
    expectSame('exp', (engine) => expF32(x, engine));
    expectSame('relu', (engine) => reluF32(x, { engine }));
    expectSame('reluGrad', (engine) => reluGradF32(x, y, { engine }));
    expectSame('add', (engine) => addF32(x, y, { alpha: 0.7, engine }));
    expectSame('mul', (engine) => mulF32(x, y, { engine }));
    expectSame('scale', (engine) => scaleF32(x, 0.7, engine));
    compared += n * (MAP_FUNCTIONS.length + 6);
  }
  for (const columns of [1, 3, 4, 7, 8, 13, 16, 31, 40, 128, 300, 777]) {
    const rows = Math.floor(numbers.length / columns);
    const x = numbers.subarray(0, rows * columns);
    const weight = finite.subarray(5, 5 + columns);
    expectSame('softmax', (engine) => softmaxF32(x, rows, columns, engine));
    expectSame('layerNorm', (engine) => layerNormF32(x, rows, columns, weight, null, 1e-5, engine));
    expectSame('logSoftmax', (engine) => logSoftmaxF32(x, rows, columns, engine));
    compared += 3 * x.length;
  }
  console.log(`${compared} numbers compared on ${engines.map((engine) => engine.build).join(', ')}`);
});
