"""Shared by the golden-number scripts: runs operators in real PyTorch and writes what went in and what came out.

Each `<family>.py` makes a `Suite`, adds cases, and writes `data/<family>.json`. Run with a Python that has torch 1.13:

    python3 test/golden/elementwise.py
"""
import json
import math
import os

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {
    torch.float32: 'float32', torch.float64: 'float64', torch.float16: 'float16', torch.bfloat16: 'bfloat16',
    torch.int8: 'int8', torch.uint8: 'uint8', torch.int16: 'int16', torch.int32: 'int32', torch.int64: 'int64',
    torch.bool: 'bool',
}


# Stands for an argument left out: None for the PyTorch function, undefined (not null) for our operator.
ABSENT = object()


def number(v):
    """A JSON number; NaN and infinities as strings, which JSON lacks."""
    if isinstance(v, (bool, np.bool_)):
        return int(v)
    if isinstance(v, (int, np.integer)):
        return int(v)
    if math.isnan(v):
        return 'nan'
    if math.isinf(v):
        return 'inf' if v > 0 else '-inf'
    # The shortest decimal that rounds to this float32 (or double).
    v = float(str(v)) if isinstance(v, np.float32) else float(v)
    return int(v) if v == int(v) and v != 0 and abs(v) < 1e15 else v


def encode_tensor(t):
    t = t.detach()
    values = t.float() if t.dtype in (torch.float16, torch.bfloat16) else t
    return {
        'dtype': NAMES[t.dtype],
        'shape': list(t.shape),
        'data': [number(v) for v in values.contiguous().numpy().reshape(-1)],
    }


def encode(v):
    """Arguments: tensors become {'tensor': …}, floats that JSON lacks {'number': …}; the rest is plain JSON."""
    if isinstance(v, torch.Tensor):
        encoded = encode_tensor(v)
        if v.dim() == 4 and not v.is_contiguous() and v.is_contiguous(memory_format=torch.channels_last):
            encoded['layout'] = 'channelsLast'
        return {'tensor': encoded}
    if isinstance(v, (list, tuple)):
        return [encode(item) for item in v]
    if isinstance(v, dict):
        return {key: encode(item) for key, item in v.items()}
    if v is ABSENT:
        return {'absent': True}
    if isinstance(v, float):
        n = number(v)
        return {'number': n} if isinstance(n, str) else n
    return v


def tensors_in(args):
    """The tensors among arguments, lists opened, in order: those `gradInputs` speaks of."""
    found = []
    for a in args:
        if isinstance(a, torch.Tensor):
            found.append(a)
        elif isinstance(a, (list, tuple)):
            found.extend(item for item in a if isinstance(item, torch.Tensor))
    return found


def noise(n, stream):
    """n numbers in [-1, 1) from a 32-bit hash of (stream, index): twin of test/support/hashed-weights.ts."""
    with np.errstate(over='ignore'):
        x = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(stream) * np.uint32(40503)
        x ^= x >> np.uint32(15)
        x *= np.uint32(2246822507)
        x ^= x >> np.uint32(13)
        x *= np.uint32(3266489909)
        x ^= x >> np.uint32(16)
    return x.astype(np.float64) / 2147483648.0 - 1.0


def noise_tensor(shape, stream):
    """A float32 tensor of `noise`."""
    return torch.from_numpy(noise(math.prod(shape), stream).astype(np.float32)).reshape(shape)


def fill(model):
    """Weights from `noise`, one stream per key; scales around 1, large enough that signals neither die nor explode."""
    for stream, (key, t) in enumerate(model.state_dict().items()):
        u = noise(t.numel(), stream)
        if key.endswith('num_batches_tracked'):
            continue
        if t.dim() > 1:
            u *= (3.0 / (t.numel() / t.shape[0])) ** 0.5
        elif key.endswith('running_var') or key.endswith('weight'):
            u = 1 + 0.5 * u
        else:
            u *= 0.1
        t.copy_(torch.from_numpy(u.astype(np.float32)).reshape(t.shape))


class DsCnn(nn.Module):
    """Keywords from 49 frames of 10 coefficients: the model of `models.dsCnn`."""

    def __init__(self):
        super().__init__()

        def unit(conv):
            return [conv, nn.BatchNorm2d(64, eps=1e-3), nn.ReLU()]
        layers = [nn.ZeroPad2d((1, 1, 4, 5)), *unit(nn.Conv2d(1, 64, (10, 4), 2))]
        for _ in range(4):
            layers += unit(nn.Conv2d(64, 64, 3, padding=1, groups=64)) + unit(nn.Conv2d(64, 64, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AvgPool2d((24, 5))
        self.fc = nn.Linear(64, 12)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))


class CharLstm(nn.Module):
    """The next of 65 characters: the model of `models.charLstm`."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(65, 128)
        self.lstm = nn.LSTM(128, 128, 2, batch_first=True)
        self.decoder = nn.Linear(128, 65)

    def forward(self, x):
        return self.decoder(self.lstm(self.embedding(x))[0])


class Suite:
    """Collects cases {name, op, args, outputs, gradOutputs, gradInputs} and writes them as JSON."""

    def __init__(self, family, seed=0):
        self.family = family
        self.cases = []
        torch.manual_seed(seed)

    def case(self, op, function, *args, grad=True, name=None, tolerance=None):
        """Runs `function(*args)` and records it as a case of our operator `op`, called with the same `args`.

        `function` receives the arguments with the tensors in the same places (extra arguments that only our operator
        takes are the function's business to ignore). With `grad`, every float tensor argument gets a gradient, driven
        by random output gradients. `tolerance` overrides the comparison's relative tolerance.
        """
        live = []

        def fresh(v):
            if isinstance(v, torch.Tensor):
                t = v.detach().clone(memory_format=torch.preserve_format)
                if grad and t.dtype in (torch.float32, torch.float64):
                    t.requires_grad_(True)
                live.append(t)
                return t
            if isinstance(v, (list, tuple)):
                return [fresh(item) for item in v]
            return None if v is ABSENT else v

        result = function(*[fresh(a) for a in args])
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        entry = {'name': name or op, 'op': op, 'args': [encode(a) for a in args],
                 'outputs': [encode_tensor(o) for o in outputs]}
        if tolerance is not None:
            entry['tolerance'] = tolerance
        if grad and any(o.requires_grad for o in outputs):
            grads_out = [torch.randn_like(o) if o.requires_grad else None for o in outputs]
            pairs = [(o, g) for o, g in zip(outputs, grads_out) if g is not None]
            torch.autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
            entry['gradOutputs'] = [None if g is None else encode_tensor(g) for g in grads_out]
            entry['gradInputs'] = [None if t.grad is None else encode_tensor(t.grad) for t in live]
        self.cases.append(entry)

    def write(self):
        path = os.path.join(HERE, 'data', self.family + '.json')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in self.cases) + '\n]\n')
        print(f'{path}: {len(self.cases)} cases, {os.path.getsize(path)} bytes (torch {torch.__version__})')
