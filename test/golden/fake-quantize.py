"""Forward and backward of PyTorch's fake-quantizes over random configurations: python3 test/golden/fake-quantize.py"""
import random
import warnings

import torch
from torch.ao.quantization import fake_quantize as F
from torch.ao.quantization import observer as O
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

from observers_inputs import floats, make_input, tensor_summary, write

warnings.simplefilter('ignore')
rng = random.Random(29)
DATA = [
    dict(scale=5.0, shift=-2.4), dict(scale=30.0, shift=-11.0), dict(scale=8.0, shift=-4.0, floor=0.0), dict(scale=4.0, shift=-9.0),
    dict(scale=4.0, shift=3.0), dict(scale=1e-6, shift=-3e-7), dict(scale=0.0, shift=0.0), dict(scale=0.0, shift=2.75),
    dict(scale=300.0, shift=0.0, centered=True, power=5), dict(scale=0.02, shift=-0.01), dict(scale=1e6, shift=-4e5),
]
SHAPES = [[6, 50], [3, 7, 11, 13], [5, 3, 40]]
DTYPES = {'quint8': (0, 255), 'qint8': (-128, 127)}
OBSERVERS = [O.MovingAverageMinMaxObserver, O.MovingAveragePerChannelMinMaxObserver]


def configuration(cls):
    per_channel = rng.random() < 0.5
    dtype = rng.choice(list(DTYPES))
    low, high = DTYPES[dtype]
    if rng.random() < 0.3:
        low, high = rng.choice([(low + 1, high), (0, 15), (0, 127)])
    scheme = rng.choice(['affine', 'symmetric'])
    o = dict(observer=OBSERVERS[per_channel].__name__, quant_min=low, quant_max=high, dtype=dtype,
             qscheme=('per_channel_' if per_channel else 'per_tensor_') + scheme)
    if cls is F.FakeQuantize and per_channel and rng.random() < 0.25:
        o['qscheme'] = 'per_channel_affine_float_qparams'
    if rng.random() < 0.5:
        o['averaging_constant'] = rng.choice([0.01, 0.3, 1])
    if rng.random() < 0.3 and not (dtype == 'quint8' and scheme == 'symmetric'):
        o['reduce_range'] = True
    if per_channel:
        o['ch_axis'] = rng.choice([0, 0, 1])
    if cls is F.FakeQuantize and not per_channel and rng.random() < 0.25:
        o['observer'] = rng.choice(['HistogramObserver', 'MinMaxObserver'])
        o.pop('averaging_constant', None)
    return o


def make(cls, o):
    args = dict(o, observer=getattr(O, o['observer']), dtype=getattr(torch, o['dtype']), qscheme=getattr(torch, o['qscheme']))
    return cls(**args)


def case_of(cls, o, specs, gradient, steps, learn=None):
    fq = make(cls, o)
    runs = []
    for i, spec in enumerate(specs):
        if learn and i == 1:
            fq.enable_param_learning()
            with torch.no_grad():
                fq.scale.mul_(learn['scale_factor'])
                fq.zero_point.add_(learn['zero_point_shift'])
        elif not learn and i == steps:
            fq.apply(F.disable_observer)
        x = make_input(spec).requires_grad_(True)
        y = fq(x)
        y.backward(make_input(dict(gradient, shape=spec['shape'])))
        if learn and 'per_tensor' in o['qscheme'] and int(fq.zero_point + 0.5) != round(float(fq.zero_point)):
            raise RuntimeError('the backward pass truncates this zero point, the forward pass rounds it')
        run = dict(output=tensor_summary(y), grad=tensor_summary(x.grad), scale=floats(fq.scale), zero_point=floats(fq.zero_point))
        if learn and i > 0:
            run.update(scale_grad=floats(fq.scale.grad), zero_point_grad=floats(fq.zero_point.grad))
            fq.scale.grad = fq.zero_point.grad = None
        runs.append(run)
    scale, zero_point = fq.calculate_qparams()
    return dict(module=cls.__name__.strip('_'), options=o, learn=learn, inputs=specs, gradient=gradient, freeze_after=steps, runs=runs,
                final=dict(scale=floats(scale), zero_point=floats(zero_point)), keys=list(fq.state_dict()), repr=repr(fq))


cases = []
for cls, count in ((F.FakeQuantize, 40), (F.FusedMovingAvgObsFakeQuantize, 40), (_LearnableFakeQuantize, 40)):
    while sum(c['module'] == cls.__name__.strip('_') for c in cases) < count:
        o = configuration(cls)
        learnable = cls is _LearnableFakeQuantize
        shape = rng.choice(SHAPES)
        pick = rng.choice(DATA)
        specs = [dict(seed=rng.randrange(1 << 30), shape=shape, **(pick if rng.random() < 0.7 else rng.choice(DATA))) for _ in range(3)]
        if learnable:
            o['use_grad_scaling'] = rng.random() < 0.5
            if 'ch_axis' in o:
                o['channel_len'] = shape[o['ch_axis']]
        gradient = dict(seed=rng.randrange(1 << 30), scale=2.0, shift=-0.9)
        learn = dict(scale_factor=rng.choice([0.5, 0.9, 1.3]), zero_point_shift=rng.choice([0.0, 0.4, 1.75])) if learnable else None
        try:
            cases.append(case_of(cls, o, specs, gradient, 2, learn))
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            print('PyTorch cannot:', cls.__name__, o, str(e).splitlines()[:1])
for fixed in (F.default_fixed_qparams_range_0to1_fake_quant, F.default_fixed_qparams_range_neg1to1_fake_quant):
    fq = fixed()
    spec = dict(seed=5, shape=[40], scale=3.0, shift=-1.5)
    x = make_input(spec).requires_grad_(True)
    y = fq(x)
    gradient = dict(seed=6, scale=2.0, shift=-0.9)
    y.backward(make_input(dict(gradient, shape=[40])))
    cases.append(dict(module='FixedQParamsFakeQuantize', options=dict(scale=floats(fq.scale)[0], zero_point=int(fq.zero_point)), learn=None,
                      inputs=[spec], gradient=gradient, freeze_after=2,
                      runs=[dict(output=tensor_summary(y), grad=tensor_summary(x.grad), scale=floats(fq.scale), zero_point=floats(fq.zero_point))],
                      final=dict(scale=floats(fq.scale), zero_point=floats(fq.zero_point)), keys=list(fq.state_dict()), repr=repr(fq)))
write('fake-quantize.json', cases)
