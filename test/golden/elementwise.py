"""Golden numbers of the element-wise operators."""
import torch
import torch.nn.functional as F
from common import Suite

suite = Suite('elementwise')
INF, NAN = float('inf'), float('nan')


def channels_last(*shape):
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


EDGES = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -0.5, -2.5, 3.0, -3.0, 6.0, 7.0, 20.0, -20.0, 1e-8, INF, -INF, NAN])

POSITIVE = {'log', 'sqrt', 'rsqrt', 'log1p'}
UNARY = {
    'neg': torch.neg, 'abs': torch.abs, 'exp': torch.exp, 'expm1': torch.expm1, 'log': torch.log, 'log1p': torch.log1p,
    'sqrt': torch.sqrt, 'rsqrt': torch.rsqrt, 'square': torch.square, 'reciprocal': torch.reciprocal, 'sin': torch.sin,
    'cos': torch.cos, 'tanh': torch.tanh, 'sigmoid': torch.sigmoid, 'erf': torch.erf, 'sign': torch.sign,
    'floor': torch.floor, 'ceil': torch.ceil, 'round': torch.round, 'relu': F.relu, 'relu6': F.relu6, 'silu': F.silu,
    'hardswish': F.hardswish, 'hardsigmoid': F.hardsigmoid, 'clone': torch.clone,
}
for op, f in UNARY.items():
    x = torch.randn(3, 5, 4) * 3
    y = channels_last(2, 3, 4, 2) * 2
    if op in POSITIVE:
        x, y = x.abs() + 0.01, y.abs() + 0.01
    suite.case(op, f, x)
    suite.case(op, f, y, name=op + ' channels last')
    # sin and cos of large or infinite arguments are the C library's business.
    edges = EDGES[:16] if op in ('sin', 'cos') else EDGES
    suite.case(op, f, edges, grad=False, name=op + ' edges')
for op in ('exp', 'sqrt', 'sigmoid', 'reciprocal', 'tanh'):
    suite.case(op, UNARY[op], torch.tensor([1, 2, 3]), name=op + ' of integers')
for op in ('neg', 'abs', 'square', 'sign', 'relu'):
    suite.case(op, UNARY[op], torch.tensor([-3, 0, 2], dtype=torch.int32), name=op + ' of integers')
suite.case('erf', torch.erf, torch.linspace(-6.5, 6.5, 261, dtype=torch.float64), name='erf in double', tolerance=4e-16)
suite.case('exp', torch.exp, torch.randn(7).half().float(), grad=False)
suite.case('add', lambda a, b, alpha: a + b, torch.randn(9).half(), torch.randn(9).half(), 1, grad=False, name='add float16')
suite.case('mul', torch.mul, torch.randn(9).bfloat16(), torch.randn(9).bfloat16(), grad=False, name='mul bfloat16')

x = torch.randn(4, 6) * 3
suite.case('hardtanh', F.hardtanh, x, -1.0, 1.0)
suite.case('hardtanh', F.hardtanh, x, -0.3, 2.2)
suite.case('leakyRelu', F.leaky_relu, x, 0.01)
suite.case('leakyRelu', F.leaky_relu, channels_last(2, 3, 2, 2), 0.3)
suite.case('prelu', F.prelu, torch.randn(2, 3, 4), torch.tensor([0.1, 0.2, -0.3]))
suite.case('prelu', F.prelu, channels_last(2, 3, 2, 4), torch.tensor([0.25]))
suite.case('elu', F.elu, x, 1.0)
suite.case('elu', F.elu, x, 0.4)
suite.case('gelu', lambda v, a: F.gelu(v, approximate=a), torch.linspace(-5, 5, 41), 'none')
suite.case('gelu', lambda v, a: F.gelu(v, approximate=a), torch.linspace(-5, 5, 41), 'tanh')
suite.case('softplus', F.softplus, x, 1.0, 20.0)
suite.case('softplus', F.softplus, x * 10, 2.0, 5.0)
suite.case('clamp', torch.clamp, x, -1.0, 2.0)
suite.case('clamp', torch.clamp, x, None, 0.5)
suite.case('clamp', torch.clamp, x, 0.25, None)
suite.case('clamp', torch.clamp, torch.tensor([-5, 3, 9]), 0, 6)
suite.case('clamp', torch.clamp, torch.tensor([-1.0, 0.0, 1.0, NAN]), -1.0, 1.0, name='clamp bounds')

SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (2, 2)),
          ((2, 2), ()), ((0, 3), (1, 3)), ((2, 1, 3, 1), (4, 1, 5))]


def binary(op, f, *extra, positive=False, **kw):
    for sa, sb in SHAPES:
        a, b = torch.randn(sa), torch.randn(sb)
        if positive:
            a, b = a.abs() + 0.1, b.abs() + 0.3
        suite.case(op, f, a, b, *extra, name=f'{op} {sa} {sb}', **kw)


binary('add', lambda a, b, alpha: torch.add(a, b, alpha=alpha), 1)
binary('add', lambda a, b, alpha: torch.add(a, b, alpha=alpha), 0.7)
binary('sub', lambda a, b, alpha: torch.sub(a, b, alpha=alpha), 1)
binary('sub', lambda a, b, alpha: torch.sub(a, b, alpha=alpha), -1.3)
binary('mul', torch.mul)
binary('div', torch.div, positive=True)
binary('pow', torch.pow, positive=True)
binary('remainder', torch.remainder, positive=True)
binary('maximum', torch.maximum)
binary('minimum', torch.minimum)
nhwc = channels_last(2, 3, 4, 2)
for op, f in (('add', lambda a, b, alpha: a + b), ('sub', lambda a, b, alpha: a - b)):
    suite.case(op, f, nhwc, channels_last(2, 3, 4, 2), 1, name=op + ' channels last')
    suite.case(op, f, nhwc, torch.randn(1, 3, 1, 1), 1, name=op + ' per channel')
    suite.case(op, f, nhwc, torch.randn(2, 3, 4, 2), 1, name=op + ' mixed layouts')
    suite.case(op, f, nhwc, torch.randn(2, 1, 4, 2), 1, name=op + ' per position')
for op, f in (('mul', torch.mul), ('maximum', torch.maximum)):
    suite.case(op, f, nhwc, channels_last(2, 3, 4, 2), name=op + ' channels last')
    suite.case(op, f, nhwc, torch.randn(2, 3, 1, 1), name=op + ' squeeze-excite')
x = torch.randn(3, 4) * 2
for number in (2, 0.1, -3):
    suite.case('add', lambda a, b, alpha: torch.add(a, b, alpha=alpha), x, number, 1)
    suite.case('sub', lambda a, b, alpha: torch.sub(a, b, alpha=alpha), x, number, 2)
    suite.case('mul', torch.mul, x, number)
    suite.case('div', torch.div, x, number)
    suite.case('remainder', torch.remainder, x, number)
    suite.case('pow', torch.pow, x.abs() + 0.2, number)
for exponent in (0, 1, 2, 3, 0.5, -1, -2):
    suite.case('pow', torch.pow, x.abs() + 0.2, exponent)
suite.case('pow', torch.pow, torch.tensor([0.0, -2.0, 3.0]), 2)
suite.case('pow', torch.pow, torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, 2.0]))
suite.case('maximum', torch.maximum, torch.tensor([1.0, 2.0, NAN, 0.0]), torch.tensor([1.0, NAN, 3.0, -0.5]), name='maximum ties')
suite.case('minimum', torch.minimum, torch.tensor([1.0, 2.0, NAN, 0.0]), torch.tensor([1.0, NAN, 3.0, -0.5]), name='minimum ties')
# Promotion of dtypes.
ints, bools, bytes_ = torch.tensor([1, -2, 3]), torch.tensor([True, False, True]), torch.tensor([250, 5, 0], dtype=torch.uint8)
plus = lambda a, b, alpha: torch.add(a, b, alpha=alpha)
for a, b in ((ints, bools), (ints, torch.randn(3)), (bools, bools), (bytes_, bytes_), (bytes_, torch.tensor([1, 2, 3], dtype=torch.int8)),
             (ints, torch.tensor(2.5)), (torch.randn(3), torch.tensor(2, dtype=torch.int64)), (torch.randn(3), torch.tensor(2.5, dtype=torch.float64)),
             (torch.randn(3).half(), torch.randn(3)), (torch.randn(3).half(), torch.tensor(0.1)), (ints.int(), ints), (torch.randn(3).half(), torch.randn(3).bfloat16())):
    suite.case('add', plus, a, b, 1, grad=False, name=f'add {a.dtype} {b.dtype}')
    suite.case('mul', torch.mul, a, b, grad=False, name=f'mul {a.dtype} {b.dtype}')
for a in (ints, bools, bytes_):
    suite.case('add', plus, a, 2, 1, grad=False, name=f'add {a.dtype} integer')
    suite.case('mul', torch.mul, a, 2.5, grad=False, name=f'mul {a.dtype} float')
    suite.case('div', torch.div, a, 2, grad=False, name=f'div {a.dtype} integer')
suite.case('div', torch.div, ints, torch.tensor([2, 2, 2]), grad=False, name='div of integers')
suite.case('remainder', torch.remainder, torch.tensor([-7, 7, -7, 7]), torch.tensor([3, 3, -3, -3]), grad=False)
suite.case('pow', torch.pow, ints, 3, grad=False)

COMPARE = {'eq': torch.eq, 'ne': torch.ne, 'lt': torch.lt, 'le': torch.le, 'gt': torch.gt, 'ge': torch.ge}
for op, f in COMPARE.items():
    a, b = torch.randint(-2, 3, (4, 5)).float(), torch.randint(-2, 3, (5,)).float()
    suite.case(op, f, a, b)
    suite.case(op, f, a, 1)
    suite.case(op, f, torch.tensor([0.1, 0.2, NAN]), 0.1, name=op + ' float32 number')
    suite.case(op, f, ints, b[:3], name=op + ' mixed')
m, n = torch.rand(3, 4) > 0.5, torch.rand(4) > 0.5
suite.case('logicalNot', torch.logical_not, torch.tensor([0.0, 0.5, -1.0, NAN]))
suite.case('logicalAnd', torch.logical_and, m, n)
suite.case('logicalOr', torch.logical_or, m, n)
suite.case('logicalAnd', torch.logical_and, torch.tensor([0.5, 0.0]), torch.tensor([2, 2]))
suite.case('where', torch.where, m, torch.randn(3, 4), torch.randn(3, 4))
suite.case('where', torch.where, n, torch.randn(3, 1), torch.randn(()))
suite.case('where', torch.where, torch.rand(2, 3, 4, 2) > 0.5, nhwc, torch.randn(1, 3, 1, 1))
suite.case('maskedFill', lambda v, k, f: v.masked_fill(k, f), torch.randn(3, 4), n, -INF, name='maskedFill infinite')
suite.case('maskedFill', lambda v, k, f: v.masked_fill(k, f), torch.randn(3, 4), m, 0.5)

values = torch.tensor([0.0, 1.7, -1.7, 100.25, 0.1, -0.4, 65504.0, 1e-7])
for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.bool):
    name = str(dtype).split('.')[1]
    suite.case('to', lambda v, _: v.to(dtype), values, name, grad=dtype == torch.float64, name='to ' + name)
suite.case('to', lambda v, _: v.to(torch.uint8), values[:4], 'uint8', grad=False, name='to uint8')
suite.case('to', lambda v, _: v.float(), values.half(), 'float32', grad=False, name='float16 to float32')
suite.write()
