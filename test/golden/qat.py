"""Layers and whole runs of quantization-aware training in real PyTorch: python3 test/golden/qat.py

Every case is a seed and a configuration; inputs, output gradients and initial weights come from the seed on both sides.
Results are kept as base64 float32: all of a small tensor, of a large one every n-th element (8 at most).

PyTorch's fused fake-quantize trains with other scales than its observer suggests to `convert` (for symmetric weights up
to 0.4 % apart). What is compared is the network that was trained, so conversion here takes the trained parameters.
"""
import base64
import contextlib
import json
import os
import random
import warnings

import numpy as np
import torch
import torch.ao.nn.qat as nnqat
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.intrinsic.qat as nniqat
from torch.ao import quantization as Q

from observers_inputs import HERE, make_input

warnings.simplefilter('ignore')
torch.backends.quantized.engine = 'qnnpack'
Q.FusedMovingAvgObsFakeQuantize.calculate_qparams = lambda self: (self.scale, self.zero_point)
rng = random.Random(41)
KEPT = 8


def base(values):
    return base64.b64encode(values.tobytes()).decode()


def sample(t):
    flat = t.detach().float().contiguous().numpy().reshape(-1)
    return base(np.ascontiguousarray(flat[:: -(-len(flat) // KEPT)], dtype=np.float32))


def qconfig_of(name):
    if name == 'embedding':
        return Q.default_embedding_qat_qconfig
    if name == 'dynamic':
        return Q.qconfig.default_dynamic_qat_qconfig
    if name == 'symmetric':
        return Q.default_symmetric_qnnpack_qat_qconfig
    backend, version = name.split(':')
    return Q.get_default_qat_qconfig(backend, int(version))


QCONFIGS = ['qnnpack:0', 'qnnpack:1', 'fbgemm:0', 'fbgemm:1', 'onednn:1', 'symmetric']
CONVS = {f'{prefix}{rank}d': rank for prefix in ('Conv', 'ConvReLU', 'ConvBn', 'ConvBnReLU') for rank in (1, 2, 3)}


def make(name, o):
    qconfig = qconfig_of(o['qconfig'])
    torch.manual_seed(o['seed'])
    if name in CONVS:
        cls = getattr(nniqat if name[4] in 'RB' else nnqat, name)
        extra = dict(eps=o['eps'], momentum=o['momentum']) if 'Bn' in name else {}
        return cls(o['in'], o['out'], o['kernel'], stride=o['stride'], padding=o['padding'], dilation=o['dilation'],
                   groups=o['groups'], bias=o['bias'], qconfig=qconfig, **extra)
    if name == 'Embedding':
        return nnqat.Embedding(o['in'], o['out'], padding_idx=o['padding_idx'], qconfig=qconfig)
    if name == 'EmbeddingBag':
        return nnqat.EmbeddingBag(o['in'], o['out'], mode=o['mode'], qconfig=qconfig)
    if name == 'DynamicLinear':
        return torch.ao.nn.qat.dynamic.Linear(o['in'], o['out'], bias=o['bias'], qconfig=qconfig)
    if name == 'LinearBn1d':
        m = nniqat.LinearBn1d(o['in'], o['out'], bias=o['bias'], eps=o['eps'], momentum=o['momentum'], qconfig=qconfig)
        if m.bias is not None:  # PyTorch leaves it uninitialized
            nn.init.zeros_(m.bias)
        return m
    return (nniqat.LinearReLU if name == 'LinearReLU' else nnqat.Linear)(o['in'], o['out'], bias=o['bias'], qconfig=qconfig)


def configuration(name):
    o = dict(seed=rng.randrange(1 << 30), qconfig=rng.choice(QCONFIGS), bias=rng.random() < 0.5)
    if 'Bn' in name:
        o.update(eps=rng.choice([1e-5, 1e-3]), momentum=rng.choice([0.1, 0.3]))
    if name in CONVS:
        rank = CONVS[name]
        groups = rng.choice([1, 1, 2])
        o.update(groups=groups, kernel=rng.choice([1, 2, 3]), stride=rng.choice([1, 1, 2]), padding=rng.choice([0, 1]),
                 dilation=rng.choice([1, 1, 2]), **{'in': groups * rng.choice([1, 2, 3]), 'out': groups * rng.choice([1, 2, 4])})
        o['input'] = [rng.choice([2, 3]), o['in']] + [rng.choice([5, 6, 7])] * rank
        return o
    if name.startswith('Embedding'):
        o.update({'qconfig': 'embedding', 'in': rng.choice([7, 12]), 'out': rng.choice([4, 9])}, input=[3, 5])
        del o['bias']
        o.update(dict(mode=rng.choice(['sum', 'mean'])) if name == 'EmbeddingBag' else dict(padding_idx=rng.choice([None, 2])))
        return o
    o.update({'in': rng.choice([3, 8, 17]), 'out': rng.choice([1, 4, 9])})
    o['input'] = [rng.choice([4, 6]), o['in']]
    if name == 'DynamicLinear':
        o['qconfig'] = 'dynamic'
    return o


def step_input(o, step):
    if o['qconfig'] == 'embedding':
        torch.manual_seed(o['seed'] + step)
        return torch.floor(torch.rand(o['input']) * o['in']).long()
    return make_input(dict(seed=o['seed'] + step, shape=o['input'], scale=3.0, shift=-1.2))


def layer_case(name, index):
    o = configuration(name)
    m = make(name, o)
    runs = []
    for step, mode in enumerate(('train', 'train', 'frozen', 'eval')):
        if mode == 'frozen':
            m.apply(nniqat.freeze_bn_stats)
            if name == 'LinearBn1d':
                m.freeze_bn_stats()
        if mode == 'eval':
            m.eval()
            m.apply(Q.disable_observer)
        x = step_input(o, step)
        if x.is_floating_point():
            x.requires_grad_(True)
        y = m(x)
        m.zero_grad()
        y.backward(make_input(dict(seed=o['seed'] + 100 + step, shape=list(y.shape), scale=2.0, shift=-0.9)))
        run = dict(output=sample(y))
        if step in (1, 2):
            run['grads'] = {n: sample(p.grad) for n, p in m.named_parameters()}
            if x.grad is not None:
                run['grads']['input'] = sample(x.grad)
        if step == 1:
            run['scale'] = sample(m.weight_fake_quant.scale)
            run['zeroPoint'] = sample(m.weight_fake_quant.zero_point)
            if hasattr(m, 'bn'):
                run['mean'], run['var'] = sample(m.bn.running_mean), sample(m.bn.running_var)
        runs.append(run)
    case = dict(layer=name, options=o, runs=runs, float=sample_of_float(m))
    if index == 0:
        case.update(keys=list(m.state_dict()), repr=repr(m))
    return case


def sample_of_float(m):
    made = m.to_float()
    layer = made[0] if isinstance(made, nn.Sequential) else made
    return dict(repr=repr(made), weight=sample(layer.weight), bias=None if getattr(layer, 'bias', None) is None else sample(layer.bias))


class Net(nn.Module):
    """Convolutions with batch norm, a residual addition, a strided convolution for pooling, linear layers."""

    def __init__(self, channels, side):
        super().__init__()
        self.quant = Q.QuantStub()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.skip = nn.quantized.FloatFunctional()
        self.conv3 = nn.Conv2d(channels, channels, 3, stride=3)
        self.relu3 = nn.ReLU()
        self.fc1 = nn.Linear(channels * (side // 3) ** 2, 24)
        self.bn4 = nn.BatchNorm1d(24)
        self.fc2 = nn.Linear(24, 16)
        self.relu5 = nn.ReLU()
        self.fc3 = nn.Linear(16, 4)
        self.dequant = Q.DeQuantStub()

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(self.quant(x))))
        x = self.skip.add_relu(self.bn2(self.conv2(x)), x)
        x = self.relu3(self.conv3(x)).flatten(1)
        return self.dequant(self.fc3(self.relu5(self.fc2(self.bn4(self.fc1(x))))))


FUSED = [['conv1', 'bn1', 'relu1'], ['conv2', 'bn2'], ['conv3', 'relu3'], ['fc1', 'bn4'], ['fc2', 'relu5']]


def batch(seed, step, n, side):
    """Images with one bright quadrant, whose number is the label."""
    x = make_input(dict(seed=seed * 1000 + step, shape=[n, 1, side, side], scale=1.0, shift=-0.3))
    labels = torch.tensor([(step + 3 * i) % 4 for i in range(n)])
    half = side // 2
    for i, q in enumerate(labels.tolist()):
        x[i, 0, half * (q // 2):half * (q // 2) + half, half * (q % 2):half * (q % 2) + half] += 0.5
    return x, labels


def train(o):
    torch.manual_seed(o['seed'])
    net = Net(o['channels'], o['side'])
    net.train()
    net.qconfig = qconfig_of(o['qconfig'])
    prepared = Q.prepare_qat(Q.fuse_modules_qat(net, FUSED))
    sgd = torch.optim.SGD(prepared.parameters(), lr=o['lr'], momentum=o['momentum'])
    losses = []
    for step in range(50):
        if step == 30:
            prepared.apply(Q.disable_observer)
        if step == 40:
            prepared.apply(nniqat.freeze_bn_stats)
            prepared.fc1.freeze_bn_stats()
        x, labels = batch(o['seed'], step, o['batch'], o['side'])
        sgd.zero_grad()
        loss = F.cross_entropy(prepared(x), labels)
        loss.backward()
        sgd.step()
        losses.append(float(loss.detach().double()))
    return prepared.eval(), losses


@contextlib.contextmanager
def last_bit_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    convolve, multiply = nn.Conv2d._conv_forward, F.linear

    def noisy(y):
        return y + y.detach() * (torch.rand(y.shape, generator=generator) - 0.5) * 2.0**-22

    nn.Conv2d._conv_forward = lambda *args: noisy(convolve(*args))
    F.linear = lambda *args: noisy(multiply(*args))
    try:
        yield
    finally:
        nn.Conv2d._conv_forward, F.linear = convolve, multiply


def integers(converted):
    return {n: m.weight().int_repr().numpy() for n, m in converted.named_modules() if hasattr(m, 'weight') and callable(m.weight)}


def run_case(o):
    """Trains again with the last bits of convolutions and products at random, as another order of their sums would have
    them. How far that leads is the spread: of the losses, relatively, and of the converted weights, in integers."""
    prepared, losses = train(o)
    converted = Q.convert(prepared)
    weights = integers(converted)
    spread = weights_off = weights_worst = 0
    for seed in range(10):
        with last_bit_noise(seed):
            again, other = train(o)
        spread = max([spread, *(abs(a - b) / a for a, b in zip(losses, other))])
        distances = np.concatenate([np.abs(w.astype(int) - weights[n]).ravel() for n, w in integers(Q.convert(again)).items()])
        weights_off = max(weights_off, int((distances > 0).sum()))
        weights_worst = max(weights_worst, int(distances.max()))
    x, labels = batch(o['seed'], 999, 32, o['side'])
    simulated = prepared(x)
    scale, zero = prepared.fc3.activation_post_process.calculate_qparams()
    out = []
    converted.fc3.register_forward_hook(lambda m, i, o: out.append(o.int_repr()))
    converted(x)
    return dict(options=o, losses=losses, spread=dict(losses=spread, weightsOff=weights_off, weightsWorst=weights_worst),
                correct=int((simulated.argmax(1) == labels).sum()), keys=list(prepared.state_dict()),
                convertedKeys=list(converted.state_dict()), converted=repr(converted), scale=float(scale), zeroPoint=int(zero),
                output=base(out[0].numpy()), weights={n: base(w) for n, w in weights.items()})


def run_cases(count, wanted, **common):
    """Runs whose spread is as wanted, over the configurations in turn."""
    cases = []
    seed = 0
    while len(cases) < count:
        seed += 1
        o = dict(common, seed=seed, qconfig=('qnnpack:0', 'qnnpack:1', 'onednn:1', 'onednn:0')[len(cases) % 4], lr=(0.05, 0.02)[seed % 2],
                 momentum=(0, 0.9)[seed % 3 == 0])
        case = run_case(o)
        print(o, 'spread', case['spread'])
        if wanted(case['spread']['losses']):
            cases.append(case)
    return cases


names = [*CONVS, 'Linear', 'LinearReLU', 'LinearBn1d', 'DynamicLinear', 'Embedding', 'EmbeddingBag']
layers = []
for name in names:
    done = 0
    while done < 20:
        try:
            layers.append(layer_case(name, done))
            done += 1
        except RuntimeError as e:
            print('PyTorch cannot:', name, str(e).splitlines()[0])
# Where no value comes to lie on a rounding boundary, the last bits do not matter, and we must agree.
runs = run_cases(6, lambda spread: spread < 1e-5, channels=3, side=6, batch=4)
# In larger networks a value always does, sooner or later; the losses then wander apart by a small part.
runs += run_cases(4, lambda spread: True, channels=8, side=12, batch=16)
for name, cases in (('qat-layers', layers), ('qat-runs', runs)):
    path = os.path.join(HERE, 'data', name + '.json')
    with open(path, 'w') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
    print(path, len(cases), 'cases', os.path.getsize(path), 'bytes')
