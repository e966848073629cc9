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
    const { setNumThreads } = jit as { setNumThreads?: (n: number) => unknown };
    if (setNumThreads) await setNumThreads(task.threads);
    else if (task.threads > 1) throw new Unavailable('runs on one thread');
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
