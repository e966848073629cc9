import { QuantizationError } from '../../core/errors.ts';
import type { Node } from '../../fx/index.ts';
import type { FloatReason } from './annotate.ts';

/**
 * Throws where something stays float that was not asked to: what `strict` means for graphs.
 *
 * @throws {@link QuantizationError} with every such call, its reason and the fix; `modulePath` is the first one's.
 */
export function refuseFloat(fn: string, float: ReadonlyMap<Node, FloatReason>): void {
  const open = [...float].filter(([, reason]) => reason.fix !== null);
  if (open.length === 0) return;
  const error = new QuantizationError({
    fn,
    argument: 'model',
    expected: 'every call that has a qconfig to be quantized (strict)',
    got: open.map(([node, { reason }]) => `${node.name} (${node.targetName}): ${reason}`).join('; '),
    fix: [...new Set(open.map(([, { fix }]) => fix))].join(' '),
  });
  const [first] = open[0];
  error.locate(
    first.op === 'call_module' ? first.targetName : (first.meta.modulePath ?? ''),
    first.targetName,
  );
  throw error;
}
