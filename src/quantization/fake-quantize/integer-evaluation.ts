// The interpreter that records must be on the stack before this one, which follows its results.
import '../../autograd/index.ts';

import { ZeropointError } from '../../core/errors.ts';
import {
  dispatch,
  type Interpreter,
  installInterpreter,
  isTopmost,
  type Next,
  tensorArguments,
} from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { type FindIntegers, integersLater, integersOf, standsFor } from '../../ops/integers.ts';
import type { OpArgs, OpName, OpResult } from '../../ops/signatures/index.ts';
import { QUANTIZED } from '../../ops/table.ts';
import { isFloatDType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { observedQParams } from '../observed-qparams.ts';
import { FakeQuantizeBase } from './fake-quantize.ts';

/** Becomes true with the first tensor that stands for integers: before, there is nothing to follow. */
let following = false;

/**
 * Follows the integers that float tensors stand for through operators between the layers: pools, activations, shapes.
 * What comes out stands for what the quantized form of the operator gives.
 */
const follower: Interpreter = {
  name: 'integers',
  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    const result = next(op, args);
    const quantized = QUANTIZED[op] as ((...args: readonly unknown[]) => unknown) | undefined;
    if (!following || !quantized) return result;
    const floats = tensorArguments(args).filter((t) => isFloatDType(t.dtype));
    if (floats.length === 0 || !floats.every(integersLater)) return result;
    const later = laterArguments(args);
    const outputs: readonly unknown[] = Array.isArray(result) ? result : [result];
    let computed: readonly unknown[] | null | undefined;
    outputs.forEach((out, i) => {
      // What hands back its input, unchanged, leaves that input's integers alone.
      if (!(out instanceof Tensor) || !isFloatDType(out.dtype) || floats.includes(out)) return;
      standsFor(out, () => {
        computed ??= attempt(() => [quantized(...later())].flat());
        const q = computed?.[i];
        return q instanceof Tensor && q.isQuantized ? q : null;
      });
    });
    return result;
  },
};

installInterpreter(follower);

/** The arguments with integers in the places of the floats that stand for them, to be found later. */
function laterArguments(args: readonly unknown[]): () => readonly unknown[] {
  const find = args.map((arg): FindIntegers | (() => unknown) => {
    if (arg instanceof Tensor) return integersLater(arg) ?? (() => arg);
    if (!Array.isArray(arg)) return () => arg;
    const each = laterArguments(arg);
    return () => each();
  });
  return () => find.map((one) => one());
}

/** True where no tracer stands in between: floats that stand for integers can be followed. */
export function followsIntegers(): boolean {
  return isTopmost(follower);
}

/** What `compute` gives; null where it has no quantized form, which is for `convert` to report. */
export function attempt<T>(compute: () => T): T | null {
  try {
    return noGrad(compute);
  } catch (error) {
    if (error instanceof ZeropointError) return null;
    throw error;
  }
}

/** True for a fake-quantize that is switched on. */
export function isRounding(module: unknown): module is FakeQuantizeBase {
  return module instanceof FakeQuantizeBase && module.fakeQuantEnabled.storage[0] === 1;
}

/**
 * Gives `output`, a fresh result of the fake-quantize `rounding` in evaluation mode, the values that int8 arithmetic
 * finds in its place: `compute` with the integers that the floats among `inputs` stand for. Gradients stay those of the
 * simulation. Where an input stands for no integers, or nothing is known to compute (null), `output` keeps its values, and stands for their integers from here on.
 *
 * In float a simulation is off by a step next to ties, for it sums inexactly and knows no rounded bias; with this an
 * evaluated model predicts what `convert` will make of it, to the integer.
 */
export function evaluateInIntegers(
  rounding: FakeQuantizeBase,
  output: Tensor,
  inputs: readonly unknown[],
  compute: ((...inputs: any[]) => Tensor) | null,
): void {
  const { dtype, qscheme } = rounding;
  const eightBits = dtype === 'quint8' || dtype === 'qint8';
  if (!eightBits || qscheme.startsWith('per_channel') || !rounding.hasObserved() || !isTopmost(follower))
    return;
  following = true;
  const integers = inputs.map((x) => (x instanceof Tensor && isFloatDType(x.dtype) ? integersOf(x) : x));
  const computed = compute && !integers.includes(null) ? attempt(() => compute(...integers)) : null;
  if (computed) {
    takeValues(output, computed);
    standsFor(output, () => computed);
    return;
  }
  const { scale, zeroPoint } = observedQParams(rounding, rounding.typeName);
  standsFor(output, () => noGrad(() => dispatch('quantizePerTensor', output, scale, zeroPoint, dtype)));
}

/**
 * Gives `output` the values that a layer which takes and gives floats computes in its place (embeddings, dynamic ones); see
 * {@link evaluateInIntegers}.
 */
export function evaluateInFloats(output: Tensor, compute: () => Tensor): void {
  if (!isTopmost(follower)) return;
  const computed = attempt(compute);
  if (computed) takeValues(output, computed);
}

/** True where an evaluated `x` stands for no integers: after conversion it will be a float tensor. */
export function staysFloat(x: unknown): boolean {
  return isTopmost(follower) && x instanceof Tensor && !integersLater(x);
}

const unrounded = new WeakMap<Tensor, Tensor>();

/** Remembers which float tensor `rounded` was before a dynamic layer's fake-quantize; gives `rounded` back. */
export function roundedFrom(rounded: Tensor, x: Tensor): Tensor {
  if (rounded !== x) unrounded.set(rounded, x);
  return rounded;
}

/** The tensor that {@link roundedFrom} noted; undefined where nothing was rounded. */
export function beforeRounding(x: Tensor): Tensor | undefined {
  return unrounded.get(x);
}

/**
 * Lets a float constant that meets `like` stand for integers wherever that does: for what `quantize` makes of the integers
 * of `like`. Gives the constant back.
 */
export function standAlong(constant: Tensor, like: Tensor, quantize: (like: Tensor) => Tensor): Tensor {
  if (!like.isQuantized && integersLater(like)) {
    standsFor(constant, () => {
      const integers = integersOf(like);
      return integers && noGrad(() => quantize(integers));
    });
  }
  return constant;
}

/** The float values of the integers that `x` stands for, as a tensor that stands for none; `x` itself where it does not. */
export function leaveIntegers(x: Tensor): Tensor {
  const integers = isTopmost(follower) ? integersOf(x) : null;
  if (!integers) return x;
  const y = dispatch('clone', x);
  takeValues(y, integers);
  return y;
}

function takeValues(output: Tensor, computed: Tensor): void {
  noGrad(() => output.copy_(dispatch('dequantize', computed)));
}
