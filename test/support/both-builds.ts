import { expect } from 'vitest';
import { bindInputs } from '../../src/fx/bind-inputs.ts';
import { Interpreter } from '../../src/fx/interpreter.ts';
import type { Node } from '../../src/fx/node.ts';
import { createEngine, supportedBuilds } from '../../src/kernels/engine.ts';
import { Module } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { type Program, trace } from '../../src/runtime/index.ts';
import { Constants } from '../../src/runtime/plan/constants.ts';
import { Plan } from '../../src/runtime/plan/plan.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { runInParts } from './plan.ts';
import { tensorsIn } from './same-bits.ts';

const engines = supportedBuilds().map((build) => createEngine(build));

/** Operators of a plan that run outside of the kernels. */
function operatorSteps(plan: Plan): string[] {
  return plan.steps.filter((step) => step.kind === 'operator').map((step) => step.op);
}

/**
 * Runs a plan of every build twice (the second run finds the arena as the first left it) and compares with the eager
 * operators. Returns what ran outside of the kernels.
 */
export function expectEager(program: Program, ...inputs: readonly Tensor[]): string[] {
  const { graph, attributes } = program;
  const expected = tensorsIn(noGrad(() => new Interpreter(graph, program).run(...inputs)));
  const { values, batch } = bindInputs(graph, inputs, 'test');
  let outside: string[] = [];
  for (const engine of engines) {
    const constants = new Constants(engine);
    const plan = new Plan(
      { graph, owner: program, attributes, constants },
      values as Map<Node, Tensor>,
      batch,
    );
    outside = operatorSteps(plan);
    for (let run = 0; run < 2; run++) {
      // The second time every step runs again, cut into parts.
      const again = (at: number): void => {
        const step = plan.steps[at];
        if (step?.kind === 'kernels') for (const call of step.calls) runInParts(call, engine);
      };
      const got = tensorsIn(plan.run(values, run === 1 ? again : undefined));
      expect(got.length).toBe(expected.length);
      got.forEach((y, i) => {
        const wanted = expected[i];
        expect([y.shape, y.dtype, y.qparams]).toEqual([wanted.shape, wanted.dtype, wanted.qparams]);
        const data = wanted.data;
        const differing = y.data.filter((v, at) => v !== data[at]).length;
        expect(`${differing} of ${data.length} differ`).toBe(`0 of ${data.length} differ`);
      });
    }
    plan.free();
    constants.free();
    expect([engine.memory().packedBytes, engine.memory().arenaBytes]).toEqual([0, 0]);
  }
  return outside;
}

/** A program of a function of one float tensor. */
export function programOf(forward: (x: Tensor) => unknown, example: Tensor): Program {
  class Traced extends Module<[Tensor], any> {
    forward(x: Tensor): any {
      return forward(x);
    }
  }
  return trace(new Traced(), [example]);
}
