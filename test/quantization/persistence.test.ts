import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { StateDictError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import {
  loadPyTorch,
  loadStateDict,
  readSafetensors,
  writePyTorch,
  writeSafetensors,
} from '../../src/io/index.ts';
import { engine } from '../../src/kernels/engine.ts';
import * as nn from '../../src/nn/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import {
  convert,
  DeQuantStub,
  FloatFunctional,
  fuseModules,
  getDefaultQConfig,
  prepare,
  QuantStub,
} from '../../src/quantization/index.ts';
import { rand } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** Every kind of state: stub, fused and plain convolution, functional, linear layer. */
class Net extends Module {
  quant: AnyModule = new QuantStub();
  conv1: AnyModule = new nn.Conv2d(3, 8, 3, { padding: 1 });
  relu: AnyModule = new nn.ReLU();
  conv2: AnyModule = new nn.Conv2d(8, 8, 3, { padding: 1, groups: 2, bias: false });
  f: any = new FloatFunctional();
  fc: AnyModule = new nn.Linear(8 * 25, 6);
  dequant: AnyModule = new DeQuantStub();

  forward(x: Tensor): Tensor {
    const y = this.relu(this.conv1(this.quant(x)));
    return this.dequant(this.fc(dispatch('flatten', this.f.add(this.conv2(y), y), 1, -1)));
  }
}

const PYTHON = `
import sys, warnings, torch
from torch import nn
from torch.ao import quantization as tq
warnings.simplefilter('ignore')
# Engine without an own rounding for additions: ATen's kernels.
torch.backends.quantized.engine = 'onednn'
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant = tq.QuantStub()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.f = torch.ao.nn.quantized.FloatFunctional()
        self.fc = nn.Linear(200, 6)
        self.dequant = tq.DeQuantStub()
    def integers(self, x):
        y = self.relu(self.conv1(self.quant(x)))
        return self.fc(self.f.add(self.conv2(y), y).flatten(1))
    def forward(self, x):
        return self.dequant(self.integers(x))
def skeleton(backend):
    m = tq.fuse_modules(Net().eval(), [['conv1', 'relu']])
    m.qconfig = tq.get_default_qconfig(backend)
    return tq.prepare(m)
folder, backend = sys.argv[1:3]
x = torch.load(folder + '/x.pt')['x']
ours = tq.convert(skeleton(backend))
ours.load_state_dict(torch.load(folder + '/ours.pt'))
torch.manual_seed(11)
m = skeleton(backend)
m(torch.rand(4, 3, 5, 5))
theirs = tq.convert(m)
torch.save(theirs.state_dict(), folder + '/theirs.pt')
torch.save({'ours': ours.integers(x).int_repr(), 'theirs': theirs.integers(x).int_repr()}, folder + '/out.pt')
`;

const python = (() => {
  try {
    execFileSync(
      'python3',
      ['-c', 'import torch, sys; sys.exit("onednn" not in torch.backends.quantized.supported_engines)'],
      {
        stdio: 'ignore',
      },
    );
    return true;
  } catch {
    console.log('exchange with PyTorch: skipped, python3 has no torch with the onednn engine');
    return false;
  }
})();

const folder = mkdtempSync(join(tmpdir(), 'zeropoint-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Backend = 'fbgemm' | 'qnnpack';

function prepared(backend: Backend): Net {
  const model = fuseModules(new Net().eval(), ['conv1', 'relu']);
  model.qconfig = getDefaultQConfig(backend);
  return prepare(model);
}

function quantized(backend: Backend): Net {
  manualSeed(7);
  const model = prepared(backend);
  noGrad(() => model(rand([4, 3, 5, 5])));
  return convert(model);
}

const skeleton = (backend: Backend): Net => convert(prepared(backend), { allowUnobserved: true });

/** The integers in front of the last stub. */
function integers(model: Net, x: Tensor): number[] {
  const { dequant } = model;
  model.setSubmodule('dequant', new nn.Identity());
  const y = noGrad(() => model(x));
  model.setSubmodule('dequant', dequant);
  return [...dispatch('intRepr', y).numbers()];
}

describe.each(['fbgemm', 'qnnpack'] as const)('%s', (backend) => {
  test.each([
    ['safetensors', async (m: Net) => readSafetensors(writeSafetensors(m.stateDict())).dict],
    ['.pt', async (m: Net) => loadStateDict(writePyTorch(m.stateDict()))],
  ])('%s round trip is identical to the bit', async (_, through) => {
    const model = quantized(backend);
    const other = skeleton(backend);
    other.loadStateDict(await through(model));
    const x = rand([3, 3, 5, 5]);
    expect(noGrad(() => other(x)).toArray()).toEqual(noGrad(() => model(x)).toArray());
    expect(String(other)).toBe(String(model));
  });

  test.skipIf(!python)('exchanges state dicts with PyTorch, which computes the same integers', async () => {
    const model = quantized(backend);
    manualSeed(5);
    const x = rand([3, 3, 5, 5]);
    writeFileSync(join(folder, 'ours.pt'), writePyTorch(model.stateDict()));
    writeFileSync(join(folder, 'x.pt'), writePyTorch(new Map([['x', x]])));
    writeFileSync(join(folder, 'net.py'), PYTHON);
    execFileSync('python3', [join(folder, 'net.py'), folder, backend], { stdio: 'pipe' });
    const out = (await loadPyTorch(join(folder, 'out.pt'))) as Map<string, Tensor>;
    expect(integers(model, x)).toEqual([...out.get('ours')!.numbers()]);
    const theirs = skeleton(backend);
    theirs.loadStateDict(await loadStateDict(join(folder, 'theirs.pt')));
    expect(integers(theirs, x)).toEqual([...out.get('theirs')!.numbers()]);
  });
});

test('a float state dict does not fit a quantized model, and the error says where', () => {
  const model = quantized('fbgemm');
  const before = model.stateDict().get('conv1.weight') as Tensor;
  const float = fuseModules(new Net().eval(), ['conv1', 'relu']).stateDict();
  const load = () => model.loadStateDict(float);
  expect(load).toThrow(StateDictError);
  expect(load).toThrow(/missing keys: quant\.scale, quant\.zero_point, conv1\.weight/);
  expect(load).toThrow(/unexpected keys: conv1\.0\.weight, conv1\.0\.bias, fc\.weight, fc\.bias/);
  expect(load).toThrow(/conv2\.weight is not a quantized tensor/);
  expect(() => model.loadStateDict(float, { strict: false })).toThrow(
    /conv2\.weight is not a quantized tensor/,
  );
  expect(model.stateDict().get('conv1.weight')).toBe(before);
});

describe('memory', () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const collect = async (done: () => boolean): Promise<void> => {
    for (let i = 0; i < 50 && !done(); i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const packed = (): number => engine.memory().packedBytes;

  test('packed weights go with the model that was dropped', async () => {
    await collect(() => packed() === 0);
    const start = packed();
    const use = (): number => {
      const model = quantized('fbgemm');
      noGrad(() => model(rand([1, 3, 5, 5])));
      return packed();
    };
    expect(use()).toBeGreaterThan(start);
    await collect(() => packed() <= start);
    expect(packed()).toBe(start);
  });

  test('200 forward passes take no more memory than one', () => {
    const model = quantized('fbgemm');
    const x = rand([2, 3, 5, 5]);
    noGrad(() => model(x));
    const { packedBytes, reservedBytes, packedCount } = engine.memory();
    for (let i = 0; i < 200; i++) noGrad(() => model(x));
    expect(engine.memory()).toMatchObject({ packedBytes, reservedBytes, packedCount, scratchBytes: 0 });
  });
});
