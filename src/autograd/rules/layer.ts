import type { LayerOps } from '../../ops/signatures/index.ts';
import { convRules } from './layer/conv.ts';
import { lookupRules } from './layer/lookup.ts';
import { matmulRules } from './layer/matmul.ts';
import { normRules } from './layer/norm.ts';
import { poolRules } from './layer/pool.ts';
import { recurrentRules } from './layer/recurrent.ts';
import type { RulesOf } from './rule.ts';

/** Gradients of the layer operators. */
export const layerRules: RulesOf<LayerOps> = {
  ...matmulRules,
  ...convRules,
  ...poolRules,
  ...normRules,
  ...lookupRules,
  ...recurrentRules,
};
