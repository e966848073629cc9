/** `zeropoint/jit`: models as programs that run, are saved and are loaded without the classes they were written in. */

export type { KernelCeiling } from '../kernels/ceiling.ts';
export type { MemoryReport } from '../kernels/engine.ts';

import './background/background.ts';

export type { Attribute } from './attributes.ts';
export { load, readProgram, save, writeProgram } from './file.ts';
export { memory } from './memory.ts';
export type { ProgramDescription, StepDescription } from './plan/description.ts';
export type { Profile, ProfileRow } from './plan/profile.ts';
export { Program } from './program.ts';
export { getNumThreads, setNumThreads } from './threads/num-threads.ts';
export { type TraceOptions, trace } from './trace.ts';
