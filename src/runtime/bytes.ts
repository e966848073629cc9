import { writeSafetensors } from '../io/safetensors.ts';
import type { StateDict } from '../tensor/state.ts';

/** Key of the graph in the metadata of the file. */
export const PROGRAM_KEY = 'zeropoint.program';

/** What {@link programBytes} writes. */
export interface Writable {
  toStateDict(): StateDict;
  toJson(): string;
}

/** A program as the bytes of a safetensors file. */
export function programBytes(program: Writable): Uint8Array {
  return writeSafetensors(program.toStateDict(), { metadata: { [PROGRAM_KEY]: program.toJson() } });
}
