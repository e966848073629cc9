import { expect, test } from 'vitest';
import { cat, io, nn, noGrad, quantization, relu, type StateDict, type Tensor } from '../../src/index.ts';
import { noiseTensor } from '../support/hashed-weights.ts';

const { convertFx, getDefaultQConfigMapping, prepareFx } = quantization;

/** The model of `fx_state.py`. */
class Branches extends nn.Module {
  left = new nn.Conv2d(3, 4, 3, { padding: 1 });
  right = new nn.Conv2d(3, 5, 1);
  leave = new nn.Conv2d(18, 6, 4);

  forward(x: Tensor): Tensor {
    const y = cat([this.left(x), relu(this.right(x))], 1);
    const z = cat([y, y.add(y)], 1);
    return this.leave(z).mul(3);
  }
}

test('a converted graph with concatenations takes the state dict that PyTorch saved, key by key', async () => {
  const file = (await io.loadPyTorch(new URL('data/fx_state.pt', import.meta.url))) as Map<string, unknown>;
  const saved = file.get('state_dict') as StateDict;
  const mapping = getDefaultQConfigMapping('qnnpack');
  const skeleton = convertFx(prepareFx(new Branches().eval(), mapping, [noiseTensor([2, 3, 8, 8], 900)]), {
    allowUnobserved: true,
  });
  expect([...skeleton.stateDict().keys()].sort()).toEqual([...saved.keys()].sort());
  const report = skeleton.loadStateDict(saved);
  expect(report).toMatchObject({ missingKeys: [], unexpectedKeys: [], mismatches: [] });
  const want = (file.get('output') as Tensor).numbers();
  const got = noGrad(() => skeleton(noiseTensor([5, 3, 8, 8], 950))).numbers();
  const differing = want.filter((v, i) => v !== got[i]).length;
  console.log(`${saved.size} keys; ${want.length} numbers compared, ${differing} differ`);
  expect(differing).toBe(0);
});
