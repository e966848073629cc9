import type { Tensor } from '../../tensor/tensor.ts';
import { dequantize, intRepr } from '../functions/quantize.ts';
import { installMethods } from './install.ts';

declare module '../../tensor/tensor.ts' {
  interface Tensor {
    /** The numbers as float32; a float tensor gives itself. See {@link dequantize}. */
    dequantize(): Tensor;
    /** The integers as a plain tensor. See {@link intRepr}. */
    intRepr(): Tensor;
  }
}

installMethods({
  dequantize(this: Tensor): Tensor {
    return dequantize(this);
  },
  intRepr(this: Tensor): Tensor {
    return intRepr(this);
  },
});
