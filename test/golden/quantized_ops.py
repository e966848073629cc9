"""Integers that PyTorch 1.13's quantized operators give, over random shapes, strides, groups, dtypes and schemes.

Inputs are not stored: both sides draw them from `manual_seed(seed)` with `randn`, in the order written here.
Run: python3 test/golden/quantized_ops.py   (writes data/quantized_ops.json)
Convolution and linear come from the qnnpack engine; element-wise operators and pools from ATen's own kernels (onednn engine),
whose float arithmetic is the one parity is defined by.
"""
import base64
import json
import os
import random

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(20)
cases = []


def b64(t):
    t = t.int_repr() if t.is_quantized else t
    return base64.b64encode(t.contiguous().numpy().tobytes()).decode()


def add(op, config, out):
    case = {"op": op, **config, "shapeOut": list(out.shape), "out": b64(out)}
    if out.is_quantized and out.qscheme() == torch.per_tensor_affine:
        case["qOut"] = [out.q_scale(), out.q_zero_point()]
    cases.append(case)


def qp(signed=False):
    lo, hi = (-128, 127) if signed else (0, 255)
    return [round(rng.uniform(0.004, 0.06), 6), rng.choice([lo, hi, 0, 3, rng.randint(lo, hi), rng.randint(lo, hi)])]


def quantized(shape, q, dtype=torch.quint8):
    return torch.quantize_per_tensor(torch.randn(shape), q[0], q[1], dtype)


def weights(shape, per_channel):
    w = torch.randn(shape)
    if not per_channel:
        return torch.quantize_per_tensor(w, 0.03, 0, torch.qint8)
    scales = torch.tensor([0.015 + 0.002 * (i % 11) for i in range(shape[0])], dtype=torch.double)
    return torch.quantize_per_channel(w, scales, torch.zeros(shape[0], dtype=torch.long), 0, torch.qint8)


torch.backends.quantized.engine = "qnnpack"
for rank, count in ((1, 20), (2, 36), (3, 20)):
    for i in range(count):
        seed = rng.randrange(10**6)
        groups = rng.choice([1, 1, 1, 2, 4])
        cin, cout = groups * rng.randint(1, 9), groups * rng.randint(1, 9)
        if rank == 2 and i % 4 == 3:  # depthwise
            groups = cin = cout = rng.choice([8, 16, 17, 24])
        if rank == 3:
            groups, cin, cout = 1, rng.randint(1, 6), rng.randint(1, 6)
        if rank == 2 and i == 0:
            groups, cin, cout = 1, 3, 16
        k = [rng.choice([1, 3, 3, 5] if rank < 3 else [1, 2, 3]) for _ in range(rank)]
        stride = [rng.choice([1, 1, 2, 3]) for _ in range(rank)]
        dilation = [rng.choice([1, 1, 2]) if rank < 3 else 1 for _ in range(rank)]
        padding = [rng.randint(0, kk // 2) for kk in k]
        size = [rng.randint(6, 12) if rank < 3 else rng.randint(4, 6) for _ in range(rank)]
        size = [max(s, d * (kk - 1) + 1) for s, d, kk in zip(size, dilation, k)]
        x_q, y_q = qp(), [round(rng.uniform(0.02, 0.3), 6), rng.randint(0, 255)]
        bias, relu, per_channel = rng.random() < 0.7, rng.random() < 0.5, rng.random() < 0.6
        n = rng.randint(1, 2)
        torch.manual_seed(seed)
        qx = quantized([n, cin, *size], x_q)
        qw = weights([cout, cin // groups, *k], per_channel)
        b = torch.randn(cout) if bias else None
        ops = torch.ops.quantized
        prepack = getattr(ops, f"conv{rank}d_prepack")
        try:
            packed = prepack(qw, b, stride, padding, dilation, groups)
            y = getattr(ops, f"conv{rank}d{'_relu' if relu else ''}")(qx, packed, *y_q)
        except RuntimeError as e:
            print("skipped", rank, str(e).splitlines()[0])
            continue
        add(f"conv{rank}d", dict(seed=seed, input=[n, cin, *size], weight=[cout, cin // groups, *k], stride=stride, padding=padding,
            dilation=dilation, groups=groups, bias=bias, relu=relu, perChannel=per_channel, qIn=x_q, q=y_q), y)

for i in range(24):
    seed, x_q, y_q = rng.randrange(10**6), qp(), [round(rng.uniform(0.05, 0.4), 6), rng.randint(0, 255)]
    lead = rng.choice([[1], [3], [7], [2, 5]])
    fin, fout = rng.choice([1, 5, 16, 33, 64, 100]), rng.choice([1, 7, 10, 24, 48])
    bias, relu, per_channel = rng.random() < 0.7, rng.random() < 0.5, rng.random() < 0.6
    torch.manual_seed(seed)
    qx, qw = quantized([*lead, fin], x_q), weights([fout, fin], per_channel)
    b = torch.randn(fout) if bias else None
    packed = torch.ops.quantized.linear_prepack(qw, b)
    y = (torch.ops.quantized.linear_relu if relu else torch.ops.quantized.linear)(qx, packed, *y_q)
    add("linear", dict(seed=seed, input=[*lead, fin], weight=[fout, fin], bias=bias, relu=relu, perChannel=per_channel, qIn=x_q, q=y_q), y)

for i in range(20):
    seed = rng.randrange(10**6)
    lead, fin, fout = rng.choice([[1], [4], [2, 3]]), rng.choice([5, 16, 64, 100]), rng.choice([1, 10, 24])
    bias, per_channel = rng.random() < 0.7, rng.random() < 0.4
    torch.manual_seed(seed)
    x = torch.randn([*lead, fin])
    qw = weights([fout, fin], per_channel)
    b = torch.randn(fout) if bias else None
    y = torch.ops.quantized.linear_dynamic(x, torch.ops.quantized.linear_prepack(qw, b), False)
    add("linear_dynamic", dict(seed=seed, input=[*lead, fin], weight=[fout, fin], bias=bias, perChannel=per_channel), y)

torch.backends.quantized.engine = "onednn"
for dtype, name in ((torch.quint8, "quint8"), (torch.qint8, "qint8")):
    signed = dtype == torch.qint8
    for op in ("add", "add_relu", "mul", "mul_relu"):
        for i in range(12):
            seed, a_q, b_q, y_q = rng.randrange(10**6), qp(signed), qp(signed), qp(signed)
            shape = rng.choice([[7], [3, 33], [2, 5, 4, 3], [1, 16, 8, 8]])
            torch.manual_seed(seed)
            a, b = quantized(shape, a_q, dtype), quantized(shape, b_q, dtype)
            add(op, dict(seed=seed, input=shape, dtype=name, qIn=a_q, qIn2=b_q, q=y_q), getattr(torch.ops.quantized, op)(a, b, *y_q))
    for op in ("add_scalar", "mul_scalar"):
        for value in (0.5, -0.25, 3.0, -7.5, 40.0, 0.0, 1.0, -1.0, 0.01, -120.0, 7.3):
            seed, a_q = rng.randrange(10**6), qp(signed)
            torch.manual_seed(seed)
            a = quantized([3, 33], a_q, dtype)
            add(op, dict(seed=seed, input=[3, 33], dtype=name, qIn=a_q, value=value), getattr(torch.ops.quantized, op)(a, value))
    for i in range(10):
        seed, a_q, b_q = rng.randrange(10**6), qp(signed), qp(signed)
        y_q = a_q if i % 3 == 0 else qp(signed)
        torch.manual_seed(seed)
        a, b = quantized([2, 3, 4, 5], a_q, dtype), quantized([2, 6, 4, 5], b_q, dtype)
        add("cat", dict(seed=seed, input=[2, 3, 4, 5], input2=[2, 6, 4, 5], dtype=name, qIn=a_q, qIn2=b_q, q=y_q),
            torch.ops.quantized.cat([a, b], 1, *y_q))
    for i in range(16):
        seed, a_q = rng.randrange(10**6), qp(signed)
        shape = [rng.randint(1, 2), rng.choice([1, 3, 16, 19]), rng.randint(5, 10), rng.randint(5, 10)]
        k, s = rng.choice([2, 3]), rng.choice([1, 2, 3])
        p, ceil = rng.randint(0, k // 2), rng.random() < 0.5
        torch.manual_seed(seed)
        a = quantized(shape, a_q, dtype)
        F = torch.nn.functional
        config = dict(seed=seed, input=shape, dtype=name, qIn=a_q)
        add("relu", config, F.relu(a))
        add("hardtanh", dict(config, min=-0.7, max=1.1), F.hardtanh(a, -0.7, 1.1))
        add("max_pool2d", dict(config, kernel=k, stride=s, padding=p, ceilMode=ceil), F.max_pool2d(a, k, s, p, 1, ceil))
        a_nhwc = a.contiguous(memory_format=torch.channels_last)
        include = rng.random() < 0.5
        add("avg_pool2d", dict(config, kernel=k, stride=s, padding=p, ceilMode=ceil, countIncludePad=include),
            F.avg_pool2d(a_nhwc, k, s, p, ceil, include))
        size = rng.randint(1, 4)
        add("adaptive_avg_pool2d", dict(config, size=size), F.adaptive_avg_pool2d(a_nhwc, size))
    for i in range(10):
        seed, a_q = rng.randrange(10**6), qp(signed)
        torch.manual_seed(seed)
        add("quantize_per_tensor", dict(seed=seed, input=[5, 40], dtype=name, qIn=a_q), quantized([5, 40], a_q, dtype))
        torch.manual_seed(seed)
        scales = torch.tensor([0.01 + 0.003 * j for j in range(7)], dtype=torch.double)
        zps = torch.tensor([3 * j - 9 if signed else 3 * j for j in range(7)])
        add("quantize_per_channel", dict(seed=seed, input=[4, 7, 6], dtype=name),
            torch.quantize_per_channel(torch.randn(4, 7, 6), scales, zps, 1, dtype))

with open(os.path.join(HERE, "data", "quantized_ops.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(os.path.join(HERE, "data", "quantized_ops.json")), "bytes")
