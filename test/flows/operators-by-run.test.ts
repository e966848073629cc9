import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { noGrad } from '../../src/ops/index.ts';
import {
  convertDbr,
  convertFx,
  defaultQConfig,
  prepareDbr,
  prepareFx,
  QConfigMapping,
} from '../../src/quantization/index.ts';
import { readProgram, trace, writeProgram } from '../../src/runtime/index.ts';
import { fill, noiseTensor } from '../support/hashed-weights.ts';
import { around, ENTER, NAMED } from '../support/operator-cases.ts';

const ranks = JSON.parse(
  readFileSync(new URL('../golden/data/fx_operators.json', import.meta.url), 'utf8'),
) as Record<string, { readonly rank: keyof typeof ENTER }>;

/** Where define-by-run differs, and why. */
const DIFFERENT: Readonly<Record<string, string>> = Object.fromEntries(
  ['add number', 'add number, relu'].map((name) => [
    name,
    'graph mode, as PyTorch, shows the sum to the observer of the summand and widens its range; an int8 sum needs none',
  ]),
);

test('each operator gives the same integers in graph mode, as a program, and by define-by-run', () => {
  // By extremes: a histogram that graph mode shares between two places counts what both see.
  const mapping = new QConfigMapping().setGlobal(defaultQConfig);
  const differing: string[] = [];
  const apart: string[] = [];
  let compared = 0;
  for (const name of NAMED) {
    const { rank } = ranks[name];
    const { shape } = ENTER[rank];
    const model = around(name, rank);
    fill(model);
    const x = noiseTensor(shape, 990);
    const graph = prepareFx(model, mapping, [x]);
    const byRun = prepareDbr(model, mapping, [x]);
    noGrad(() => {
      for (const b of [0, 1]) for (const m of [graph, byRun]) m(noiseTensor(shape, 900 + 10 * b));
    });
    const int8 = convertFx(graph);
    const [a, b] = noGrad(() => [int8(x), convertDbr(byRun)(x)]).map((y) => y.numbers());
    const program = readProgram(writeProgram(trace(int8, [x])));
    const y = program.run(x).numbers();
    if (a.some((v, i) => v !== y[i])) apart.push(name);
    compared += a.length;
    let count = 0;
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count++;
    if (count > 0) differing.push(name);
  }
  console.log(
    `${NAMED.length} operators, ${compared} outputs compared, operators that differ: ${differing.join(', ') || 'none'}`,
  );
  expect(differing).toEqual(Object.keys(DIFFERENT));
  expect(apart).toEqual([]);
});
