export { type ConvertDbrOptions, convertDbr } from './convert.ts';
export { type PrepareDbrOptions, prepareDbr } from './prepare.ts';
