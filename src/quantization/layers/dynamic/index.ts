export { Linear, LinearReLU } from './linear.ts';
