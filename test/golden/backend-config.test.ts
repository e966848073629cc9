import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { nn } from '../../src/index.ts';
import type { Pattern } from '../../src/quantization/backend/pattern.ts';
import { getNativeBackendConfig, PATTERNS } from '../../src/quantization/index.ts';

/** [input, output, weight, bias, dynamic]. */
type DTypes = readonly [string | null, string | null, string | null, string | null, boolean];
/** [scale, zero point, dtype, smallest and largest integer]. */
type Fixed = readonly [number, number, string, number, number];

/** What `backend_config.py` writes for one row. */
interface TheirRow {
  readonly pattern: readonly string[];
  readonly dtypes: readonly DTypes[];
  readonly observation: 'own' | 'shared';
  readonly byTensors: Readonly<Record<string, string>> | null;
  readonly root: string | null;
  readonly qat: string | null;
  readonly reference: string | null;
  readonly fused: string | null;
  readonly fuses: boolean;
  readonly places: { readonly weight: number; readonly bias: number } | null;
  readonly observed: boolean;
  readonly fixed: Fixed | null;
  readonly fixedInTraining: Fixed | null;
}

const theirs = JSON.parse(
  readFileSync(new URL('data/backend_config.json', import.meta.url), 'utf8'),
) as TheirRow[];

const ORIGINS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  nn,
  nni: nn.intrinsic,
  qat: nn.qat,
  nniqat: nn.intrinsic.qat,
};

/** A part of a pattern: the class it is, or the name of its operator, in place or not. */
function partOf(name: string): unknown {
  const [origin, last] = name.split('.');
  if (origin in ORIGINS) return ORIGINS[origin][last] ?? `no class ${name}`;
  return last.replace(/_$/, '').replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
}

/** Our row of a pattern; a relu behind modules may be a module or an operator. */
function ourRow(pattern: readonly string[]): Pattern | undefined {
  const parts = pattern.map(partOf);
  const [first, ...rest] = parts;
  if (typeof first === 'string') {
    const names = [first, ...rest.map((part) => (part === nn.ReLU ? 'relu' : part))];
    return PATTERNS.find((p) => p.operator?.names.join() === names.join());
  }
  const classes = [first, ...rest.map((part) => (part === 'relu' ? nn.ReLU : part))];
  if (classes.length === 1) return PATTERNS.find((p) => p.float === first || p.qat === first);
  return PATTERNS.find(
    (p) => p.fuse && p.sequence.length === classes.length && p.sequence.every((c, i) => c === classes[i]),
  );
}

/** The row that quantizes what a row fuses into, where it has no class of its own. */
function quantizing(row: Pattern): Pattern {
  if (row.output || !row.fuse) return row;
  return PATTERNS.find((p) => p.float === row.sequence[0]) ?? row;
}

function fixedOf(row: Pattern): Fixed | null {
  if (!row.fixedOutput) return null;
  const { activationPostProcess: made } = row.fixedOutput() as any;
  return [made.scale.item(), made.zeroPoint.item(), made.dtype, made.quantMin, made.quantMax];
}

/** Fields of a row of PyTorch's that ours does not have or says otherwise. */
function differences(row: TheirRow, ours: Pattern): string[] {
  const found: string[] = [];
  const check = (field: string, agrees: boolean): void => {
    if (!agrees) found.push(field);
  };
  const does = quantizing(ours);
  const data = getNativeBackendConfig().toRows()[PATTERNS.indexOf(does)];
  const dtypes = data.dtypes.map((d) => [d.input, d.output, d.weight, d.bias, d.isDynamic].join());
  check(
    'dtypes',
    row.dtypes.every((d) => dtypes.includes(d.map((v) => v ?? '').join())),
  );
  if (row.dtypes.some((d) => !d[4]) && row.observed) check('observation', does.output === row.observation);
  check('observed', row.observed === (does.output !== 'float'));
  check('byTensors', (row.byTensors !== null) === (ours.operator?.withNumber !== undefined));
  check('root', row.root === null || partOf(row.root) === ours.sequence[0]);
  check('reference', row.reference === null || does.weighted === true);
  check('qat', row.qat === null || partOf(row.qat) === ours.qat);
  check('fused', row.fused === null || partOf(row.fused) === ours.float);
  check(
    'fuses',
    row.fuses ===
      (ours.fuse !== undefined && row.pattern.length > 1 && typeof partOf(row.pattern[0]) !== 'string'),
  );
  const { weight, bias } = ours.operator?.weight ?? {};
  check('places', row.places === null || (row.places.weight === weight && row.places.bias === bias));
  check('fixed', JSON.stringify(row.fixed) === JSON.stringify(fixedOf(ours)));
  check('fixed', JSON.stringify(row.fixedInTraining) === JSON.stringify(fixedOf(ours)));
  return [...new Set(found)];
}

/** Rows that ours is without, or that say something else: by patterns, with the fields and the reason. */
const LISTED: readonly {
  readonly rows: RegExp;
  readonly fields: 'no row' | readonly string[];
  readonly reason: string;
}[] = [
  {
    rows: /^(operator|torch)\.(add|mul)|^torch\.matmul$|[hH]ardsigmoid|[sS]igmoid|nn\.Softmax|\.[tT]anh_?$/,
    fields: ['dtypes'],
    reason: 'PyTorch gives them the types of weights and biases of convolutions, and they have none',
  },
  { rows: /^F\.group_norm$/, fields: ['dtypes'], reason: 'ours names the type of its gains and shifts' },
  {
    rows: /^nn\.(GRUCell|LSTMCell|RNNCell|LSTM)$/,
    fields: ['reference'],
    reason: 'the reference graph holds these layers with their weights unrounded',
  },
  {
    rows: /^F\.dropout$/,
    fields: 'no row',
    reason: 'in evaluation it returns its input and is no call; the module has a row',
  },
  {
    rows: /^F\.instance_norm$/,
    fields: 'no row',
    reason: 'is a group norm of one channel each, and has its row',
  },
  {
    rows: /\.repeat_interleave$/,
    fields: 'no row',
    reason: 'is made of unsqueeze, expand and flatten, which have rows',
  },
  { rows: /^method\.detach_?$/, fields: 'no row', reason: 'gives the same elements and is no operator' },
  {
    rows: /^method\.(shape|size)$|^operator\.floordiv$/,
    fields: 'no row',
    reason: 'sizes and what is computed from them are plain numbers, not nodes',
  },
  { rows: /^method\.resize_$/, fields: 'no row', reason: 'there is no resizing in place' },
];

/** Rows of ours that PyTorch's table is without. */
const BEYOND: Readonly<Record<string, readonly string[]>> = {
  'eager mode has them': ['quant', 'dequant', 'functional', 'multi-head attention'],
  'dynamic in eager mode': ['rnn', 'gru'],
  'modules whose functions PyTorch lists': ['unflatten'],
  'what takes elements out of a quantized tensor, orders or pads them keeps its parameters, as in eager mode':
    [
      ...['slice', 'select', 'indexSelect', 'expand', 'flip', 'pad', 'clone', 'amax', 'amin'],
      ...['chunk', 'split', 'unbind', 'maxDim', 'minDim', 'sort', 'topk'],
    ],
};

test('every row of PyTorch’s native backend table has ours, but for those listed', () => {
  const unlisted: string[] = [];
  const used = new Set<unknown>();
  const counts = { same: 0, 'no row': 0, differs: 0 };
  for (const row of theirs) {
    const name = row.pattern.join(' + ');
    const ours = ourRow(row.pattern);
    const found = ours ? differences(row, ours) : 'no row';
    const listed = LISTED.find(({ rows }) => rows.test(name));
    used.add(listed);
    counts[found === 'no row' ? found : found.length === 0 ? 'same' : 'differs']++;
    const expected = listed?.fields ?? [];
    if (String(found) !== String(expected)) unlisted.push(`${name}: ${found} (listed: ${expected})`);
  }
  console.log(
    `${theirs.length} rows of PyTorch's table: ${counts.same} alike in all fields, ${counts.differs} differ, ${counts['no row']} not there`,
  );
  expect(unlisted).toEqual([]);
  const mirrored = new Set(theirs.map((row) => ourRow(row.pattern)));
  const beyond = PATTERNS.filter((p) => !mirrored.has(p)).map((p) => p.name);
  console.log(`${PATTERNS.length} rows of ours, ${beyond.length} that PyTorch's table is without`);
  expect(beyond.sort()).toEqual(Object.values(BEYOND).flat().sort());
  expect(LISTED.filter((entry) => !used.has(entry))).toEqual([]);
});
