/** An ONNX model being written: nodes, initializers, inputs and outputs, encoded with protobufjs. */
import { fileURLToPath } from 'node:url';

/** ONNX's numbers for element types. */
const ELEMENT_TYPES = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7 } as const;

export type ElementType = keyof typeof ELEMENT_TYPES;

export type AttributeValue = number | string | readonly number[];

/** Attributes that ONNX declares as float even where their value is whole. */
const FLOAT_ATTRIBUTES = new Set(['epsilon', 'alpha', 'beta']);

type Data = Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array;

interface Named {
  readonly name: string;
}

export class OnnxBuilder {
  readonly #nodes: object[] = [];
  readonly #initializers: Named[] = [];
  readonly #inputs: object[] = [];
  readonly #outputs: object[] = [];
  #count = 0;
  #contrib = false;

  /** A name nothing else has. */
  fresh(base: string): string {
    return `${base}_${this.#count++}`;
  }

  input(name: string, type: ElementType, shape: readonly number[]): string {
    this.#inputs.push(valueInfo(name, type, shape));
    return name;
  }

  output(name: string, type: ElementType, shape: readonly number[]): void {
    this.#outputs.push(valueInfo(name, type, shape));
  }

  /** Adds a constant and returns its name. */
  constant(base: string, data: Data, shape: readonly number[]): string {
    const name = this.fresh(base);
    this.#initializers.push({
      name,
      dims: shape,
      dataType: ELEMENT_TYPES[typeOf(data)],
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    } as Named);
    return name;
  }

  float(base: string, value: number): string {
    return this.constant(base, Float32Array.of(value), []);
  }

  int64s(base: string, values: readonly number[]): string {
    return this.constant(base, BigInt64Array.from(values, BigInt), [values.length]);
  }

  /** Adds a node with one output and returns its name. Operators named `domain::op` are onnxruntime's own. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    return this.nodes(op, inputs, 1, attributes)[0];
  }

  /** Adds a node with several outputs. */
  nodes(
    op: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string[] {
    const [opType, domain] = op.split('::').reverse();
    if (domain) this.#contrib = true;
    const names = Array.from({ length: outputs }, () => this.fresh(opType.toLowerCase()));
    this.#nodes.push({
      name: this.fresh(`${opType}_node`),
      opType,
      domain: domain ?? '',
      input: inputs,
      output: names,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    return names;
  }

  /** Gives a value a name of its own, for outputs. */
  identity(value: string, name: string): string {
    this.#nodes.push({ name: 'last', opType: 'Identity', domain: '', input: [value], output: [name] });
    return name;
  }

  /** The model as a file's bytes. */
  async encode(): Promise<Uint8Array> {
    const { default: protobuf } = await import('protobufjs' as string);
    const schema = await protobuf.load(fileURLToPath(new URL('onnx.proto', import.meta.url)));
    const type = schema.lookupType('onnx.ModelProto');
    const domains = [
      { domain: '', version: 17 },
      ...(this.#contrib ? [{ domain: 'com.microsoft', version: 1 }] : []),
    ];
    const model = {
      irVersion: 8,
      producerName: 'zeropoint-bench',
      opsetImport: domains,
      graph: {
        name: 'model',
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    };
    return type.encode(type.create(model)).finish();
  }
}

function typeOf(data: Data): ElementType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Uint8Array) return 'uint8';
  if (data instanceof Int8Array) return 'int8';
  return data instanceof Int32Array ? 'int32' : 'int64';
}

function valueInfo(name: string, type: ElementType, shape: readonly number[]): object {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: ELEMENT_TYPES[type], shape: { dim } } } };
}

function attribute(name: string, value: AttributeValue): object {
  if (typeof value === 'string') return { name, s: new TextEncoder().encode(value), type: 3 };
  if (typeof value !== 'number') return { name, ints: value, type: 7 };
  return FLOAT_ATTRIBUTES.has(name) ? { name, f: value, type: 1 } : { name, i: value, type: 2 };
}
