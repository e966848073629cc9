export * from './creation.ts';
export * from './dtype.ts';
export * from './format.ts';
export * from './qparams.ts';
export * from './shape.ts';
export * from './state.ts';
export * from './tensor.ts';
