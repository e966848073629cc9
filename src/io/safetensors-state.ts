import { ArgumentError, type FileFormatError, ZeropointError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import { type DType, isQuantizedDType, type QuantizedDType } from '../tensor/dtype.ts';
import { isPerChannel, perChannelQParams, perTensorQParams, type QParams } from '../tensor/qparams.ts';
import type { Shape } from '../tensor/shape.ts';
import type { StateDict, StateValue } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { ByteReader } from './bytes.ts';
import { type Json, readJson, showJson } from './json.ts';

/**
 * How a state dict fits into safetensors, which knows named plain tensors and string metadata only.
 *
 * `__metadata__.zeropoint` is JSON, present only where there is something to say:
 *
 *     { "version": 1,
 *       "quantized": { "conv.weight": { "dtype": "qint8", "scheme": "per_channel_affine",
 *                                       "scales": [0.1, …], "zeroPoints": [0, …], "axis": 0 },
 *                      "fc.weight": { "dtype": "qint8", "scheme": "per_tensor_affine", "scale": 0.02, "zeroPoint": 0 } },
 *       "entries": [ ["conv.weight", { "tensor": "conv.weight" }],
 *                    ["fc.params", { "tuple": [ { "tensor": "fc.params#0" }, { "value": null } ] }],
 *                    ["fc.dtype", { "value": "qint8" }] ] }
 *
 * `quantized` describes tensors stored as their integers. `quint4x2` adds its `shape`, because its tensor is
 * the packed bytes in one dimension. `entries` lists the dict in order where not every entry is a tensor
 * under its own name; tensors inside tuples are stored as `key#index`. Numbers are written so that they read
 * back as the same double; those JSON lacks are `{ "number": "NaN" }`.
 */
export const STATE_KEY = 'zeropoint';

const VERSION = 1;
const FN = 'readSafetensors';

/**
 * Splits a state dict into plain named tensors and the JSON that describes the rest, or null where nothing is
 * left.
 */
export function encodeState(dict: StateDict): {
  readonly tensors: Map<string, Tensor>;
  readonly description: string | null;
} {
  const tensors = new Map<string, Tensor>();
  const quantized: [string, unknown][] = [];
  const entries: [string, unknown][] = [];
  let plain = true;
  const encode = (value: StateValue, name: string): unknown => {
    if (value instanceof Tensor) {
      // A key of the dict may itself look like the name made for a member of a tuple.
      let free = name;
      while (tensors.has(free) || (free !== name && dict.has(free))) free += '#';
      if (value.qparams) quantized.push([free, describeQParams(value, value.qparams)]);
      tensors.set(free, value);
      return { tensor: free };
    }
    plain = false;
    if (Array.isArray(value)) {
      return { tuple: value.map((item: StateValue, i) => encode(item, `${name}#${i}`)) };
    }
    if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
      return { number: Object.is(value, -0) ? '-0' : String(value) };
    }
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return { value };
    throw new ArgumentError({
      fn: 'writeSafetensors',
      argument: name,
      expected: 'a tensor, string, number, boolean, null or an array of these',
      got: typeof value,
    });
  };
  // Tensors under their own names come first, so that members of tuples never take such a name.
  for (const [key, value] of dict) if (value instanceof Tensor) encode(value, key);
  for (const [key, value] of dict) {
    entries.push([key, value instanceof Tensor ? { tensor: key } : encode(value, key)]);
  }
  if (plain && quantized.length === 0) return { tensors, description: null };
  const parts = [`"version":${VERSION}`];
  if (quantized.length > 0) {
    const rows = quantized.map(([name, q]) => `${JSON.stringify(name)}:${JSON.stringify(q)}`);
    parts.push(`"quantized":{${rows.join(',')}}`);
  }
  if (!plain) parts.push(`"entries":${JSON.stringify(entries)}`);
  return { tensors, description: `{${parts.join(',')}}` };
}

/** Puts a state dict together again from the plain tensors of a file and its description. */
export function decodeState(
  tensors: ReadonlyMap<string, Tensor>,
  description: string,
  r: ByteReader,
): StateDict {
  const fail = (what: string, expected: string, got: string): FileFormatError =>
    r.error(`__metadata__.${STATE_KEY} ${what}`, expected, got, 8);
  const text = new TextEncoder().encode(description);
  const json = readJson(new ByteReader(text, `${r.file}!${STATE_KEY}`, FN), text.length, 'description');
  if (!(json instanceof Map)) throw fail('description', 'an object', 'another value');
  if (json.get('version') !== VERSION) throw fail('version', String(VERSION), showJson(json.get('version')));
  const all = new Map(tensors);
  const quantized = json.get('quantized');
  if (quantized !== undefined) {
    if (!(quantized instanceof Map)) throw fail('quantized', 'an object', 'another value');
    for (const [name, q] of quantized) {
      const stored = all.get(name);
      if (!stored || !(q instanceof Map)) throw fail(name, 'a tensor of the file and its parameters', 'none');
      all.set(
        name,
        requantize(stored, q, (expected, got) => fail(name, expected, got)),
      );
    }
  }
  const entries = json.get('entries');
  if (entries === undefined) return all;
  const used = new Set<string>();
  const decode = (node: Json, key: string): StateValue => {
    const [kind, ...others] = node instanceof Map ? [...node] : [];
    if (!kind || others.length > 0) throw fail(key, 'one of tensor, tuple, value, number', 'something else');
    const [field, value] = kind;
    if (field === 'tensor' && typeof value === 'string') {
      const tensor = all.get(value);
      if (!tensor) throw fail(key, 'a tensor of the file', value);
      used.add(value);
      return tensor;
    }
    if (field === 'tuple' && Array.isArray(value)) return value.map((item) => decode(item, key));
    if (field === 'number' && typeof value === 'string' && /^(NaN|-?Infinity|-0)$/.test(value))
      return Number(value);
    if (field === 'value' && (value === null || typeof value !== 'object')) return value;
    throw fail(key, 'one of tensor, tuple, value, number', field);
  };
  if (!Array.isArray(entries)) throw fail('entries', 'a list', 'another value');
  const dict: StateDict = new Map();
  for (const row of entries) {
    const [key, node, ...more] = Array.isArray(row) ? row : [];
    if (typeof key !== 'string' || node === undefined || more.length > 0 || dict.has(key)) {
      throw fail('entries', 'pairs of a new key and its value', showJson(key));
    }
    dict.set(key, decode(node, key));
  }
  for (const name of tensors.keys()) {
    if (!used.has(name)) throw fail('entries', 'a place for each tensor', `none for ${name}`);
  }
  return dict;
}

function describeQParams(tensor: Tensor, qparams: QParams): unknown {
  const { dtype } = tensor;
  const shape = dtype === 'quint4x2' ? { shape: tensor.shape } : {};
  if (!isPerChannel(qparams)) {
    const { scheme, scale, zeroPoint } = qparams;
    return { dtype, scheme, scale, zeroPoint, ...shape };
  }
  const { scheme, scales, zeroPoints, axis } = qparams;
  return { dtype, scheme, scales: [...scales], zeroPoints: [...zeroPoints], axis, ...shape };
}

function requantize(
  stored: Tensor,
  q: ReadonlyMap<string, Json>,
  fail: (expected: string, got: string) => FileFormatError,
): Tensor {
  const name = q.get('dtype');
  const carriers: Readonly<Record<QuantizedDType, DType>> = {
    qint8: 'int8',
    quint8: 'uint8',
    qint32: 'int32',
    quint4x2: 'uint8',
  };
  if (typeof name !== 'string' || !Object.hasOwn(carriers, name))
    throw fail('a quantized dtype', showJson(name));
  const dtype = name as QuantizedDType;
  if (!isQuantizedDType(dtype) || carriers[dtype] !== stored.dtype) {
    throw fail(`${dtype} stored as ${carriers[dtype]}`, stored.dtype);
  }
  let shape: Shape = stored.shape;
  if (dtype === 'quint4x2') {
    const sizes = numbersOf(q.get('shape'));
    if (
      !sizes?.every((n) => Number.isSafeInteger(n) && n >= 0) ||
      Math.ceil(product(sizes) / 2) !== stored.numel
    ) {
      throw fail(`a shape of ${stored.numel} packed bytes`, showJson(q.get('shape')));
    }
    shape = sizes;
  }
  try {
    return new Tensor({ storage: stored.storage, shape, dtype, qparams: readQParams(q, shape, dtype, fail) });
  } catch (cause) {
    if (!(cause instanceof ZeropointError) || 'offset' in cause) throw cause;
    const error = fail(cause.expected, cause.got);
    error.cause = cause;
    throw error;
  }
}

function readQParams(
  q: ReadonlyMap<string, Json>,
  shape: Shape,
  dtype: QuantizedDType,
  fail: (expected: string, got: string) => FileFormatError,
): QParams {
  const scheme = q.get('scheme');
  if (scheme === 'per_tensor_affine') {
    const [scale, zeroPoint] = numbersOf([q.get('scale') ?? null, q.get('zeroPoint') ?? null]) ?? [];
    if (zeroPoint === undefined) throw fail('a scale and a zero point', 'none');
    return perTensorQParams(scale, zeroPoint, dtype, FN);
  }
  const scales = numbersOf(q.get('scales'));
  const zeroPoints = numbersOf(q.get('zeroPoints'));
  const axis = q.get('axis');
  if (!scales || !zeroPoints || typeof axis !== 'number' || !(axis in shape)) {
    throw fail('scales, zero points and an axis', 'something else');
  }
  if (scheme === 'per_channel_affine') {
    return perChannelQParams(scales, zeroPoints, axis, shape[axis], dtype, FN);
  }
  if (scheme !== 'per_channel_affine_float_qparams') throw fail('an affine scheme', showJson(scheme));
  if (scales.length !== shape[axis] || zeroPoints.length !== shape[axis]) {
    throw fail(`${shape[axis]} scales and zero points`, `${scales.length} and ${zeroPoints.length}`);
  }
  return { scheme, scales: Float32Array.from(scales), zeroPoints: Float32Array.from(zeroPoints), axis };
}

function numbersOf(value: Json | undefined): number[] | null {
  return Array.isArray(value) && value.every((n) => typeof n === 'number') ? (value as number[]) : null;
}
