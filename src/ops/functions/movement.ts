export { at, type IndexSpec, type SliceSpec, slice } from './movement/at.ts';
export * from './movement/rearrange.ts';
