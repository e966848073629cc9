import { FileFormatError } from '../core/errors.ts';
import type { StateDict, StateValue } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type FileSource, readSource } from './files.ts';
import { keepModuleVersions } from './pickle/host.ts';
import { type PickleValue, type PyTorchReadOptions, readPyTorch } from './pickle/load.ts';
import { isSafetensors, readSafetensors } from './safetensors.ts';

/** Options of {@link loadStateDict}. */
export interface LoadStateDictOptions extends PyTorchReadOptions {
  /**
   * Keep only the keys below this prefix, and strip it: `'encoder'` turns `encoder.fc.weight` into
   * `fc.weight`.
   */
  readonly prefix?: string;
}

const FN = 'loadStateDict';
/** Where training scripts put the state dict inside a checkpoint. */
const HOLDERS = ['state_dict', 'model_state_dict', 'model', 'net'] as const;

/**
 * The state dict inside a checkpoint: a `.pt`/`.pth` file (zip or legacy) or safetensors, told apart by
 * content.
 *
 * In a pickle it is the root dict or the one under `state_dict`, `model_state_dict`, `model` or `net`. A
 * `module.` prefix that all keys share (DataParallel) is stripped. Tensors of a safetensors file at a path lie in the memory of the
 * file, which stays as long as any of them does.
 *
 * @param source Path, URL or bytes.
 * @throws FileFormatError where the file is damaged or holds no state dict.
 * @example
 * model.loadStateDict(await loadStateDict('resnet20.th'));
 */
export async function loadStateDict(
  source: FileSource,
  options: LoadStateDictOptions = {},
): Promise<StateDict> {
  const { bytes, file, owned } = await readSource(source, options.file);
  const dict = isSafetensors(bytes)
    ? readSafetensors(bytes, { file, adopt: owned }).dict
    : findStateDict(readPyTorch(bytes, { ...options, file }), file);
  return stripPrefix(dict, options.prefix, file);
}

function findStateDict(root: PickleValue, file: string): StateDict {
  let found: PickleValue | undefined = root;
  if (root instanceof Map) {
    const holder = HOLDERS.find((name) => root.get(name) instanceof Map);
    if (holder !== undefined) found = root.get(holder);
  }
  if (!(found instanceof Map)) {
    const got = Array.isArray(found) ? 'a list' : typeof found;
    throw fail(file, 'checkpoint', `a dict of tensors, alone or under ${HOLDERS.join(', ')}`, got);
  }
  const dict: StateDict = new Map();
  for (const [key, value] of found) {
    if (typeof key !== 'string') throw fail(file, 'state dict', 'keys that are strings', typeof key);
    dict.set(key, toStateValue(value, key, file));
  }
  keepModuleVersions(found, dict, (path) => path);
  return dict;
}

function toStateValue(value: PickleValue, key: string, file: string): StateValue {
  if (value === null || value instanceof Tensor) return value;
  if (Array.isArray(value)) return value.map((item) => toStateValue(item, key, file));
  if (typeof value === 'object' || typeof value === 'bigint') {
    const got =
      value instanceof Map
        ? 'a dict'
        : typeof value === 'bigint'
          ? 'an integer beyond 2^53'
          : 'a set or bytes';
    throw fail(file, key, 'a tensor, string, number, boolean, None or a list of these', got);
  }
  return value;
}

function stripPrefix(dict: StateDict, prefix: string | undefined, file: string): StateDict {
  const keys = [...dict.keys()];
  const wrapped = keys.length > 0 && keys.every((key) => key.startsWith('module.'));
  const wanted = `${wrapped ? 'module.' : ''}${prefix ? `${prefix.replace(/\.$/, '')}.` : ''}`;
  if (wanted === '') return dict;
  const out: StateDict = new Map();
  for (const [key, value] of dict) if (key.startsWith(wanted)) out.set(key.slice(wanted.length), value);
  if (out.size === 0) {
    throw fail(
      file,
      'prefix',
      `keys below ${prefix}`,
      `keys such as ${keys.slice(0, 3).join(', ') || '(none)'}`,
    );
  }
  keepModuleVersions(dict, out, (path) => (`${path}.`.startsWith(wanted) ? path.slice(wanted.length) : null));
  return out;
}

function fail(file: string, what: string, expected: string, got: string): FileFormatError {
  return new FileFormatError({ fn: FN, file, offset: 0, argument: what, expected, got });
}
