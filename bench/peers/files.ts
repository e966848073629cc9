/** Models as the files that peers load. */
import type { jit, models } from '../../src/index.ts';
import type { DType, Subject } from './models.ts';
import { exportProgram } from './onnx/export.ts';
import { exportLanguageModel } from './onnx/word-language-model.ts';

/** A model as an ONNX file's bytes. */
export function onnxFile(
  name: string,
  dtype: DType,
  subject: Subject,
  program: jit.Program,
): Promise<Uint8Array> {
  const { float, int8, input } = subject;
  if (name !== 'lstm') return exportProgram(program, input);
  const model = dtype === 'fp32' ? float : int8;
  return exportLanguageModel(model as models.WordLanguageModel, input);
}
