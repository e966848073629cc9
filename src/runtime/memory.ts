import { engine, type MemoryReport } from '../kernels/engine.ts';

/**
 * What the kernels' memory holds, in bytes: packed weights, arenas of programs, scratch, and how much is set aside.
 *
 * @example
 * const before = memory().arenaBytes;
 * program.free();
 * console.log(before - memory().arenaBytes);
 */
export function memory(): MemoryReport {
  return engine.memory();
}
