"""Every layer of torch.nn over 20 random configurations: python3 test/golden/float_layers.py

A case is a class with its arguments, the shapes of its inputs and a seed, from which both sides draw weights and inputs.
Of every tensor that comes out (results, gradients of inputs and parameters, buffers that moved) two numbers are kept, into
which all elements go: their products with cos(1), cos(2), … added up, and their length.
"""
import json
import os
import random
import re
import warnings

import torch
from torch import nn

from observers_inputs import HERE, make_input

warnings.simplefilter('ignore')
rng = random.Random(77)
pick = lambda *options: rng.choice(options)  # noqa: E731
COUNT = 20


def fingerprint(t):
    flat = t.detach().double().contiguous().reshape(-1)
    weights = torch.cos(torch.arange(1, len(flat) + 1, dtype=torch.float64))
    return [float('%.9g' % v) for v in (float((flat * weights).sum()), float(flat.norm()))]


def snake(name):
    return re.sub('[A-Z]', lambda m: '_' + m[0].lower(), name)


def build(spec):
    """[class, arguments, options], whose arguments may be such lists themselves."""
    name, args, options = spec
    space = nn.intrinsic if hasattr(nn.intrinsic, name) else nn
    args = [build(a) if isinstance(a, list) and len(a) == 3 and isinstance(a[0], str) else a for a in args]
    return getattr(space, name)(*args, **{snake(k): v for k, v in options.items() if v is not None})


def flat(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for part in result or [] for t in flat(part)] if isinstance(result, (tuple, list)) else []


def inputs_of(case):
    made = []
    for i, shape in enumerate(case['inputs']):
        seed = case['seed'] + 1 + i
        if case.get('indices') is not None and i in case['indices']['of']:
            torch.manual_seed(seed)
            made.append(torch.floor(torch.rand(shape) * case['indices']['below']).long())
        else:
            made.append(make_input(dict(seed=seed, shape=shape, scale=4.0, shift=-2.0)).requires_grad_(True))
    return made


def run(spec, inputs, train=True, **rest):
    case = dict(spec=spec, inputs=inputs, seed=rng.randrange(1 << 30), train=train, **rest)
    torch.manual_seed(case['seed'])
    module = build(spec).train(train)
    x = inputs_of(case)
    torch.manual_seed(case['seed'])  # what dropouts draw
    outputs = flat(module(*x))
    first = outputs[0]
    if first.requires_grad:
        ramp = torch.arange(first.numel()) % 5 - 1.5
        first.backward(ramp.reshape(first.shape))
    case['outputs'] = [fingerprint(t) for t in outputs]
    case['grads'] = [fingerprint(t.grad) for t in [*x, *module.parameters()] if t.grad is not None]
    if train:
        case['buffers'] = [fingerprint(b) for b in module.buffers()]
    return case


SPACE = {1: lambda: [rng.randint(5, 9)], 2: lambda: [rng.randint(4, 7), rng.randint(4, 7)], 3: lambda: [rng.randint(3, 5) for _ in range(3)]}


def convolution(rank, transposed=False):
    groups = pick(1, 1, 2, 3)
    cin, cout = groups * pick(1, 2, 3), groups * pick(1, 2, 4)
    kernel = [pick(1, 2, 3) for _ in range(rank)]
    options = dict(stride=[pick(1, 1, 2) for _ in range(rank)], dilation=[pick(1, 1, 2) for _ in range(rank)], groups=groups, bias=pick(True, False),
                   padding=[rng.randint(0, k - 1) for k in kernel])
    if transposed:
        options['outputPadding'] = [rng.randint(0, max(s, d) - 1) for s, d in zip(options['stride'], options['dilation'])]
    else:
        options['paddingMode'] = pick('zeros', 'zeros', 'reflect', 'replicate', 'circular')
    return [f"Conv{'Transpose' if transposed else ''}{rank}d", [cin, cout, kernel], options], [pick(1, 2, 3), cin, *SPACE[rank]()]


def norm_options():
    return dict(eps=pick(1e-5, 1e-3), momentum=pick(0.1, 0.3), affine=pick(True, False), trackRunningStats=pick(True, False))


def batch_norm(rank, channels=None, **fixed):
    channels = channels or rng.randint(1, 5)
    return [f'BatchNorm{rank}d', [channels], {**norm_options(), **fixed}], [pick(2, 3, 4), channels, *SPACE[rank]()]


def instance_norm(rank):
    channels = rng.randint(1, 5)
    return [f'InstanceNorm{rank}d', [channels], norm_options()], [pick(1, 2, 3), channels, *SPACE[rank]()]


def pool(name, rank):
    kernel = [pick(1, 2, 3) for _ in range(rank)]
    options = dict(stride=[pick(1, 2) for _ in range(rank)], padding=[k // 2 if pick(True, False) else 0 for k in kernel], ceilMode=pick(True, False))
    if name == 'Max':
        options['dilation'] = [pick(1, 1, 2) for _ in range(rank)]
    else:
        options['countIncludePad'] = pick(True, False)
    if rank == 1:
        options = {k: v[0] if isinstance(v, list) else v for k, v in options.items()}
        kernel = kernel[0]
    return [f'{name}Pool{rank}d', [kernel], options], [pick(1, 2), pick(1, 3), *SPACE[rank]()]


def shape():
    return [rng.randint(1, 6) for _ in range(rng.randint(1, 4))]


def of_rank(rank):
    return [rng.randint(2, 4), rng.randint(1, 4), *SPACE[rank]()]


def recurrent(name):
    inputs, hidden, layers = rng.randint(1, 5), rng.randint(1, 5), rng.randint(1, 3)
    options = dict(numLayers=layers, bias=pick(True, False), batchFirst=pick(True, False), bidirectional=pick(True, False))
    if name == 'RNN':
        options['nonlinearity'] = pick('tanh', 'relu')
    return [name, [inputs, hidden], options], [rng.randint(1, 4), rng.randint(1, 4), inputs]


def attention():
    heads = rng.randint(1, 3)
    width = heads * pick(1, 2, 4)
    return heads, width


def linear():
    return ['Linear', [rng.randint(1, 9), rng.randint(1, 7)], dict(bias=pick(True, False))]


def fused(name):
    """A part from each, channels agreeing."""
    if name.startswith('BN'):
        rank = int(name[-2])
        norm, x = batch_norm(rank)
        return [name, [norm, ['ReLU', [], {}]], {}], x
    if name.startswith('Linear'):
        layer = linear()
        x = [rng.randint(2, 5), layer[1][0]]
        after = ['BatchNorm1d', [layer[1][1]], norm_options()] if 'Bn' in name else ['ReLU', [], {}]
        return [name, [layer, after], {}], x
    rank = int(name[-2])
    while True:
        layer, x = convolution(rank)
        parts = [layer]
        if 'Bn' in name:
            parts.append(batch_norm(rank, layer[1][1])[0])
        if 'ReLU' in name:
            parts.append(['ReLU', [], {}])
        return [name, parts, {}], [max(2, x[0]), *x[1:]]


def losses(name):
    n, classes = rng.randint(1, 6), rng.randint(2, 5)
    options = dict(reduction=pick('mean', 'sum', 'none'))
    if name in ('CrossEntropyLoss', 'NLLLoss'):
        if name == 'CrossEntropyLoss':
            options['labelSmoothing'] = pick(0.0, 0.1)
        return [name, [], options], [[n, classes], [n]], dict(indices=dict(of=[1], below=classes))
    if name == 'SmoothL1Loss':
        options['beta'] = pick(1.0, 0.5)
    if name == 'KLDivLoss':
        options.update(reduction=pick('batchmean', 'sum', 'mean'), logTarget=True)
    return [name, [], options], [[n, classes], [n, classes]], {}


SIMPLE = {
    'Identity': lambda: [[], {}], 'ReLU': lambda: [[], {}], 'ReLU6': lambda: [[], {}], 'SiLU': lambda: [[], {}],
    'Hardswish': lambda: [[], {}], 'Hardsigmoid': lambda: [[], {}], 'Sigmoid': lambda: [[], {}], 'Tanh': lambda: [[], {}],
    'Hardtanh': lambda: [[], dict(minVal=pick(-1.0, -0.3), maxVal=pick(1.0, 0.7))], 'LeakyReLU': lambda: [[pick(0.01, 0.3)], {}],
    'ELU': lambda: [[pick(1.0, 0.4)], {}], 'GELU': lambda: [[], dict(approximate=pick('none', 'tanh'))],
    'Softplus': lambda: [[], {}], 'Softmax': lambda: [[-1], {}], 'LogSoftmax': lambda: [[-1], {}],
}


def make(name):
    if name in SIMPLE:
        args, options = SIMPLE[name]()
        return run([name, args, options], [shape()])
    if name == 'Linear':
        spec = linear()
        return run(spec, [[*shape()[:2], spec[1][0]]])
    if name == 'Bilinear':
        a, b, n = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 4)
        return run([name, [a, b, rng.randint(1, 4)], dict(bias=pick(True, False))], [[n, a], [n, b]])
    if name.startswith('ConvTranspose') or (name.startswith('Conv') and not re.search('Bn|ReLU', name)):
        spec, x = convolution(int(name[-2]), 'Transpose' in name)
        return run(spec, [x])
    if name.startswith('BatchNorm'):
        spec, x = batch_norm(int(name[-2]))
        return run(spec, [x], pick(True, False))
    if name.startswith('InstanceNorm'):
        spec, x = instance_norm(int(name[-2]))
        return run(spec, [x], pick(True, False))
    if name == 'LayerNorm':
        x = shape()
        return run([name, [x[-pick(1, 2):]], dict(eps=pick(1e-5, 1e-3), elementwiseAffine=pick(True, False))], [x])
    if name == 'GroupNorm':
        groups = pick(1, 2, 3)
        channels = groups * pick(1, 2)
        return run([name, [groups, channels], dict(affine=pick(True, False))], [[pick(1, 2), channels, *SPACE[pick(1, 2)]()]])
    if name == 'PReLU':
        x = of_rank(2)
        return run([name, [], dict(numParameters=pick(1, x[1]), init=pick(0.25, 0.1))], [x])
    if name == 'GLU':
        x = [*shape()[:3], 2 * rng.randint(1, 4)]
        return run([name, [-1], {}], [x])
    if re.match('(Max|Avg)Pool', name):
        spec, x = pool(name[:3], int(name[-2]))
        return run(spec, [x])
    if name.startswith('AdaptiveAvg'):
        rank = int(name[-2])
        size = [rng.randint(1, 6) for _ in range(rank)]
        return run([name, [size if rank > 1 else size[0]], {}], [of_rank(rank)])
    if name == 'Upsample':
        rank = pick(1, 2)
        mode = 'nearest' if pick(True, False) else {1: 'linear', 2: 'bilinear'}[rank]
        options = dict(mode=mode, alignCorners=pick(True, False) if mode != 'nearest' else None)
        options.update(dict(size=[rng.randint(2, 9) for _ in range(rank)]) if pick(True, False) else dict(scaleFactor=pick(2.0, 1.5)))
        return run([name, [], {k: v for k, v in options.items() if v is not None}], [of_rank(rank)])
    if name == 'ZeroPad2d':
        return run([name, [[rng.randint(0, 2) for _ in range(4)]], {}], [of_rank(2)])
    if name == 'Flatten':
        x = of_rank(pick(1, 2, 3))
        start = rng.randint(0, 1)
        return run([name, [start, rng.randint(start, len(x) - 1)], {}], [x])
    if name == 'Unflatten':
        a, b = rng.randint(1, 3), rng.randint(1, 3)
        return run([name, [1, [a, b]], {}], [[rng.randint(1, 4), a * b, *shape()[:2]]])
    if name.startswith('Dropout'):
        x = of_rank(1 if name == 'Dropout1d' else 2)
        return run([name, [pick(0.1, 0.5)], {}], [x], pick(True, False))
    if name == 'Embedding':
        rows = rng.randint(3, 9)
        return run([name, [rows, rng.randint(1, 6)], dict(paddingIdx=pick(None, 1))], [[rng.randint(1, 4), rng.randint(1, 5)]],
                   indices=dict(of=[0], below=rows))
    if name == 'EmbeddingBag':
        rows = rng.randint(3, 9)
        return run([name, [rows, rng.randint(1, 6)], dict(mode=pick('sum', 'mean', 'max'))], [[rng.randint(1, 4), rng.randint(1, 5)]],
                   indices=dict(of=[0], below=rows))
    if name in ('RNN', 'LSTM', 'GRU'):
        spec, x = recurrent(name)
        return run(spec, [x])
    if name in ('RNNCell', 'LSTMCell', 'GRUCell'):
        inputs, hidden = rng.randint(1, 5), rng.randint(1, 5)
        return run([name, [inputs, hidden], dict(bias=pick(True, False))], [[rng.randint(1, 4), inputs]])
    if name == 'MultiheadAttention':
        heads, width = attention()
        options = dict(bias=pick(True, False), addBiasKv=pick(True, False), addZeroAttn=pick(True, False))
        target, source, batch = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 3)
        return run([name, [width, heads], options], [[target, batch, width], [source, batch, width], [source, batch, width]])
    if name.startswith('Transformer'):
        heads, width = attention()
        layer = ['TransformerEncoderLayer', [width, heads], dict(dimFeedforward=rng.randint(2, 8), dropout=0.0, activation=pick('relu', 'gelu'),
                                                                normFirst=pick(True, False), batchFirst=pick(True, False))]
        x = [[rng.randint(1, 4), rng.randint(1, 4), width]]
        return run(layer, x) if name.endswith('Layer') else run([name, [layer, rng.randint(1, 3)], {}], x)
    if name.endswith('Loss'):
        spec, x, rest = losses(name)
        return run(spec, x, **rest)
    spec, x = fused(name)
    return run(spec, [x], pick(True, False))


NAMES = [
    *SIMPLE, 'Linear', 'Bilinear', *[f'{kind}{rank}d' for kind in ('Conv', 'ConvTranspose', 'BatchNorm', 'InstanceNorm') for rank in (1, 2, 3)],
    'LayerNorm', 'GroupNorm', 'PReLU', 'GLU', *[f'{kind}Pool{rank}d' for kind in ('Max', 'Avg') for rank in (1, 2, 3)],
    'AdaptiveAvgPool1d', 'AdaptiveAvgPool2d', 'Upsample', 'ZeroPad2d', 'Flatten', 'Unflatten', 'Dropout', 'Dropout1d', 'Dropout2d',
    'Embedding', 'EmbeddingBag', 'RNN', 'LSTM', 'GRU', 'RNNCell', 'LSTMCell', 'GRUCell', 'MultiheadAttention', 'TransformerEncoderLayer',
    'TransformerEncoder', 'CrossEntropyLoss', 'NLLLoss', 'MSELoss', 'L1Loss', 'SmoothL1Loss', 'BCEWithLogitsLoss', 'KLDivLoss',
    'LinearReLU', 'LinearBn1d', *[f'{kind}{rank}d' for kind in ('ConvReLU', 'ConvBn', 'ConvBnReLU') for rank in (1, 2, 3)], 'BNReLU2d', 'BNReLU3d', 'AdaptiveAvgPool3d',
]

cases = []
for name in NAMES:
    made = 0
    while made < COUNT:
        try:
            cases.append(make(name))
            made += 1
        except (RuntimeError, ValueError) as e:
            print('PyTorch cannot:', name, str(e).splitlines()[0][:120])
half = len(cases) // 2
for part, some in (('1', cases[:half]), ('2', cases[half:])):
    path = os.path.join(HERE, 'data', f'float_layers_{part}.json')
    with open(path, 'w') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in some) + '\n]\n')
    print(path, len(some), 'cases', os.path.getsize(path), 'bytes')
