"""Golden numbers of fake-quantization and its straight-through gradient."""
import torch
from common import Suite

suite = Suite('straight_through', seed=3)
x = torch.randn(3, 4, 5) * 3
for scale, zero_point, qmin, qmax in ((0.05, 10, 0, 255), (0.02, 0, -128, 127), (0.013055376708507538, 0, 0, 127), (0.3, 7, 0, 15)):
    suite.case('fakeQuantizePerTensor', torch.fake_quantize_per_tensor_affine, x, scale, zero_point, qmin, qmax)
edge = torch.tensor([-2.0, -0.5, 0.5, 1.5, 126.5, 127.5, 128.5, 300.0])
suite.case('fakeQuantizePerTensor', torch.fake_quantize_per_tensor_affine, edge, 1.0, 0, 0, 127, name='fakeQuantizePerTensor ties and bounds')
for axis in (0, 1, 2):
    n = x.shape[axis]

    def per_channel(v, s, z, a, low, high):
        return torch.fake_quantize_per_channel_affine(v, s.detach(), z, a, low, high)

    suite.case('fakeQuantizePerChannel', per_channel, x, torch.rand(n) * 0.1 + 0.01, torch.randint(-3, 4, (n,), dtype=torch.int32), axis, -128, 127)
suite.write()
