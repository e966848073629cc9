"""Golden numbers of the reductions, sorts and softmaxes."""
import torch
from common import ABSENT, Suite

suite = Suite('reduction', seed=1)
INF, NAN = float('inf'), float('nan')
x = torch.randn(2, 3, 4)
nhwc = torch.randn(2, 3, 2, 3).contiguous(memory_format=torch.channels_last)
DIMS = [None, 0, 1, -1, [0, 2], [1, 2], [0, 1, 2]]
NHWC_DIMS = [None, 1, [2, 3], [0, 2, 3], [0, 1], 3]


def over(op, f, t, dims, *extra, single=False, **kw):
    """Cases over dimensions, with and without keepdim; `extra` stands between dim and keepdim."""
    for dim in dims:
        for keepdim in (False, True):
            if single and dim is None and keepdim:
                continue
            suite.case(op, f, t, ABSENT if dim is None else dim, *extra, keepdim, name=f'{op} {list(t.shape)} {dim} {keepdim}', **kw)


def every(d, t):
    return list(range(t.dim())) if d is None else d


for t, dims in ((x, DIMS), (nhwc, NHWC_DIMS)):
    over('sum', lambda v, d, k: v.sum(every(d, v), keepdim=k), t, dims)
    over('mean', lambda v, d, k: v.mean(every(d, v), keepdim=k), t, dims)
    over('amax', lambda v, d, k: v.amax(every(d, v), keepdim=k), t, dims)
    over('amin', lambda v, d, k: v.amin(every(d, v), keepdim=k), t, dims)
    over('logsumexp', lambda v, d, k: torch.logsumexp(v, every(d, v), keepdim=k), t, dims)
for t, dims in ((x, [None, 1, [0, 2]]), (nhwc, [None, 1, [0, 2, 3]])):
    for correction in (0, 1):
        over('var', lambda v, d, c, k: torch.var(v, every(d, v), correction=c, keepdim=k), t, dims, correction)
        over('std', lambda v, d, c, k: torch.std(v, every(d, v), correction=c, keepdim=k), t, dims, correction)
    over('prod', lambda v, d, k: v.prod() if d is None else v.prod(d, keepdim=k), t, [None, 1, -1], single=True)
for p in (0.0, 1.0, 2.0, 3.0, INF, -INF):
    for dim in (None, 1, [0, 2]):
        suite.case('norm', lambda v, q, d, k: torch.linalg.vector_norm(v, q, d, k), x, p, ABSENT if dim is None else dim, False, name=f'norm {p} {dim}')
suite.case('var', lambda v, d, c, k: torch.var(v, d, correction=c, keepdim=k), torch.randn(1000) * 0.01 + 100, [0], 1, False,
           name='var around a large mean', tolerance=1e-4)
zeros = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [2.0, 3.0, 4.0]])
suite.case('prod', lambda v, d, k: v.prod(d, keepdim=k), zeros, 1, False, name='prod with zeros')
suite.case('prod', lambda v, d, k: v.prod(), zeros + 0, ABSENT, False, name='prod of all with zeros')
ties = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
for op in ('amax', 'amin'):
    suite.case(op, lambda v, d, k: getattr(torch, op)(v, d, k), ties, 1, False, name=op + ' ties')
    suite.case(op, lambda v, d, k: getattr(torch, op)(v, d, k), torch.tensor([[1.0, NAN], [2.0, 0.0]]), 1, False, grad=False, name=op + ' NaN')
suite.case('logsumexp', lambda v, d, k: torch.logsumexp(v, d, k), torch.tensor([[-INF, -INF], [1000.0, 1000.0], [INF, 1.0]]), 1, False, grad=False)
for op in ('max', 'min'):
    for t in (x, nhwc):
        for dim in (0, 1, -1):
            for keepdim in (False, True):
                suite.case(op + 'Dim', lambda v, d, k: getattr(torch, op)(v, d, k), t, dim, keepdim)
    suite.case(op + 'Dim', lambda v, d, k: getattr(torch, op)(v, d, k), torch.tensor([[1.0, NAN, 5.0], [3.0, 3.0, 3.0]]), 1, False, grad=False)
    for t in (x, nhwc, torch.tensor([[5, 1, 5], [1, 1, 0]])):
        for dim, keepdim in ((ABSENT, False), (1, False), (-1, True)):
            suite.case('arg' + op, lambda v, d, k: getattr(torch, 'arg' + op)(v, dim=d, keepdim=k), t, dim, keepdim)
for dim in (0, 1, 2):
    suite.case('cumsum', torch.cumsum, x, dim)
suite.case('cumsum', torch.cumsum, nhwc, 1)
suite.case('cumsum', torch.cumsum, torch.tensor([1, 2, 3]), 0)
flags = torch.rand(3, 4) > 0.3
for op in ('all', 'any'):
    for t in (flags, (x[:, :, 0] > 0).float()):
        for dim, keepdim in ((ABSENT, False), (0, False), (1, True)):
            suite.case(op, lambda v, d, k: (getattr(torch, op)(v) if d is None else getattr(torch, op)(v, d, k)).bool(), t, dim, keepdim, grad=False)
for t in (x, nhwc):
    for dim in (0, 1, -1):
        for descending in (False, True):
            suite.case('sort', lambda v, d, r: torch.sort(v, dim=d, descending=r, stable=True), t, dim, descending)
    for k, dim, largest in ((1, -1, True), (2, 1, True), (3, 1, False)):
        suite.case('topk', lambda v, n, d, g, s: torch.topk(v, n, d, g, s), t, k, dim, largest, True)
suite.case('topk', lambda v, n, d, g, s: torch.topk(v, n, d, g, s), torch.randn(2, 200), 100, 1, True, True, name='topk of many')
suite.case('sort', lambda v, d, r: torch.sort(v, dim=d, descending=r, stable=True), torch.tensor([2.0, NAN, -INF, 2.0, INF, 0.0]), 0, False, grad=False)
suite.case('sort', lambda v, d, r: torch.sort(v, dim=d, descending=r, stable=True), torch.tensor([3, 1, 3, 2]), 0, True)
for op, f in (('softmax', torch.softmax), ('logSoftmax', torch.log_softmax)):
    for t in (x * 4, nhwc):
        for dim in (0, 1, -1):
            suite.case(op, f, t, dim)
    suite.case(op, f, torch.tensor([[1000.0, 0.0], [-1000.0, -1001.0], [-INF, 0.0]]), 1, grad=False, name=op + ' extremes')
for op, f in (('sum', lambda v, d, k: v.sum(d, keepdim=k)), ('amax', lambda v, d, k: v.amax(d, keepdim=k)), ('prod', lambda v, d, k: v.prod(d, keepdim=k))):
    suite.case(op, f, torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), 1, False, name=op + ' of integers')
suite.case('sum', lambda v, d, k: v.sum(d, keepdim=k), flags, 0, False, name='sum of bools')
suite.case('sum', lambda v, d, k: v.sum(d, keepdim=k), torch.randn(0, 3), 0, False, name='sum of nothing')
suite.case('sum', lambda v, d, k: v.sum(), torch.randn(()), ABSENT, False, name='sum of a scalar')
suite.case('sum', lambda v, d, k: v.sum(d, keepdim=k), torch.randn(9).half(), 0, False, grad=False, name='sum of float16')
suite.write()
