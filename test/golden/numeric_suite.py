"""Layer by layer comparisons by PyTorch 1.13's numeric suites: `torch.ao.ns._numeric_suite` (eager) and `_numeric_suite_fx`.

Weights and inputs are not stored: both sides draw them from `manual_seed(seed)` with `randn`, weights in state-dict order.
Every entry is [SQNR in dB, cosine, normalized L2] over all batches. Run: python3 test/golden/numeric_suite.py
(writes data/numeric_suite.json)
"""
import copy
import json
import os
import warnings

import torch
import torch.ao.ns._numeric_suite as ns
import torch.ao.ns._numeric_suite_fx as nsfx
import torch.ao.quantization as tq
import torch.ao.quantization.quantize_fx as fx
import torch.nn.functional as F
from torch import nn
from torch.ao.ns.fx.utils import compute_cosine_similarity, compute_normalized_l2_error, compute_sqnr

warnings.simplefilter("ignore")
torch.backends.quantized.engine = "qnnpack"
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
BATCHES = 3

WEIGHTS = {
    "tensor": tq.default_weight_observer,
    "channel": tq.default_per_channel_weight_observer,
}


def qconfig(weight):
    return tq.QConfig(activation=tq.MinMaxObserver.with_args(dtype=torch.quint8), weight=WEIGHTS[weight])


class Residual(nn.Module):
    """Convolutions, an addition, a pool, a linear layer: between stubs."""

    def __init__(self):
        super().__init__()
        self.quant = tq.QuantStub()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.skip = torch.ao.nn.quantized.FloatFunctional()
        self.pool = nn.MaxPool2d(3)
        self.fc = nn.Linear(72, 5)
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        x = self.relu(self.conv1(self.quant(x)))
        x = self.pool(self.skip.add_relu(self.conv2(x), x))
        return self.dequant(self.fc(x.flatten(1)))


class Plain(nn.Module):
    """The same without stubs, with a batch normalization and functions instead of modules: for graph mode."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(972, 5)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.conv2(x) + x)
        x = torch.cat([y, self.conv3(x)], 1)
        return self.fc(x.flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 10, num_layers=2, bidirectional=True)
        self.fc = nn.Linear(20, 5)

    def forward(self, x):
        return self.fc(self.lstm(x)[0])


def fill(model):
    for key, t in model.state_dict().items():
        if key.endswith("running_var"):
            t.copy_(torch.rand(t.shape) + 0.5)
        elif t.is_floating_point():
            t.copy_(torch.randn(t.shape) * 0.3)


def metrics(a, b):
    a, b = a.reshape(-1), (b.dequantize() if b.is_quantized else b).reshape(-1)
    if torch.equal(a, b):
        return None
    return [compute_sqnr(a, b).item(), compute_cosine_similarity(a, b).item(), compute_normalized_l2_error(a, b).item()]


def lstm_weights(float_lstm, int8_lstm):
    """Input and hidden weights of every layer and direction; `compare_weights` gives the hidden ones of one direction."""
    found = {}
    for i, packed in enumerate(int8_lstm._all_weight_values):
        name = f"_l{i // 2}" + ("_reverse" if i % 2 else "")
        for kind, part in zip(("weight_ih", "weight_hh"), packed.param.__getstate__()[0][4]):
            found[f"lstm.{kind}{name}"] = metrics(getattr(float_lstm, kind + name), part.__getstate__()[0][0])
    return found


def joined(pair):
    def cat(values):
        values = [v[0] if isinstance(v, tuple) else v for v in values]
        return torch.cat([v.dequantize() if v.is_quantized else v for v in values])

    one, two = pair["float"], pair["quantized"]
    if len(one) == 2 * len(two):
        # PyTorch 1.13 attaches the logger of a fused float layer twice.
        assert all(torch.equal(one[i], one[i + 1]) for i in range(0, len(one), 2))
        one = one[::2]
    return metrics(cat(one), cat(two))


class WholeShadowLogger(ns.ShadowLogger):
    """PyTorch's takes the first sample of every batch, meaning to take the first member of tuples."""

    def forward(self, x, y):
        self.stats["quantized"].append(x[0] if isinstance(x, tuple) else x)
        self.stats["float"].append(y[0] if isinstance(y, tuple) else y)


def eager(float_model, int8, batches, swap):
    weights = {}
    for key, pair in ns.compare_weights(float_model.state_dict(), int8.state_dict()).items():
        weights[key] = metrics(pair["float"], pair["quantized"])
    a, b = copy.deepcopy(float_model), copy.deepcopy(int8)
    ns.prepare_model_outputs(a, b)
    for x in batches:
        a(x), b(x)
    outputs = {k: joined(v) for k, v in ns.get_matching_activations(a, b).items()}
    a, b = copy.deepcopy(float_model), copy.deepcopy(int8)
    ns.prepare_model_with_stubs(a, b, swap, WholeShadowLogger)
    for x in batches:
        b(x)
    shadows = {k: joined(v) for k, v in ns.get_logger_dict(b).items()}
    return {"weights": weights, "outputs": outputs, "shadows": shadows}


def graph(prepared, int8, batches):
    def rows(results):
        found = {}
        for name, by_type in results.items():
            for kind, models in by_type.items():
                one, two = models["float"][0], models["int8"][0]
                value = joined({"float": one["values"], "quantized": two["values"]})
                found[name] = {"fqn": two["fqn"], "type": two["prev_node_target_type"], "value": value}
        return found

    weights = rows(nsfx.extract_weights("float", copy.deepcopy(prepared), "int8", copy.deepcopy(int8)))
    a, b = nsfx.add_loggers("float", copy.deepcopy(prepared), "int8", copy.deepcopy(int8), nsfx.OutputLogger)
    for x in batches:
        a(x), b(x)
    outputs = rows(nsfx.extract_logger_info(a, b, nsfx.OutputLogger, "int8"))
    shadow = nsfx.add_shadow_loggers("float", copy.deepcopy(prepared), "int8", copy.deepcopy(int8), nsfx.OutputLogger)
    for x in batches:
        shadow(x)
    shadows = rows(nsfx.extract_shadow_logger_info(shadow, nsfx.OutputLogger, "int8"))
    return {"weights": weights, "outputs": outputs, "shadows": shadows}


cases = []
with torch.no_grad():
    for seed in range(4):
        for weight in WEIGHTS:
            model = Residual().eval()
            torch.manual_seed(seed)
            fill(model)
            float_model = tq.fuse_modules(model, [["conv1", "relu"]])
            float_model.qconfig = qconfig(weight)
            prepared = tq.prepare(float_model)
            batches = [torch.randn(4, 3, 9, 9) for _ in range(BATCHES)]
            for x in batches:
                prepared(x)
            int8 = tq.convert(prepared)
            swap = {nn.intrinsic.ConvReLU2d, nn.Conv2d, nn.Linear, torch.ao.nn.quantized.FloatFunctional, tq.QuantStub}
            float_model = tq.fuse_modules(model, [["conv1", "relu"]])
            cases.append({"model": "residual", "mode": "eager", "seed": seed, "weight": weight, **eager(float_model, int8, batches, swap)})

            model = Plain().eval()
            torch.manual_seed(seed)
            fill(model)
            batches = [torch.randn(4, 3, 9, 9) for _ in range(BATCHES)]
            prepared = fx.prepare_fx(model, tq.QConfigMapping().set_global(qconfig(weight)), (batches[0],))
            for x in batches:
                prepared(x)
            int8 = fx.convert_fx(copy.deepcopy(prepared))
            cases.append({"model": "plain", "mode": "graph", "seed": seed, "weight": weight, **graph(prepared, int8, batches)})

        model = Recurrent().eval()
        torch.manual_seed(seed)
        fill(model)
        batches = [torch.randn(7, 3, 6) for _ in range(BATCHES)]
        int8 = tq.quantize_dynamic(model)
        case = eager(model, int8, batches, {nn.LSTM, nn.Linear})
        case["weights"] = {k: v for k, v in case["weights"].items() if "lstm" not in k} | lstm_weights(model.lstm, int8.lstm)
        cases.append({"model": "recurrent", "mode": "eager", "seed": seed, "weight": "tensor", **case})

path = os.path.join(HERE, "data", "numeric_suite.json")
with open(path, "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(path), "bytes")
