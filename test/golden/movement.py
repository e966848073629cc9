"""Golden numbers of the operators that rearrange elements."""
import torch
import torch.nn.functional as F
from common import ABSENT, Suite

suite = Suite('movement', seed=2)
END = 9007199254740991
x = torch.randn(2, 3, 4)
nhwc = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
for op in ('view', 'reshape'):
    for shape in ([6, 4], [2, -1], [24], [2, 3, 2, 2], [1, 2, 3, 1, 4]):
        suite.case(op, lambda v, s: v.reshape(s), x, shape)
    suite.case(op, lambda v, s: v.reshape(s), nhwc, [2, -1])
    suite.case(op, lambda v, s: v.reshape(s), nhwc, [2, 3, 20])
for start, end in ((0, -1), (1, -1), (0, 1), (2, 2)):
    suite.case('flatten', torch.flatten, x, start, end)
    suite.case('flatten', torch.flatten, nhwc, start, end)
suite.case('flatten', torch.flatten, torch.randn(()), 0, -1)
suite.case('unflatten', lambda v, d, s: v.unflatten(d, s), x, 2, [2, -1])
suite.case('unflatten', lambda v, d, s: v.unflatten(d, s), nhwc, -2, [2, 2])
suite.case('permute', lambda v, d: v.permute(d), x, [2, 0, 1])
suite.case('permute', lambda v, d: v.permute(d), nhwc, [0, 2, 3, 1])
suite.case('permute', lambda v, d: v.permute(d), x, [-1, 1, 0])
suite.case('transpose', torch.transpose, x, 0, -1)
suite.case('transpose', torch.transpose, nhwc, 1, 3)
suite.case('expand', lambda v, s: v.expand(s), torch.randn(3, 1), [3, 4])
suite.case('expand', lambda v, s: v.expand(s), torch.randn(3, 1), [2, -1, 4])
suite.case('expand', lambda v, s: v.expand(s), torch.randn(()), [2, 2])
one = torch.randn(1, 3, 1, 2)
suite.case('squeeze', lambda v, d: v.squeeze(), one, ABSENT)
suite.case('squeeze', torch.squeeze, one, 0)
suite.case('squeeze', torch.squeeze, one, -2)
suite.case('squeeze', torch.squeeze, one, 1)
for dim in (0, 1, -1):
    suite.case('unsqueeze', torch.unsqueeze, x, dim)
for dim, start, end, step in ((0, 0, END, 1), (1, 1, 3, 1), (2, 0, END, 2), (2, -3, -1, 1), (2, 1, 4, 3), (1, 2, 1, 1), (-1, 3, 100, 1)):
    def cut(v, d, s, e, t):
        index = [slice(None)] * v.dim()
        index[d] = slice(s, e, t)
        return v[tuple(index)]
    suite.case('slice', cut, x, dim, start, end, step, name=f'slice {dim} {start}:{end}:{step}')
    suite.case('slice', cut, nhwc, dim, start, end, step, name=f'slice nhwc {dim} {start}:{end}:{step}')
for dim, index in ((0, 0), (1, -1), (-1, 2)):
    suite.case('select', torch.select, x, dim, index)
    suite.case('select', torch.select, nhwc, dim, index)
suite.case('contiguous', lambda v, f: v.contiguous(), nhwc, 'contiguous')
suite.case('contiguous', lambda v, f: v.contiguous(memory_format=torch.channels_last), torch.randn(2, 3, 4, 5), 'channelsLast')
for dims in ([0], [1, 2], [-1]):
    suite.case('flip', torch.flip, x, dims)
suite.case('flip', torch.flip, nhwc, [2, 3])
suite.case('repeat', lambda v, t: v.repeat(t), x, [2, 1, 3])
suite.case('repeat', lambda v, t: v.repeat(t), torch.randn(2, 2), [3, 1, 2])
suite.case('repeat', lambda v, t: v.repeat(t), torch.randn(2, 2), [0, 1])
pad = lambda v, p, mode, value: F.pad(v, p, mode, value) if mode == 'constant' else F.pad(v, p, mode)
for pads, value in (([1, 2], 0), ([0, 1, 2, 0], 1.5), ([-1, 1], 0), ([1, -2, -1, -1, 0, 1], 0.25)):
    suite.case('pad', pad, x, pads, 'constant', value)
suite.case('pad', pad, nhwc, [1, 1, 2, 0], 'constant', 0)
for mode in ('reflect', 'replicate', 'circular'):
    suite.case('pad', pad, nhwc, [1, 2, 3, 1], mode, 0, name='pad ' + mode)
    suite.case('pad', pad, x, [3, 2], mode, 0, name='pad 1d ' + mode)
for diagonal in (0, 1, -1):
    suite.case('tril', torch.tril, torch.randn(2, 3, 4), diagonal)
    suite.case('triu', torch.triu, torch.randn(4, 3), diagonal)
suite.case('cat', torch.cat, [x, torch.randn(2, 1, 4), torch.randn(2, 2, 4)], 1)
suite.case('cat', torch.cat, [torch.randn(2), torch.randn(3)], 0)
suite.case('cat', torch.cat, [torch.randn(2), torch.randn(0), torch.randn(1)], -1)
suite.case('cat', torch.cat, [nhwc, nhwc * 2], 1, name='cat channels last')
suite.case('cat', torch.cat, [nhwc, torch.randn(2, 3, 1, 5)], 2, name='cat mixed layouts')
suite.case('cat', torch.cat, [torch.tensor([1, 2]), torch.tensor([0.5])], 0, grad=False, name='cat mixed dtypes')
for dim in (0, 1, -1):
    suite.case('stack', torch.stack, [x, x * 2, x + 1], dim)
for sizes, dim in ((2, 1), (1, 0), ([1, 3], 2), (5, -1), ([0, 2], 0)):
    suite.case('split', torch.split, x, sizes, dim)
for chunks, dim in ((2, 2), (2, 1), (5, 0)):
    suite.case('chunk', torch.chunk, x, chunks, dim)
for dim in (0, 1, -1):
    suite.case('unbind', torch.unbind, x, dim)
for dim, index in ((0, [1, 0, 1]), (1, [2]), (-1, [3, 3, 0])):
    suite.case('indexSelect', torch.index_select, x, dim, torch.tensor(index))
    suite.case('indexSelect', torch.index_select, nhwc, dim, torch.tensor(index))
suite.case('indexSelect', torch.index_select, torch.randn(40, 20), 0, torch.randint(0, 40, (7,)), name='indexSelect rows')
suite.case('gather', torch.gather, x, 1, torch.randint(0, 3, (2, 5, 4)))
suite.case('gather', torch.gather, x, -1, torch.randint(0, 4, (1, 3, 2)))
suite.case('gather', torch.gather, nhwc, 2, torch.randint(0, 4, (2, 3, 2, 5)))
suite.case('scatterAdd', torch.scatter_add, x, 1, torch.randint(0, 3, (2, 5, 4)), torch.randn(2, 5, 4))
# PyTorch gives no gradient for a source larger than its index.
suite.case('scatterAdd', torch.scatter_add, x, 0, torch.randint(0, 2, (1, 3, 2)), torch.randn(2, 3, 4), grad=False)
suite.case('maskedSelect', torch.masked_select, x, torch.rand(2, 3, 4) > 0.5)
suite.case('maskedSelect', torch.masked_select, x, torch.rand(3, 1) > 0.4)
suite.case('maskedSelect', torch.masked_select, torch.randn(3, 1), torch.rand(3, 4) > 0.4, name='maskedSelect repeats')
for t in (torch.arange(6, dtype=torch.int32).reshape(2, 3), torch.randn(2, 3).half(), torch.tensor([[True, False, True]] * 2)):
    suite.case('transpose', torch.transpose, t, 0, 1, grad=False)
    suite.case('cat', torch.cat, [t, t], 1, grad=False)
    suite.case('flip', torch.flip, t, [1], grad=False)
suite.write()
