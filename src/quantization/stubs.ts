import { type AnyModule, Module } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { leaveIntegers } from './fake-quantize/integer-evaluation.ts';
import type { QConfig } from './qconfig.ts';

/**
 * Marks where float activations become quantized: passes its input through, is observed after `prepare`, and turns
 * into a `Quantize` layer at `convert`. Source: `torch.ao.quantization.QuantStub`.
 *
 * @example
 * class Net extends Module {
 *   quant = new QuantStub();
 *   fc = new Linear(5, 10);
 *   dequant = new DeQuantStub();
 *   forward(x: Tensor): Tensor { return this.dequant(this.fc(this.quant(x))); }
 * }
 */
export class QuantStub extends Module {
  constructor(qconfig?: QConfig) {
    super();
    if (qconfig) this.qconfig = qconfig;
  }

  forward(x: Tensor): Tensor {
    return x;
  }
}

/**
 * Marks where quantized activations become float again; turns into a `DeQuantize` layer at `convert`.
 * Source: `torch.ao.quantization.DeQuantStub`.
 */
export class DeQuantStub extends Module {
  constructor(qconfig?: QConfig) {
    super();
    if (qconfig) this.qconfig = qconfig;
  }

  forward(x: Tensor): Tensor {
    return this.training ? x : leaveIntegers(x);
  }
}

/**
 * A model between a {@link QuantStub} and a {@link DeQuantStub}: the quickest way to quantize a model of one input
 * and one output. Source: `torch.ao.quantization.QuantWrapper`.
 *
 * @example
 * const wrapped = new QuantWrapper(new Sequential(new Linear(5, 10), new ReLU()));
 */
export class QuantWrapper extends Module {
  quant: AnyModule = new QuantStub();
  dequant: AnyModule = new DeQuantStub();
  module: AnyModule;

  constructor(module: AnyModule) {
    super();
    if (module.qconfig !== undefined) this.qconfig = module.qconfig;
    this.module = module;
    this.train(module.training);
  }

  forward(x: Tensor): Tensor {
    return this.dequant(this.module(this.quant(x)));
  }
}
