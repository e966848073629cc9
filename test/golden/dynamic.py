"""What PyTorch 1.13's dynamic layers give: recurrent layers and cells, linear layers and convolutions.

Weights and inputs are not stored: both sides draw them after `manual_seed(seed)`, the layer first, then input and state.
Run: python3 test/golden/dynamic.py   (writes data/dynamic.json and data/dynamic-model.pt)

The engine is qnnpack, whose dynamic products use all eight bits of the activations (it ignores `reduce_range`), as ours do.
Debian's PyTorch has no float16 products (they need fbgemm); what they compute is written out here instead: weights rounded to
float16, beyond ±65504 saturated, everything else in float32.
"""
import base64
import json
import os
import random
import warnings

import torch
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic
from torch.nn.utils.rnn import pack_padded_sequence

warnings.filterwarnings("ignore")
torch.backends.quantized.engine = "qnnpack"
torch.set_grad_enabled(False)
HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "data")
rng = random.Random(33)
cases = []


def b64(t):
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


def quantized(layer, per_channel):
    qconfig = per_channel_dynamic_qconfig if per_channel else default_dynamic_qconfig
    return quantize_dynamic(nn.Sequential(layer), {type(layer): qconfig})[0]


def half(layer):
    for p in layer.parameters():
        if p.dim() == 2:
            p.copy_(p.clamp(-65504, 65504).half().float())
    return layer


def flat(out):
    """Output and state as a list of tensors."""
    if isinstance(out, torch.Tensor):
        return [out]
    if isinstance(out, nn.utils.rnn.PackedSequence):
        return [out.data]
    return [t for part in out for t in flat(part)]


def add(kind, config, out, printed=None):
    case = {"kind": kind, **config, "shapes": [list(t.shape) for t in flat(out)], "out": [b64(t) for t in flat(out)]}
    if printed:
        case["printed"] = printed
    cases.append(case)


LAYERS = {"LSTM": nn.LSTM, "GRU": nn.GRU}
for name, layer_class in LAYERS.items():
    for i in range(32):
        form = "float16" if i % 4 == 3 else "per_channel" if i % 4 == 2 else "qint8"
        seed, layers, inputs, hidden = rng.randrange(10**6), rng.randint(1, 3), rng.randint(1, 20), rng.choice([1, 3, 8, 17])
        bidirectional, batch_first = rng.random() < 0.5, rng.random() < 0.5
        batch, time = rng.randint(1, 4), rng.randint(1, 7)
        given, packed = rng.random() < 0.5, i % 3 == 1
        lengths = [rng.randint(1, time) for _ in range(batch)] if packed else None
        torch.manual_seed(seed)
        layer = layer_class(inputs, hidden, layers, batch_first=batch_first, bidirectional=bidirectional).eval()
        x = torch.randn([batch, time, inputs] if batch_first else [time, batch, inputs])
        states = [torch.randn(layers * (1 + bidirectional), batch, hidden) for _ in range(2 if name == "LSTM" else 1)]
        state = (tuple(states) if name == "LSTM" else states[0]) if given else None
        if packed:
            x = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
        q = half(layer) if form == "float16" else quantized(layer, form == "per_channel")
        add(name, dict(form=form, seed=seed, inputs=inputs, hidden=hidden, layers=layers, bidirectional=bidirectional,
                       batchFirst=batch_first, batch=batch, time=time, given=given, lengths=lengths), q(x, state),
            None if form == "float16" else repr(q))

CELLS = {"RNNCell": (nn.RNNCell, ["tanh", "relu"]), "LSTMCell": (nn.LSTMCell, [None]), "GRUCell": (nn.GRUCell, [None])}
for name, (cell_class, nonlinearities) in CELLS.items():
    for i in range(24):
        form = "float16" if i % 4 == 3 else "per_channel" if i % 4 == 2 else "qint8"
        nonlinearity = rng.choice(nonlinearities)
        seed, inputs, hidden, batch = rng.randrange(10**6), rng.randint(1, 40), rng.choice([1, 3, 8, 17, 32]), rng.randint(1, 5)
        given = rng.random() < 0.7
        torch.manual_seed(seed)
        cell = cell_class(inputs, hidden, **({"nonlinearity": nonlinearity} if nonlinearity else {}))
        x = torch.randn(batch, inputs)
        states = [torch.randn(batch, hidden) for _ in range(2 if name == "LSTMCell" else 1)]
        state = (tuple(states) if name == "LSTMCell" else states[0]) if given else None
        q = half(cell) if form == "float16" else quantized(cell, form == "per_channel")
        add(name, dict(form=form, seed=seed, inputs=inputs, hidden=hidden, batch=batch, given=given, nonlinearity=nonlinearity),
            q(x, state), None if form == "float16" else repr(q))

for i in range(24):
    form = "float16" if i % 4 == 3 else "per_channel" if i % 4 == 2 else "qint8"
    seed, inputs, outputs, bias = rng.randrange(10**6), rng.randint(1, 70), rng.randint(1, 30), rng.random() < 0.7
    lead = rng.choice([[4], [1], [5], [2, 3]])
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=bias)
    x = torch.randn([*lead, inputs])
    q = half(layer) if form == "float16" else quantized(layer, form == "per_channel")
    add("Linear", dict(form=form, seed=seed, inputs=inputs, outputs=outputs, bias=bias, lead=lead), q(x),
        None if form == "float16" else repr(q))

# PyTorch rounds the result of a dynamic convolution with the input's scale and zero point: the integers are stored.
DYNAMIC = {1: torch.nn.quantized.dynamic.Conv1d, 2: torch.nn.quantized.dynamic.Conv2d, 3: torch.nn.quantized.dynamic.Conv3d}
for rank, float_class in ((1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d)):
    made = 0
    while made < 22:
        seed, groups = rng.randrange(10**6), rng.choice([1, 1, 2, 3]) if rank < 3 else 1
        inputs, outputs = groups * rng.randint(1, 6), groups * rng.randint(1, 6)
        if rank < 3 and made % 4 == 3:
            groups = inputs = outputs = rng.choice([5, 8, 16])
        kernel = [rng.choice([1, 2, 3]) for _ in range(rank)]
        stride = [rng.choice([1, 1, 2]) for _ in range(rank)]
        dilation = [rng.choice([1, 1, 2]) if rank < 3 else 1 for _ in range(rank)]
        padding = [rng.randint(0, k - 1) for k in kernel]
        size = [rng.randint(5, 9) if rank < 3 else rng.randint(3, 5) for _ in range(rank)]
        batch, bias, mode = rng.randint(1, 2), rng.random() < 0.7, "reflect" if rank < 3 and made % 5 == 4 else "zeros"
        per_channel = rng.random() < 0.5
        torch.manual_seed(seed)
        layer = float_class(inputs, outputs, kernel, stride, padding, dilation, groups, bias, mode)
        x = torch.randn(batch, inputs, *size)
        layer.qconfig = per_channel_dynamic_qconfig if per_channel else default_dynamic_qconfig
        try:
            y = DYNAMIC[rank].from_float(layer)(x)
        except RuntimeError as e:
            print("skipped", rank, str(e).splitlines()[0])
            continue
        made += 1
        padded = x if mode == "zeros" else nn.functional.pad(x, [p for q in reversed(padding) for p in (q, q)], mode="reflect")
        qx = torch.quantize_per_tensor_dynamic(padded, torch.quint8, False)
        integers = torch.round(y.double() / qx.q_scale()) + qx.q_zero_point()
        assert ((integers - qx.q_zero_point()) * qx.q_scale() - y).abs().max() < 1e-4
        add(f"Conv{rank}d", dict(perChannel=per_channel, seed=seed, input=[batch, inputs, *size], outputs=outputs, kernel=kernel,
                                 stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias, paddingMode=mode,
                                 scale=qx.q_scale(), zeroPoint=qx.q_zero_point()), integers.to(torch.uint8))

# So does that of a transposed one. QNNPACK gets three dimensions wrong (the output has the shape of two), onednn does not.
TRANSPOSED = {rank: (getattr(nn, f"ConvTranspose{rank}d"), getattr(torch.nn.quantized.dynamic, f"ConvTranspose{rank}d")) for rank in (1, 2, 3)}
for rank, (float_class, dynamic_class) in TRANSPOSED.items():
    torch.backends.quantized.engine = "onednn" if rank == 3 else "qnnpack"
    made = 0
    while made < 22:
        seed, groups = rng.randrange(10**6), rng.choice([1, 1, 2, 3]) if rank < 3 else 1
        inputs, outputs = groups * rng.randint(1, 5), groups * rng.randint(1, 4)
        kernel, stride = [rng.choice([1, 2, 3, 4]) for _ in range(rank)], [rng.choice([1, 2, 2, 3]) for _ in range(rank)]
        dilation = [rng.choice([1, 1, 2]) if rank < 3 else 1 for _ in range(rank)]
        padding = [rng.randint(0, k - 1) for k in kernel]
        output_padding = [rng.randint(0, s - 1) for s in stride]
        size = [rng.randint(3, 6) if rank < 3 else rng.randint(2, 3) for _ in range(rank)]
        batch, bias = rng.randint(1, 2), rng.random() < 0.7
        torch.manual_seed(seed)
        layer = float_class(inputs, outputs, kernel, stride, padding, output_padding, groups, bias, dilation)
        x = torch.randn(batch, inputs, *size)
        layer.qconfig = default_dynamic_qconfig
        try:
            y = dynamic_class.from_float(layer)(x, reduce_range=False)
        except RuntimeError as e:
            print("skipped", rank, str(e).splitlines()[0])
            continue
        qx = torch.quantize_per_tensor_dynamic(x, torch.quint8, False)
        # onednn writes noise where a kernel of one tap is narrower than its stride.
        by_hand = dynamic_class.from_float(layer)
        float_layer = float_class(inputs, outputs, kernel, stride, padding, output_padding, groups, bias, dilation)
        float_layer.weight, float_layer.bias = nn.Parameter(by_hand.weight().dequantize()), layer.bias
        want = torch.quantize_per_tensor(float_layer(qx.dequantize()), qx.q_scale(), qx.q_zero_point(), torch.quint8).dequantize()
        if (want - y).abs().max() > 1.5 * qx.q_scale():
            print("skipped", rank, "the engine contradicts the float layer:", kernel, stride)
            continue
        made += 1
        integers = torch.round(y.double() / qx.q_scale()) + qx.q_zero_point()
        assert ((integers - qx.q_zero_point()) * qx.q_scale() - y).abs().max() < 1e-4
        add(f"ConvTranspose{rank}d", dict(seed=seed, input=[batch, inputs, *size], outputs=outputs, kernel=kernel, stride=stride,
                                          padding=padding, outputPadding=output_padding, dilation=dilation, groups=groups, bias=bias,
                                          scale=qx.q_scale(), zeroPoint=qx.q_zero_point()), integers.to(torch.uint8))
torch.backends.quantized.engine = "qnnpack"


class Model(nn.Module):
    """One of each, for state dicts."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True)
        self.gru = nn.GRU(10, 4, batch_first=True)
        self.rnn_cell = nn.RNNCell(4, 3)
        self.lstm_cell = nn.LSTMCell(3, 3)
        self.gru_cell = nn.GRUCell(3, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        y, _ = self.lstm(x)
        y, _ = self.gru(y)
        h = self.rnn_cell(y[0])
        h, _ = self.lstm_cell(h)
        return self.fc(self.gru_cell(h))


torch.manual_seed(5)
model = Model()
x = torch.randn(4, 3, 6)
small = quantize_dynamic(model)
torch.save(small.state_dict(), os.path.join(DATA, "dynamic-model.pt"))
add("model", dict(seed=5, keys=list(small.state_dict())), small(x), repr(small))

with open(os.path.join(DATA, "dynamic.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(os.path.join(DATA, "dynamic.json")), "bytes")
