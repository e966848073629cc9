import { Tensor } from '../tensor/tensor.ts';
import type { OpArgs, OpName, OpResult } from './signatures/index.ts';

/** Continues with the interpreter below. */
export type Next = <K extends OpName>(op: K, args: OpArgs<K>) => OpResult<K>;

/**
 * Sees every operator that runs while it is on the stack: the one choke point of the library. `eager` computes,
 * `grad` records, tracers write graphs; each calls `next` to let the ones below do their part.
 */
export interface Interpreter {
  readonly name: string;
  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K>;
}

const stack: Interpreter[] = [];
const continuations: Next[] = [];

/**
 * Runs an operator through the stack of interpreters, topmost first.
 *
 * @example
 * dispatch('relu', x);
 */
export function dispatch<K extends OpName>(op: K, ...args: OpArgs<K>): OpResult<K> {
  const top = stack.length - 1;
  return stack[top].call(op, args, continuations[top]);
}

/** Puts an interpreter on the stack for good. The eager one goes first, then grad. */
export function installInterpreter(interpreter: Interpreter): void {
  const below = stack.length - 1;
  stack.push(interpreter);
  continuations.push((op, args) => stack[below].call(op, args, continuations[below]));
}

/** Runs `body` with an interpreter on top of the stack, and takes it off again whatever happens. */
export function withInterpreter<T>(interpreter: Interpreter, body: () => T): T {
  const height = stack.length;
  installInterpreter(interpreter);
  try {
    return body();
  } finally {
    stack.length = height;
    continuations.length = height;
  }
}

/** True where no interpreter stands above this one: nothing traces or intercepts what runs. */
export function isTopmost(interpreter: Interpreter): boolean {
  return stack[stack.length - 1] === interpreter;
}

/** The tensors among an operator's arguments, in order; lists of tensors are opened. */
export function tensorArguments(args: readonly unknown[]): Tensor[] {
  const found: Tensor[] = [];
  for (const arg of args) {
    if (arg instanceof Tensor) found.push(arg);
    else if (Array.isArray(arg)) {
      for (const item of arg) if (item instanceof Tensor) found.push(item);
    }
  }
  return found;
}
