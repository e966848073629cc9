import type { Tensor } from '../../tensor/tensor.ts';
import { elementwise } from '../float/elementwise.ts';
import type { Ops } from '../signatures/index.ts';
import { quantizeCrossing } from './crossing.ts';

/** Comparisons see the numbers, not the integers, so operands may be quantized differently, or one of them be float. */
function comparison(op: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'): Ops['eq'] {
  const { dequantize } = quantizeCrossing;
  return (a: Tensor, b: Tensor | number) =>
    elementwise[op](dequantize(a), typeof b === 'number' ? b : dequantize(b));
}

/** Comparisons of quantized tensors, element by element. Source: ATen's quantized comparators. */
export const comparisons: Pick<Ops, 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'> = {
  eq: comparison('eq'),
  ne: comparison('ne'),
  lt: comparison('lt'),
  le: comparison('le'),
  gt: comparison('gt'),
  ge: comparison('ge'),
};
