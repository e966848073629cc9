"""Cross-layer equalization and bias correction as PyTorch does them, on convolutions and linear layers drawn from a seed.

Weights are not stored: both sides draw them after `manual_seed(seed)`. Stored are the equalized weights' sums per output
channel and the biases, and the corrected biases.
Run: python3 test/golden/rescue.py   (writes data/rescue.json)
"""
import json
import os
import random
import warnings

import torch
from torch import nn
from torch.ao.quantization import (
    DeQuantStub, MinMaxObserver, QConfig, QuantStub, convert, default_weight_observer, prepare,
)
from torch.ao.quantization._correct_bias import bias_correction
from torch.ao.quantization._equalize import equalize

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.backends.quantized.engine = "qnnpack"
HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(11)
cases = []


class Chain(nn.Module):
    def __init__(self, kind, sizes, kernels):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        pairs = zip(sizes, sizes[1:], kernels)
        self.layers = nn.Sequential(*[
            nn.Linear(a, b) if kind == "linear" else nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in pairs])

    def forward(self, x):
        return self.dequant(self.layers(self.quant(x)))


def floats(t):
    return [float(v) for v in t.detach().reshape(-1)]


for i in range(20):
    kind = "linear" if i % 3 == 2 else "conv"
    sizes = [rng.randint(2, 9) for _ in range(rng.randint(3, 5))]
    kernels = [rng.choice([1, 3]) for _ in sizes[1:]]
    seed = rng.randrange(10**6)
    torch.manual_seed(seed)
    model = Chain(kind, sizes, kernels).eval()
    with torch.no_grad():
        for layer in model.layers:
            spread = torch.rand(layer.weight.shape[0]) * 3 + 0.1
            layer.weight.mul_(spread.reshape([-1] + [1] * (layer.weight.dim() - 1)))
    pairs = [[f"layers.{j}", f"layers.{j + 1}"] for j in range(len(sizes) - 2)]
    equalized = equalize(model, pairs, 1e-4, inplace=False)
    case = {"kind": kind, "sizes": sizes, "kernels": kernels, "seed": seed,
            "equalized": [{"weight": floats(l.weight.abs().reshape(l.weight.shape[0], -1).sum(1)), "bias": floats(l.bias)}
                          for l in equalized.layers]}
    shape = [8, sizes[0]] if kind == "linear" else [4, sizes[0], 6, 6]
    batches = [torch.randn(shape) for _ in range(3)]
    # Ranges that hold everything: PyTorch's correction takes clipping for a shift of the mean, ours does not see it.
    model.qconfig = QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=default_weight_observer)
    prepared = prepare(model)
    with torch.no_grad():
        for b in batches:
            prepared(b)
        quantized = convert(prepared)
        case["scales"] = [float(l.scale) for l in quantized.layers]
        bias_correction(model, quantized, [(b,) for b in batches])
    corrected = [m for m in quantized.modules() if isinstance(m, (nn.quantized.Linear, nn.quantized.Conv2d))]
    case["shape"] = shape
    case["corrected"] = [floats(l.bias() if callable(l.bias) else l.bias) for l in corrected]
    cases.append(case)

path = os.path.join(HERE, "data", "rescue.json")
with open(path, "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(path), "bytes")
