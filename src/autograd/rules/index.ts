import type { OpName } from '../../ops/signatures/index.ts';
import { elementwiseRules } from './elementwise.ts';
import { layerRules } from './layer.ts';
import { movementRules } from './movement.ts';
import { quantizeRules } from './quantize.ts';
import { reductionRules } from './reduction.ts';
import type { Rule } from './rule.ts';

/** The gradient of every operator. The compiler lists the ones that are missing. */
export const GRADIENTS: { readonly [K in OpName]: Rule<K> } = {
  ...elementwiseRules,
  ...reductionRules,
  ...movementRules,
  ...layerRules,
  ...quantizeRules,
};
