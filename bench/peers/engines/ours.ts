import { bindInputs } from '../../../src/fx/bind-inputs.ts';
import type { Node } from '../../../src/fx/node.ts';
import { jit, noGrad, type Tensor } from '../../../src/index.ts';
import { createEngine } from '../../../src/kernels/engine.ts';
import { Constants } from '../../../src/runtime/plan/constants.ts';
import { Plan } from '../../../src/runtime/plan/plan.ts';
import { floats } from '../network.ts';
import { type Engine, Unavailable } from './engine.ts';

/** The first tensor of what a program returns. */
export function firstTensor(result: unknown): Tensor {
  return Array.isArray(result) ? firstTensor(result[0]) : (result as Tensor);
}

/** What {@link oursNarrow} is called in tables. */
export const NARROW = 'zeropoint, 16-byte vectors';

/** Programs of this package. */
export const ours: Engine = {
  dtypes: ['fp32', 'int8'],
  async load(task, dtype) {
    const threads = await jit.setNumThreads(task.threads);
    if (threads !== task.threads) throw new Unavailable(`runs on ${threads} thread`);
    const program = task.programs[dtype];
    const { input } = task.subject;
    return {
      run: () => program.run(input),
      output: async () => floats(firstTensor(program.run(input))).slice(),
      bytes: jit.writeProgram(program).length,
      close: () => {},
    };
  },
};

/** The same on vectors of 16 bytes, which is what every host has that cannot be told to compile to wider ones; on one thread. */
export const oursNarrow: Engine = {
  dtypes: ['fp32', 'int8'],
  async load(task, dtype) {
    const program = task.programs[dtype];
    const { graph, attributes } = program;
    const { values, batch } = bindInputs(graph, [task.subject.input], 'bench');
    const inputs = values as Map<Node, Tensor>;
    const constants = new Constants(createEngine('relaxed'));
    const plan = noGrad(() => new Plan({ graph, owner: program, attributes, constants }, inputs, batch));
    return {
      run: () => plan.run(inputs),
      output: async () => floats(firstTensor(plan.run(inputs))).slice(),
      bytes: null,
      close: () => plan.free(),
    };
  },
};
