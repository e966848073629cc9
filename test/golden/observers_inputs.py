"""Inputs that both sides make from a seed, so that the golden files hold no tensors: see observers-inputs.ts."""
import json
import os
import zlib

import torch

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))


def make_input(spec):
    """Uniform numbers, raised to a power (tails), scaled, shifted, clamped below: each step rounds to float32."""
    torch.manual_seed(spec['seed'])
    x = torch.rand(spec['shape'])
    x = x - 0.5 if spec.get('centered') else x
    u = x
    for _ in range(spec.get('power', 1) - 1):
        x = x * u
    x = x * spec['scale'] + torch.tensor(spec['shift'])
    if 'floor' in spec:
        x = x.clamp(min=spec['floor'])
    if spec.get('layout') == 'channelsLast':
        x = x.contiguous(memory_format=torch.channels_last)
    return x


def floats(t):
    """Exact doubles of float32 values; infinities as strings, which JSON lacks."""
    return [v if abs(v) != float('inf') else ('inf' if v > 0 else '-inf') for v in t.detach().double().flatten().tolist()]


def checksum(t):
    """CRC-32 of the float32 bytes in row-major order, negative zeros as zeros."""
    return zlib.crc32((t.detach().contiguous() + 0.0).numpy().tobytes())


def tensor_summary(t):
    return {'checksum': checksum(t), 'first': floats(t)[:6]}


def write(name, cases):
    with open(os.path.join(HERE, 'data', name), 'w') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c) for c in cases) + '\n]\n')
    print(name, len(cases), 'cases')
