/** `zeropoint/quantization`: observers, fake-quantize, configurations and the eager flow. */
import './backend/trace-leaves.ts';

export {
  BackendConfig,
  type BackendConfigRow,
  type DTypeConfig,
  getNativeBackendConfig,
} from './backend/backend-config.ts';
export type {
  CustomForms,
  ModuleClass,
  OperatorForm,
  OutputRule,
  Pattern,
  QuantizedClass,
  WeightArgument,
} from './backend/pattern.ts';
export { PATTERNS } from './backend/patterns.ts';
export { getDefaultQatQConfigMapping, getDefaultQConfigMapping } from './default-qconfig-mapping.ts';
export {
  type ConvertDbrOptions,
  convertDbr,
  type PrepareDbrOptions,
  prepareDbr,
  prepareQatDbr,
} from './define-by-run/index.ts';
export { type ConvertOptions, convert, type SwapOptions } from './eager/convert.ts';
export { fuseModules, fuseModulesQat, type TransformOptions } from './eager/fuse-modules.ts';
export { type PrepareOptions, prepare } from './eager/prepare.ts';
export { prepareQat } from './eager/prepare-qat.ts';
export {
  type DynamicDType,
  type DynamicOptions,
  type DynamicSpec,
  quantize,
  quantizeDynamic,
} from './eager/quantize.ts';
export { quantizeQat } from './eager/quantize-qat.ts';
export * from './fake-quantize/index.ts';
export { FloatFunctional, QFunctional } from './float-functional.ts';
export {
  type ConvertFxOptions,
  convertFx,
  convertToReferenceFx,
  lowerToQuantized,
} from './graph/convert.ts';
export {
  ConvertCustomConfig,
  PrepareCustomConfig,
  type StandaloneModuleConfig,
} from './graph/custom-config.ts';
export {
  type FuseFxOptions,
  fuseFx,
  type PrepareFxOptions,
  prepareFx,
  prepareQatFx,
} from './graph/prepare.ts';
export { QuantizedGraphModule } from './graph/quantized-graph.ts';
export { convertPt2e, type PreparePt2eOptions, preparePt2e, type Quantizer } from './graph/quantizer.ts';
export {
  getSymmetricQuantizationConfig,
  type SymmetricOptions,
  WasmQuantizer,
  XNNPACKQuantizer,
} from './graph/quantizers.ts';
export {
  type Annotations,
  type AnyQuantizationSpec,
  type DerivedQParams,
  DerivedQuantizationSpec,
  type EdgeOrNode,
  FixedQParamsQuantizationSpec,
  type NodeAnnotation,
  QuantizationSpec,
  SharedQuantizationSpec,
} from './graph/specs.ts';
export * from './observers/index.ts';
export {
  type PropagateOptions,
  propagateQConfig,
  type QConfigDict,
  type QConfigSpec,
} from './propagate-qconfig.ts';
export * from './qconfig.ts';
export {
  type ObjectType,
  QConfigMapping,
  type QConfigMappingDict,
  type QConfigQuery,
} from './qconfig-mapping.ts';
export * from './rescue/index.ts';
export { DeQuantStub, QuantStub, QuantWrapper } from './stubs.ts';
