import './eager.ts';

export {
  dispatch,
  type Interpreter,
  installInterpreter,
  type Next,
  tensorArguments,
  withInterpreter,
} from './dispatch.ts';
export { enableGrad, isGradEnabled, noGrad } from './grad-mode.ts';
