import { type Arg, BatchSize, isDict, Node } from '../fx/node.ts';
import type { OpName } from '../ops/signatures/index.ts';
import { DTYPES, type DType, isQuantizedDType } from '../tensor/dtype.ts';
import type { Attribute, AttributeKind } from './attributes.ts';
import type { Fail } from './decode.ts';
import { ARGUMENTS, type Kind, LIST_RESULTS, TRAINING_OPS } from './schema.ts';

/** What is known about a node's result before it runs. */
export type ResultKind =
  | { readonly kind: AttributeKind; readonly attribute?: Attribute }
  /** A list of tensors; null where the length shows only at run time. */
  | { readonly kind: 'list'; readonly length: number | null };

/** What the call of a known operator gives. */
export function resultOfCall(target: string): ResultKind {
  if (!Object.hasOwn(LIST_RESULTS, target)) return { kind: 'tensor' };
  return { kind: 'list', length: LIST_RESULTS[target as keyof typeof LIST_RESULTS] };
}

/** Checks the target and arguments of one call; see `schema.ts`. */
export function checkCall(
  target: string,
  args: readonly Arg[],
  resultOf: (node: Node) => ResultKind,
  where: string,
  fail: Fail,
): void {
  if (target === 'getitem') {
    checkItem(args, resultOf, where, fail);
    return;
  }
  if (!Object.hasOwn(ARGUMENTS, target) || TRAINING_OPS.has(target)) {
    throw fail(where, 'an operator for inference', JSON.stringify(target));
  }
  const kinds: readonly Kind[] = ARGUMENTS[target as OpName];
  if (args.length !== kinds.length)
    throw fail(where, `${kinds.length} arguments of ${target}`, String(args.length));
  const rank = rankOf(target);
  kinds.forEach((kind, i) => {
    if (!fits(kind, args[i], resultOf))
      throw fail(where, `argument ${i} of ${target} to be ${kind}`, show(args[i]));
    if (isGeometry(kind)) checkGeometry(kind, args[i], rank, where, fail);
    if (kind === 'packed' || kind === 'packed transposed')
      checkPackedRank(args[i] as Node, resultOf, rank, where, fail);
  });
}

type GeometryKind = 'conv' | 'convTranspose' | 'pool' | 'avgPool' | 'interpolate';

const GEOMETRIES: Readonly<
  Record<GeometryKind, Readonly<Record<string, number | 'boolean' | 'mode' | 'scales'>>>
> = {
  // Numbers are the least that each entry of a list may be; groups is one number.
  conv: { stride: 1, padding: 0, dilation: 1, groups: 1 },
  convTranspose: { stride: 1, padding: 0, outputPadding: 0, dilation: 1, groups: 1 },
  pool: { kernelSize: 1, stride: 1, padding: 0, dilation: 1, ceilMode: 'boolean' },
  avgPool: {
    kernelSize: 1,
    stride: 1,
    padding: 0,
    dilation: 1,
    ceilMode: 'boolean',
    countIncludePad: 'boolean',
  },
  interpolate: { size: 1, mode: 'mode', alignCorners: 'boolean', scales: 'scales' },
};

/** Kernels compute addresses from these numbers, so none may be larger than sizes can be. */
const LARGEST = 2 ** 31 - 1;

/** Checks that an argument is the geometry of an operator over `rank` spatial dimensions (any number where null). */
export function checkGeometry(
  kind: GeometryKind,
  arg: Arg,
  rank: number | null,
  where: string,
  fail: Fail,
): void {
  const fields = GEOMETRIES[kind];
  const names = Object.keys(fields);
  if (
    !isDict(arg) ||
    Object.keys(arg).length !== names.length ||
    !names.every((name) => Object.hasOwn(arg, name))
  ) {
    throw fail(where, `a geometry with ${names.join(', ')}`, show(arg));
  }
  const length = rank ?? listLength(arg[names[0]]);
  for (const name of names) {
    const value = arg[name];
    const rule = fields[name];
    const whole = (v: Arg): boolean =>
      typeof v === 'number' && Number.isInteger(v) && v >= (rule as number) && v <= LARGEST;
    const good =
      rule === 'boolean'
        ? typeof value === 'boolean'
        : rule === 'mode'
          ? ['nearest', 'linear', 'bilinear'].includes(value as string)
          : rule === 'scales'
            ? value === null ||
              isList(value, length, (v) => typeof v === 'number' && v > 0 && Number.isFinite(v))
            : name === 'groups'
              ? whole(value)
              : isList(value, length, whole);
    if (!good) throw fail(where, `${name} of a ${kind} geometry over ${length} dimensions`, show(value));
  }
}

function isGeometry(kind: Kind): kind is GeometryKind {
  return Object.hasOwn(GEOMETRIES, kind);
}

/** Spatial dimensions of a convolution or pool, from its name; null for operators of any rank. */
function rankOf(target: string): number | null {
  if (target === 'interpolate') return null;
  return Number(/(?:conv|Conv|Pool|Transpose|transpose)(\d)d/.exec(target)?.[1] ?? 0);
}

function checkPackedRank(
  node: Node,
  resultOf: (node: Node) => ResultKind,
  rank: number | null,
  where: string,
  fail: Fail,
): void {
  const result = resultOf(node);
  const attribute = 'attribute' in result ? result.attribute : undefined;
  const dimensions = (attribute as { weight: { ndim: number } }).weight.ndim - 2;
  const geometry = (attribute as { geometry: unknown }).geometry;
  if (dimensions === rank && (geometry === null) === (rank === 0)) return;
  throw fail(where, `weights over ${rank} spatial dimensions`, `weights over ${dimensions}`);
}

function checkItem(
  args: readonly Arg[],
  resultOf: (node: Node) => ResultKind,
  where: string,
  fail: Fail,
): void {
  const [from, index] = args;
  const result = from instanceof Node ? resultOf(from) : undefined;
  if (args.length !== 2 || result?.kind !== 'list') throw fail(where, 'getitem of a list', show(from));
  const limit = result.length ?? Number.MAX_SAFE_INTEGER;
  if (typeof index === 'number' && Number.isSafeInteger(index) && index >= 0 && index < limit) return;
  throw fail(where, result.length === null ? 'a place' : `a place below ${limit}`, show(index));
}

function fits(kind: Kind, arg: Arg, resultOf: (node: Node) => ResultKind): boolean {
  const is = (result: ResultKind['kind']): boolean => arg instanceof Node && resultOf(arg).kind === result;
  const isTensor = (v: Arg): boolean => v instanceof Node && resultOf(v).kind === 'tensor';
  const whole = (v: Arg): boolean => v instanceof BatchSize || Number.isSafeInteger(v);
  const number = typeof arg === 'number' || arg instanceof BatchSize;
  switch (kind) {
    case 'tensor':
      return isTensor(arg);
    case 'tensor?':
      return arg === null || isTensor(arg);
    case 'tensors':
      return (Array.isArray(arg) && arg.length > 0 && arg.every(isTensor)) || is('list');
    case 'operand':
      return number || isTensor(arg);
    case 'number':
      return number;
    case 'number?':
      return arg === null || number;
    case 'optional number':
      return arg === undefined || number;
    case 'boolean':
      return typeof arg === 'boolean';
    case 'integers':
      return Array.isArray(arg) && arg.every(whole);
    case 'sizes':
      return whole(arg) || (Array.isArray(arg) && arg.every(whole));
    case 'dims':
      return arg === undefined || whole(arg) || (Array.isArray(arg) && arg.every(whole));
    case 'dtype':
      return typeof arg === 'string' && Object.hasOwn(DTYPES, arg) && !isQuantizedDType(arg as DType);
    case 'quantized dtype':
      return typeof arg === 'string' && Object.hasOwn(DTYPES, arg) && isQuantizedDType(arg as DType);
    case 'gelu':
      return arg === 'none' || arg === 'tanh';
    case 'memory format':
      return arg === 'contiguous' || arg === 'channelsLast';
    case 'pad mode':
      return ['constant', 'reflect', 'replicate', 'circular'].includes(arg as string);
    case 'reduction':
      return ['mean', 'sum', 'none'].includes(arg as string);
    case 'bag mode':
      return ['sum', 'mean', 'max'].includes(arg as string);
    case 'packed':
    case 'packed half':
    case 'packed transposed':
      return is(kind);
    case 'generator':
      return false;
    default:
      return isDict(arg);
  }
}

function isList(value: Arg, length: number, good: (v: Arg) => boolean): boolean {
  return Array.isArray(value) && value.length === length && value.every(good);
}

function listLength(value: Arg): number {
  return Array.isArray(value) ? value.length : 0;
}

function show(arg: Arg): string {
  if (arg instanceof Node) return arg.name;
  if (arg instanceof BatchSize) return String(arg);
  return Array.isArray(arg)
    ? `a list of ${arg.length}`
    : isDict(arg)
      ? 'a dict'
      : (JSON.stringify(arg) ?? 'undefined');
}
