"""Whole eager flows over 20 random networks each: python3 test/golden/flows.py

A case is a network's description and a seed, from which both sides draw weights and data. Flows: `static` (fuse, prepare,
calibrate, convert), `qat` (fuse, prepare, five steps, convert), `dynamic` (quantize_dynamic), `mixed` (static, then dynamic).
Kept are the integers of the last quantized layer with its parameters and the integers of all weights, or the floats that come out.
"""
import base64
import json
import os
import random
import warnings

import torch
from torch import nn
from torch.ao import quantization as Q

from observers_inputs import HERE, make_input

warnings.simplefilter('ignore')
torch.backends.quantized.engine = 'qnnpack'
# What was trained is what is converted; see qat.py.
Q.FusedMovingAvgObsFakeQuantize.calculate_qparams = lambda self: (self.scale, self.zero_point)
rng = random.Random(5)
pick = lambda *options: rng.choice(options)  # noqa: E731
COUNT = 20


def base(t):
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


class Net(nn.Module):
    """Convolutions, each with or without batch norm and relu, a residual over one of them; then linear layers."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.quant = Q.QuantStub()
        self.convs = nn.ModuleList([nn.Conv2d(c['in'], c['out'], c['kernel'], stride=c['stride'], padding=c['kernel'] // 2, groups=c['groups'],
                                              bias=c['bias']) for c in spec['convs']])
        self.bns = nn.ModuleList([nn.BatchNorm2d(c['out']) if c['bn'] else nn.Identity() for c in spec['convs']])
        self.relus = nn.ModuleList([nn.ReLU() if c['relu'] else nn.Identity() for c in spec['convs']])
        self.skip = nn.quantized.FloatFunctional()
        self.linears = nn.ModuleList([nn.Linear(a, b, bias=spec['bias']) for a, b in spec['linears']])
        self.acts = nn.ModuleList([nn.ReLU() for _ in spec['linears'][1:]])
        self.dequant = Q.DeQuantStub()

    def forward(self, x):
        x = self.quant(x)
        for i, (conv, bn, relu) in enumerate(zip(self.convs, self.bns, self.relus)):
            y = relu(bn(conv(x)))
            x = self.skip.add_relu(y, x) if i == self.spec['residual'] else y
        x = x.flatten(1)
        for i, linear in enumerate(self.linears):
            x = linear(x)
            if i < len(self.acts):
                x = self.acts[i](x)
        return self.dequant(x)


def fusions(spec):
    parts = []
    for i, c in enumerate(spec['convs']):
        names = [f'convs.{i}'] + ([f'bns.{i}'] if c['bn'] else []) + ([f'relus.{i}'] if c['relu'] else [])
        if len(names) > 1:
            parts.append(names)
    return parts + [[f'linears.{i}', f'acts.{i}'] for i in range(len(spec['linears']) - 1)]


def network():
    channels, side, convs = rng.choice([1, 3]), 8, []
    size, residual = side, None
    for i in range(rng.randint(2, 3)):
        groups = pick(1, 1, channels)
        out = groups * pick(1, 2, 4) if groups > 1 else pick(4, 6)
        stride, kernel = (1, 3) if i == 1 and pick(True, False) else (pick(1, 2), pick(1, 3))
        if i == 1 and stride == 1:
            out, groups, residual = channels, 1, 1
        convs.append({'in': channels, 'out': out, 'kernel': kernel, 'stride': stride, 'groups': groups, 'bias': pick(True, False),
                      'bn': pick(True, False), 'relu': pick(True, False)})
        channels, size = out, (size + 2 * (kernel // 2) - kernel) // stride + 1
    sizes = [channels * size * size, *[rng.choice([5, 8]) for _ in range(rng.randint(0, 1))], 4]
    return dict(convs=convs, residual=residual, linears=[list(p) for p in zip(sizes, sizes[1:])], bias=pick(True, False),
                input=[4, convs[0]['in'], side, side])


def batch(case, step):
    return make_input(dict(seed=case['seed'] + step, shape=case['spec']['input'], scale=4.0, shift=-1.5))


def fill_statistics(model):
    """Running statistics as after training."""
    for key, t in model.state_dict().items():
        if key.endswith('running_var'):
            t.copy_(torch.rand(t.shape) + 0.5)
        elif key.endswith('running_mean'):
            t.copy_(torch.rand(t.shape) - 0.5)


def result(case, converted, x):
    last = converted.linears[-1]
    out = []
    last.register_forward_hook(lambda m, i, o: out.append(o))
    converted(x)
    case.update(scale=last.scale, zeroPoint=last.zero_point, out=base(out[0].int_repr()),
                weights={n: base(m.weight().int_repr()) for n, m in converted.named_modules() if callable(getattr(m, 'weight', None))})
    return case


STATIC = {
    'default': Q.default_qconfig, 'per_channel': Q.default_per_channel_qconfig,
    **{b: Q.get_default_qconfig(b) for b in ('fbgemm', 'qnnpack', 'x86', 'onednn')},
}


def static():
    case = dict(flow='static', seed=rng.randrange(1 << 29), qconfig=rng.choice(list(STATIC)), spec=network())
    torch.manual_seed(case['seed'])
    model = Net(case['spec'])
    fill_statistics(model)
    model = Q.fuse_modules(model.eval(), fusions(case['spec'])) if fusions(case['spec']) else model.eval()
    model.qconfig = STATIC[case['qconfig']]
    prepared = Q.prepare(model)
    for step in range(3):
        prepared(batch(case, step))
    return result(case, Q.convert(prepared), batch(case, 9))


def qat():
    case = dict(flow='qat', seed=rng.randrange(1 << 29), qconfig=rng.choice(['qnnpack 0', 'qnnpack 1', 'onednn 0', 'onednn 1']), spec=network())
    torch.manual_seed(case['seed'])
    model = Net(case['spec']).train()
    if fusions(case['spec']):
        model = Q.fuse_modules_qat(model, fusions(case['spec']))
    backend, version = case['qconfig'].split()
    model.qconfig = Q.get_default_qat_qconfig(backend, int(version))
    prepared = Q.prepare_qat(model)
    sgd = torch.optim.SGD(prepared.parameters(), lr=0.01, momentum=0.9)
    case['losses'] = []
    for step in range(5):
        # Else PyTorch's convert shows every weight to its moving average once more.
        if step == 4:
            prepared.apply(Q.disable_observer)
        sgd.zero_grad()
        loss = prepared(batch(case, step)).square().mean()
        loss.backward()
        sgd.step()
        case['losses'].append(float(loss.detach().double()))
    return result(case, Q.convert(prepared.eval()), batch(case, 9))


class Sequences(nn.Module):
    def __init__(self, spec):
        super().__init__()
        inputs, hidden, layers = spec['inputs'], spec['hidden'], spec['layers']
        self.body = getattr(nn, spec['body'])(inputs, hidden, layers) if spec['body'] != 'Linear' else nn.Linear(inputs, hidden)
        self.head = nn.Sequential(nn.Linear(hidden, spec['middle']), nn.ReLU(), nn.Linear(spec['middle'], 3))

    def forward(self, x):
        y = self.body(x)
        return self.head(y[0] if isinstance(y, tuple) else y)


def dynamic():
    spec = dict(body=pick('LSTM', 'GRU', 'Linear'), inputs=rng.randint(2, 12), hidden=rng.randint(3, 9), layers=rng.randint(1, 2), middle=rng.randint(2, 9))
    case = dict(flow='dynamic', seed=rng.randrange(1 << 29), qconfig=pick('default', 'per_channel'), spec=spec)
    spec['input'] = [rng.randint(1, 5), rng.randint(1, 4), spec['inputs']]
    torch.manual_seed(case['seed'])
    model = Sequences(spec).eval()
    qconfig = Q.default_dynamic_qconfig if case['qconfig'] == 'default' else Q.per_channel_dynamic_qconfig
    small = Q.quantize_dynamic(model, {t: qconfig for t in (nn.LSTM, nn.GRU, nn.Linear)})
    case['out'] = base(small(batch(case, 0)))
    return case


class Mixed(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.conv = Q.QuantWrapper(nn.Sequential(nn.Conv1d(spec['inputs'], spec['hidden'], 3, padding=1), nn.ReLU()))
        self.lstm = nn.LSTM(spec['hidden'], spec['middle'], batch_first=True)
        self.head = nn.Linear(spec['middle'], 3)

    def forward(self, x):
        return self.head(self.lstm(self.conv(x).transpose(1, 2))[0])


def mixed():
    spec = dict(inputs=rng.randint(1, 6), hidden=rng.randint(2, 8), middle=rng.randint(2, 8))
    spec['input'] = [rng.randint(1, 3), spec['inputs'], rng.randint(3, 8)]
    case = dict(flow='mixed', seed=rng.randrange(1 << 29), qconfig='default', spec=spec)
    torch.manual_seed(case['seed'])
    model = Mixed(spec).eval()
    model.conv.qconfig = Q.default_qconfig
    prepared = Q.prepare(model)
    for step in range(2):
        prepared(batch(case, step))
    small = Q.quantize_dynamic(Q.convert(prepared))
    case['out'] = base(small(batch(case, 9)))
    return case


cases = []
for flow in (static, qat, dynamic, mixed):
    if flow is not qat:
        torch.set_grad_enabled(False)
    else:
        torch.set_grad_enabled(True)
    cases += [flow() for _ in range(COUNT)]
path = os.path.join(HERE, 'data', 'flows.json')
with open(path, 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
print(path, len(cases), 'cases', os.path.getsize(path), 'bytes')
