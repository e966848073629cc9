"""What PyTorch 1.13's graph mode (FX, engine qnnpack) makes of whole models: where observers stand and which they share,
their parameters, keys of state dicts, and the integers of the converted model.

Weights and inputs come from a hash of their place, and floats are summed in double, so that all of it can be had to the bit. Run: python3 test/golden/fx.py   (writes data/fx.json and data/fx-training.json)
"""
import json
import operator
import os
import sys
import warnings
import zlib

import numpy as np
import torch
import torch.ao.quantization as tq
import torch.ao.nn.quantizable as nnqa
import torchvision.models as tv
from torch import nn
from torch.ao.quantization.fx.custom_config import ConvertCustomConfig, PrepareCustomConfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx

from common import DsCnn, fill, noise_tensor
from double_arithmetic import DoubleArithmetic, lstm_forward

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.backends.quantized.engine = "qnnpack"
nn.LSTM.forward = lstm_forward
# The fused fake-quantize trains with other scales than its observer suggests to `convert_fx`. What is compared is what was
# trained, so conversion here takes the trained parameters.
tq.FusedMovingAvgObsFakeQuantize.calculate_qparams = lambda self: (self.scale, self.zero_point)
HERE = os.path.dirname(os.path.abspath(__file__))


class Lstm(nn.Module):
    """Two layers over vectors, and a classifier of the last step."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(12, 16)
        self.lstm = nn.LSTM(16, 24, 2, batch_first=True)
        self.leave = nn.Linear(24, 10)

    def forward(self, x):
        return self.leave(self.lstm(self.enter(x))[0][:, -1])


class StaticLstm(nn.Module):
    """The same with its states as inputs, which PyTorch needs for the quantized form."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(12, 16)
        self.lstm = nn.LSTM(16, 24, 1)
        self.leave = nn.Linear(24, 10)

    def forward(self, x, h, c):
        return self.leave(self.lstm(self.enter(x), (h, c))[0])


class MovedLstm(nn.Module):
    """What an LSTM gives is turned and added to what it took."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(12, 16)
        self.lstm = nn.LSTM(16, 16, 1)
        self.leave = nn.Linear(16, 10)

    def forward(self, x, h, c):
        x = self.enter(x)
        return self.leave(self.lstm(x, (h, c))[0].permute(1, 0, 2) + x.permute(1, 0, 2))


class Encoder(nn.Module):
    """One transformer encoder layer, its attention written out: 2 heads of 16 over 6 tokens."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(32, 32) for _ in range(4))
        self.softmax = nn.Softmax(-1)
        self.norm1 = nn.LayerNorm(32)
        self.fc1 = nn.Linear(32, 64)
        self.fc2 = nn.Linear(64, 32)
        self.norm2 = nn.LayerNorm(32)

    def split(self, x):
        return x.reshape(-1, 6, 2, 16).permute(0, 2, 1, 3)

    def forward(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = self.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.25)
        mixed = torch.matmul(scores, v).permute(0, 2, 1, 3).reshape(-1, 6, 32)
        x = self.norm1(x + self.o(mixed))
        return self.norm2(x + self.fc2(nn.functional.relu(self.fc1(x))))


class Functional(nn.Module):
    """Weights as arguments, functional activations, numbers as operands."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(6, 4, 3, 3))
        self.shift = nn.Parameter(torch.empty(6))
        self.table = nn.Parameter(torch.empty(5, 6))

    def forward(self, x):
        x = nn.functional.relu(nn.functional.conv2d(x, self.kernel, self.shift, (1, 1), (0, 0), (1, 1), 1))
        x = nn.functional.hardswish(nn.functional.max_pool2d(x, 2)) * 2
        x = nn.functional.linear(torch.mean(x, [2, 3]), self.table)
        x = torch.sigmoid(x) * x
        return torch.cat([x, nn.functional.leaky_relu(x + 1, 0.1)], 1)


def dynamic_lstm():
    return tq.get_default_qconfig_mapping("qnnpack").set_object_type(nn.LSTM, tq.default_dynamic_qconfig)


def default():
    return tq.get_default_qconfig_mapping("qnnpack")


def halves():
    """The last part float, other observers and weights per channel in the middle."""
    minmax = tq.QConfig(activation=tq.MinMaxObserver.with_args(dtype=torch.quint8), weight=tq.default_per_channel_weight_observer)
    return default().set_module_name("classifier", None).set_module_name_regex("features\\.[4-6].*", minmax)


# name: model, mapping, shapes of the inputs
CASES = {
    "resnet18": (tv.resnet18, default, [[2, 3, 32, 32]]),
    "mobilenetV2": (tv.mobilenet_v2, default, [[2, 3, 32, 32]]),
    "squeezenet1_1": (tv.squeezenet1_1, default, [[2, 3, 33, 33]]),
    "squeezenet1_1 in parts": (tv.squeezenet1_1, halves, [[2, 3, 33, 33]]),
    "dsCnn": (DsCnn, default, [[2, 1, 49, 10]]),
    "lstm": (Lstm, default, [[3, 7, 12]]),
    "lstm, dynamic": (Lstm, dynamic_lstm, [[3, 7, 12]]),
    "lstm, static": (StaticLstm, default, [[7, 3, 12], [1, 3, 24], [1, 3, 24]]),
    "lstm, static, moved": (MovedLstm, default, [[7, 3, 12], [1, 3, 16], [1, 3, 16]]),
    "encoder": (Encoder, default, [[4, 6, 32]]),
    "functional": (Functional, default, [[2, 4, 8, 8]]),
}

# Models that are prepared for training too.
TRAINED = ["resnet18", "mobilenetV2", "squeezenet1_1", "dsCnn", "encoder"]


def observers_of(graph_module):
    """[observed node, its observer's number in order of first use, the nodes that take the observed tensor, class]."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    seen, rows = [], []
    for node in graph_module.graph.nodes:
        if node.op != "call_module" or not tq.is_activation_post_process(modules[node.target]):
            continue
        observer = modules[node.target]
        if id(observer) not in seen:
            seen.append(id(observer))
        try:
            scale, zero_point = observer.calculate_qparams()
            qparams = [float(scale), int(zero_point)]
        except Exception:
            qparams = None
        users = [user.name for user in node.users]
        rows.append([node.args[0].name, seen.index(id(observer)), users, type(observer).__name__, qparams])
    return rows


def inner_qparams(graph_module):
    """Scale and zero point of the observers inside modules that are observed in parts, by path."""
    observers = [(path, m) for path, m in graph_module.named_modules() if "." in path and tq.is_activation_post_process(m)]
    return {path: [float(v) for v in m.calculate_qparams()] for path, m in observers}


class Recorder(torch.fx.Interpreter):
    """Runs a converted model and takes a checksum of the integers of every quantized result."""

    def __init__(self, module):
        super().__init__(module)
        self.integers = {}
        self.counts = {}

    def name_of(self, node):
        """Quantized operators by their name and how many of it ran before; other nodes by theirs."""
        target = str(node.target)
        if node.target is torch.cat:
            target = "quantized.cat"
        if node.op != "call_function" or "quantized" not in target:
            return node.name
        base = target.replace("quantized.", "")
        self.counts[base] = self.counts.get(base, -1) + 1
        return f"{base}#{self.counts[base]}"

    def call_module(self, target, args, kwargs):
        # qnnpack's clamp mixes up the elements of channels-last tensors.
        if isinstance(self.fetch_attr(target), nn.ReLU6):
            args = (args[0].contiguous(), *args[1:])
        return super().call_module(target, args, kwargs)

    def run_node(self, node):
        result = super().run_node(node)
        if node.target is not operator.getitem and isinstance(result, torch.Tensor) and result.is_quantized and node.op in ("call_module", "call_function"):
            self.integers[self.name_of(node)] = [checksum(result.int_repr()), list(result.shape), float(result.q_scale()), result.q_zero_point()]
        return result


def checksum(t):
    return zlib.crc32(t.contiguous().numpy().tobytes())


def run(name, training):
    """Calibrates, or trains with a learning rate of 0 (statistics and parameters move, weights do not), and converts."""
    make, mapping, shapes = CASES[name]
    model = make().train(training)
    fill(model)
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    batches = [tuple(noise_tensor(s, 900 + 10 * b + i) for i, s in enumerate(shapes)) for b in range(4 if training else 2)]
    inputs = tuple(noise_tensor(s, 990 + i) for i, s in enumerate(shapes))
    static_lstm = name.startswith("lstm, static")
    prepare_config = PrepareCustomConfig().set_float_to_observed_mapping(nn.LSTM, nnqa.LSTM) if static_lstm else None
    convert_config = ConvertCustomConfig().set_observed_to_quantized_mapping(nnqa.LSTM, torch.ao.nn.quantized.LSTM) if static_lstm else None
    if training:
        prepared = prepare_qat_fx(model, tq.get_default_qat_qconfig_mapping("qnnpack"), inputs)
    else:
        prepared = prepare_fx(model, mapping(), inputs, prepare_custom_config=prepare_config)
    with torch.no_grad():
        with DoubleArithmetic(prepared):
            for batch in batches:
                prepared(*batch)
        rows = observers_of(prepared)
        inner = inner_qparams(prepared)
        state = prepared.eval().state_dict()
        prepared.apply(tq.disable_observer)
        converted = convert_fx(prepared, convert_custom_config=convert_config)
        recorder = Recorder(converted)
        with DoubleArithmetic(converted):
            out = recorder.run(*inputs)
    return {
        "shapes": shapes,
        "observers": rows,
        "inner": inner,
        "statistics": {key: checksum(t) for key, t in state.items() if "running" in key} if training else {},
        "integers": recorder.integers,
        "output": [float(v) for v in out.flatten()[:200]],
        "preparedKeys": list(state),
        "convertedKeys": list(converted.state_dict()),
    }


if __name__ == "__main__":
    for file, names in (("fx", CASES), ("fx-training", TRAINED)):
        golden = {}
        for name in names:
            print(file, name, file=sys.stderr)
            golden[name] = run(name, file == "fx-training")
        with open(os.path.join(HERE, "data", f"{file}.json"), "w") as f:
            json.dump(golden, f, separators=(",", ":"))
