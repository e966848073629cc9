"""Which qconfig PyTorch's mappings give to a place in a model: python3 test/golden/qconfig_mapping.py"""
import json
import os
import random

import torch
from torch import nn
from torch.ao.quantization import qconfig_mapping as M
from torch.ao.quantization.fx.qconfig_mapping_utils import maybe_adjust_qconfig_for_module_name_object_type_order as by_order
from torch.ao.quantization.qconfig_mapping_utils import maybe_adjust_qconfig_for_module_type_or_name as by_name

rng = random.Random(5)
TYPES = ['Conv2d', 'Linear', 'ReLU', 'sigmoid']
PATHS = ['conv', 'features', 'features.0', 'features.1', 'features.1.conv', 'features.10.conv', 'head', 'head.fc', 'ahead']
REGEXES = ['features', 'features.*conv', r'features\.1', r'.*\.[0-9]$', 'head|conv', 'h', 'onv', '.*conv', 'conv$']


def type_of(name):
    return getattr(nn, name, name)


def one_case():
    """A mapping whose qconfigs are numbers (-1: None), and what it says about every path, type and order."""
    label = iter(range(100))
    value = lambda: -1 if rng.random() < 0.15 else next(label)
    some = lambda choices, most: rng.sample(choices, rng.randint(0, most))
    spec = {'': value(), 'object_type': [[t, value()] for t in some(TYPES, 3)],
            'module_name_regex': [[r, value()] for r in some(REGEXES, 3)],
            'module_name': [[p, value()] for p in some(PATHS, 2)],
            'module_name_object_type_order': [[p, rng.choice(TYPES), rng.randint(0, 1), value()]
                                              for p in some(PATHS + ['', 'features.10'], 4)]}
    none = lambda v: None if v == -1 else v
    mapping = M.QConfigMapping.from_dict({
        '': none(spec['']),
        'object_type': [(type_of(t), none(q)) for t, q in spec['object_type']],
        'module_name_regex': [(r, none(q)) for r, q in spec['module_name_regex']],
        'module_name': [(p, none(q)) for p, q in spec['module_name']],
        'module_name_object_type_order': [(p, type_of(t), i, none(q))
                                          for p, t, i, q in spec['module_name_object_type_order']]})
    answers = []
    for path in PATHS:
        for t in TYPES:
            for order in (0, 1):
                q = by_name(mapping, type_of(t), path, mapping.global_qconfig)
                parent = path.rpartition('.')[0] if hasattr(nn, t) else path
                q = by_order(mapping, parent, type_of(t), order, q)
                answers.append([path, t, order, -1 if q is None else q])
    return {'spec': spec, 'answers': answers}


def describe(q):
    out = []
    for side in (q.activation, q.weight):
        made = side()
        inner = getattr(made, 'activation_post_process', made)
        fixed = isinstance(inner, torch.ao.quantization.FixedQParamsObserver)
        out.append([type(made).__name__, str(made.dtype).split('.')[-1], str(getattr(made, 'qscheme', None)).split('.')[-1],
                    float(inner.scale) if fixed else None, int(inner.zero_point) if fixed else None])
    return out


# PyTorch's functions under the names of our operators.
OPERATORS = {'conv1d': 'conv1d', 'conv2d': 'conv2d', 'conv3d': 'conv3d', 'linear': 'linear', 'relu': 'relu',
             'conv_transpose1d': 'convTranspose1d', 'conv_transpose2d': 'convTranspose2d',
             'hardsigmoid': 'hardsigmoid', 'layer_norm': 'layerNorm'}


def default(backend, qat):
    mapping = (M.get_default_qat_qconfig_mapping if qat else M.get_default_qconfig_mapping)(backend)
    types = {}
    for key, q in mapping.object_type_qconfigs.items():
        if isinstance(key, type):
            types[key.__name__] = describe(q)
        elif key in ('sigmoid', 'tanh', 'reshape'):
            types[key] = describe(q)
    for theirs, ours in OPERATORS.items():
        types[ours] = describe(mapping.object_type_qconfigs[getattr(nn.functional, theirs)])
    types.pop('ConvTranspose3d')
    return {'backend': backend, 'qat': qat, 'global': describe(mapping.global_qconfig), 'types': types}


data = {'cases': [one_case() for _ in range(40)],
        'defaults': [default(b, qat) for b in ('fbgemm', 'qnnpack', 'x86', 'onednn') for qat in (False, True)]}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data', 'qconfig_mapping.json')
with open(path, 'w') as f:
    json.dump(data, f, separators=(',', ':'))
    f.write('\n')
