/**
 * Speed of recurrent layers in float, int8 and float16: microseconds of one time step, one layer, on one thread.
 *
 *   node bench/recurrent.ts [--rounds 9]
 *
 * The three take turns in every round; each number is the best round, which other work on the machine disturbs least. The
 * ratio is that of these numbers.
 */
import '../src/autograd/index.ts';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { manualSeed } from '../src/core/random.ts';
import { formatTable } from '../src/core/table.ts';
import { engine } from '../src/kernels/engine.ts';
import { GRU, LSTM, ModuleList } from '../src/nn/index.ts';
import { noGrad } from '../src/ops/grad-mode.ts';
import { quantizeDynamic } from '../src/quantization/index.ts';
import { randn } from '../src/tensor/creation.ts';
import type { Tensor } from '../src/tensor/tensor.ts';

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '9' } } });

/** Name, class, hidden size (and inputs), batch, time steps. */
const CASES: readonly (readonly [string, typeof LSTM | typeof GRU, number, number, number])[] = [
  ['LSTM', LSTM, 128, 1, 400],
  ['LSTM', LSTM, 128, 20, 100],
  ['LSTM', LSTM, 512, 1, 100],
  ['LSTM', LSTM, 512, 16, 30],
  ['GRU', GRU, 256, 1, 200],
  ['GRU', GRU, 256, 32, 40],
];

type Layer = (x: Tensor) => unknown;

manualSeed(0);
const rows = CASES.map(([name, type, hidden, batch, time]) => {
  const float = new ModuleList([new type(hidden, hidden)]).eval();
  const forms = [float, quantizeDynamic(float), quantizeDynamic(float, undefined, { dtype: 'float16' })].map(
    (m) => m.children()[0] as unknown as Layer,
  );
  const x = randn([time, batch, hidden]);
  const best = forms.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < Number(flags.rounds); round++) {
    forms.forEach((layer, i) => {
      const start = performance.now();
      noGrad(() => layer(x));
      best[i] = Math.min(best[i], ((performance.now() - start) / time) * 1000);
    });
  }
  const [f, q, h] = best;
  return [
    `${name} ${hidden}`,
    String(batch),
    ...best.map((us) => us.toFixed(1)),
    `${(f / q).toFixed(2)}×`,
    `${(f / h).toFixed(2)}×`,
  ];
});

console.log(
  `${cpus()[0].model}, Node ${process.versions.node}, kernels ${engine.build}, ${flags.rounds} rounds`,
);
const titles = ['layer', 'batch', 'float µs', 'int8 µs', 'float16 µs', 'int8', 'float16'];
console.log(
  formatTable(
    titles.map((title, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
  ),
);
