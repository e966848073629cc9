import type { KernelExports } from '../../kernels/engine.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Block } from './memory.ts';

/** A place inside a block. */
export interface Address {
  readonly block: Block;
  /** Bytes from the start of the block. */
  readonly offset: number;
}

/**
 * One argument of a kernel. A step's work is counted in units, of which a thread takes a range [begin, end) at a time:
 *
 * - a number is passed as it is, an {@link Address} as a pointer;
 * - `{ at, stride }` is the pointer of the range's first unit, `stride` bytes apart;
 * - `'begin'`, `'end'` are the range itself;
 * - `{ count, total }` is how many elements the range holds at `count` a unit, of `total` in all.
 */
export type CallArg =
  | number
  | Address
  | { readonly at: Address; readonly stride: number }
  | 'begin'
  | 'end'
  | { readonly count: number; readonly total: number };

/** A kernel to run over a range of units, in any order and any partition: the result must not depend on it. */
export interface KernelCall {
  readonly kernel: keyof KernelExports;
  readonly args: readonly CallArg[];
  readonly units: number;
  /** Ranges begin at multiples of this many units: whole tiles of the kernel. */
  readonly grain: number;
}

/** What one step costs, for profiles. */
export interface StepCost {
  /** Multiply-accumulates. */
  readonly macs: number;
  /** Bytes read and written, weights included. */
  readonly bytes: number;
}

/** Independent calls that may run at the same time; the next step begins when all are done. */
export interface KernelStep {
  readonly kind: 'kernels';
  /** Name of the node whose result it makes, what it runs, and the shape of that result (of the first, for lists). */
  readonly name: string;
  readonly op: string;
  readonly shape: Shape;
  readonly calls: readonly KernelCall[];
  readonly cost: StepCost;
}

/**
 * What the calling thread does alone. `operator`: an operator without kernels of its own, as the eager library runs it. `host`:
 * work on typed arrays, because what it reads is not worth a copy in the engine's memory.
 */
export interface CallerStep {
  readonly kind: 'operator' | 'host';
  readonly name: string;
  readonly op: string;
  readonly shape: Shape;
  readonly run: () => void;
  readonly cost: StepCost;
}

/** One step of a plan. */
export type Step = KernelStep | CallerStep;

/** A {@link CallArg} once every block has its place: plain data, the same on every thread. */
export type PlacedArg =
  | number
  | 'begin'
  | 'end'
  | { readonly from: number; readonly stride: number }
  | { readonly count: number; readonly total: number };

/** A {@link KernelCall} that may be sent to another thread. */
export interface PlacedCall {
  readonly kernel: keyof KernelExports;
  readonly args: readonly PlacedArg[];
  readonly units: number;
  readonly grain: number;
}

/** Replaces addresses by pointers. */
export function placeCall({ kernel, args, units, grain }: KernelCall): PlacedCall {
  return { kernel, args: args.map(placeArg), units, grain };
}

function placeArg(arg: CallArg): PlacedArg {
  if (typeof arg !== 'object' || 'count' in arg) return arg;
  if ('at' in arg) return { from: pointerOf(arg.at), stride: arg.stride };
  return pointerOf(arg);
}

/** The pointer of an address. */
export function pointerOf({ block, offset }: Address): number {
  return block.ptr + offset;
}

/** Runs units [begin, end) of a call. */
export type RangeRunner = (begin: number, end: number) => void;

/** Makes a call runnable on the kernels of one thread. Running it allocates nothing. */
export function bindCall(call: PlacedCall, kernels: KernelExports): RangeRunner {
  const run = kernels[call.kernel] as (...args: number[]) => unknown;
  const values = call.args.map((arg) => (typeof arg === 'number' ? arg : 0));
  const varying = call.args.flatMap((arg, i) => (typeof arg === 'number' ? [] : [{ arg, i }]));
  return (begin, end) => {
    for (const { arg, i } of varying) {
      if (arg === 'begin') values[i] = begin;
      else if (arg === 'end') values[i] = end;
      else if ('count' in arg) values[i] = Math.min(end * arg.count, arg.total) - begin * arg.count;
      else values[i] = arg.from + begin * arg.stride;
    }
    run(...values);
  };
}
