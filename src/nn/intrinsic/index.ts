export * from './fused.ts';
export * from './fused-module.ts';
