/** `zeropoint/jit`: models as programs that run, are saved and are loaded without the classes they were written in. */
export type { Attribute } from './attributes.ts';
export { load, readProgram, save, writeProgram } from './file.ts';
export { Program } from './program.ts';
export { getNumThreads, setNumThreads } from './threads/num-threads.ts';
export { type TraceOptions, trace } from './trace.ts';
