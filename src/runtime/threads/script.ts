import type { KernelExports } from '../../kernels/engine.ts';
import { bindCall, type PlacedArg, type PlacedCall, type RangeRunner } from '../plan/step.ts';
import type { Chunks } from './control.ts';

/** A call and how many units of it a thread takes at a time. */
export interface ChunkedCall {
  readonly call: PlacedCall;
  readonly chunkUnits: number;
}

/** One step of a script: calls that may run at the same time; none where only the caller has something to do. */
export type ScriptStep = readonly ChunkedCall[];

const NUMBER = 0;
const BEGIN = 1;
const END = 2;
const FROM = 3;
const COUNT = 4;

/** Names of the kernels, in the same order on every thread. */
export function kernelNames(module: WebAssembly.Module): readonly (keyof KernelExports)[] {
  return WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === 'function')
    .map(({ name }) => name as keyof KernelExports);
}

/** Steps as numbers, to be put where every thread reads them. */
export function encodeScript(
  steps: readonly ScriptStep[],
  names: readonly (keyof KernelExports)[],
): Float64Array {
  const numbers: number[] = [steps.length];
  for (const step of steps) {
    numbers.push(step.length);
    for (const { call, chunkUnits } of step) {
      numbers.push(names.indexOf(call.kernel), call.units, call.grain, chunkUnits, call.args.length);
      for (const arg of call.args) numbers.push(...encodeArg(arg));
    }
  }
  return Float64Array.from(numbers);
}

function encodeArg(arg: PlacedArg): readonly number[] {
  if (typeof arg === 'number') return [NUMBER, arg];
  if (arg === 'begin') return [BEGIN];
  if (arg === 'end') return [END];
  return 'count' in arg ? [COUNT, arg.count, arg.total] : [FROM, arg.from, arg.stride];
}

/** The steps of {@link encodeScript}. */
export function decodeScript(
  numbers: Float64Array,
  names: readonly (keyof KernelExports)[],
): readonly ScriptStep[] {
  let at = 0;
  const next = (): number => numbers[at++];
  const list = <T>(item: () => T): T[] => Array.from({ length: next() }, item);
  return list(() =>
    list(() => {
      const kernel = names[next()];
      const units = next();
      const grain = next();
      const chunkUnits = next();
      const args = list((): PlacedArg => {
        switch (next()) {
          case NUMBER:
            return next();
          case BEGIN:
            return 'begin';
          case END:
            return 'end';
          case FROM:
            return { from: next(), stride: next() };
          default:
            return { count: next(), total: next() };
        }
      });
      return { call: { kernel, args, units, grain }, chunkUnits };
    }),
  );
}

/** How many chunks a call is cut into. */
export function chunksOf({ call, chunkUnits }: ChunkedCall): number {
  return Math.ceil(call.units / chunkUnits);
}

/** Makes a step runnable on the kernels of one thread. Running it allocates nothing. */
export function bindStep(step: ScriptStep, kernels: KernelExports): Chunks {
  const [first, ...more] = step.map((chunked) => bindChunks(chunked, kernels));
  if (first === undefined) return { chunks: 0, run: () => undefined };
  // Nearly every step is one call.
  if (more.length === 0) return first;
  const parts = [first, ...more];
  return {
    chunks: parts.reduce((sum, part) => sum + part.chunks, 0),
    run: (chunk) => {
      let rest = chunk;
      for (const part of parts) {
        if (rest < part.chunks) return part.run(rest);
        rest -= part.chunks;
      }
    },
  };
}

function bindChunks(chunked: ChunkedCall, kernels: KernelExports): Chunks {
  const { call, chunkUnits } = chunked;
  const run: RangeRunner = bindCall(call, kernels);
  return {
    chunks: chunksOf(chunked),
    run: (chunk) => run(chunk * chunkUnits, Math.min((chunk + 1) * chunkUnits, call.units)),
  };
}
