import type { LayerOps } from '../../ops/signatures/index.ts';
import type { RulesOf } from './rule.ts';

/** Gradients of the layer operators. */
export const layerRules: RulesOf<LayerOps> = {} as RulesOf<LayerOps>;
