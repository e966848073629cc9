import type { Node } from '../../../fx/node.ts';
import type { OpName } from '../../../ops/signatures/index.ts';
import type { PlanBuilder } from '../builder.ts';

/**
 * Turns one operator into steps on kernels: asks the builder for the values of the node's arguments, adds steps, binds the
 * node to the value they make. False where it does not apply to these arguments; the operator then runs as it is.
 *
 * A rule may take up operators after its own (a ReLU, a residual addition) by binding those nodes as well.
 */
export type LoweringRule = (node: Node, builder: PlanBuilder) => boolean;

/** Rules by operator. */
export type LoweringRules = { readonly [K in OpName]?: LoweringRule };
