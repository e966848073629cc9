export { type ConvertDbrOptions, convertDbr } from './convert.ts';
export { type PrepareDbrOptions, prepareDbr, prepareQatDbr } from './prepare.ts';
