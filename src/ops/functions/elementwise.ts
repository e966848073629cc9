export * from './elementwise/activation.ts';
export * from './elementwise/arithmetic.ts';
export * from './elementwise/comparison.ts';
export * from './elementwise/math.ts';
