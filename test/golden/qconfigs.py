"""Every qconfig over 20 random inputs and weights: python3 test/golden/qconfigs.py

Inputs and weights are drawn from the seed on both sides. Kept is what the observer (or fake-quantize) of each side printed as
its class, what it found, and a checksum of what it gave back.
"""
import json
import os
import random
import warnings

import torch
from torch.ao import quantization as Q

from observers_inputs import HERE, checksum, floats, make_input

warnings.simplefilter('ignore')
rng = random.Random(91)
COUNT = 20

NAMED = [
    'default_qconfig', 'default_debug_qconfig', 'default_per_channel_qconfig', 'default_dynamic_qconfig', 'float16_dynamic_qconfig',
    'float16_static_qconfig', 'per_channel_dynamic_qconfig', 'float_qparams_weight_only_qconfig', 'float_qparams_weight_only_qconfig_4bit',
    'default_qat_qconfig', 'default_dynamic_qat_qconfig', 'default_weight_only_qconfig', 'default_activation_only_qconfig',
    'default_qat_qconfig_v2', 'default_reuse_input_qconfig', 'default_embedding_qat_qconfig', 'default_embedding_qat_qconfig_4bit',
    'default_symmetric_qnnpack_qconfig', 'default_per_channel_symmetric_qnnpack_qconfig', 'default_symmetric_qnnpack_qat_qconfig',
    'default_per_channel_symmetric_qnnpack_qat_qconfig',
]
QCONFIGS = {name: getattr(Q.qconfig, name) for name in NAMED}
for backend in ('fbgemm', 'qnnpack', 'onednn', 'x86'):
    QCONFIGS[f'{backend} static 0'] = Q.get_default_qconfig(backend, 0)
    for version in (0, 1):
        QCONFIGS[f'{backend} qat {version}'] = Q.get_default_qat_qconfig(backend, version)
FIXED = {
    'fixed 0 to 1': (Q.default_fixed_qparams_range_0to1_observer, Q.default_fixed_qparams_range_0to1_fake_quant),
    'fixed -1 to 1': (Q.default_fixed_qparams_range_neg1to1_observer, Q.default_fixed_qparams_range_neg1to1_fake_quant),
}
for name, (observer, fake_quant) in FIXED.items():
    QCONFIGS[name] = Q.QConfig(activation=observer, weight=fake_quant)


def side(factory, inputs):
    module = factory()
    out = [module(make_input(i)) for i in inputs]
    found = {}
    if isinstance(out[-1], torch.Tensor):
        found['out'] = checksum(out[-1])
    if hasattr(module, 'fake_quant_enabled'):
        scale, zero = module.scale, module.zero_point
    else:
        try:
            scale, zero = module.calculate_qparams()
        except Exception:
            return found
    if isinstance(scale, torch.Tensor):
        found.update(scale=floats(scale.float()), zeroPoint=floats(zero.float()))
    return found


def kind(factory):
    """Class and dtype of what a factory makes."""
    module = factory()
    return [type(module).__name__, str(getattr(module, 'dtype', None))]


kinds, cases = {}, []
for name, qconfig in QCONFIGS.items():
    kinds[name] = [kind(qconfig.activation), kind(qconfig.weight)]
    for i in range(COUNT):
        seed = rng.randrange(1 << 30)
        spread, shift = rng.choice([0.5, 2.0, 40.0]), rng.choice([0.0, -0.3, -1.0])
        shape = [rng.choice([1, 2, 3]), rng.choice([1, 3, 4]), rng.choice([4, 7]), rng.choice([5, 6])]
        rows, columns = rng.choice([1, 3, 8]), rng.choice([2, 5, 9])
        # The second batch is wider than the first; weights are a tenth of activations.
        activations = [dict(seed=seed + k, shape=shape, scale=spread * (1 + k), shift=shift * spread) for k in range(2)]
        weight = [dict(seed=seed + 9, shape=[rows, columns], scale=spread / 10, shift=shift * spread / 10)]
        cases.append(dict(qconfig=name, seed=seed, shape=shape, spread=spread, shift=shift, weightShape=[rows, columns],
                          activation=side(qconfig.activation, activations), weight=side(qconfig.weight, weight)))
path = os.path.join(HERE, 'data', 'qconfigs.json')
with open(path, 'w') as f:
    rows = ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases)
    f.write('{"kinds":%s,\n"cases":[\n%s\n]}\n' % (json.dumps(kinds), rows))
print(path, len(cases), 'cases', os.path.getsize(path), 'bytes')
