import { bindInputs } from '../../src/fx/bind-inputs.ts';
import { Interpreter } from '../../src/fx/interpreter.ts';
import type { Node } from '../../src/fx/node.ts';
import { engine } from '../../src/kernels/engine.ts';
import { noGrad } from '../../src/ops/index.ts';
import type { Program } from '../../src/runtime/index.ts';
import { Constants } from '../../src/runtime/plan/constants.ts';
import { Plan } from '../../src/runtime/plan/plan.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** What the eager library gives for a program's graph. */
export function eagerly(program: Program, ...inputs: readonly unknown[]): unknown {
  return noGrad(() => new Interpreter(program.graph, program).run(...inputs));
}

/** Builds the plan of a program for these inputs and runs it once: the result, and which operators it has no kernels for. */
export function planned(
  program: Program,
  ...inputs: readonly unknown[]
): { readonly result: unknown; readonly operators: readonly string[]; readonly plan: Plan } {
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
    const operators = plan.steps.filter((step) => step.kind === 'operator').map((step) => step.op);
    plan.free();
    constants.free();
    return { result, operators, plan };
  });
}
