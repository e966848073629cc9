"""Files written by PyTorch, NumPy and PIL, with what they hold, for the readers of `src/io`.

Run `python3 test/golden/io.py` (PyTorch 1.13, NumPy, Pillow) to write `test/golden/data/io/`.
"""

import collections
import json
import os

import numpy as np
import torch
from PIL import Image

OUT = os.path.join(os.path.dirname(__file__), "data", "io")
expected = {}


def describe(value):
    """JSON for a value, in the terms of the TypeScript readers."""
    if isinstance(value, torch.Tensor):
        out = {"dtype": str(value.dtype).split(".")[1], "shape": list(value.shape)}
        if value.is_quantized:
            out["values"] = value.int_repr().flatten().tolist()
            scheme = str(value.qscheme()).split(".")[1]
            out["scheme"] = scheme
            if scheme == "per_tensor_affine":
                out.update(scale=value.q_scale(), zeroPoint=value.q_zero_point())
            else:
                out.update(
                    scales=value.q_per_channel_scales().tolist(),
                    zeroPoints=value.q_per_channel_zero_points().tolist(),
                    axis=value.q_per_channel_axis(),
                )
        else:
            out["values"] = value.flatten().tolist()
        return {"tensor": out}
    if isinstance(value, dict):
        return {"map": [[k, describe(v)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [describe(v) for v in value]}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(value)}
    if isinstance(value, (torch.dtype, torch.qscheme)):
        return {"value": str(value).split(".")[1]}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    if isinstance(value, int) and abs(value) > 2**53:
        return {"bigint": str(value)}
    return {"value": value}


def save(name, value, **kwargs):
    torch.save(value, os.path.join(OUT, name), **kwargs)
    expected[name] = describe(value)


torch.manual_seed(0)
os.makedirs(OUT, exist_ok=True)

base = torch.arange(24, dtype=torch.float32)
plain = collections.OrderedDict(
    float32=torch.randn(2, 3),
    float64=torch.randn(3, dtype=torch.float64),
    float16=torch.randn(4).half(),
    bfloat16=torch.randn(4).bfloat16(),
    int64=torch.tensor([0, -1, 2**53, -(2**53), 12345678901]),
    int32=torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32),
    int16=torch.tensor([-32768, 32767], dtype=torch.int16),
    int8=torch.tensor([-128, 127], dtype=torch.int8),
    uint8=torch.tensor([0, 255], dtype=torch.uint8),
    bool=torch.tensor([True, False, True]),
    scalar=torch.tensor(1.5),
    empty=torch.zeros(0, 3),
    whole=base.view(2, 3, 4),
    transposed=base.view(2, 3, 4).permute(2, 0, 1),
    window=base[5:17:3],
    expanded=torch.tensor([7.0]).expand(2, 3),
)
quantized = collections.OrderedDict(
    qint8=torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 3, torch.qint8),
    quint8=torch.quantize_per_tensor(torch.randn(3, 4), 1 / 3, 128, torch.quint8),
    qint32=torch.quantize_per_tensor(torch.randn(5), 1e-5, 0, torch.qint32),
    per_channel=torch.quantize_per_channel(
        torch.randn(3, 2, 2, 2), torch.tensor([0.1, 0.02, 1 / 7], dtype=torch.float64), torch.tensor([0, -5, 9]), 0, torch.qint8
    ),
    axis1=torch.quantize_per_channel(
        torch.randn(2, 3), torch.tensor([0.5, 0.25, 0.125], dtype=torch.float64), torch.tensor([1, 2, 3]), 1, torch.quint8
    ),
    float_qparams=torch.quantize_per_channel(
        torch.rand(3, 4), torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 1.5, 2.5]), 0, torch.quint8
    ),
    channels_last=torch.quantize_per_tensor(
        torch.randn(1, 3, 2, 2).contiguous(memory_format=torch.channels_last), 0.05, 0, torch.qint8
    ),
    pair=(torch.quantize_per_tensor(torch.randn(2, 2), 0.1, 0, torch.qint8), None),
    dtype=torch.qint8,
    scheme=torch.per_channel_affine,
)
containers = {
    "state_dict": collections.OrderedDict([("module.fc.weight", torch.randn(2, 2)), ("module.fc.bias", torch.zeros(2))]),
    "epoch": 12,
    "best": 91.78000183105469,
    "big": 2**70,
    "negative": -(2**40),
    "none": None,
    "flags": [True, False],
    "nested": {"a": [1, (2, "zwei", {"x": 3.5})], 7: "seven"},
    "names": {"b", "a"},
    "raw": b"\x00\xff\x80",
    "size": torch.Size([3, 4]),
    "text": "Grüße \N{SNOWMAN}",
    "parameter": torch.nn.Parameter(torch.ones(2)),
}
for name, value in [("plain", plain), ("quantized", quantized), ("containers", containers)]:
    save(f"{name}.zip.pt", value)
    save(f"{name}.legacy.pt", value, _use_new_zipfile_serialization=False)
for protocol in [0, 1, 3, 4, 5]:
    # Persistent ids of protocol 0 are text, so it can hold no tensors (torch.load cannot read them either).
    tensors = ("state_dict", "parameter")
    value = {k: v for k, v in containers.items() if protocol > 0 or k not in tensors}
    save(f"protocol{protocol}.pt", value, _use_new_zipfile_serialization=False, pickle_protocol=protocol)

torch.backends.quantized.engine = "qnnpack"
layers = torch.nn.quantized
modules = torch.nn.Sequential(
    layers.Conv2d(1, 2, 3),
    layers.Linear(4, 3),
    layers.Embedding(5, 4),
    layers.dynamic.Linear(4, 3),
)
state = modules.state_dict()
save("quantized-modules.pt", state)
expected["quantized-modules.pt"]["versions"] = {k: v["version"] for k, v in state._metadata.items() if "version" in v}
torch.save(torch.nn.quantized.dynamic.LSTM(3, 2).state_dict(), os.path.join(OUT, "dynamic-lstm.pt"))



class Evil:
    def __reduce__(self):
        return (os.system, ("true",))


torch.save({"a": Evil()}, os.path.join(OUT, "evil.pt"))
torch.save(torch.nn.Linear(2, 2), os.path.join(OUT, "module.pt"))

rng = np.random.default_rng(0)
arrays = {
    "f2": rng.standard_normal((2, 3)).astype("<f2"),
    "f4": rng.standard_normal((2, 3)).astype("<f4"),
    "f8": rng.standard_normal((2, 3)).astype("<f8"),
    "f8big": rng.standard_normal((2, 3)).astype(">f8"),
    "i1": np.array([-128, 127], "i1"),
    "i2": np.array([-32768, 32767], "<i2"),
    "i4": np.array([-(2**31), 2**31 - 1], "<i4"),
    "i8": np.array([-(2**53), 2**53, 1], "<i8"),
    "i4big": np.array([-(2**31), 1], ">i4"),
    "u1": np.array([0, 255], "u1"),
    "u2": np.array([0, 65535], "<u2"),
    "u4": np.array([0, 2**32 - 1], "<u4"),
    "u8": np.array([0, 2**53], "<u8"),
    "b1": np.array([True, False]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), "f4"),
    "fortran": np.asfortranarray(np.arange(24, dtype="f4").reshape(2, 3, 4)),
}
np.savez(os.path.join(OUT, "arrays.npz"), **arrays)
np.savez_compressed(os.path.join(OUT, "arrays-compressed.npz"), **arrays)
np.save(os.path.join(OUT, "fortran.npy"), arrays["fortran"])
np.savez(os.path.join(OUT, "text.npz"), x=np.ones(2, "f4"), names=np.array(["a", "bc"]))
expected["arrays"] = {k: {"shape": list(v.shape), "values": v.flatten().tolist()} for k, v in arrays.items()}

h, w = 47, 61
y, x = np.mgrid[0:h, 0:w]
picture = np.stack([128 + 120 * np.sin(x / 5.0 + y / 9.0), 4 * x + rng.integers(0, 12, (h, w)), 5 * y + 0 * x], -1)
picture = Image.fromarray(picture.clip(0, 255).astype("u1"))
images = {
    "444.jpg": (picture, dict(quality=90, subsampling=0)),
    "422.jpg": (picture, dict(quality=85, subsampling=1)),
    "420.jpg": (picture, dict(quality=75, subsampling=2)),
    "progressive.jpg": (picture, dict(quality=80, progressive=True)),
    "grey.jpg": (picture.convert("L"), dict(quality=80)),
    "rgb.png": (picture, {}),
    "rgba.png": (picture.convert("RGBA"), {}),
    "grey.png": (picture.convert("L"), {}),
    "grey-alpha.png": (picture.convert("LA"), {}),
    "bits1.png": (picture.convert("1"), {}),
    "palette8.png": (picture.quantize(100), {}),
    "palette4.png": (picture.quantize(13), dict(bits=4)),
    "palette2.png": (picture.quantize(4), dict(bits=2)),
}
pixels = {}
for name, (image, options) in images.items():
    image.save(os.path.join(OUT, name), **options)
    pixels[name] = np.asarray(Image.open(os.path.join(OUT, name)).convert("RGB"))
noise = Image.fromarray(rng.integers(0, 256, (h, w, 3)).astype("u1"))
noise.save(os.path.join(OUT, "noise.png"))
for name, size in [("down", (20, 13)), ("up", (150, 100)), ("wide", (90, 20)), ("rows", (61, 11)), ("one", (1, 1)), ("columns", (33, 47))]:
    pixels[f"noise-{name}"] = np.asarray(noise.resize(size, Image.BILINEAR))
np.savez_compressed(os.path.join(OUT, "pixels.npz"), **pixels)

from torchvision import transforms  # noqa: E402

prepare = transforms.Compose(
    [transforms.Resize(32), transforms.CenterCrop(24), transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
)
padded = transforms.Compose([transforms.CenterCrop(70), transforms.ToTensor()])
np.savez_compressed(os.path.join(OUT, "transforms.npz"), prepared=prepare(noise).numpy(), padded=padded(noise).numpy())

with open(os.path.join(OUT, "expected.json"), "w") as f:
    json.dump(expected, f, indent=None, separators=(",", ":"))
    f.write("\n")
