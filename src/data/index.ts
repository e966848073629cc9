export * from './collate.ts';
export * from './data-loader.ts';
export * from './dataset.ts';
export * from './sampler.ts';
export * from './stroke-digits.ts';
