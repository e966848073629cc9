import { ReLU } from '../activation.ts';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from '../batch-norm.ts';
import { Conv1d, Conv2d, Conv3d } from '../conv.ts';
import { Linear } from '../linear.ts';
import { FusedModule } from './fused-module.ts';

/** A linear layer and the ReLU after it. Source: `torch.ao.nn.intrinsic.LinearReLU`. */
export class LinearReLU extends FusedModule {
  constructor(linear: Linear, relu: ReLU) {
    super([linear, relu], [Linear, ReLU]);
  }
}

/** A linear layer and the batch normalization after it. Source: `torch.ao.nn.intrinsic.LinearBn1d`. */
export class LinearBn1d extends FusedModule {
  constructor(linear: Linear, bn: BatchNorm1d) {
    super([linear, bn], [Linear, BatchNorm1d]);
  }
}

/** A convolution and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvReLU1d`. */
export class ConvReLU1d extends FusedModule {
  constructor(conv: Conv1d, relu: ReLU) {
    super([conv, relu], [Conv1d, ReLU]);
  }
}

/** A convolution and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvReLU2d`. */
export class ConvReLU2d extends FusedModule {
  constructor(conv: Conv2d, relu: ReLU) {
    super([conv, relu], [Conv2d, ReLU]);
  }
}

/** A convolution and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvReLU3d`. */
export class ConvReLU3d extends FusedModule {
  constructor(conv: Conv3d, relu: ReLU) {
    super([conv, relu], [Conv3d, ReLU]);
  }
}

/** A convolution and the batch normalization after it. Source: `torch.ao.nn.intrinsic.ConvBn1d`. */
export class ConvBn1d extends FusedModule {
  constructor(conv: Conv1d, bn: BatchNorm1d) {
    super([conv, bn], [Conv1d, BatchNorm1d]);
  }
}

/** A convolution and the batch normalization after it. Source: `torch.ao.nn.intrinsic.ConvBn2d`. */
export class ConvBn2d extends FusedModule {
  constructor(conv: Conv2d, bn: BatchNorm2d) {
    super([conv, bn], [Conv2d, BatchNorm2d]);
  }
}

/** A convolution and the batch normalization after it. Source: `torch.ao.nn.intrinsic.ConvBn3d`. */
export class ConvBn3d extends FusedModule {
  constructor(conv: Conv3d, bn: BatchNorm3d) {
    super([conv, bn], [Conv3d, BatchNorm3d]);
  }
}

/** A convolution, the batch normalization and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvBnReLU1d`. */
export class ConvBnReLU1d extends FusedModule {
  constructor(conv: Conv1d, bn: BatchNorm1d, relu: ReLU) {
    super([conv, bn, relu], [Conv1d, BatchNorm1d, ReLU]);
  }
}

/** A convolution, the batch normalization and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvBnReLU2d`. */
export class ConvBnReLU2d extends FusedModule {
  constructor(conv: Conv2d, bn: BatchNorm2d, relu: ReLU) {
    super([conv, bn, relu], [Conv2d, BatchNorm2d, ReLU]);
  }
}

/** A convolution, the batch normalization and the ReLU after it. Source: `torch.ao.nn.intrinsic.ConvBnReLU3d`. */
export class ConvBnReLU3d extends FusedModule {
  constructor(conv: Conv3d, bn: BatchNorm3d, relu: ReLU) {
    super([conv, bn, relu], [Conv3d, BatchNorm3d, ReLU]);
  }
}

/** A batch normalization and the ReLU after it. Source: `torch.ao.nn.intrinsic.BNReLU2d`. */
export class BNReLU2d extends FusedModule {
  constructor(bn: BatchNorm2d, relu: ReLU) {
    super([bn, relu], [BatchNorm2d, ReLU]);
  }
}

/** A batch normalization and the ReLU after it. Source: `torch.ao.nn.intrinsic.BNReLU3d`. */
export class BNReLU3d extends FusedModule {
  constructor(bn: BatchNorm3d, relu: ReLU) {
    super([bn, relu], [BatchNorm3d, ReLU]);
  }
}
