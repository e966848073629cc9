"""What PyTorch 1.13 makes of single layers on the whole eager path: float module, qconfig, fuse, prepare, calibrate, convert.

Weights and inputs are not stored: both sides draw them from `manual_seed(seed)` with `rand`, in the order written here.
Half of the cases put both on a coarse grid, where every float32 sum is exact in any order: there the activation
parameters must agree to the bit. The other half keeps full random numbers.

Convolutions and linear layers run on the qnnpack engine, functionals on ATen's own kernels (onednn engine), whose float
arithmetic is the one parity is defined by.

Run: python3 test/golden/quantized_layers.py   (writes data/quantized_layers.json)
"""
import base64
import json
import os
import random
import warnings
import zlib

import torch
import torch.nn.functional as F
from torch import nn
from torch.ao import quantization as tq
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver

warnings.simplefilter('ignore')
HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(29)
cases = []
# All weights and inputs are multiples of these: products of 2^-12, sums below 2^11.
WEIGHT_GRID, INPUT_GRID = 2.0 ** 6, 2.0 ** 6
BACKENDS = ('fbgemm', 'qnnpack', 'x86', 'onednn', 'minmax', 'reduced')


def qconfig_of(name):
    """PyTorch's defaults per backend, and two of min-max observers: full range, and reduced with weights per channel."""
    if name == 'minmax':
        return tq.QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8),
                          weight=MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric))
    if name == 'reduced':
        return tq.QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8, reduce_range=True),
                          weight=PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric))
    return tq.get_default_qconfig(name)


def grid(t, steps):
    """The same numbers rounded to multiples of 1 / steps, without negative zeros."""
    return torch.round(t * steps) / steps + 0.0


def draw(shape, exact, low, width, steps):
    """rand in low … low + width; on the grid where `exact`."""
    x = torch.rand(shape) * width + low
    return grid(x, steps) if exact else x


def b64(t):
    t = t.int_repr() if t.is_quantized else t
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


def crc(t):
    return zlib.crc32(t.detach().contiguous().numpy().tobytes())


def kinds(value):
    """What a state-dict value is, in words that both sides can say."""
    if isinstance(value, torch.Tensor):
        shape = ', '.join(map(str, value.shape))
        scheme = ' ' + str(value.qscheme())[len('torch.'):] if value.is_quantized else ''
        return f'{str(value.dtype)[len("torch."):]}[{shape}]{scheme}'
    if isinstance(value, tuple):
        return [kinds(v) for v in value]
    if isinstance(value, torch.dtype):
        return 'dtype ' + str(value)[len('torch.'):]
    return 'none' if value is None else type(value).__name__


def state(module):
    return [[k, kinds(v)] for k, v in module.state_dict().items()]


def weight_of(q):
    w = q.weight()
    per_channel = w.qscheme() == torch.per_channel_affine
    return dict(scales=(w.q_per_channel_scales() if per_channel else torch.tensor([w.q_scale()])).tolist(),
                zeroPoints=(w.q_per_channel_zero_points().long() if per_channel else torch.tensor([w.q_zero_point()])).tolist(),
                ints=b64(w))


class Net(nn.Module):
    """A layer between stubs, with or without a rectifier behind it."""

    def __init__(self, layer, relu):
        super().__init__()
        self.quant = tq.QuantStub()
        self.layer = layer
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        return self.dequant(self.relu(self.layer(self.quant(x))))


def static(kind, make, config, input_shape, seed):
    """One layer all the way; the converted layer's integers on the last calibration batch are the result."""
    exact, backend, relu = config['exact'], config['backend'], config['relu']
    torch.manual_seed(seed)
    layer = make()
    with torch.no_grad():
        layer.weight.copy_(draw(layer.weight.shape, exact, -0.5, 1.0, WEIGHT_GRID))
        if layer.bias is not None:
            layer.bias.copy_(draw(layer.bias.shape, exact, -1.0, 2.0, WEIGHT_GRID))
    net = Net(layer, relu).eval()
    net.qconfig = qconfig_of(backend)
    if relu:
        tq.fuse_modules(net, [['layer', 'relu']], inplace=True)
    floats = repr(net)
    tq.prepare(net, inplace=True)
    for i in range(config['batches']):
        x = draw(input_shape, exact, config['low'] - i * 0.5, config['width'] + i, INPUT_GRID)
        with torch.no_grad():
            net(x)
    layer_observer = net.layer.activation_post_process
    fed = crc(x)
    # qnnpack unpacks a missing bias as zeros and 3-d weights not at all; onednn gives back what was packed.
    torch.backends.quantized.engine = 'onednn'
    described = tq.convert(net)
    text, keys, weight = repr(described), state(described), weight_of(described.layer)
    torch.backends.quantized.engine = 'qnnpack'
    tq.convert(net, inplace=True)
    y = net.layer(net.quant(x))
    q = net.layer
    cases.append(dict(
        kind=kind, seed=seed, input=input_shape, **config, inputCrc=fed, float=floats, repr=text, state=keys, weight=weight,
        quant=[net.quant.scale.item(), net.quant.zero_point.item()], out=[q.scale, q.zero_point],
        range=[layer_observer.min_val.item(), layer_observer.max_val.item()], shapeOut=list(y.shape), ints=b64(y)))


def base(i):
    return dict(exact=i % 2 == 0, backend=BACKENDS[i % len(BACKENDS)], relu=rng.random() < 0.5, batches=rng.choice([2, 3]),
                low=rng.choice([-2.0, -1.0, 0.0, 0.5, -4.0]), width=rng.choice([2.0, 3.0, 4.0]))


def convolutions(rank):
    made = 0
    for _ in range(140):
        if made == 34:
            break
        seed = rng.randrange(10 ** 6)
        groups = rng.choice([1, 1, 1, 2, 4]) if rank < 3 else 1
        cin, cout = groups * rng.randint(1, 4), groups * rng.randint(1, 4)
        if rank == 2 and made % 6 == 5:  # depthwise
            groups = cin = cout = rng.choice([8, 9, 16])
        k = [rng.choice([1, 3, 3, 5] if rank < 3 else [1, 2, 3]) for _ in range(rank)]
        stride = [rng.choice([1, 1, 2, 3]) for _ in range(rank)]
        dilation = [rng.choice([1, 1, 2]) if rank < 3 else 1 for _ in range(rank)]
        padding, mode = [rng.randint(0, kk // 2) for kk in k], 'zeros'
        form = made % 8
        text = None
        if form == 3:
            text, stride, padding = 'same', [1] * rank, None
            k = [kk | 1 for kk in k]
        elif form == 5:
            text, padding = 'valid', None
        elif form in (2, 6) and rank < 3:
            mode = 'reflect'
            padding = [max(1, p) for p in padding]
        size = [rng.randint(5, 9) if rank < 3 else rng.randint(3, 5) for _ in range(rank)]
        size = [max(s, d * (kk - 1) + 1) for s, d, kk in zip(size, dilation, k)]
        # PyTorch packs numbers only: 'same' and 'valid' fail at convert there, and equal these.
        numeric = padding if padding is not None else [d * (kk - 1) // 2 if text == 'same' else 0 for d, kk in zip(dilation, k)]
        bias = rng.random() < 0.7
        config = dict(base(made), conv=dict(rank=rank, inChannels=cin, outChannels=cout, kernelSize=k, stride=stride, dilation=dilation,
                                            groups=groups, bias=bias, paddingMode=mode, padding=text or padding))
        cls = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
        try:
            static(f'conv{rank}d', lambda: cls(cin, cout, tuple(k), tuple(stride), tuple(numeric), tuple(dilation), groups, bias, mode),
                   config, [rng.randint(1, 2), cin, *size], seed)
            made += 1
        except RuntimeError as e:
            print('PyTorch cannot:', f'conv{rank}d', config, str(e).splitlines()[0])


torch.backends.quantized.engine = 'qnnpack'
for r in (1, 2, 3):
    convolutions(r)

for i in range(24):
    fin, fout, bias = rng.choice([1, 5, 16, 33, 40]), rng.choice([1, 7, 10, 16]), rng.random() < 0.7
    lead = rng.choice([[1], [3], [7], [2, 5]])
    static('linear', lambda: nn.Linear(fin, fout, bias), dict(base(i), linear=dict(inFeatures=fin, outFeatures=fout, bias=bias)),
           [*lead, fin], rng.randrange(10 ** 6))

for i in range(48):
    seed, exact, relu = rng.randrange(10 ** 6), i % 2 == 0, i % 4 < 2
    fin, fout, bias = rng.choice([1, 5, 16, 33, 40]), rng.choice([1, 7, 10, 16]), rng.random() < 0.7
    shape = [*rng.choice([[1], [3], [2, 4]]), fin]
    qconfig = ('default', 'perChannel')[i % 4 == 1]
    torch.manual_seed(seed)
    linear = nn.Linear(fin, fout, bias)
    with torch.no_grad():
        linear.weight.copy_(draw(linear.weight.shape, exact, -0.5, 1.0, WEIGHT_GRID))
        if bias:
            linear.bias.copy_(draw(linear.bias.shape, exact, -1.0, 2.0, WEIGHT_GRID))
    net = nn.Sequential(linear, nn.ReLU() if relu else nn.Identity()).eval()
    if relu:
        tq.fuse_modules(net, [['0', '1']], inplace=True)
    config = tq.default_dynamic_qconfig if qconfig == 'default' else tq.per_channel_dynamic_qconfig
    torch.backends.quantized.engine = 'onednn'
    described = tq.quantize_dynamic(net, {type(net[0]): config}, dtype=torch.qint8)
    text, keys, weight = repr(described), state(described), weight_of(described[0])
    torch.backends.quantized.engine = 'qnnpack'
    q = tq.quantize_dynamic(net, {type(net[0]): config}, dtype=torch.qint8)
    low = rng.choice([-2.0, 0.0, 1.0])
    x = draw(shape, exact, low, 3.0, INPUT_GRID)
    cases.append(dict(kind='linear_dynamic', seed=seed, input=shape, exact=exact, relu=relu, qconfig=qconfig, low=low, width=3.0,
                      linear=dict(inFeatures=fin, outFeatures=fout, bias=bias), inputCrc=crc(x), repr=text, state=keys,
                      weight=weight, shapeOut=list(q(x).shape), floats=q(x).reshape(-1).tolist()))

torch.backends.quantized.engine = 'onednn'
OPS = ('add', 'add_relu', 'mul', 'cat', 'add_scalar', 'mul_scalar')


class Functional(nn.Module):
    """Two quantized inputs into one operation of a FloatFunctional."""

    def __init__(self, op, value):
        super().__init__()
        self.quant1, self.quant2 = tq.QuantStub(), tq.QuantStub()
        self.f = FloatFunctional()
        self.dequant = tq.DeQuantStub()
        self.op, self.value = op, value

    def forward(self, a, b):
        return self.dequant(self.apply_op(self.quant1(a), self.quant2(b)))

    def apply_op(self, a, b):
        if self.op == 'cat':
            return self.f.cat([a, b], 1)
        if self.op.endswith('scalar'):
            return getattr(self.f, self.op)(a, self.value)
        return getattr(self.f, self.op)(a, b)


for i in range(36):
    op, exact, backend = OPS[i % 6], (i // 6) % 2 == 0, BACKENDS[(i // 6) % len(BACKENDS)]
    seed, value = rng.randrange(10 ** 6), rng.choice([0.5, -0.25, 3.0, 2.5])
    shape = rng.choice([[3, 7], [2, 5, 4, 3], [1, 8, 4, 4]])
    config = dict(op=op, exact=exact, backend=backend, value=value, batches=2, low=rng.choice([-2.0, 0.0, -1.0]), width=rng.choice([2.0, 3.0]))
    net = Functional(op, value).eval()
    net.qconfig = qconfig_of(backend)
    # A scalar operation leaves its observer without data, which PyTorch converts with a warning.
    tq.prepare(net, inplace=True)
    torch.manual_seed(seed)
    for j in range(2):
        a = draw(shape, exact, config['low'], config['width'], INPUT_GRID)
        b = draw(shape, exact, config['low'] - 1.0, config['width'] + 2.0, INPUT_GRID)
        net(a, b)
    tq.convert(net, inplace=True)
    y = net.apply_op(net.quant1(a), net.quant2(b))
    cases.append(dict(kind='functional', seed=seed, input=shape, **config, inputCrc=crc(b), repr=repr(net), state=state(net),
                      quant=[net.quant1.scale.item(), net.quant1.zero_point.item()], out=[net.f.scale, net.f.zero_point],
                      outQ=[y.q_scale(), y.q_zero_point()], shapeOut=list(y.shape), ints=b64(y)))

path = os.path.join(HERE, 'data', 'quantized_layers.json')
with open(path, 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
print(f'{path}: {len(cases)} cases, {os.path.getsize(path)} bytes (torch {torch.__version__})')
