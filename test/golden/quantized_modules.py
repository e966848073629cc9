"""Integers that PyTorch 1.13's static quantized layers give, over random shapes, options and output parameters.

Inputs and weights are not stored: both sides draw them from `manual_seed(seed)` with `randn`, in the order written here.
Run: python3 test/golden/quantized_modules.py   (writes data/quantized_modules_*.json)
Engine: onednn (mostly ATen's own kernels); transposed convolutions of lines and images: qnnpack.
"""
import base64
import json
import os
import random

import torch
import torch.nn.intrinsic.quantized as nniq
import torch.ao.nn.quantized as nnq
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(7)
cases = []
DTYPES = {"quint8": torch.quint8, "qint8": torch.qint8}


def b64(t):
    t = t.int_repr() if t.is_quantized else t
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


def add(op, config, out, printed=None):
    case = {"op": op, **config, "shapeOut": list(out.shape), "out": b64(out)}
    if out.is_quantized:
        case["qOut"] = [out.q_scale(), out.q_zero_point()]
    if printed is not None:
        case["printed"] = str(printed)
    cases.append(case)


def qp(name, lo=0.004, hi=0.06):
    least, most = (-128, 127) if name == "qint8" else (0, 255)
    return [round(rng.uniform(lo, hi), 6), rng.choice([least, most, 0, 3, rng.randint(least, most), rng.randint(least, most)])]


def start(name, shape, spread=1.0):
    config = dict(seed=rng.randrange(10**6), input=shape, dtype=name, qIn=qp(name), spread=spread)
    torch.manual_seed(config["seed"])
    x = torch.quantize_per_tensor(torch.randn(shape) * spread, *config["qIn"], DTYPES[name])
    return config, x


SHAPES = [[7], [3, 33], [2, 5, 4, 3], [1, 5, 7, 7]]
torch.backends.quantized.engine = "onednn"
for name in DTYPES:
    for i in range(20):
        shape = rng.choice(SHAPES)
        spread = rng.choice([1.0, 4.0])
        for op, make in [
            ("ReLU6", lambda q: nnq.ReLU6()),
            ("Hardswish", lambda q: nnq.Hardswish(*q)),
            ("ELU", lambda q: nnq.ELU(*q, alpha=0.7)),
            ("LeakyReLU", lambda q: nnq.LeakyReLU(*q, negative_slope=0.15)),
            ("Sigmoid", lambda q: nnq.Sigmoid(*q)),
            ("Softmax", lambda q: nnq.Softmax(-1, *q)),
        ]:
            config, x = start(name, shape, spread)
            q = qp(name)
            layer = make(q)
            add(op, dict(config, q=q), layer(x), layer if i == 0 else None)
        for op, run in [
            ("sigmoid", torch.sigmoid),
            ("tanh", torch.tanh),
            ("hardsigmoid", F.hardsigmoid),
            ("leaky_relu", lambda t: F.leaky_relu(t, 0.2)),
        ]:
            config, x = start(name, shape, spread)
            add(op, config, run(x))
        config, x = start(name, shape, spread)
        q = qp(name)
        add("celu", dict(config, q=q), torch.ops.quantized.celu(x, *q, 1.3))
        config, x = start(name, shape, spread)
        add("threshold", config, torch.ops.quantized.threshold(x, 0.3, -0.5))
    for i in range(20):
        channels = rng.choice([1, 4, 9])
        shape = [rng.randint(1, 3), channels, rng.randint(2, 6), rng.randint(2, 6)]
        config, x = start(name, shape)
        q, count = qp(name), rng.choice([1, channels])
        w = torch.quantize_per_tensor(torch.randn(count), 0.02, 20, DTYPES[name])
        layer = nnq.PReLU(*q, num_parameters=count)
        layer.set_weight(w)
        add("PReLU", dict(config, q=q, count=count), layer(x), layer if i == 0 else None)
    for rank in (2, 3):
        for relu in (False, True):
            for i in range(20):
                channels = rng.choice([1, 3, 16, 33, 64])
                shape = [rng.randint(1, 2), channels, *(rng.randint(2, 5) for _ in range(rank))]
                config, x = start(name, shape)
                q = qp(name, 0.01, 0.08)
                layer = getattr(nniq if relu else nnq, f"{'BNReLU' if relu else 'BatchNorm'}{rank}d")(channels, eps=rng.choice([1e-5, 1e-3]))
                layer.weight = torch.nn.Parameter(torch.randn(channels))
                layer.bias = torch.nn.Parameter(torch.randn(channels))
                layer.running_mean = torch.randn(channels)
                layer.running_var = torch.rand(channels) + 0.1
                layer.scale, layer.zero_point = torch.tensor(q[0]), torch.tensor(q[1])
                with torch.no_grad():
                    y = layer(x)
                add(f"{'BNReLU' if relu else 'BatchNorm'}{rank}d", dict(config, q=q, eps=layer.eps), y, layer if i == 0 else None)
    for i in range(24):
        tail = rng.choice([[5], [32], [100], [6, 7], [192]])
        shape = [*rng.choice([[1], [3], [2, 4]]), *tail]
        config, x = start(name, shape)
        q, affine = qp(name, 0.01, 0.08), rng.random() < 0.7
        w, b = (torch.randn(tail), torch.randn(tail)) if affine else (None, None)
        layer = nnq.LayerNorm(tail, None if w is None else torch.nn.Parameter(w), None if b is None else torch.nn.Parameter(b), *q, elementwise_affine=affine)
        with torch.no_grad():
            y = layer(x)
        add("LayerNorm", dict(config, q=q, tail=tail, affine=affine), y, layer if i == 0 else None)
    for i in range(24):
        groups = rng.choice([1, 2, 4])
        channels = groups * rng.randint(1, 5)
        shape = [rng.randint(1, 3), channels, *rng.choice([[7], [4, 5], [5, 9], [2, 3, 4]])]
        config, x = start(name, shape)
        q, affine = qp(name, 0.01, 0.08), rng.random() < 0.7
        w, b = (torch.nn.Parameter(torch.randn(channels)), torch.nn.Parameter(torch.randn(channels))) if affine else (None, None)
        layer = nnq.GroupNorm(groups, channels, w, b, *q, affine=affine)
        with torch.no_grad():
            y = layer(x)
        add("GroupNorm", dict(config, q=q, groups=groups, affine=affine), y, layer if i == 0 else None)
    for rank in (1, 2, 3):
        for i in range(20):
            channels = rng.randint(1, 9)
            shape = [rng.randint(1, 3), channels, *(rng.randint(2, 6) for _ in range(rank))]
            config, x = start(name, shape)
            q, affine = qp(name, 0.01, 0.08), rng.random() < 0.7
            w, b = (torch.nn.Parameter(torch.randn(channels)), torch.nn.Parameter(torch.randn(channels))) if affine else (None, None)
            layer = getattr(nnq, f"InstanceNorm{rank}d")(channels, w, b, *q, affine=affine)
            with torch.no_grad():
                y = layer(x)
            add(f"InstanceNorm{rank}d", dict(config, q=q, affine=affine), y, layer if i == 0 else None)
    for i in range(20):
        shape = [rng.randint(1, 2), rng.choice([1, 3, 16]), rng.randint(2, 7), rng.randint(2, 7)]
        config, x = start(name, shape)
        size = [rng.randint(1, 12), rng.randint(1, 12)]
        add("nearest", dict(config, size=size), nnq.functional.interpolate(x, size=size, mode="nearest"))
        align = rng.random() < 0.5
        add("bilinear", dict(config, size=size, align=align), nnq.functional.interpolate(x, size=size, mode="bilinear", align_corners=align))
        factor = rng.choice([2.0, 1.5, 3.0])
        add("upsample", dict(config, factor=factor), nnq.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False))

for bits, dtype in (("quint8", torch.quint8), ("quint4x2", torch.quint4x2)):
    for i in range(20):
        rows, width = rng.randint(3, 20), 2 * rng.randint(1, 20)
        seed, count = rng.randrange(10**6), rng.randint(1, 12)
        torch.manual_seed(seed)
        w = torch.randn(rows, width)
        obs = torch.ao.quantization.PerChannelMinMaxObserver(dtype=dtype, qscheme=torch.per_channel_affine_float_qparams, ch_axis=0)
        obs(w)
        s, z = obs.calculate_qparams()
        qw = torch.quantize_per_channel(w, s, z, 0, dtype)
        indices = [rng.randrange(rows) for _ in range(count)]
        config = dict(seed=seed, rows=rows, width=width, dtype=bits, indices=indices)
        layer = nnq.Embedding(rows, width, _weight=qw, dtype=dtype)
        add("Embedding", config, layer(torch.tensor(indices)), layer if i == 0 else None)
        offsets = sorted([0] + [rng.randint(0, count) for _ in range(rng.randint(0, 3))])
        last = rng.random() < 0.5
        if last:
            offsets = offsets + [count]
        weighted = rng.random() < 0.5
        bag = nnq.EmbeddingBag(rows, width, _weight=qw, mode="sum", include_last_offset=last, dtype=dtype)
        per_sample = torch.randn(count) if weighted else None
        y = bag(torch.tensor(indices), torch.tensor(offsets), per_sample)
        add("EmbeddingBag", dict(config, offsets=offsets, last=last, weighted=weighted), y, bag if i == 0 else None)

for rank in (1, 2, 3):
    torch.backends.quantized.engine = "onednn" if rank == 3 else "qnnpack"
    for i in range(24):
        groups = rng.choice([1, 1, 2])
        cin, cout = groups * rng.randint(1, 6), groups * rng.randint(1, 6)
        k = [rng.randint(1, 5 if rank < 3 else 3) for _ in range(rank)]
        stride = [rng.randint(1, 4 if rank < 3 else 3) for _ in range(rank)]
        dilation = [rng.choice([1, 1, 2, 3]) for _ in range(rank)]
        padding = [rng.randint(0, max(0, d * (kk - 1))) for kk, d in zip(k, dilation)]
        outpad = [rng.randint(0, max(s, d) - 1) if rank < 3 else 0 for s, d in zip(stride, dilation)]  # onednn knows none
        size = [rng.randint(2, 6 if rank < 3 else 3) for _ in range(rank)]
        if any((n - 1) * s - 2 * p + d * (kk - 1) + o + 1 < 1 for n, s, p, d, kk, o in zip(size, stride, padding, dilation, k, outpad)):
            continue
        bias = rng.random() < 0.7
        config, x = start("quint8", [rng.randint(1, 2), cin, *size])
        q = [round(rng.uniform(0.02, 0.3), 6), rng.randint(0, 255)]
        layer = getattr(nnq, f"ConvTranspose{rank}d")(cin, cout, k, stride, padding, outpad, groups, bias, dilation)
        w = torch.quantize_per_tensor(torch.randn(cin, cout // groups, *k), 0.03, 0, torch.qint8)
        layer.set_weight_bias(w, torch.randn(cout) if bias else None)
        layer.scale, layer.zero_point = q
        add(f"ConvTranspose{rank}d", dict(config, q=q, channels=[cin, cout], kernel=k, stride=stride, padding=padding, dilation=dilation,
            outputPadding=outpad, groups=groups, bias=bias), layer(x), layer if bias and i < 8 else None)  # qnnpack shows a missing bias as one of zeros

NORMS = ("BatchNorm", "BNReLU", "LayerNorm", "GroupNorm", "InstanceNorm")
OTHERS = ("nearest", "bilinear", "upsample", "Embedding", "ConvTranspose")
files = {"normalization": [], "activation": [], "other": []}
for case in cases:
    kind = "normalization" if case["op"].startswith(NORMS) else "other" if case["op"].startswith(OTHERS) else "activation"
    files[kind].append(case)
for kind, list in files.items():
    path = os.path.join(HERE, "data", f"quantized_modules_{kind}.json")
    with open(path, "w") as f:
        json.dump(list, f, separators=(",", ":"))
    print(kind, len(list), "cases,", os.path.getsize(path), "bytes")
