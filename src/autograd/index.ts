import '../ops/index.ts';
import './interpreter.ts';
import './methods.ts';

export { enableGrad, isGradEnabled, noGrad } from '../ops/grad-mode.ts';
export { type BackwardOptions, backward, grad } from './backward.ts';
export { GradNode } from './tape.ts';
