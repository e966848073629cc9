import { type Column, formatBytes, formatTable } from '../core/table.ts';
import { isLeafModule } from '../fx/leaf.ts';
import type { AnyModule } from '../nn/module.ts';
import { DTYPES } from '../tensor/dtype.ts';
import type { StateDict, StateValue } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { requireModels } from './require-models.ts';

/** What one layer takes in files. */
export interface SizeRow {
  readonly path: string;
  /** Its class in the float model, and in the int8 model; null where a model has nothing there. */
  readonly float: string | null;
  readonly int8: string | null;
  /** Bytes of its parameters and buffers in each model, scales and zero points included. */
  readonly floatBytes: number;
  readonly int8Bytes: number;
}

/**
 * What the state of each layer takes in a float and an int8 model, by path: elements in their dtypes, scales and zero points
 * beside them. Layers without state are left out. The sums are the data of state-dict files, without headers.
 *
 * @example
 * print(formatSizes(sizeByLayer(fused, int8)));
 */
export function sizeByLayer(float: AnyModule, int8: AnyModule): SizeRow[] {
  requireModels('sizeByLayer', { float, int8 });
  const [before, after] = [float, int8].map(sizes);
  const paths = [...new Set([...before.keys(), ...after.keys()])];
  return paths.map((path) => ({
    path,
    float: before.get(path)?.type ?? null,
    int8: after.get(path)?.type ?? null,
    floatBytes: before.get(path)?.bytes ?? 0,
    int8Bytes: after.get(path)?.bytes ?? 0,
  }));
}

/** The rows of {@link sizeByLayer} as a table that ends in their sums. */
export function formatSizes(rows: readonly SizeRow[]): string {
  const sum = (pick: (r: SizeRow) => number): number => rows.reduce((n, r) => n + pick(r), 0);
  const [float, int8] = [sum((r) => r.floatBytes), sum((r) => r.int8Bytes)];
  const ratio = (before: number, after: number): string =>
    before === 0 ? '–' : `${((100 * after) / before).toFixed(1)} %`;
  const share = (bytes: number): string => `${((100 * bytes) / Math.max(1, int8)).toFixed(1)} %`;
  const columns: Column[] = [
    { title: 'layer' },
    { title: 'int8' },
    { title: 'float bytes', align: 'right' },
    { title: 'int8 bytes', align: 'right' },
    { title: 'of float', align: 'right' },
    { title: 'of model', align: 'right' },
  ];
  return formatTable(columns, [
    ...rows.map((r) => [
      r.path === '' ? '(root)' : r.path,
      r.int8 ?? '–',
      formatBytes(r.floatBytes),
      formatBytes(r.int8Bytes),
      ratio(r.floatBytes, r.int8Bytes),
      share(r.int8Bytes),
    ]),
    ['all', '', formatBytes(float), formatBytes(int8), ratio(float, int8), share(int8)],
  ]);
}

/**
 * Bytes of a tensor's elements, and of its scales (float32) and zero points (one byte; float32 where they are floats), of
 * which a tensor that is quantized as a whole has one each.
 */
export function tensorBytes({ dtype, numel, qparams }: Tensor): number {
  const elements = dtype === 'quint4x2' ? Math.ceil(numel / 2) : numel * DTYPES[dtype].bytes;
  if (!qparams) return elements;
  if (qparams.scheme === 'per_tensor_affine') return elements + 5;
  return elements + qparams.scales.length * (qparams.scheme === 'per_channel_affine_float_qparams' ? 8 : 5);
}

interface LayerSize {
  readonly type: string;
  readonly bytes: number;
}

/** The layers with state by path; what is inside of a layer (a fused one, an LSTM that was taken apart) counts as its own. */
function sizes(model: AnyModule): Map<string, LayerSize> {
  const found = new Map<string, LayerSize>();
  const inside: string[] = [];
  for (const [path, module] of model.namedModules()) {
    if (inside.some((layer) => path.startsWith(layer))) continue;
    const isLayer = path !== '' && isLeafModule(module);
    if (isLayer) inside.push(`${path}.`);
    const state: StateDict = new Map();
    if (isLayer) module.stateDict('', state);
    else module.saveToStateDict(state, '');
    const bytes = [...state.values()].reduce((n: number, value) => n + bytesOf(value), 0);
    if (bytes > 0) found.set(path, { type: module.typeName, bytes });
  }
  return found;
}

function bytesOf(value: StateValue): number {
  if (value instanceof Tensor) return tensorBytes(value);
  return Array.isArray(value) ? value.reduce((n: number, part: StateValue) => n + bytesOf(part), 0) : 0;
}
