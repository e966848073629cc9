import { ArgumentError } from '../core/errors.ts';
import { PackedWeights } from '../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../ops/quantized/packed-half.ts';
import { PackedTransposedWeights } from '../ops/quantized/transposed.ts';
import type { StateDict } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';

/** What a program reads besides its inputs: tensors, and weights that kernels read packed. */
export type Attribute = Tensor | PackedWeights | PackedHalfWeights | PackedTransposedWeights;

/** How each kind of packed weights is called in files. */
export const PACKED_KINDS: {
  readonly packed: typeof PackedWeights;
  readonly 'packed half': typeof PackedHalfWeights;
  readonly 'packed transposed': typeof PackedTransposedWeights;
} = {
  packed: PackedWeights,
  'packed half': PackedHalfWeights,
  'packed transposed': PackedTransposedWeights,
};

/** The kind of an attribute, as the schema and files name it. */
export type AttributeKind = 'tensor' | keyof typeof PACKED_KINDS;

/** The kind of a value that a program may read; undefined for anything else. */
export function attributeKind(value: unknown): AttributeKind | undefined {
  if (value instanceof Tensor) return 'tensor';
  return (Object.keys(PACKED_KINDS) as (keyof typeof PACKED_KINDS)[]).find(
    (kind) => value instanceof PACKED_KINDS[kind],
  );
}

/**
 * Puts the tensors of attributes into a state dict and describes, in JSON values, how the attributes are made of them:
 * a tensor stands under its own name, packed weights as `name.weight` and `name.bias`.
 */
export function describeAttributes(attributes: ReadonlyMap<string, Attribute>, dict: StateDict): unknown[] {
  const add = (name: string, tensor: Tensor): string => {
    let free = name;
    while (dict.has(free) || (free !== name && attributes.has(free))) free += '#';
    dict.set(free, tensor);
    return free;
  };
  for (const [name, value] of attributes) if (value instanceof Tensor) add(name, value);
  return [...attributes].map(([name, value]) => {
    if (value instanceof Tensor) return { name, kind: 'tensor', tensor: name };
    const kind = attributeKind(value);
    if (kind === undefined) {
      throw new ArgumentError({
        fn: 'jit.Program',
        argument: `attribute ${name}`,
        expected: 'a tensor or packed weights',
        got: String(value),
      });
    }
    const { weight, bias } = value;
    return {
      name,
      kind,
      weight: add(`${name}.weight`, weight),
      bias: bias && add(`${name}.bias`, bias),
      ...('geometry' in value ? { geometry: value.geometry } : {}),
    };
  });
}
