"""Small networks through PyTorch 1.13's eager static quantization: printed forms, state-dict keys, outputs.

Weights and inputs are not stored: both sides draw them from `manual_seed(seed)` with `randn` and `rand`, in state-dict order.
Run: python3 test/golden/quantized_networks.py   (writes data/quantized_networks.json)
"""
import base64
import copy
import json
import os
import warnings

import torch
import torch.ao.quantization as tq
from torch import nn

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
cases = []
MIN_MAX = tq.QConfig(activation=tq.MinMaxObserver.with_args(dtype=torch.quint8), weight=tq.default_weight_observer)


def images():
    return nn.Sequential(tq.QuantStub(), nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Hardswish(), nn.Dropout(0.3),
                         nn.MaxPool2d(2), nn.Sigmoid(), tq.DeQuantStub())


def sequences():
    return nn.Sequential(tq.QuantStub(), nn.LayerNorm(16), nn.LeakyReLU(0.1), nn.ELU(), nn.Tanh(), tq.DeQuantStub())


def groups():
    return nn.Sequential(tq.QuantStub(), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True), nn.Hardsigmoid(), tq.DeQuantStub())


def fused():
    return nn.Sequential(tq.QuantStub(), nn.BatchNorm2d(8), nn.ReLU(), nn.InstanceNorm2d(8), tq.DeQuantStub())


def volumes():
    return nn.Sequential(tq.QuantStub(), nn.BatchNorm3d(3), nn.InstanceNorm3d(3, affine=True), tq.DeQuantStub())


def upsampling():
    return nn.Sequential(tq.QuantStub(), nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1), nn.LeakyReLU(0.1), tq.DeQuantStub())


def lines():
    return nn.Sequential(tq.QuantStub(), nn.ConvTranspose1d(4, 3, 5, stride=3, output_padding=1), nn.InstanceNorm1d(3), tq.DeQuantStub())


def table():
    return nn.Sequential(nn.Embedding(12, 8))


def bag():
    return nn.Sequential(nn.EmbeddingBag(12, 8, mode="sum"))


NETWORKS = [
    (images, [2, 3, 8, 8], "onednn", MIN_MAX, None),
    (sequences, [3, 5, 16], "onednn", MIN_MAX, None),
    (groups, [2, 8, 6, 5], "onednn", MIN_MAX, None),
    (fused, [2, 8, 6, 5], "onednn", MIN_MAX, ["1", "2"]),
    (volumes, [2, 3, 4, 3, 5], "onednn", MIN_MAX, None),
    (upsampling, [2, 3, 5, 6], "qnnpack", MIN_MAX, None),
    (lines, [2, 4, 7], "qnnpack", MIN_MAX, None),
    (table, None, "onednn", tq.float_qparams_weight_only_qconfig, None),
    (bag, None, "onednn", tq.float_qparams_weight_only_qconfig, None),
    (bag, None, "onednn", tq.float_qparams_weight_only_qconfig_4bit, None),
]


def fill(model):
    for key, t in model.state_dict().items():
        if key.endswith("running_var"):
            t.copy_(torch.rand(t.shape) + 0.5)
        elif t.is_floating_point():
            t.copy_(torch.randn(t.shape) * 0.5)


for make, shape, engine, qconfig, fuse in NETWORKS:
    torch.backends.quantized.engine = engine
    for seed in range(4):
        model = make().eval()
        torch.manual_seed(seed)
        fill(model)
        draw = (lambda: torch.randn(shape)) if shape else (lambda: torch.tensor([[1, 4, 4, 0], [11, 2, 7, 7]]))
        if fuse:
            model = tq.fuse_modules(model, [fuse])
        model.qconfig = qconfig
        prepared = tq.prepare(model)
        for _ in range(3):
            prepared(draw())
        converted = tq.convert(prepared)
        y = converted(draw())
        case = {"network": make.__name__, "seed": seed, "bits": 4 if qconfig is tq.float_qparams_weight_only_qconfig_4bit else 8,
                "shape": list(y.shape), "out": base64.b64encode(y.contiguous().numpy().tobytes()).decode()}
        if seed == 0:
            case["converted"] = str(converted)
            case["keys"] = list(converted.state_dict().keys())
        cases.append(case)

path = os.path.join(HERE, "data", "quantized_networks.json")
with open(path, "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(path), "bytes")
