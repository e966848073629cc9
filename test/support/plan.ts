import { bindInputs } from '../../src/fx/bind-inputs.ts';
import { Interpreter } from '../../src/fx/interpreter.ts';
import type { Node } from '../../src/fx/node.ts';
import { type Engine, engine } from '../../src/kernels/engine.ts';
import { noGrad } from '../../src/ops/index.ts';
import type { Program } from '../../src/runtime/index.ts';
import { Constants } from '../../src/runtime/plan/constants.ts';
import { Plan } from '../../src/runtime/plan/plan.ts';
import { bindCall, type KernelCall, placeCall } from '../../src/runtime/plan/step.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** What the eager library gives for a program's graph. */
export function eagerly(program: Program, ...inputs: readonly unknown[]): unknown {
  return noGrad(() => new Interpreter(program.graph, program).run(...inputs));
}

/** Builds the plan of a program for these inputs and runs it once: the result, and which operators it has no kernels for. */
export function planned(
  program: Program,
  ...inputs: readonly unknown[]
): {
  readonly result: unknown;
  /** The result of a run in which every step ran a second time, cut into parts that ran from the last to the first. */
  readonly inParts: unknown;
  readonly operators: readonly string[];
  readonly plan: Plan;
} {
  return noGrad(() => {
    const { values, batch } = bindInputs(program.graph, inputs, 'test');
    const { graph, attributes } = program;
    const constants = new Constants(engine);
    const plan = new Plan(
      { graph, owner: program, attributes, constants },
      values as Map<Node, Tensor>,
      batch,
    );
    const result = plan.run(values);
    const inParts = plan.run(values, (at) => {
      const step = plan.steps[at];
      if (step?.kind === 'kernels') for (const call of step.calls) runInParts(call);
    });
    const operators = plan.steps.filter((step) => step.kind === 'operator').map((step) => step.op);
    plan.free();
    constants.free();
    return { result, inParts, operators, plan };
  });
}

/** Runs a call again in parts of one to three grains. Whatever it reads is still there, so it has to write the same. */
export function runInParts(call: KernelCall, on: Engine = engine): void {
  const run = bindCall(placeCall(call), on.kernels);
  const cuts = [0];
  for (let i = 1; cuts[cuts.length - 1] < call.units; i++) {
    cuts.push(Math.min(call.units, cuts[cuts.length - 1] + call.grain * (1 + (i % 3))));
  }
  for (let i = cuts.length - 1; i > 0; i--) run(cuts[i - 1], cuts[i]);
}
