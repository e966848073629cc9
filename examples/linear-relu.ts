/**
 * Static quantization in six steps: one linear layer with its relu, printed after every step.
 *
 *   node examples/linear-relu.ts
 */
import { jit, manualSeed, nn, noGrad, print, quantization, randn, type Tensor } from '../src/index.ts';

const { convert, DeQuantStub, defaultQConfig, fuseModules, prepare, QuantStub } = quantization;

// 1. Surround what shall be quantized with stubs.
class LinearReLUModule extends nn.Module {
  linear: nn.Module = new nn.Linear(5, 10);
  relu: nn.Module = new nn.ReLU();
  quant: nn.Module = new QuantStub();
  dequant: nn.Module = new DeQuantStub();

  forward(x: Tensor): Tensor {
    return this.dequant(this.relu(this.linear(this.quant(x))));
  }
}

manualSeed(0);
const model = new LinearReLUModule().eval();

// 2. Fuse: the relu becomes the lower bound of the linear layer's rounding.
const fused = fuseModules(model, [['linear', 'relu']]);
print(`fused: ${fused}`);

// 3. Prepare: observers sit wherever a value will be rounded.
fused.qconfig = defaultQConfig;
const prepared = prepare(fused);
print(`prepared: ${prepared}`);

// 4. Calibrate: they learn the range of what passes by.
noGrad(() => {
  for (let i = 0; i < 10; i++) prepared(randn([5, 5]));
});
print(`calibrated: ${prepared}`);

// 5. Convert: weights become int8, every layer its quantized form.
const quantized = convert(prepared);
print(`quantized: ${quantized}`);

const x = randn([3, 5]);
print(`float: ${noGrad(() => model(x))}`);
print(`int8: ${quantized(x)}`);

// 6. Deploy: a program needs neither these classes nor these six steps to run again.
const bytes = jit.writeProgram(jit.trace(quantized, [x]));
const loaded = jit.readProgram(bytes);
print(
  `${bytes.length} bytes, read back: ${loaded.run(x).equal(quantized(x)) ? 'the same' : 'different'} numbers`,
);
