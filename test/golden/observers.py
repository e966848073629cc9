"""What PyTorch's observers arrive at, over random configurations and data: python3 test/golden/observers.py"""
import random
import warnings

import torch
from torch.ao.quantization import observer as O

from observers_inputs import checksum, floats, make_input, write

warnings.simplefilter('ignore')
rng = random.Random(13)

# Runs of batches with characters that have gone wrong before.
PATTERNS = {
    'one batch': [dict(scale=5.0, shift=-2.4, power=1)],
    'growing': [dict(scale=2.0, shift=-0.7), dict(scale=9.0, shift=-4.0), dict(scale=30.0, shift=-11.0)],
    'shrinking': [dict(scale=30.0, shift=-11.0), dict(scale=9.0, shift=-4.0), dict(scale=2.0, shift=-0.7)],
    'same': [dict(scale=12.0, shift=-6.0, centered=True, power=3)] * 4,
    'tails': [dict(scale=300.0, shift=0.0, centered=True, power=5), dict(scale=900.0, shift=0.5, centered=True, power=7)],
    'relu': [dict(scale=8.0, shift=-4.0, floor=0.0), dict(scale=14.0, shift=-6.0, floor=0.0), dict(scale=5.0, shift=-3.0, floor=0.0)],
    'negative': [dict(scale=4.0, shift=-9.0), dict(scale=3.0, shift=-7.5)],
    'positive': [dict(scale=4.0, shift=3.0), dict(scale=6.0, shift=11.0)],
    'below one': [dict(scale=1.6, shift=-0.8), dict(scale=1.9, shift=-0.95, power=2)],
    'tiny': [dict(scale=1e-6, shift=-3e-7), dict(scale=4e-6, shift=-1e-6)],
    'tinier than eps': [dict(scale=1e-9, shift=0.0), dict(scale=2e-9, shift=-1e-9)],
    'huge': [dict(scale=1e6, shift=-4e5), dict(scale=8e6, shift=-5e6)],
    'zeros': [dict(scale=0.0, shift=0.0), dict(scale=0.0, shift=0.0)],
    'constant': [dict(scale=0.0, shift=2.75)],
    'constant, then range': [dict(scale=0.0, shift=-1.5), dict(scale=6.0, shift=-2.0), dict(scale=7.0, shift=-2.0)],
    'widely growing': [dict(scale=3.0, shift=-1.0), dict(scale=2000.0, shift=-1500.0), dict(scale=2500.0, shift=-1500.0)],
    'outlier': [dict(scale=4.0, shift=-2.0, power=1), dict(scale=60.0, shift=-2.0, power=12)],
    'shifting': [dict(scale=4.0, shift=-2.0), dict(scale=4.0, shift=5.0), dict(scale=4.0, shift=-11.0), dict(scale=4.0, shift=20.0)],
}
SHAPES = [[4000], [3, 7, 11, 13], [64, 32], [5, 3, 40], [2, 8, 24, 24]]


def batches(name, shapes):
    shape = rng.choice(shapes)
    out = []
    for b in PATTERNS[name]:
        spec = dict(seed=rng.randrange(1 << 30), shape=shape, **b)
        if len(shape) == 4 and rng.random() < 0.4:
            spec['layout'] = 'channelsLast'
        out.append(spec)
    return out


def quant_range(dtype):
    """Own bounds, now and then."""
    if dtype in ('quint4x2', 'qint32') or rng.random() < 0.7:
        return {}
    low, high = rng.choice([(-127, 127), (-128, 127), (-8, 7)] if dtype == 'qint8' else [(0, 127), (0, 255), (0, 15), (0, 100)])
    return dict(quant_min=low, quant_max=high)


def options(cls):
    per_channel = 'PerChannel' in cls.__name__
    dtype = rng.choice(['quint8', 'quint8', 'qint8', 'qint8', 'qint32', 'quint4x2'])
    schemes = ['per_channel_affine', 'per_channel_symmetric', 'per_channel_affine_float_qparams'] if per_channel else \
        ['per_tensor_affine', 'per_tensor_affine', 'per_tensor_symmetric']
    o = dict(dtype=dtype, qscheme=rng.choice(schemes), reduce_range=rng.random() < 0.35, **quant_range(dtype))
    if o['dtype'] == 'quint8' and 'symmetric' in o['qscheme']:
        o['reduce_range'] = False
    if rng.random() < 0.15:
        o['eps'] = 2 ** -12
    if 'MovingAverage' in cls.__name__ and rng.random() < 0.8:
        o['averaging_constant'] = rng.choice([0.01, 0.1, 0.5, 1])
    if per_channel:
        o['ch_axis'] = rng.choice([0, 0, 1, -1])
    if cls is O.HistogramObserver and rng.random() < 0.4:
        o['bins'] = rng.choice([100, 256, 1000, 4096])
    if cls is O.HistogramObserver and rng.random() < 0.2:
        o['upsample_rate'] = rng.choice([16, 100])
    return o


def make(cls, o):
    args = dict(o, dtype=getattr(torch, o['dtype']), qscheme=getattr(torch, o['qscheme']))
    return cls(**args)


def run(cls, o, specs):
    observer = make(cls, o)
    for spec in specs:
        observer(make_input(spec))
    scale, zero_point = observer.calculate_qparams()
    case = dict(
        observer=cls.__name__, options=o, batches=specs,
        min=floats(observer.min_val), max=floats(observer.max_val), quant_min=observer.quant_min, quant_max=observer.quant_max,
        scale=floats(scale), zero_point=floats(zero_point), zero_point_dtype=str(zero_point.dtype)[6:],
        keys=list(observer.state_dict()), repr=repr(observer))
    if cls is O.HistogramObserver:
        case['histogram'] = checksum(observer.histogram)
        case['range'] = floats(torch.stack(list(observer._non_linear_param_search())))
    return case


cases = []
for cls, rounds in ((O.MinMaxObserver, 2), (O.MovingAverageMinMaxObserver, 2), (O.PerChannelMinMaxObserver, 2),
                    (O.MovingAveragePerChannelMinMaxObserver, 2), (O.HistogramObserver, 4)):
    for _ in range(rounds):
        for name in PATTERNS:
            shapes = [s for s in SHAPES if len(s) > 1] if 'PerChannel' in cls.__name__ else SHAPES
            while True:
                o = options(cls)
                specs = batches(name, shapes)
                if o.get('ch_axis') == -1:
                    # PyTorch swaps axis 0 and -1 only where the index is written out.
                    specs = [dict(s, shape=[64, 32]) for s in specs]
                    [s.pop('layout', None) for s in specs]
                try:
                    cases.append(dict(run(cls, o, specs), name=name))
                    break
                except (RuntimeError, OverflowError) as e:
                    print('PyTorch cannot:', cls.__name__, name, o, str(e).splitlines()[0])
write('observers.json', cases)
