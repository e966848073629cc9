import type { jit } from '../../../src/index.ts';
import type { DType, ModelEntry, Subject } from '../models.ts';

/** One model to be run, in the forms that engines take it. */
export interface Task {
  readonly name: string;
  readonly entry: ModelEntry;
  readonly subject: Subject;
  readonly programs: Readonly<Record<DType, jit.Program>>;
  readonly threads: number;
  /** The model as an ONNX file's bytes. */
  onnx(dtype: DType): Promise<Uint8Array>;
}

/** A model loaded by an engine. */
export interface Runner {
  /** One inference, from the input in the engine's own form to a result that can be read. */
  run(): unknown;
  /** The result as floats in the order of ours. */
  output(): Promise<Float32Array>;
  /** Size of the file that the engine was given; null where it was given none. */
  readonly bytes: number | null;
  close(): unknown;
}

/** What a name of `--engines` stands for. */
export interface Engine {
  readonly dtypes: readonly DType[];
  /** @throws Error that says why the engine cannot run this. */
  load(task: Task, dtype: DType): Promise<Runner>;
}

/** Thrown where an engine cannot run something for a reason that belongs into the table. */
export class Unavailable extends Error {}
