"""Quantizable LSTM and multi-head attention: parameters found by observers, integers after conversion, printed forms.

Weights and inputs are not stored: both sides draw them after `manual_seed(seed)`, the module's first.
Run: python3 test/golden/quantizable.py   (writes data/quantizable.json)
Linear layers come from the qnnpack engine, whose rounding is the one parity is defined by; ATen's sigmoid, tanh and products
are those of the onednn engine, so every converted model runs once on each engine and both results are stored.
"""
import base64
import json
import os
import random
import warnings

import torch
from torch import nn
from torch.ao.quantization import (
    DeQuantStub, MinMaxObserver, QConfig, QuantStub, convert, default_per_channel_weight_observer,
    default_weight_observer, get_default_qconfig, prepare,
)

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(7)
cases = []


def b64(t):
    t = t.int_repr() if t.is_quantized else t
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


class Wrapped(nn.Module):
    """Stubs around a module of one input that is used for everything it asks for."""

    def __init__(self, inner, inputs):
        super().__init__()
        self.quant = QuantStub()
        self.inner = inner
        self.inputs = inputs

    def forward(self, x):
        x = self.quant(x)
        return self.inner(*([x] * self.inputs))


def qconfig(name):
    if name == "minmax":
        return QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=default_weight_observer)
    if name == "minmax-per-channel":
        return QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=default_per_channel_weight_observer)
    return get_default_qconfig("qnnpack")


def flat(result):
    if isinstance(result, (tuple, list)):
        return [t for item in result for t in flat(item)]
    return [result]


def qparams(model):
    """Scale and zero point of everything that has them, in order."""
    found = {}
    for path, m in model.named_modules():
        if hasattr(m, "scale") and hasattr(m, "zero_point"):
            found[path] = [float(m.scale), int(m.zero_point)]
    return found


def run(kind, make, config, shape, calibrations, inputs):
    seed = rng.randrange(10**6)
    name = rng.choice(["minmax", "minmax-per-channel", "qnnpack"])
    torch.manual_seed(seed)
    model = Wrapped(make(), inputs).eval()
    xs = [torch.randn(shape) for _ in range(calibrations)]
    x = torch.randn(shape)
    model.qconfig = qconfig(name)
    torch.backends.quantized.engine = "qnnpack"
    prepared = prepare(model)
    with torch.no_grad():
        for each in xs:
            prepared(each)
        float_out = flat(prepared(xs[0]))
        # The last call was seen by the observers as well: the other side repeats it.
        case = {"kind": kind, "seed": seed, "qconfig": name, "shape": shape, "calibrations": calibrations, **config,
                "float": [float(t.double().abs().sum()) for t in float_out if t is not None]}
        for engine in ("qnnpack", "onednn"):
            torch.backends.quantized.engine = engine
            try:
                int8 = convert(prepared)
                out = flat(int8(x))
            except RuntimeError as error:
                print("skipped", kind, engine, name, str(error).splitlines()[0])
                continue
            case[engine] = [None if t is None else {"shape": list(t.shape), "q": [t.q_scale(), t.q_zero_point()], "data": b64(t)} for t in out]
            if "qparams" not in case:
                case["qparams"] = qparams(int8)
                if len(cases) % 9 == 0:
                    case["repr"] = repr(int8)
                    case["keys"] = list(int8.state_dict().keys())
    cases.append(case)


for i in range(24):
    layers, two = rng.choice([1, 1, 2, 3]), rng.random() < 0.4
    inputs, hidden = rng.choice([3, 8, 10, 17]), rng.choice([4, 8, 12, 20])
    batch_first, bias = rng.random() < 0.4, rng.random() < 0.8
    config = dict(input=inputs, hidden=hidden, layers=layers, bidirectional=two, batchFirst=batch_first, bias=bias)
    shape = [rng.randint(1, 4), rng.randint(2, 6), inputs]
    run("lstm", lambda: nn.LSTM(inputs, hidden, layers, bias=bias, batch_first=batch_first, bidirectional=two),
        config, shape, rng.randint(1, 3), 1)

for i in range(20):
    heads, dim = rng.choice([(1, 8), (2, 8), (4, 16), (2, 12)])
    bias, zero = rng.random() < 0.8, rng.random() < 0.3
    config = dict(embedDim=dim, numHeads=heads, bias=bias, addZeroAttn=zero)
    shape = [rng.randint(1, 6), rng.randint(1, 4), dim]
    run("attention", lambda: nn.MultiheadAttention(dim, heads, bias=bias, add_zero_attn=zero), config, shape,
        rng.randint(1, 3), 3)

path = os.path.join(HERE, "data", "quantizable.json")
with open(path, "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(path), "bytes")
