import { registerLeafModules } from '../../fx/index.ts';
import { Module } from '../../nn/module.ts';
import * as fakeQuantize from '../fake-quantize/index.ts';
import * as observers from '../observers/index.ts';
import type { ModuleClass } from './pattern.ts';
import { PATTERNS } from './patterns.ts';

// Tracing records a call of these modules and does not look inside, so that a prepared or converted model keeps its
// observers and packed weights in the traced one.
const forms = PATTERNS.flatMap((p) => [
  p.float,
  p.qat,
  p.qatDynamic,
  p.static,
  p.dynamic,
  p.custom?.observed,
  p.custom?.quantized,
]);
const watchers = [...Object.values(observers), ...Object.values(fakeQuantize)];
registerLeafModules(...[...forms, ...watchers].filter(isModuleClass));

function isModuleClass(value: unknown): value is ModuleClass {
  return typeof value === 'function' && value.prototype instanceof Module;
}
