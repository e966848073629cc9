import './eager.ts';
import './inplace.ts';
import './methods/elementwise.ts';
import './methods/layer.ts';
import './methods/movement.ts';
import './methods/quantize.ts';
import './methods/reduction.ts';

export {
  dispatch,
  type Interpreter,
  installInterpreter,
  type Next,
  tensorArguments,
  withInterpreter,
} from './dispatch.ts';
export * from './functions/elementwise.ts';
export * from './functions/layer.ts';
export * from './functions/movement.ts';
export * from './functions/quantize.ts';
export * from './functions/reduction.ts';
export { enableGrad, isGradEnabled, noGrad } from './grad-mode.ts';
