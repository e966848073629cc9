import { type FileFormatError, ZeropointError } from '../core/errors.ts';
import { Graph } from '../fx/graph.ts';
import { type Arg, BatchSize, isDict, Node } from '../fx/node.ts';
import { ByteReader } from '../io/bytes.ts';
import { type Json, readJson, showJson } from '../io/json.ts';
import type { ConvGeometry, ConvTransposeGeometry } from '../ops/signatures/layer.ts';
import type { StateValue } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Attribute, type AttributeKind, attributeKind, PACKED_KINDS } from './attributes.ts';
import { checkCall, checkGeometry, type ResultKind, resultOfCall } from './check.ts';
import { PROGRAM_VERSION } from './encode.ts';
import { Program } from './program.ts';

/** Makes the error for a fault in a part of the description. */
export type Fail = (what: string, expected: string, got: string) => FileFormatError;

/** A file may nest arguments this deep; geometries and state tuples need three. */
const MAX_DEPTH = 16;

/**
 * Builds a program from the JSON of `encodeGraph` and the tensors beside it. Everything is checked before anything runs:
 * operators by name, the number and kind of their arguments, references (only to earlier nodes, so there are no cycles),
 * tensors and their sizes.
 *
 * @throws {@link FileFormatError} for anything that is not a program.
 */
export function decodeProgram(json: string, dict: ReadonlyMap<string, StateValue>, file: string): Program {
  const bytes = new TextEncoder().encode(json);
  const reader = new ByteReader(bytes, file, 'jit.load');
  const fail: Fail = (what, expected, got) => reader.error(`program ${what}`, expected, got, 0);
  const root = readJson(reader, bytes.length, 'program');
  if (!(root instanceof Map)) throw fail('description', 'an object', showJson(root));
  if (root.get('version') !== PROGRAM_VERSION) {
    throw fail('version', String(PROGRAM_VERSION), showJson(root.get('version')));
  }
  try {
    return new ProgramReader(dict, fail).read(root);
  } catch (cause) {
    if (!(cause instanceof ZeropointError) || 'offset' in cause) throw cause;
    const error = fail(cause.argument, cause.expected, cause.got);
    error.cause = cause;
    throw error;
  }
}

class ProgramReader {
  readonly #dict: ReadonlyMap<string, StateValue>;
  readonly #fail: Fail;
  readonly #graph = new Graph();
  readonly #attributes = new Map<string, Attribute>();
  readonly #nodes: Node[] = [];
  readonly #results = new Map<Node, ResultKind>();

  constructor(dict: ReadonlyMap<string, StateValue>, fail: Fail) {
    this.#dict = dict;
    this.#fail = fail;
  }

  read(root: ReadonlyMap<string, Json>): Program {
    this.#readAttributes(listOf(root.get('attributes'), 'attributes', this.#fail));
    const nodes = listOf(root.get('nodes'), 'nodes', this.#fail);
    nodes.forEach((json, i) => {
      const where = `node ${i}`;
      const node = this.#readNode(mapOf(json, where, this.#fail), where, i === nodes.length - 1);
      this.#nodes.push(node);
    });
    const inputs = listOf(root.get('inputs'), 'inputs', this.#fail);
    this.#graph.inputs = inputs.map((json, i) => this.#readArg(json, `input ${i}`));
    this.#readBatch(root.get('batch'));
    return new Program(this.#graph, this.#attributes);
  }

  #readAttributes(rows: readonly Json[]): void {
    const used = new Set<string>();
    for (const row of rows) {
      const json = mapOf(row, 'attributes', this.#fail);
      const name = stringOf(json.get('name'), 'attribute name', this.#fail);
      const where = `attribute ${name}`;
      if (this.#attributes.has(name)) throw this.#fail(where, 'each name once', 'it twice');
      const take = (key: string): Tensor => {
        const value = this.#dict.get(stringOf(json.get(key), where, this.#fail));
        if (!(value instanceof Tensor))
          throw this.#fail(where, 'a tensor of the file', showJson(json.get(key)));
        used.add(json.get(key) as string);
        return value;
      };
      const kind = stringOf(json.get('kind'), where, this.#fail) as AttributeKind;
      if (kind === 'tensor') this.#attributes.set(name, take('tensor'));
      else {
        const weight = take('weight');
        const bias = json.get('bias') === null ? null : take('bias');
        this.#attributes.set(name, this.#packed(kind, weight, bias, json.get('geometry'), where));
      }
    }
    for (const key of this.#dict.keys()) {
      if (!used.has(key)) throw this.#fail('attributes', 'a place for each tensor', `none for ${key}`);
    }
  }

  #packed(
    kind: AttributeKind,
    weight: Tensor,
    bias: Tensor | null,
    geometry: Json | undefined,
    where: string,
  ): Attribute {
    const read = (transposed: boolean): unknown => {
      const arg = plainArg(geometry ?? null, 0, where, this.#fail);
      checkGeometry(transposed ? 'convTranspose' : 'conv', arg, weight.ndim - 2, where, this.#fail);
      const { groups } = arg as unknown as ConvGeometry;
      if (weight.shape[0] % groups !== 0) {
        throw this.#fail(where, `groups that divide ${weight.shape[0]} channels`, String(groups));
      }
      return arg;
    };
    if (kind === 'packed half') return new PACKED_KINDS[kind](weight, bias);
    if (kind === 'packed transposed') {
      return new PACKED_KINDS[kind](weight, bias, read(true) as ConvTransposeGeometry);
    }
    if (kind !== 'packed')
      throw this.#fail(where, `tensor, ${Object.keys(PACKED_KINDS).join(', ')}`, String(kind));
    if (geometry === null && weight.ndim !== 2)
      throw this.#fail(where, 'a weight matrix', `${weight.ndim} dimensions`);
    return new PACKED_KINDS[kind](weight, bias, geometry === null ? null : (read(false) as ConvGeometry));
  }

  #readNode(json: ReadonlyMap<string, Json>, where: string, last: boolean): Node {
    const op = json.get('op');
    if ((op === 'output') !== last)
      throw this.#fail(where, 'the output, and it alone, at the end', showJson(op));
    if (op === 'output') return this.#graph.output(this.#onlyArg(json, where));
    const name = stringOf(json.get('name'), where, this.#fail);
    let node: Node;
    if (op === 'placeholder') {
      node = this.#graph.createNode('placeholder', name, [], name);
      node.meta.shape = integersOf(json.get('shape'), `${where} shape`, this.#fail);
      this.#results.set(node, { kind: 'tensor' });
    } else if (op === 'get_attr') {
      const target = stringOf(json.get('target'), where, this.#fail);
      const attribute = this.#attributes.get(target);
      const kind = attributeKind(attribute);
      if (kind === undefined) throw this.#fail(where, 'the name of an attribute', target);
      node = this.#graph.createNode('get_attr', target, [], name);
      this.#results.set(node, { kind, attribute });
    } else if (op === 'call_function') {
      const target = stringOf(json.get('target'), where, this.#fail);
      const args = listOf(json.get('args'), where, this.#fail).map((arg) => this.#readArg(arg, where));
      const resultOf = (arg: Node): ResultKind => this.#results.get(arg) as ResultKind;
      checkCall(target, args, resultOf, where, this.#fail);
      node = this.#graph.createNode('call_function', target, args, name);
      this.#results.set(node, resultOfCall(target));
    } else {
      throw this.#fail(where, 'placeholder, get_attr, call_function or output', showJson(op));
    }
    return node;
  }

  #onlyArg(json: ReadonlyMap<string, Json>, where: string): Arg {
    const args = listOf(json.get('args'), where, this.#fail);
    if (args.length !== 1) throw this.#fail(where, 'one argument', String(args.length));
    const arg = this.#readArg(args[0], where);
    this.#requireTensors(arg, where);
    return arg;
  }

  /** A program gives back tensors, never lists of an unknown length or packed weights. */
  #requireTensors(arg: Arg, where: string): void {
    if (arg instanceof Node) {
      const { kind } = this.#results.get(arg) as ResultKind;
      if (kind !== 'tensor' && kind !== 'list') throw this.#fail(where, 'tensors', `${arg.name}, ${kind}`);
    } else if (Array.isArray(arg)) for (const item of arg) this.#requireTensors(item, where);
    else if (isDict(arg)) for (const item of Object.values(arg)) this.#requireTensors(item, where);
  }

  #readArg(json: Json, where: string, depth = 0): Arg {
    if (depth > MAX_DEPTH) throw this.#fail(where, `at most ${MAX_DEPTH} levels`, 'more');
    if (Array.isArray(json)) return json.map((item) => this.#readArg(item, where, depth + 1));
    if (!(json instanceof Map)) return json;
    const place = json.get('node');
    if (place !== undefined && json.size === 1) {
      const node = this.#nodes[place as number];
      if (typeof place === 'number' && node && node.op !== 'output') return node;
      throw this.#fail(where, 'a node before this one', showJson(place));
    }
    const dict = json.get('dict');
    if (dict instanceof Map && json.size === 1) {
      if (dict.has('__proto__')) throw this.#fail(where, 'names of settings', '__proto__');
      return Object.fromEntries([...dict].map(([key, item]) => [key, this.#readArg(item, where, depth + 1)]));
    }
    return specialArg(json, where, this.#fail);
  }

  #readBatch(json: Json | undefined): void {
    if (json === null) return;
    const batch = mapOf(json, 'batch', this.#fail);
    const [dim, example] = integersOf(
      [batch.get('dim') ?? null, batch.get('example') ?? null],
      'batch',
      this.#fail,
    );
    const fixed = batch.get('fixed');
    if (fixed !== null && typeof fixed !== 'string')
      throw this.#fail('batch', 'a reason or null', showJson(fixed));
    this.#graph.batch = { dim, example, fixed };
  }
}

/** An argument without nodes. */
function plainArg(json: Json, depth: number, where: string, fail: Fail): Arg {
  if (depth > MAX_DEPTH) throw fail(where, `at most ${MAX_DEPTH} levels`, 'more');
  if (Array.isArray(json)) return json.map((item) => plainArg(item, depth + 1, where, fail));
  if (!(json instanceof Map)) return json;
  return Object.fromEntries([...json].map(([key, item]) => [key, plainArg(item, depth + 1, where, fail)]));
}

function specialArg(json: ReadonlyMap<string, Json>, where: string, fail: Fail): Arg {
  const [kind, ...others] = json;
  const [field, value] = kind ?? [];
  if (others.length === 0) {
    if (field === 'undefined' && value === true) return undefined;
    if (field === 'number' && typeof value === 'string' && /^(NaN|-?Infinity|-0)$/.test(value))
      return Number(value);
    if (field === 'batch' && Array.isArray(value) && value.length === 2) {
      const [times, plus] = value;
      if (Number.isSafeInteger(times) && Number.isSafeInteger(plus)) {
        return new BatchSize(times as number, plus as number);
      }
    }
  }
  throw fail(where, 'one of node, batch, dict, number, undefined', field ?? 'nothing');
}

function mapOf(json: Json | undefined, where: string, fail: Fail): ReadonlyMap<string, Json> {
  if (json instanceof Map) return json;
  throw fail(where, 'an object', showJson(json));
}

function listOf(json: Json | undefined, where: string, fail: Fail): readonly Json[] {
  if (Array.isArray(json)) return json;
  throw fail(where, 'a list', showJson(json));
}

function stringOf(json: Json | undefined, where: string, fail: Fail): string {
  if (typeof json === 'string') return json;
  throw fail(where, 'a string', showJson(json));
}

function integersOf(json: Json | undefined, where: string, fail: Fail): number[] {
  if (Array.isArray(json) && json.every((n) => Number.isSafeInteger(n) && (n as number) >= 0)) {
    return json as number[];
  }
  throw fail(where, 'whole numbers', showJson(json));
}
