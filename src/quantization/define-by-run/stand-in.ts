import { QuantizationError } from '../../core/errors.ts';
import { isPlainObject } from '../../core/plain-object.ts';
import { dispatch } from '../../ops/dispatch.ts';
import type { TypedArray } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { SeenOp } from './seen-op.ts';

/** Where a {@link Value} comes from; what is not given is null. */
export type ValueOrigin = Partial<Pick<Value, 'producer' | 'source' | 'fixed' | 'awaiting' | 'onRead'>>;

/** One call whose result has a known range: what is taken out of that result is under the same parameters. */
export interface FixedRange {
  readonly row: Pattern;
}

/** What a {@link StandIn} stands for: the result of a call that is, or will be, quantized. */
export class Value {
  /** Quantized in the converted model; before, the float numbers that are observed. */
  readonly tensor: Tensor;
  /** The call that computed it; null where an operator that passes integers on did. */
  readonly producer: SeenOp | null;
  /** The call whose observer decides the parameters; null where they are fixed or follow from others. */
  readonly source: SeenOp | null;
  /** The call of known range that it was taken out of; null for all others. */
  readonly fixed: FixedRange | null;
  /** The call fused into the producer's that must come next, and be given this. */
  readonly awaiting: SeenOp | null;
  /** Told of every use that is not by a recorded call. */
  readonly onRead: (() => void) | null;
  #float: Tensor | null = null;

  constructor(tensor: Tensor, origin: ValueOrigin = {}) {
    this.tensor = tensor;
    this.producer = origin.producer ?? null;
    this.source = origin.source ?? null;
    this.fixed = origin.fixed ?? null;
    this.awaiting = origin.awaiting ?? null;
    this.onRead = origin.onRead ?? null;
  }

  /** The numbers, for code that is not quantized. */
  float(): Tensor {
    this.onRead?.();
    if (this.awaiting) throw outOfOrder(this.awaiting, 'its input read by other code');
    this.#float ??= this.tensor.isQuantized ? dispatch('dequantize', this.tensor) : this.tensor;
    return this.#float;
  }
}

/** Tensors that show the same elements: a change of one makes the others out of date. */
interface Family {
  changes: number;
}

/**
 * The float tensor that a model's own code holds in place of a quantized one: same shape, numbers when it asks for them. So
 * code that reads values, or that knows nothing of quantization, runs as it is, and integers go on to the next quantized
 * call unseen.
 */
export class StandIn extends Tensor {
  declare value: Value;
  /** A plain tensor that took the value's place, after a change in place that has no quantized form. */
  declare plain: Tensor | null;
  declare family: Family;
  declare seen: number;

  /** A stand-in for a value; views of one tensor are of one family. */
  static for(value: Value, family: Family = { changes: 0 }): StandIn {
    // Without the constructor of tensors, whose own fields would have to be replaced one by one.
    const x = Object.create(StandIn.prototype) as StandIn & { shape: Tensor['shape'] };
    x.shape = value.tensor.shape;
    x.value = value;
    x.plain = null;
    x.family = family;
    x.seen = family.changes;
    return x;
  }

  /** What quantized calls take: the value, or null where the tensor is a plain one by now. */
  current(): Value | null {
    if (this.seen !== this.family.changes) throw outOfDate();
    return this.plain ? null : this.value;
  }

  /** The numbers as a plain tensor. */
  materialize(): Tensor {
    return this.current()?.float() ?? (this.plain as Tensor);
  }

  /** Becomes what `result` is: the end of a change in place. */
  become(result: Tensor): this {
    this.family.changes++;
    this.seen = this.family.changes;
    if (result instanceof StandIn) {
      this.plain = result.plain;
      this.value = result.value;
    } else this.plain = result;
    return this;
  }

  override get data(): TypedArray {
    return this.materialize().data;
  }

  override numbers(): ReturnType<Tensor['numbers']> {
    return this.materialize().numbers();
  }

  override item(): number {
    return this.materialize().item();
  }

  override toArray(): ReturnType<Tensor['toArray']> {
    return this.materialize().toArray();
  }

  override toString(): string {
    return this.materialize().toString();
  }

  override get requiresGrad(): boolean {
    return false;
  }

  override set requiresGrad(value: boolean) {
    this.materialize().requiresGrad = value;
  }

  /** Quantized tensors have no gradients, so this is the tensor itself. */
  override detach(): Tensor {
    return this;
  }
}

Object.defineProperties(StandIn.prototype, {
  dtype: { value: 'float32' },
  qparams: { value: null },
  grad: { value: null, writable: true },
  gradFn: { value: null, writable: true },
  outputNr: { value: 0, writable: true },
  retainsGrad: { value: false, writable: true },
  ...Object.fromEntries(
    (['storage', 'strides', 'offset'] as const).map((field) => [
      field,
      {
        get(this: StandIn): unknown {
          return this.materialize()[field];
        },
      },
    ]),
  ),
});

type InPlace = (x: Tensor, ...args: any[]) => Tensor;

/** Changes in place that are an operator and its result taking the tensor's place. */
const OPERATORS: Readonly<Record<string, InPlace>> = {
  add_: (x, other, options: { alpha?: number } = {}) => dispatch('add', x, other, options.alpha ?? 1),
  sub_: (x, other, options: { alpha?: number } = {}) => dispatch('sub', x, other, options.alpha ?? 1),
  mul_: (x, other) => dispatch('mul', x, other),
  div_: (x, other) => dispatch('div', x, other),
  clamp_: (x, min: number | null = null, max: number | null = null) => dispatch('clamp', x, min, max),
  relu_: (x) => dispatch('relu', x),
};

for (const name of Object.getOwnPropertyNames(Tensor.prototype)) {
  const method = Object.getOwnPropertyDescriptor(Tensor.prototype, name)?.value as unknown;
  if (!name.endsWith('_') || name === 'requiresGrad_' || typeof method !== 'function') continue;
  const operator = OPERATORS[name];
  Object.defineProperty(StandIn.prototype, name, {
    configurable: true,
    value(this: StandIn, ...args: unknown[]): unknown {
      if (operator) {
        const result = operator(this, ...args);
        // A result of another shape is one that the float model could not have written back.
        if (result.shape.join() === this.shape.join()) return this.become(result);
      }
      this.become(dispatch('clone', this.materialize()));
      return method.apply(this, args);
    },
  });
}

/** Applies `visit` to every tensor in a value of lists and plain objects, numbering them in order. */
export function mapTensors(value: unknown, visit: (x: Tensor, place: number) => unknown): unknown {
  let place = 0;
  const walk = (item: unknown): unknown => {
    if (item instanceof Tensor) return visit(item, place++);
    if (Array.isArray(item)) return item.map(walk);
    if (isPlainObject(item))
      return Object.fromEntries(Object.entries(item).map(([key, member]) => [key, walk(member)]));
    return item;
  };
  return walk(value);
}

/** Plain tensors in the place of all stand-ins. */
export function floatTensors(value: unknown): unknown {
  return mapTensors(value, (x) => (x instanceof StandIn ? x.materialize() : x));
}

/** True where a value of lists and plain objects holds a stand-in for a quantized tensor. */
export function holdsStandIn(value: unknown): boolean {
  if (value instanceof StandIn) return value.current() !== null;
  if (Array.isArray(value)) return value.some(holdsStandIn);
  return isPlainObject(value) && Object.values(value).some(holdsStandIn);
}

/** The error for a call that was fused into an earlier one and does not come. */
export function outOfOrder(op: SeenOp, got: string): QuantizationError {
  const error = new QuantizationError({
    fn: 'define-by-run',
    argument: op.owner === '' ? 'order of quantizable calls' : `order of quantizable calls in ${op.owner}`,
    expected: `${op} as call ${op.index}, which prepareDbr fused into the one before`,
    got,
    fix: 'Take the same way through quantizable calls every time, or move what differs into a module of its own.',
  });
  error.locate(op.owner, op.ownerType);
  return error;
}

function outOfDate(): QuantizationError {
  return new QuantizationError({
    fn: 'define-by-run',
    argument: 'tensor',
    expected: 'a view of a tensor that was not changed in place since',
    got: 'one whose elements another view has changed',
    fix: 'Use the operator that returns a new tensor (add instead of add_) where views of one tensor are alive.',
  });
}
