import { ArgumentError, FileFormatError } from '../core/errors.ts';
import { type FileSource, readSource, writeFile } from '../io/files.ts';
import { readSafetensors, type SafetensorsReadOptions } from '../io/safetensors.ts';
import { PROGRAM_KEY, programBytes } from './bytes.ts';
import { decodeProgram } from './decode.ts';
import { Program } from './program.ts';

/**
 * A program as the bytes of a safetensors file: its weights as tensors that any reader opens, its graph as JSON in the
 * metadata.
 */
export function writeProgram(program: Program): Uint8Array {
  if (!(program instanceof Program)) {
    throw new ArgumentError({
      fn: 'jit.save',
      argument: 'program',
      expected: 'a Program',
      got: typeof program,
      fix: 'Make one with jit.trace(model, exampleInputs).',
    });
  }
  return programBytes(program);
}

/**
 * Reads the bytes of {@link writeProgram}. The file is taken for hostile: everything in it is checked, and nothing in it
 * is code.
 *
 * @throws {@link FileFormatError} for anything that is not a program.
 */
export function readProgram(bytes: Uint8Array, options: SafetensorsReadOptions = {}): Program {
  const { file = '(bytes)', adopt } = options;
  const { dict, metadata } = readSafetensors(bytes, { file, adopt });
  const json = metadata.get(PROGRAM_KEY);
  if (json === undefined) {
    throw new FileFormatError({
      fn: 'jit.load',
      file,
      offset: 8,
      argument: '__metadata__',
      expected: `a graph under ${PROGRAM_KEY}`,
      got: metadata.size === 0 ? 'nothing' : [...metadata.keys()].join(', '),
      fix: 'A file of weights alone is read with io.loadSafetensors.',
    });
  }
  return decodeProgram(json, dict, `${file}!${PROGRAM_KEY}`);
}

/**
 * Writes a program into a file, which appears whole or not at all.
 *
 * @example
 * await save(trace(model, [x]), 'model.safetensors');
 */
export async function save(program: Program, path: string | URL): Promise<void> {
  await writeFile(path, writeProgram(program));
}

/**
 * Reads a program from a path, a URL or bytes. Its weights stay in the memory of the file.
 *
 * @throws {@link FileFormatError} for anything that is not a program.
 * @example
 * const program = await load('model.safetensors');
 * program.run(x);
 */
export async function load(source: FileSource): Promise<Program> {
  const { bytes, file, owned } = await readSource(source, undefined);
  return readProgram(bytes, { file, adopt: owned });
}
