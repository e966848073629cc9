import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { type fx, noGrad, quantization, type Tensor } from '../../src/index.ts';
import { inDoubles } from '../support/double-arithmetic.ts';
import {
  checksum,
  IntegerRecorder,
  type IntegerRow,
  type ObserverRow,
  observersOf as observersNamed,
  placed,
  sharing,
  spelled,
} from '../support/fx-rows.ts';
import { noiseTensor } from '../support/hashed-weights.ts';

const { ConvertCustomConfig, convertFx, FakeQuantizeBase, ObserverBase } = quantization;

/** What `fx.py` writes for one model. */
export interface Golden {
  readonly shapes: number[][];
  readonly observers: ObserverRow[];
  readonly integers: Record<string, IntegerRow>;
  readonly output: number[];
  readonly preparedKeys: string[];
  readonly convertedKeys: string[];
  /** Scale and zero point of the observers inside modules that are observed in parts, by path. */
  readonly inner: Record<string, [number, number]>;
  /** Checksums of running statistics after training. */
  readonly statistics: Record<string, number>;
}

/** The models in a file that `fx.py` wrote. */
export function readGolden(name: string): Record<string, Golden> {
  return JSON.parse(readFileSync(new URL(`data/${name}.json`, import.meta.url), 'utf8'));
}

/** Our names of nodes as PyTorch spells them in models where a state of an LSTM is taken out of its results before. */
const named = (name: string): string => spelled(name.replace(/^select/, 'getitem_1'));

/** What an observer found, or what a fake-quantize rounds with. */
function qparamsOf(observer: quantization.ObserverBase): [number, number] {
  const found =
    observer instanceof FakeQuantizeBase ? observer.appliedQParams() : observer.calculateQParams();
  return [found.scale.item(), found.zeroPoint.item()];
}

/** Where observers stand in a graph. */
export function observersOf(prepared: fx.GraphModule<any, any>): ObserverRow[] {
  return observersNamed(prepared, named, qparamsOf);
}

/** Observers whose parameters are not equal as float32 numbers: what was observed, and both parameters. */
function differentQParams(ours: readonly ObserverRow[], theirs: readonly ObserverRow[]): string[] {
  const place = ([source, , users, type]: ObserverRow): string =>
    [source, type, ...[...users].sort()].join(' ');
  const byPlace = new Map(theirs.map((row) => [place(row), JSON.stringify(row[4])]));
  return ours
    .filter((row) => byPlace.get(place(row)) !== JSON.stringify(row[4]))
    .map((row) => `${row[0]}: ${JSON.stringify(row[4])}, not ${byPlace.get(place(row))}`);
}

/** Scale and zero point of the observers that stand inside modules, by path. */
function innerQParams(prepared: fx.GraphModule<any, any>): Golden['inner'] {
  const observers = prepared
    .namedModules()
    .filter(([path, module]) => path.includes('.') && module instanceof ObserverBase);
  return Object.fromEntries(
    observers.map(([path, module]) => [path, qparamsOf(module as quantization.ObserverBase)]),
  );
}

const sorted = (keys: Iterable<string>): string[] => [...keys].sort();

/** Runs the first batches of `fx.py`, floats summed in double. */
export function run(prepared: fx.GraphModule<any, any>, shapes: readonly number[][], batches: number): void {
  for (let b = 0; b < batches; b++) {
    const batch = shapes.map((s, i) => noiseTensor(s, 900 + 10 * b + i));
    noGrad(() => inDoubles(() => (prepared as any)(...batch)));
  }
}

/**
 * Compares a calibrated or trained graph with PyTorch's, and what it is converted to: places, sharing and parameters of
 * observers, running statistics, keys of state dicts, and the integers of every result in a run on `inputs`. Prints the
 * counts; nothing may differ.
 */
export function compare(
  name: string,
  prepared: fx.GraphModule<any, any>,
  { observers, inner, statistics, integers, output, preparedKeys, convertedKeys }: Golden,
  inputs: readonly Tensor[],
): void {
  const ours = observersOf(prepared);
  expect(placed(ours)).toEqual(placed(observers));
  expect(sharing(ours)).toEqual(sharing(observers));
  const otherwise = differentQParams(ours, observers);
  const state = prepared.stateDict();
  const moved = Object.entries(statistics).filter(([key, sum]) => checksum(state.get(key) as Tensor) !== sum);
  expect(sorted(state.keys())).toEqual(sorted(preparedKeys));
  const innerDiffer = Object.entries(innerQParams(prepared)).filter(
    ([path, qparams]) => JSON.stringify(qparams) !== JSON.stringify(inner[path]),
  );
  const converted = convertFx(prepared, { convertCustomConfig: new ConvertCustomConfig() });
  expect(sorted(converted.stateDict().keys())).toEqual(sorted(convertedKeys));
  const recorder = new IntegerRecorder(converted, named);
  const result = noGrad(() => inDoubles(() => recorder.run(...inputs))) as Tensor;
  const differing = Object.entries(integers).filter(
    ([node, row]) => JSON.stringify(recorder.integers.get(node)) !== JSON.stringify(row),
  );
  const values = result.numbers().slice(0, output.length);
  const outputsDiffer = output.filter((v, i) => v !== values[i]).length;
  console.log(
    `${name}: ${ours.length} observers placed and shared alike, ${otherwise.length} have other parameters; ` +
      `${Object.keys(inner).length} inside modules, ${innerDiffer.length} have others; ` +
      `running statistics ${Object.keys(statistics).length}, ${moved.length} differ; ` +
      `keys ${preparedKeys.length} and ${convertedKeys.length}, 0 differ; ` +
      `integers of ${Object.keys(integers).length} results, ${differing.length} differ; ` +
      `outputs ${output.length}, ${outputsDiffer} differ`,
  );
  expect(otherwise).toEqual([]);
  expect(innerDiffer).toEqual([]);
  expect(moved).toEqual([]);
  expect(differing.map(([node]) => node)).toEqual([]);
  expect(outputsDiffer).toBe(0);
}
