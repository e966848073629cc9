"""What PyTorch 1.13 gives for tensor functions on quantized tensors: numbers, quantization parameters, printed forms.

Inputs are not stored: both sides draw them from `manual_seed(seed)` with `randn`.
Run: python3 test/golden/quantized_tensor.py   (writes data/quantized_tensor.json)
"""
import base64
import json
import os
import random

import torch

torch.backends.quantized.engine = "onednn"
HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(11)
cases = []
DTYPES = {"quint8": torch.quint8, "qint8": torch.qint8}


def describe(t):
    """A result as JSON: integers (or numbers) and quantization parameters."""
    if isinstance(t, (tuple, list)):
        return [describe(part) for part in t]
    if isinstance(t, bool):
        return {"value": t}
    data = t.int_repr() if t.is_quantized else t
    if data.dtype == torch.bool:
        data = data.to(torch.uint8)
    kind = str(data.dtype).replace("torch.", "")
    d = {"shape": list(t.shape), "kind": kind, "data": base64.b64encode(data.contiguous().numpy().tobytes()).decode()}
    if t.is_quantized and t.qscheme() in (torch.per_tensor_affine,):
        d["q"] = [t.q_scale(), t.q_zero_point()]
    elif t.is_quantized:
        d["axis"] = t.q_per_channel_axis()
    return d


def qp(name):
    least, most = (-128, 127) if name == "qint8" else (0, 255)
    return [round(rng.uniform(0.004, 0.06), 6), rng.choice([least, most, 0, 3, rng.randint(least, most)])]


def add(op, config, out):
    cases.append({"op": op, **config, "out": describe(out)})


UNARY = {
    "min": lambda x: x.min(),
    "max": lambda x: x.max(),
    "minDim": lambda x: list(x.min(1)),
    "maxDim": lambda x: list(x.max(1)),
    "argmin": lambda x: x.dequantize().argmin(),
    "sort": lambda x: x.sort(1)[0],
    "sortDescending": lambda x: x.sort(1, descending=True)[0],
    "topk": lambda x: x.topk(2, 1)[0],
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "contiguous": lambda x: x.transpose(0, 1).contiguous(),
    "view": lambda x: x.view(-1, x.shape[2]),
    "reshape": lambda x: x.transpose(0, 1).reshape(-1),
    "flatten": lambda x: x.flatten(1),
    "clone": lambda x: x.clone(),
    "slice": lambda x: x[:, 1:3, ::2],
    "select": lambda x: x[-1],
    "unsqueeze": lambda x: x.unsqueeze(1),
    "mean": lambda x: x.mean(),
    "meanLast": lambda x: x.mean(-1),
    "meanKeep": lambda x: x.mean((0, 2), keepdim=True),
    "relu": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(-0.4, 0.9),
    "eqScalar": lambda x: x == 0.0,
    "ltScalar": lambda x: x < 0.3,
    "geScalar": lambda x: x >= -0.2,
    "dequantize": lambda x: x.dequantize(),
}
for name, dtype in DTYPES.items():
    for i in range(20):
        shape = [rng.randint(1, 4), rng.randint(3, 6), rng.randint(2, 5)]
        config = dict(seed=rng.randrange(10**6), input=shape, dtype=name, q=qp(name))
        for op, run in UNARY.items():
            torch.manual_seed(config["seed"])
            x = torch.quantize_per_tensor(torch.randn(shape), *config["q"], dtype)
            add(op, config, run(x))
        other = qp(name)
        torch.manual_seed(config["seed"])
        a = torch.quantize_per_tensor(torch.randn(shape), *config["q"], dtype)
        b = torch.quantize_per_tensor(torch.randn(shape), *other, dtype)
        config = dict(config, q2=other)
        add("cat", config, torch.cat([a, b], 1))
        add("stack", config, torch.stack([a, torch.quantize_per_tensor(b.dequantize(), *config["q"], dtype)], 1))
        add("lt", config, a < b)
        add("ne", config, a != b)
        add("equal", config, bool(torch.equal(a, b)))
        add("equalSelf", config, bool(torch.equal(a, a.clone())))
        out = torch._empty_affine_quantized(shape, scale=0.07, zero_point=5, dtype=dtype)
        add("addOut", config, torch.ops.quantized.add_out(a, b, out=out))
        add("addDefault", config, torch.ops.quantized.add(a, b, 1.0, 0))
        # Rounded numbers, so that the last bit of an extreme random one does not decide about the scale.
        rounded = a.dequantize()
        add("dynamic", config, torch.quantize_per_tensor_dynamic(rounded, dtype, False))
        add("dynamicReduced", config, torch.quantize_per_tensor_dynamic(rounded, dtype, True))
        torch.manual_seed(config["seed"])
        x = torch.randn(shape)
        scales = [round(rng.uniform(0.01, 0.05), 4) for _ in range(shape[1])]
        zps = [rng.randint(0, 20) for _ in range(shape[1])]
        pc = torch.quantize_per_channel(x, torch.tensor(scales, dtype=torch.double), torch.tensor(zps), 1, dtype)
        config = dict(config, scales=scales, zeroPoints=zps)
        add("perChannel", config, pc)
        add("perChannelValues", config, pc.dequantize())
        add("perChannelEq", config, pc == pc)



torch.manual_seed(3)
x = torch.randn(3, 4)
printed = {
    "perTensor": str(torch.quantize_per_tensor(x, 0.05, 64, torch.quint8)),
    "signed": str(torch.quantize_per_tensor(x, 0.05, -4, torch.qint8)),
    "wide": str(torch.quantize_per_tensor(x, 1e-5, 0, torch.qint32)),
    "perChannel": str(torch.quantize_per_channel(x, torch.tensor([0.1, 0.05, 0.02], dtype=torch.double), torch.tensor([1, 2, 3]), 0, torch.quint8)),
    "intRepr": str(torch.quantize_per_tensor(x, 0.05, 64, torch.quint8).int_repr()),
    "scalar": str(torch.quantize_per_tensor(torch.tensor(0.5), 0.1, 0, torch.quint8)),
    "empty": str(torch._empty_affine_quantized([0, 2], scale=0.1, zero_point=3, dtype=torch.quint8)),
}
path = os.path.join(HERE, "data", "quantized_tensor.json")
with open(path, "w") as f:
    json.dump({"cases": cases, "printed": printed}, f, separators=(",", ":"))
print(len(cases), "cases,", os.path.getsize(path), "bytes")
