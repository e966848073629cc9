"""Golden numbers of the layer operators and functions, one file per kind (test/golden/layer.test.ts)."""
import torch
import torch.nn.functional as F

from common import Suite

suite = Suite('layer-product', seed=11)
randn = torch.randn


def geometry(stride, padding, dilation, groups, **rest):
    return {'stride': stride, 'padding': padding, 'dilation': dilation, 'groups': groups, **rest}


# Products -------------------------------------------------------------------------------------------------------------
for a, b in [
    ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 7), (7, 3)), ((1, 17), (17, 33)), ((9, 1), (1, 9)),
    ((4, 2, 3), (3, 5)), ((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((2, 3), (4, 3, 2)), ((4, 2, 3), (4, 3, 5)),
    ((2, 1, 3, 4), (5, 4, 2)), ((2, 2, 3, 4), (2, 2, 4, 3)), ((1, 2, 3), (6, 3, 1)), ((0, 3), (3, 2)),
]:
    suite.case('matmul', torch.matmul, randn(a), randn(b), name=f'matmul {a} {b}')
suite.case('matmul', torch.matmul, torch.randint(-9, 9, (3, 4)), torch.randint(-9, 9, (4, 5)), grad=False, name='matmul int64')
suite.case('matmul', torch.matmul, randn(3, 4, dtype=torch.float64), randn(4, 5, dtype=torch.float64), name='matmul float64')
suite.case('bmm', torch.bmm, randn(3, 2, 5), randn(3, 5, 4))
suite.case('bmm', torch.bmm, randn(1, 9, 17), randn(1, 17, 9))
for x, n in [((5,), 3), ((4, 5), 3), ((2, 3, 7), 9), ((33, 20), 10), ((1, 64), 1), ((2, 2, 2, 3), 4)]:
    suite.case('linear', F.linear, randn(x), randn(n, x[-1]), randn(n), name=f'linear {x} {n}')
suite.case('linear', F.linear, randn(6, 5), randn(3, 5), None)

suite.write()

# Convolutions: (batch, inC, outC, size, kernel, stride, padding, dilation, groups, bias) --------------------------------
suite = Suite('layer-conv', seed=13)
for n, i, o, size, k, s, p, d, g, bias in [
    (2, 3, 4, (11,), (3,), [1], [0], [1], 1, True), (1, 4, 6, (12,), (5,), [2], [2], [1], 2, True),
    (2, 2, 2, (9,), (3,), [1], [2], [2], 2, False), (1, 1, 1, (7,), (1,), [3], [0], [1], 1, True),
]:
    suite.case('conv1d', lambda x, w, b, q: F.conv1d(x, w, b, q['stride'], q['padding'], q['dilation'], q['groups']),
               randn(n, i, *size), randn(o, i // g, *k), randn(o) if bias else None, geometry(s, p, d, g))
for n, i, o, size, k, s, p, d, g, bias in [
    (2, 3, 8, (8, 8), (3, 3), [1, 1], [1, 1], [1, 1], 1, True), (1, 3, 5, (9, 7), (3, 3), [2, 2], [1, 1], [1, 1], 1, False),
    (1, 4, 4, (7, 9), (3, 3), [1, 1], [1, 1], [1, 1], 4, True), (2, 8, 8, (6, 5), (5, 5), [2, 1], [2, 2], [1, 1], 8, True),
    (1, 6, 9, (8, 6), (3, 2), [1, 2], [1, 0], [2, 1], 3, True), (1, 5, 7, (5, 5), (1, 1), [1, 1], [0, 0], [1, 1], 1, True),
    (1, 4, 8, (6, 6), (1, 1), [2, 2], [0, 0], [1, 1], 2, False), (1, 2, 3, (10, 11), (3, 3), [3, 2], [2, 1], [2, 3], 1, True),
    (1, 3, 6, (7, 7), (3, 3), [1, 1], [0, 2], [1, 1], 3, True), (3, 1, 2, (4, 4), (4, 4), [1, 1], [0, 0], [1, 1], 1, True),
    (1, 16, 9, (4, 5), (3, 3), [1, 1], [1, 1], [1, 1], 1, True),
]:
    suite.case('conv2d', lambda x, w, b, q: F.conv2d(x, w, b, q['stride'], q['padding'], q['dilation'], q['groups']),
               randn(n, i, *size), randn(o, i // g, *k), randn(o) if bias else None, geometry(s, p, d, g), tolerance=4e-6)
suite.case('conv2d', lambda x, w, b, q: F.conv2d(x, w, b, padding=1),
           randn(2, 4, 5, 6).contiguous(memory_format=torch.channels_last), randn(4, 4, 3, 3), randn(4),
           geometry([1, 1], [1, 1], [1, 1], 1), name='conv2d channels-last')
for n, i, o, size, k, s, p, d, g, bias in [
    (1, 2, 3, (4, 5, 6), (3, 3, 3), [1, 1, 1], [1, 1, 1], [1, 1, 1], 1, True),
    (2, 2, 4, (5, 4, 5), (2, 3, 1), [2, 1, 2], [0, 1, 0], [1, 1, 1], 2, False),
    (1, 2, 2, (5, 5, 5), (2, 2, 2), [1, 2, 1], [1, 0, 1], [2, 1, 2], 1, True),
]:
    suite.case('conv3d', lambda x, w, b, q: F.conv3d(x, w, b, q['stride'], q['padding'], q['dilation'], q['groups']),
               randn(n, i, *size), randn(o, i // g, *k), randn(o) if bias else None, geometry(s, p, d, g))
for op, f, shapes in [
    ('convTranspose1d', F.conv_transpose1d, [
        (2, 3, 4, (7,), (3,), [1], [0], [1], 1, [0], True), (1, 4, 6, (6,), (4,), [3], [1], [1], 2, [2], True),
        (1, 2, 2, (5,), (3,), [2], [2], [2], 1, [1], False)]),
    ('convTranspose2d', F.conv_transpose2d, [
        (1, 3, 4, (4, 5), (2, 2), [2, 2], [0, 0], [1, 1], 1, [0, 0], True),
        (2, 4, 4, (4, 4), (3, 3), [2, 2], [1, 1], [1, 1], 4, [1, 1], True),
        (1, 4, 6, (3, 5), (3, 2), [1, 3], [1, 0], [2, 1], 2, [0, 2], False),
        (1, 2, 3, (5, 4), (3, 3), [1, 1], [2, 2], [1, 1], 1, [0, 0], True),
        (1, 2, 2, (4, 4), (3, 3), [1, 1], [1, 1], [3, 3], 1, [2, 1], True)]),
    ('convTranspose3d', F.conv_transpose3d, [
        (1, 3, 2, (2, 3, 4), (2, 2, 2), [2, 2, 2], [0, 0, 0], [1, 1, 1], 1, [0, 0, 0], True),
        (2, 4, 2, (2, 3, 2), (3, 2, 3), [1, 2, 3], [1, 0, 1], [1, 2, 1], 2, [0, 1, 2], False)]),
]:
    for n, i, o, size, k, s, p, d, g, extra, bias in shapes:
        suite.case(op, lambda x, w, b, q: f(x, w, b, q['stride'], q['padding'], q['outputPadding'], q['groups'], q['dilation']),
                   randn(n, i, *size), randn(i, o // g, *k), randn(o) if bias else None,
                   geometry(s, p, d, g, outputPadding=extra))

suite.write()

# Pools ----------------------------------------------------------------------------------------------------------------
suite = Suite('layer-pool', seed=14)
def pool(k, s, p, d, ceil, **rest):
    return {'kernelSize': k, 'stride': s, 'padding': p, 'dilation': d, 'ceilMode': ceil, **rest}


def max_pool(f):
    return lambda x, q: f(x, q['kernelSize'], q['stride'], q['padding'], q['dilation'], q['ceilMode'])


def avg_pool(f):
    return lambda x, q: f(x, q['kernelSize'], q['stride'], q['padding'], q['ceilMode'], q['countIncludePad'])


for size, k, s, p, d, ceil in [((10,), [2], [2], [0], [1], False), ((11,), [3], [2], [1], [2], True), ((7,), [3], [1], [0], [1], False)]:
    suite.case('maxPool1d', max_pool(F.max_pool1d), randn(2, 3, *size), pool(k, s, p, d, ceil))
for size, k, s, p, d, ceil in [
    ((8, 8), [2, 2], [2, 2], [0, 0], [1, 1], False), ((9, 7), [3, 3], [2, 2], [1, 1], [1, 1], False),
    ((9, 8), [3, 2], [2, 3], [1, 1], [1, 1], True), ((8, 9), [3, 3], [1, 2], [1, 0], [2, 2], False),
    ((5, 5), [2, 2], [3, 3], [0, 0], [1, 1], True), ((6, 6), [3, 3], [1, 1], [1, 1], [1, 1], False),
    ((7, 7), [3, 3], [2, 2], [1, 1], [3, 2], True),
]:
    suite.case('maxPool2d', max_pool(F.max_pool2d), randn(2, 3, *size), pool(k, s, p, d, ceil))
ties = torch.randint(0, 3, (1, 2, 6, 6)).float()
suite.case('maxPool2d', max_pool(F.max_pool2d), ties, pool([3, 3], [2, 2], [1, 1], [1, 1], False), name='maxPool2d ties')
nan = randn(1, 2, 5, 5)
nan[0, 0, 2, 2] = float('nan')
nan[0, 1, 0, 0] = float('-inf')
suite.case('maxPool2d', max_pool(F.max_pool2d), nan, pool([2, 2], [1, 1], [0, 0], [1, 1], False), grad=False, name='maxPool2d NaN')
suite.case('maxPool3d', max_pool(F.max_pool3d), randn(1, 2, 5, 6, 7), pool([2, 3, 2], [2, 2, 1], [0, 1, 1], [1, 1, 2], False))
suite.case('maxPool3d', max_pool(F.max_pool3d), randn(2, 1, 4, 4, 4), pool([2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], True))
for size, k, s, p, ceil, pad in [((10,), [2], [2], [0], False, True), ((11,), [3], [2], [1], True, False), ((11,), [4], [3], [2], True, True)]:
    suite.case('avgPool1d', avg_pool(F.avg_pool1d), randn(2, 3, *size), pool(k, s, p, [1], ceil, countIncludePad=pad))
for size, k, s, p, ceil, pad in [
    ((8, 8), [2, 2], [2, 2], [0, 0], False, True), ((9, 7), [3, 3], [2, 2], [1, 1], False, True),
    ((9, 7), [3, 3], [2, 2], [1, 1], False, False), ((8, 9), [3, 4], [2, 3], [1, 2], True, True),
    ((8, 9), [3, 4], [2, 3], [1, 2], True, False), ((8, 8), [8, 8], [8, 8], [0, 0], False, True),
]:
    suite.case('avgPool2d', avg_pool(F.avg_pool2d), randn(2, 3, *size), pool(k, s, p, [1, 1], ceil, countIncludePad=pad))
suite.case('avgPool3d', avg_pool(F.avg_pool3d), randn(1, 2, 5, 6, 7), pool([2, 3, 2], [2, 2, 1], [1, 1, 0], [1, 1, 1], True, countIncludePad=True))
suite.case('avgPool3d', avg_pool(F.avg_pool3d), randn(1, 2, 5, 6, 7), pool([2, 3, 2], [2, 2, 1], [1, 1, 0], [1, 1, 1], True, countIncludePad=False))
for size, out in [((10,), [3]), ((7,), [7]), ((5,), [8])]:
    suite.case('adaptiveAvgPool1d', lambda x, o: F.adaptive_avg_pool1d(x, o), randn(2, 3, *size), out)
for size, out in [((7, 7), [1, 1]), ((10, 7), [3, 5]), ((4, 3), [6, 7]), ((8, 8), [4, 2])]:
    suite.case('adaptiveAvgPool2d', lambda x, o: F.adaptive_avg_pool2d(x, o), randn(2, 3, *size), out)


def resize(x, o):
    align = o['alignCorners'] if o['mode'] != 'nearest' else None
    if o['scales'] is None:
        return F.interpolate(x, size=o['size'], mode=o['mode'], align_corners=align)
    return F.interpolate(x, scale_factor=[1 / s for s in o['scales']], mode=o['mode'], align_corners=align)


for size, out, mode, align, scales in [
    ((7,), [12], 'nearest', False, None), ((7,), [5], 'linear', False, None), ((7,), [13], 'linear', True, None),
    ((5, 6), [10, 12], 'nearest', False, [0.5, 0.5]), ((5, 6), [7, 4], 'nearest', False, None),
    ((5, 6), [10, 9], 'bilinear', False, None), ((5, 6), [10, 12], 'bilinear', True, None),
    ((5, 6), [3, 4], 'bilinear', False, None), ((5, 7), [6, 9], 'bilinear', False, [0.8, 0.75]), ((4, 4), [1, 1], 'bilinear', True, None),
    ((3, 4, 5), [6, 5, 10], 'nearest', False, None),
]:
    # The places between samples are float32 numbers, and their rounding shows in the weights.
    suite.case('interpolate', resize, randn(2, 3, *size),
               {'size': out, 'mode': mode, 'alignCorners': align, 'scales': scales}, name=f'interpolate {mode} {size} {out}', tolerance=1e-5)

suite.write()

# Norms ----------------------------------------------------------------------------------------------------------------
suite = Suite('layer-norm', seed=15)
def batch_norm_train(x, w, b, eps):
    mean, var = torch.zeros(x.shape[1]), torch.zeros(x.shape[1])
    out = F.batch_norm(x, mean, var, w, b, True, 1.0, eps)
    n = x.numel() / x.shape[1]
    return out, mean.detach(), (var * ((n - 1) / n)).detach()


for shape, affine, eps in [((4, 3), True, 1e-5), ((2, 3, 5), True, 1e-5), ((3, 5, 4, 3), True, 1e-3), ((2, 4, 3, 3), False, 1e-5), ((2, 3, 2, 3, 4), True, 1e-5)]:
    x = randn(shape) * 2 + 1
    w, b = (randn(shape[1]), randn(shape[1])) if affine else (None, None)
    suite.case('batchNormTrain', batch_norm_train, x, w, b, eps, name=f'batchNormTrain {shape}', tolerance=1e-5)
    for weight, bias in [(w, b), (None, torch.randn(shape[1]))][: 2 if affine else 1]:
        mean, var = randn(shape[1]), torch.rand(shape[1]) + 0.1
        suite.case('batchNormEval', lambda x, m, v, w, b, e: F.batch_norm(x, m.detach(), v.detach(), w, b, False, 0.1, e),
                   x, mean, var, weight, bias, eps, name=f'batchNormEval {shape}', tolerance=4e-6)
for shape, normalized, affine in [((2, 5, 7), [7], True), ((2, 3, 4), [3, 4], True), ((6, 9), [9], False), ((3, 2, 4, 5), [5], True)]:
    suite.case('layerNorm', lambda x, s, w, b, e: F.layer_norm(x, s, w, b, e), randn(shape) * 3 + 2, normalized,
               randn(normalized) if affine else None, randn(normalized) if affine else None, 1e-5, tolerance=1e-5)
suite.case('layerNorm', lambda x, s, w, b, e: F.layer_norm(x, s, w, b, e), randn(4, 6), [6], randn(6), None, 1e-12, tolerance=1e-5)
for shape, groups, affine in [((2, 6, 4), 3, True), ((2, 4, 3, 5), 2, True), ((2, 4, 3, 3), 4, True), ((3, 6), 2, False), ((1, 4, 2, 3, 2), 1, True)]:
    suite.case('groupNorm', lambda x, g, w, b, e: F.group_norm(x, g, w, b, e), randn(shape) * 2 + 1, groups,
               randn(shape[1]) if affine else None, randn(shape[1]) if affine else None, 1e-5, tolerance=1e-5)

suite.write()

# Lookups --------------------------------------------------------------------------------------------------------------
suite = Suite('layer-lookup', seed=16)
for shape, target, weight, ignore, reduction in [
    ((5, 4), None, False, -100, 'mean'), ((5, 4), None, True, -100, 'mean'), ((5, 4), None, True, 2, 'mean'),
    ((5, 4), None, False, 1, 'none'), ((5, 4), None, True, -100, 'sum'), ((4,), 2, False, -100, 'mean'),
    ((2, 3, 4), None, True, 0, 'mean'), ((2, 3, 4, 2), None, False, -100, 'none'), ((2, 3, 2, 2), None, True, 1, 'sum'),
]:
    classes = shape[0] if len(shape) == 1 else shape[1]
    y = torch.tensor(target) if target is not None else torch.randint(0, classes, (shape[0], *shape[2:]))
    suite.case('nllLoss', lambda x, y, w, i, r: F.nll_loss(x, y, None if w is None else w.detach(), ignore_index=i, reduction=r),
               F.log_softmax(randn(shape), 0 if len(shape) == 1 else 1), y, torch.rand(classes) + 0.2 if weight else None, ignore, reduction,
               name=f'nllLoss {shape} {ignore} {reduction}')
suite.case('embedding', lambda i, w, p: F.embedding(i, w, p), torch.randint(0, 7, (3, 4)), randn(7, 5), None)
suite.case('embedding', lambda i, w, p: F.embedding(i, w, p), torch.randint(0, 4, (9,)), randn(4, 33), 2)
for mode in ['sum', 'mean', 'max']:
    suite.case('embeddingBag', lambda i, w, o, m, p: F.embedding_bag(i, w, o, mode=m), torch.randint(0, 10, (9,)), randn(10, 4),
               torch.tensor([0, 2, 2, 7]), mode, None, name=f'embeddingBag {mode}')
suite.case('embeddingBag', lambda i, w, o, m, p: F.embedding_bag(i, w, o, mode=m, per_sample_weights=p), torch.randint(0, 10, (7,)),
           randn(10, 4), torch.tensor([0, 3]), 'sum', randn(7), name='embeddingBag weighted')

# Recurrent cells: the gates come in before activation ------------------------------------------------------------------
def lstm(gates, c):
    i, f, g, o = gates.chunk(4, 1)
    after = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(after), after


def gru(x, y, h):
    xr, xz, xn = x.chunk(3, 1)
    yr, yz, yn = y.chunk(3, 1)
    z = torch.sigmoid(xz + yz)
    n = torch.tanh(xn + torch.sigmoid(xr + yr) * yn)
    return (h - n) * z + n


suite.case('lstmPointwise', lstm, randn(3, 20) * 2, randn(3, 5))
suite.case('lstmPointwise', lstm, randn(1, 68), randn(1, 17))
suite.case('gruPointwise', gru, randn(3, 15) * 2, randn(3, 15), randn(3, 5))

suite.write()

# Functions over several operators ---------------------------------------------------------------------------------------
suite = Suite('layer-functions', seed=12)



for shape, weight, ignore, reduction, smoothing in [
    ((6, 5), False, -100, 'mean', 0.0), ((6, 5), True, -100, 'mean', 0.0), ((6, 5), True, 2, 'mean', 0.1), ((6, 5), False, 1, 'mean', 0.2),
    ((6, 5), True, 1, 'sum', 0.1), ((6, 5), True, 3, 'none', 0.3), ((2, 3, 4), True, 0, 'mean', 0.1), ((2, 3, 2, 2), False, -100, 'none', 0.0),
    ((5,), False, -100, 'mean', 0.1),
]:
    classes = shape[0] if len(shape) == 1 else shape[1]
    y = torch.randint(0, classes, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    w = torch.rand(classes) + 0.2 if weight else None
    suite.case('crossEntropy', lambda x, y, o: F.cross_entropy(x, y, o['weight'], ignore_index=o['ignoreIndex'], reduction=o['reduction'], label_smoothing=o['labelSmoothing']),
               randn(shape) * 3, y, {'weight': w, 'ignoreIndex': ignore, 'reduction': reduction, 'labelSmoothing': smoothing},
               name=f'crossEntropy {shape} {ignore} {reduction} {smoothing}')
for shape, weight, reduction, smoothing in [((6, 5), False, 'mean', 0.0), ((6, 5), True, 'mean', 0.2), ((2, 3, 4), True, 'mean', 0.0), ((2, 3, 4), False, 'none', 0.1), ((4, 3), True, 'sum', 0.0)]:
    w = torch.rand(shape[1]) + 0.2 if weight else None
    suite.case('crossEntropy', lambda x, y, o: F.cross_entropy(x, y, o['weight'], reduction=o['reduction'], label_smoothing=o['labelSmoothing']),
               randn(shape) * 3, F.softmax(randn(shape), 1), {'weight': w, 'reduction': reduction, 'labelSmoothing': smoothing},
               name=f'crossEntropy probabilities {shape} {reduction} {smoothing}')
for reduction in ['mean', 'sum', 'none']:
    o = {'reduction': reduction}
    suite.case('mseLoss', lambda x, y, o: F.mse_loss(x, y, **o), randn(3, 4), randn(3, 4), o)
    suite.case('l1Loss', lambda x, y, o: F.l1_loss(x, y, **o), randn(3, 4), randn(3, 4), o)
    suite.case('smoothL1Loss', lambda x, y, o: F.smooth_l1_loss(x, y, **o), randn(3, 4) * 2, randn(3, 4), {**o, 'beta': 0.7})
    suite.case('klDiv', lambda x, y, o: F.kl_div(x, y, **o), F.log_softmax(randn(3, 4), 1), F.softmax(randn(3, 4), 1), o)
    suite.case('binaryCrossEntropyWithLogits', lambda x, y, o: F.binary_cross_entropy_with_logits(x, y, o['weight'], reduction=o['reduction'], pos_weight=o['posWeight']),
               randn(3, 4) * 5, torch.rand(3, 4), {**o, 'weight': torch.rand(4), 'posWeight': torch.rand(4) + 1})
suite.case('binaryCrossEntropyWithLogits', lambda x, y, o: F.binary_cross_entropy_with_logits(x, y),
           torch.tensor([-100.0, -20.5, 0.25, 19.5, 88.0]), torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0]), {})
one_hot_target = torch.eye(4)[[1, 3, 0]]
suite.case('klDiv', lambda x, y, o: F.kl_div(x, y, reduction='batchmean'), F.log_softmax(randn(3, 4), 1), one_hot_target, {'reduction': 'batchmean'}, grad=False)
suite.case('klDiv', lambda x, y, o: F.kl_div(x, y, reduction='sum', log_target=True), F.log_softmax(randn(3, 4), 1), F.log_softmax(randn(3, 4), 1), {'reduction': 'sum', 'logTarget': True})
suite.case('cosineSimilarity', lambda a, b, d: F.cosine_similarity(a, b, d), randn(3, 4, 5), randn(3, 4, 5), 1)
suite.case('cosineSimilarity', lambda a, b, d: F.cosine_similarity(a, b, d), randn(3, 1, 5), randn(4, 5), -1)
suite.case('oneHot', lambda x, n: F.one_hot(x, n), torch.tensor([[0, 2], [1, 3]]), -1)
suite.case('oneHot', lambda x, n: F.one_hot(x, n), torch.tensor([0, 2]), 5)


def attention(q, k, v, o):
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if o.get('isCausal'):
        scores = scores.masked_fill(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril().logical_not(), float('-inf'))
    if o.get('attnMask') is not None:
        scores = scores + o['attnMask']
    return torch.softmax(scores, -1) @ v


suite.case('scaledDotProductAttention', attention, randn(2, 3, 4, 6), randn(2, 3, 5, 6), randn(2, 3, 5, 7), {})
suite.case('scaledDotProductAttention', attention, randn(2, 4, 6), randn(2, 4, 6), randn(2, 4, 3), {'isCausal': True})
suite.case('scaledDotProductAttention', attention, randn(2, 4, 6), randn(2, 5, 6), randn(2, 5, 3), {'attnMask': randn(4, 5)})
for op, f, x, w, options in [
    ('conv1d', F.conv1d, (3, 10), (4, 3, 4), {'padding': 'same'}), ('conv1d', F.conv1d, (2, 3, 10), (4, 3, 3), {'padding': 'valid'}),
    ('conv2d', F.conv2d, (2, 3, 7, 8), (4, 3, 3, 4), {'padding': 'same', 'dilation': [1, 3]}), ('conv2d', F.conv2d, (3, 7, 8), (4, 3, 3, 3), {'stride': 2, 'padding': [1, 2]}),
    ('conv3d', F.conv3d, (2, 4, 4, 4), (2, 2, 2, 3, 3), {'padding': 'same'}),
]:
    suite.case(op, lambda x, w, b, o: f(x, w, b, **o), randn(x), randn(w), randn(w[0]), options, name=f'{op} {x} {options}')
suite.case('convTranspose1d', lambda x, w, b, o: F.conv_transpose1d(x.unsqueeze(0), w, b, stride=2).squeeze(0), randn(3, 5), randn(3, 2, 3), randn(2), {'stride': 2})
suite.case('maxPool2d', lambda x, k, o: F.max_pool2d(x, k, 2, padding=1), randn(3, 7, 7), 3, {'stride': 2, 'padding': 1})
suite.case('avgPool2d', lambda x, k: F.avg_pool2d(x, k), randn(3, 7, 7), 2)
suite.case('adaptiveAvgPool2d', lambda x, o: F.adaptive_avg_pool2d(x, o), randn(1, 3, 7, 6), [None, 2])
suite.case('interpolate', lambda x, o: F.interpolate(x, scale_factor=1.7, mode='bilinear', align_corners=False), randn(1, 2, 5, 6), {'scaleFactor': 1.7, 'mode': 'bilinear'}, tolerance=1e-5)
suite.case('interpolate', lambda x, o: F.interpolate(x, scale_factor=1.7, mode='bilinear', recompute_scale_factor=True), randn(1, 2, 5, 6),
           {'scaleFactor': 1.7, 'mode': 'bilinear', 'recomputeScaleFactor': True}, tolerance=1e-5)
suite.case('instanceNorm', lambda x, o: F.instance_norm(x, weight=o['weight'], bias=o['bias']), randn(2, 3, 4, 5), {'weight': randn(3), 'bias': randn(3)}, tolerance=1e-5)
suite.case('embeddingBag', lambda i, w, o, p: F.embedding_bag(i, w), torch.randint(0, 6, (3, 4)), randn(6, 3), None, {})
suite.case('embeddingBag', lambda i, w, o, p: F.embedding_bag(i, w, o, mode='sum', include_last_offset=True), torch.randint(0, 6, (5,)), randn(6, 3),
           torch.tensor([0, 2, 5]), {'mode': 'sum', 'includeLastOffset': True})


# What normalizing does to the running statistics: outputs are (result, running mean, running variance) afterwards.
def running(x, mean, var, o):
    m, v = mean.detach().clone(), var.detach().clone()
    out = F.batch_norm(x, m, v, training=True, momentum=o['momentum'])
    return out, m, v


def running_instance(x, mean, var, o):
    m, v = mean.detach().clone(), var.detach().clone()
    out = F.instance_norm(x, m, v, momentum=o['momentum'])
    return out, m, v


suite.case('batchNormRunning', running, randn(4, 3, 5), randn(3), torch.rand(3), {'momentum': 0.3}, grad=False, tolerance=1e-5)
suite.case('instanceNormRunning', running_instance, randn(4, 3, 5), randn(3), torch.rand(3), {'momentum': 0.3}, grad=False, tolerance=1e-5)
suite.write()
