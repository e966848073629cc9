import { ArgumentError } from '../../core/errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { Sequential } from '../containers.ts';
import type { AnyModule } from '../module.ts';

/**
 * A run of float layers that quantization treats as one: still computed one after the other, observed only at the end.
 * Source: `torch.ao.nn.intrinsic.modules.fused._FusedModule`.
 */
export abstract class FusedModule extends Sequential<[Tensor], Tensor> {
  /**
   * @param types The exact classes of the parts, in order; a subclass (a quantized or qat form) is refused.
   */
  constructor(parts: readonly AnyModule[], types: readonly (new (...args: never[]) => AnyModule)[]) {
    super(...parts);
    const given = parts.map((p) => p.constructor);
    if (types.every((type, i) => given[i] === type)) return;
    throw new ArgumentError({
      fn: new.target.name,
      argument: 'parts',
      expected: types.map((t) => t.name).join(', '),
      got: parts.map((p) => p.typeName).join(', '),
    });
  }
}
