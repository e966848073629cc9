"""What PyTorch 1.13's graph mode (FX, engine qnnpack) makes of one operator at a time, between a layer before it and an
addition behind it: where observers stand and which they share, their parameters, and the integers of the converted model.

Run: python3 test/golden/fx_operators.py   (writes data/fx_operators.json)
"""
import copy
import json
import os
import sys
import zlib

import torch
import torch.ao.quantization as tq
from torch import nn
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx
from torch.nn import functional as F

from common import fill
from fx import Recorder, noise_tensor, observers_of

HERE = os.path.dirname(os.path.abspath(__file__))

# Rank of the input: its shape and the layer before the operator.
ENTER = {
    3: ([2, 4, 8], lambda: nn.Conv1d(4, 4, 1)),
    4: ([2, 4, 6, 6], lambda: nn.Conv2d(4, 4, 1)),
    5: ([2, 4, 4, 4, 4], lambda: nn.Conv3d(4, 4, 1)),
    2: ([3, 8], lambda: nn.Linear(8, 8)),
}


class Around(nn.Module):
    """layer, operator, addition; the operator is a module or a function of its parameters."""

    def __init__(self, rank, operator):
        super().__init__()
        self.enter = ENTER[rank][1]()
        self.layer = operator if isinstance(operator, nn.Module) else None
        self.operator = None if self.layer is not None else operator

    def forward(self, x):
        y = self.enter(x)
        y = self.layer(y) if self.layer is not None else self.operator(y)
        return y + y


class OperatorRecorder(Recorder):
    """Records what methods give, too; qnnpack's clamp mixes up the elements of channels-last tensors."""

    def call_function(self, target, args, kwargs):
        if target in (torch.clamp, F.hardtanh, F.relu6):
            args = (args[0].contiguous(), *args[1:])
        return super().call_function(target, args, kwargs)

    def call_module(self, target, args, kwargs):
        if isinstance(self.fetch_attr(target), nn.Hardtanh):
            args = (args[0].contiguous(), *args[1:])
        return super().call_module(target, args, kwargs)

    def run_node(self, node):
        result = super().run_node(node)
        if node.op == "call_method" and isinstance(result, torch.Tensor) and result.is_quantized:
            self.integers[node.name] = self.row_of(result)
        return result

    @staticmethod
    def row_of(x):
        data = x.int_repr().contiguous().numpy().tobytes()
        return [zlib.crc32(data), list(x.shape), float(x.q_scale()), x.q_zero_point()]


def both(parts):
    return parts[0] + parts[1]


# name: rank of the input, the operator.
CASES = {
    "relu": (4, F.relu),
    "relu6": (4, F.relu6),
    "hardtanh": (4, lambda x: F.hardtanh(x, -0.5, 0.75)),
    "clamp": (4, lambda x: torch.clamp(x, -0.25, 0.5)),
    "elu": (4, F.elu),
    "leakyRelu": (4, lambda x: F.leaky_relu(x, 0.2)),
    "hardswish": (4, F.hardswish),
    "hardsigmoid": (4, F.hardsigmoid),
    "sigmoid": (4, torch.sigmoid),
    "tanh": (4, torch.tanh),
    "softmax": (2, lambda x: F.softmax(x, -1)),
    "logSoftmax": (2, lambda x: F.log_softmax(x, -1)),
    "gelu": (2, F.gelu),
    "silu": (4, F.silu),
    "glu": (4, lambda x: F.glu(x, 1)),
    "softplus": (4, F.softplus),
    "dropout": (4, lambda x: F.dropout(x, 0.5, False)),
    "layerNorm": (2, lambda x: F.layer_norm(x, [8])),
    "groupNorm": (4, lambda x: F.group_norm(x, 2)),
    "instanceNorm": (4, F.instance_norm),
    "maxPool1d": (3, lambda x: F.max_pool1d(x, 2)),
    "maxPool2d": (4, lambda x: F.max_pool2d(x, 2)),
    "maxPool3d": (5, lambda x: F.max_pool3d(x, 2)),
    "avgPool1d": (3, lambda x: F.avg_pool1d(x, 2)),
    "avgPool2d": (4, lambda x: F.avg_pool2d(x, 2)),
    "avgPool3d": (5, lambda x: F.avg_pool3d(x, 2)),
    "adaptiveAvgPool1d": (3, lambda x: F.adaptive_avg_pool1d(x, 2)),
    "adaptiveAvgPool2d": (4, lambda x: F.adaptive_avg_pool2d(x, 2)),
    "adaptiveAvgPool3d": (5, lambda x: F.adaptive_avg_pool3d(x, 2)),
    "interpolate nearest": (4, lambda x: F.interpolate(x, scale_factor=2.0)),
    "interpolate bilinear": (4, lambda x: F.interpolate(x, size=[9, 9], mode="bilinear")),
    "mean": (4, lambda x: torch.mean(x, [2, 3])),
    "flatten": (4, lambda x: torch.flatten(x, 1)),
    "view": (4, lambda x: x.view(2, -1)),
    "reshape": (4, lambda x: x.reshape(2, 8, -1)),
    "permute": (4, lambda x: x.permute(0, 2, 3, 1)),
    "transpose": (4, lambda x: torch.transpose(x, 1, 2)),
    "transpose method": (4, lambda x: x.transpose(1, 2)),
    "squeeze": (4, lambda x: torch.squeeze(x)),
    "unsqueeze": (4, lambda x: torch.unsqueeze(x, 1)),
    "stack": (2, lambda x: torch.stack([x, x], 1)),
    "cat": (2, lambda x: torch.cat([x, x], 1)),
    "repeat": (2, lambda x: x.repeat(2, 1)),
    "repeatInterleave": (2, lambda x: torch.repeat_interleave(x, 2, 1)),
    "contiguous": (4, lambda x: x.contiguous()),
    "detach": (4, lambda x: x.detach()),
    "size": (4, lambda x: x.reshape(x.size(0), x.shape[1], -1)),
    "add number": (4, lambda x: x + 0.5),
    "mul number": (4, lambda x: x * 0.5),
    "add number, relu": (4, lambda x: F.relu(x + 0.5)),
    "mul number, relu": (4, lambda x: F.relu(x * 0.5)),
    "add": (4, lambda x: torch.add(x, x)),
    "add, relu": (4, lambda x: F.relu(torch.add(x, x))),
    "mul": (4, lambda x: torch.mul(x, x)),
    "mul, relu": (4, lambda x: F.relu(torch.mul(x, x))),
    "matmul": (4, lambda x: torch.matmul(x, x)),
    "bmm": (3, lambda x: torch.bmm(x, x.transpose(1, 2))),
    "sub": (4, lambda x: x - 0.5),
    "div": (4, lambda x: torch.div(x, 2.0)),
    "amax": (4, lambda x: torch.amax(x, 1)),
    "sum": (4, lambda x: torch.sum(x, 1)),
    "exp": (4, torch.exp),
    "slice": (4, lambda x: x[:, 1:3]),
    "select": (4, lambda x: x[:, 1]),
    "pad": (4, lambda x: F.pad(x, [1, 1, 1, 1])),
    "flip": (4, lambda x: torch.flip(x, [2])),
    "expand": (4, lambda x: x.expand(2, 4, 6, 6)),
    "chunk": (4, lambda x: both(torch.chunk(x, 2, 1))),
    "split": (4, lambda x: both(torch.split(x, 2, 1))),
    "unbind": (4, lambda x: both(torch.unbind(x, 1))),
    "nn.ReLU": (4, nn.ReLU()),
    "nn.ReLU6": (4, nn.ReLU6()),
    "nn.Hardtanh": (4, nn.Hardtanh(-0.5, 0.75)),
    "nn.ELU": (4, nn.ELU(0.7)),
    "nn.LeakyReLU": (4, nn.LeakyReLU(0.2)),
    "nn.PReLU": (4, nn.PReLU(4)),
    "nn.Hardswish": (4, nn.Hardswish()),
    "nn.Hardsigmoid": (4, nn.Hardsigmoid()),
    "nn.Sigmoid": (4, nn.Sigmoid()),
    "nn.Tanh": (4, nn.Tanh()),
    "nn.Softmax": (2, nn.Softmax(-1)),
    "nn.GELU": (2, nn.GELU()),
    "nn.SiLU": (4, nn.SiLU()),
    "nn.Dropout": (4, nn.Dropout(0.5)),
    "nn.Dropout2d": (4, nn.Dropout2d(0.5)),
    "nn.Identity": (4, nn.Identity()),
    "nn.LayerNorm": (2, nn.LayerNorm(8)),
    "nn.GroupNorm": (4, nn.GroupNorm(2, 4)),
    "nn.InstanceNorm1d": (3, nn.InstanceNorm1d(4, affine=True)),
    "nn.InstanceNorm2d": (4, nn.InstanceNorm2d(4)),
    "nn.InstanceNorm3d": (5, nn.InstanceNorm3d(4, affine=True)),
    "nn.BatchNorm3d": (5, nn.Sequential(nn.Identity(), nn.BatchNorm3d(4))),
    "nn.BatchNorm2d, relu": (4, nn.Sequential(nn.Identity(), nn.BatchNorm2d(4), nn.ReLU())),
    "nn.MaxPool1d": (3, nn.MaxPool1d(2)),
    "nn.MaxPool2d": (4, nn.MaxPool2d(3, 1, 1)),
    "nn.MaxPool3d": (5, nn.MaxPool3d(2)),
    "nn.AvgPool1d": (3, nn.AvgPool1d(2)),
    "nn.AvgPool2d": (4, nn.AvgPool2d(3, 1, 1)),
    "nn.AvgPool3d": (5, nn.AvgPool3d(2)),
    "nn.AdaptiveAvgPool1d": (3, nn.AdaptiveAvgPool1d(2)),
    "nn.AdaptiveAvgPool2d": (4, nn.AdaptiveAvgPool2d(2)),
    "nn.AdaptiveAvgPool3d": (5, nn.AdaptiveAvgPool3d(2)),
    "nn.Upsample": (4, nn.Upsample(scale_factor=2)),
    "nn.Flatten": (4, nn.Flatten()),
    "nn.ConvTranspose1d": (3, nn.ConvTranspose1d(4, 4, 2)),
    "nn.ConvTranspose2d": (4, nn.ConvTranspose2d(4, 4, 2)),
    "nn.ConvTranspose3d": (5, nn.ConvTranspose3d(4, 4, 2)),
    "nn.Conv3d, relu": (5, nn.Sequential(nn.Conv3d(4, 4, 2), nn.ReLU())),
}


def trained(rank, operator):
    """Where fake-quantizes stand for training."""
    model = Around(rank, copy.deepcopy(operator)).train()
    example = (noise_tensor(ENTER[rank][0], 990),)
    return [row[:4] for row in observers_of(prepare_qat_fx(model, tq.get_default_qat_qconfig_mapping("qnnpack"), example))]


def run(name):
    rank, operator = CASES[name]
    shape = ENTER[rank][0]
    model = Around(rank, operator).eval()
    fill(model)
    prepared = prepare_fx(model, tq.get_default_qconfig_mapping("qnnpack"), (noise_tensor(shape, 990),))
    row = {"rank": rank, "trained": trained(rank, operator)}
    with torch.no_grad():
        for b in range(2):
            prepared(noise_tensor(shape, 900 + 10 * b))
        row["observers"] = observers_of(prepared)
        try:
            recorder = OperatorRecorder(convert_fx(prepared))
            out = recorder.run(noise_tensor(shape, 990))
            row["integers"] = recorder.integers
            row["output"] = [float(v) for v in out.flatten()[:60]]
        except Exception as error:
            row["fails"] = str(error).strip().split("\n")[0][:160]
            print(f"{name}: {row['fails']}", file=sys.stderr)
    return row


if __name__ == "__main__":
    golden = {name: run(name) for name in CASES}
    with open(os.path.join(HERE, "data", "fx_operators.json"), "w") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in golden.items()) + "\n}\n")
