import { ArgumentError } from '../core/errors.ts';
import { type AnyModule, Module } from '../nn/module.ts';
import { Program } from '../runtime/program.ts';

/**
 * Throws unless both are models. A program has operators and no layers, and runs several of them as one step.
 *
 * @throws {@link ArgumentError} naming the argument, and for programs what to look at instead.
 */
export function requireModels(fn: string, models: Readonly<Record<string, AnyModule>>): void {
  for (const [argument, model] of Object.entries(models)) {
    if (model instanceof Module) continue;
    const given: unknown = model;
    throw new ArgumentError({
      fn,
      argument,
      expected: 'a model, whose layers have names',
      got: given instanceof Program ? 'a program' : typeof given,
      fix:
        given instanceof Program
          ? 'Pass the model it was traced from: an int8 program gives the same integers. Program.profile tells time and bytes step by step.'
          : 'Pass the float model first and what became of it second.',
    });
  }
}
