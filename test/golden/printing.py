"""Printed forms of tensors: str(tensor) in PyTorch 1.13, case by case.

Run: /usr/bin/python3 test/golden/printing.py
"""
import json
import os

import torch

from common import HERE, encode_tensor

cases = []


def case(name, t):
    entry = {'name': name, 'text': str(t)}
    if t.is_quantized:
        entry['tensor'] = {'dtype': str(t.dtype).removeprefix('torch.'), 'shape': list(t.shape),
                           'data': t.int_repr().reshape(-1).tolist()}
        if t.qscheme() == torch.per_tensor_affine:
            entry['qparams'] = {'scale': t.q_scale(), 'zeroPoint': t.q_zero_point()}
        else:
            entry['qparams'] = {'scales': t.q_per_channel_scales().tolist(),
                                'zeroPoints': t.q_per_channel_zero_points().tolist(), 'axis': t.q_per_channel_axis()}
    else:
        entry['tensor'] = encode_tensor(t)
        # JSON has no negative zero.
        if t.is_floating_point():
            flat = t.detach().float().reshape(-1)
            entry['negativeZeros'] = ((flat == 0) & torch.signbit(flat)).nonzero().reshape(-1).tolist()
        if t.requires_grad:
            entry['requiresGrad'] = True
    cases.append(entry)


nan, inf = float('nan'), float('inf')
torch.manual_seed(0)

for value in [0.0, -0.0, 1.0, -1.0, 0.5, 3.14159265, 1e-5, 1e-4, 9.9999e-5, 1e8, 1.5e8, 123456.789, 1e10, nan, inf, -inf]:
    case(f'scalar {value}', torch.tensor(value))
for value in [0, -7, 12345678901]:
    case(f'int64 scalar {value}', torch.tensor(value))
case('bool scalar', torch.tensor(True))

# Four decimals, whole numbers, scientific: the choice depends on all values.
case('whole', torch.tensor([1.0, 2.0, 3.0]))
case('whole, negative', torch.tensor([-1.0, 20.0, 300.0]))
case('whole, large', torch.tensor([1.0, 99999999.0]))
case('whole, scientific', torch.tensor([1.0, 200000000.0]))
case('whole with zeros', torch.tensor([0.0, -0.0, 5.0]))
case('fractions', torch.tensor([0.1, -0.25, 100.125]))
case('ratio of 1000', torch.tensor([0.5, 500.0]))
case('ratio above 1000', torch.tensor([0.5, 500.5]))
case('small', torch.tensor([1e-4, 2e-4]))
case('smaller', torch.tensor([1e-5, 2e-5]))
case('tiny and zero', torch.tensor([0.0, 1e-20]))
case('denormal', torch.tensor([1e-42, 1.0]))
case('three-digit exponents', torch.tensor([1e-200, 1e200], dtype=torch.float64))
case('large fractions', torch.tensor([1e8 + 8, 0.5]))
case('halfway cases', torch.tensor([0.03125, 0.09375, 0.15625, 0.21875, 1.03125, -0.03125]))
case('halfway cases, scientific', torch.tensor([1.00005e-6, 1.000050067901611328125, 12345.5]))
case('nan and inf', torch.tensor([1.5, nan, inf, -inf]))
case('nan and inf, whole', torch.tensor([1.0, nan, inf, -inf]))
case('nan and inf, scientific', torch.tensor([1e-7, nan, inf, -inf]))
case('only nan', torch.tensor([nan, nan]))
case('only zeros', torch.zeros(3))
case('zeros beyond one line', torch.zeros(40))
case('infinities beyond one line', torch.full((40,), inf))
case('nan between zeros beyond one line', torch.tensor([0.0, nan] * 20))

case('int64', torch.tensor([1, -20, 300]))
case('int64, zeros', torch.zeros(50, dtype=torch.int64))
case('int32', torch.tensor([1, -20, 300], dtype=torch.int32))
case('int16', torch.tensor([[1, -20], [300, 4]], dtype=torch.int16))
case('int8', torch.tensor([1, -128], dtype=torch.int8))
case('uint8', torch.tensor([1, 255], dtype=torch.uint8))
case('bool', torch.tensor([[True, False], [False, False]]))
case('bool, all true', torch.tensor([True] * 20))
case('bool, all false', torch.tensor([False] * 30))
case('float64', torch.tensor([0.1, 2.0], dtype=torch.float64))
case('float16', torch.tensor([0.1, 2.0, 65504.0], dtype=torch.float16))
case('float16, small', torch.tensor([0.1, 2.0], dtype=torch.float16))
case('bfloat16', torch.tensor([0.1, 2.0], dtype=torch.bfloat16))

for shape in [(0,), (0, 3), (2, 0), (2, 0, 3)]:
    case(f'empty {shape}', torch.zeros(shape))
case('empty int64', torch.zeros(0, dtype=torch.int64))
case('empty bool', torch.zeros(0, dtype=torch.bool))
case('empty float64', torch.zeros((0, 2), dtype=torch.float64))

# Line breaks and nesting.
case('one line full', torch.randn(8))
case('two lines', torch.randn(9))
case('many lines', torch.randn(50))
case('matrix', torch.randn(3, 4))
case('wide matrix', torch.randn(2, 20))
case('one column', torch.randn(5, 1))
case('three dimensions', torch.randn(2, 3, 4))
case('four dimensions', torch.randn(2, 1, 2, 3))
case('five dimensions', torch.randn(1, 2, 1, 2, 2))
case('wide integers', torch.arange(60).reshape(2, 30) * 1000)
case('1000 elements', torch.arange(1000))
case('1000 elements, deep', torch.arange(1000).reshape(10, 10, 10))
case('summarized', torch.arange(1001))
case('summarized, float', torch.arange(1200) * 0.25)
case('summarized matrix', torch.arange(1225).reshape(35, 35))
case('summarized matrix, few columns', torch.arange(1200).reshape(200, 6))
case('summarized matrix, seven columns', torch.arange(1400).reshape(200, 7))
case('summarized matrix, few rows', torch.arange(1200).reshape(4, 300))
case('summarized three dimensions', torch.arange(1728).reshape(12, 12, 12))
case('summarized, extremes hidden', torch.cat([torch.ones(500), torch.tensor([1e10]), torch.ones(500)]))
case('summarized bool', (torch.arange(1100) % 3 == 0))
case('summarized zeros', torch.zeros(1100))
case('summarized float64', torch.arange(1100, dtype=torch.float64))

case('requires grad', torch.tensor([1.5, 2.5], requires_grad=True))
case('requires grad, scalar', torch.tensor(2.0, requires_grad=True))
case('requires grad, broken line', torch.randn(9, requires_grad=True))
case('requires grad, suffix on its own line', torch.randn(7, dtype=torch.float64, requires_grad=True))
case('requires grad, empty', torch.zeros(0, requires_grad=True))

x = torch.tensor([-1.0, 0.0, 1.0, 2.0])
case('quint8', torch.quantize_per_tensor(x, 0.1, 10, torch.quint8))
case('qint8', torch.quantize_per_tensor(x, 0.0234375, -3, torch.qint8))
case('qint32', torch.quantize_per_tensor(x, 1e-6, 0, torch.qint32))
case('whole scale', torch.quantize_per_tensor(x, 1.0, 0, torch.qint8))
case('tiny scale', torch.quantize_per_tensor(x * 1e-6, 1e-8, 0, torch.qint8))
case('quantized scalar', torch.quantize_per_tensor(torch.tensor(0.5), 0.1, 0, torch.quint8))
case('quantized matrix', torch.quantize_per_tensor(torch.randn(2, 3), 0.05, 64, torch.quint8))
case('quantized, beyond one line', torch.quantize_per_tensor(torch.randn(2, 12), 0.05, 64, torch.quint8))
case('quantized, empty', torch.quantize_per_tensor(torch.zeros(0, 3), 0.05, 64, torch.quint8))
case('quantized, summarized', torch.quantize_per_tensor(torch.arange(1100) * 0.1, 0.5, 3, torch.quint8))
w = torch.randn(3, 4)
case('per channel', torch.quantize_per_channel(w, torch.tensor([0.1, 0.02, 0.5]), torch.tensor([0, 0, 0]), 0, torch.qint8))
case('per channel, axis 1', torch.quantize_per_channel(w, torch.tensor([0.1, 0.02, 0.5, 0.25], dtype=torch.float64),
                                                       torch.tensor([1, 2, 3, 100]), 1, torch.quint8))
case('per channel, many', torch.quantize_per_channel(torch.randn(12, 2), torch.rand(12) * 0.05 + 0.01,
                                                     torch.zeros(12, dtype=torch.int64), 0, torch.qint8))
case('per channel, tiny scales', torch.quantize_per_channel(torch.randn(2, 2), torch.tensor([1e-6, 1.0]),
                                                            torch.zeros(2, dtype=torch.int64), 0, torch.qint8))

path = os.path.join(HERE, 'data', 'printing.json')
with open(path, 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
print(f'{path}: {len(cases)} cases, {os.path.getsize(path)} bytes (torch {torch.__version__})')
