import { jit, type Tensor } from '../../../src/index.ts';
import { floats } from '../network.ts';
import { type Engine, Unavailable } from './engine.ts';

/** The first tensor of what a program returns. */
export function firstTensor(result: unknown): Tensor {
  return Array.isArray(result) ? firstTensor(result[0]) : (result as Tensor);
}

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
