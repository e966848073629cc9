"""What real PyTorch 1.13 makes of two real models in eager mode: the qparams of every module, and the scores.

Both calibrate and evaluate in batches of 50: histograms that are widened batch by batch, and so the qparams, depend on it.

Run: python3 test/golden/real_models.py DATA_DIR [engine]
Writes test/golden/data/real_models.json. DATA_DIR holds resnet20-12fca82f.th, cifar10_train_4000.npz,
cifar10_test_jpeg_2500.npz, squeezenet1_1.pth and imagenet500/.
"""

import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.ao import quantization as tq

DATA = sys.argv[1]
ENGINE = sys.argv[2] if len(sys.argv) > 2 else "qnnpack"
BATCH = 50
torch.backends.quantized.engine = ENGINE
torch.set_num_threads(2)


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.pad = (cout - cin) // 2
        self.stride = stride
        self.skip = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride != 1:
            zeros = torch.quantize_per_tensor(torch.zeros(1), x.q_scale(), x.q_zero_point(), x.dtype) if x.is_quantized else None
            x = x[:, :, ::2, ::2]
            if zeros is None:
                x = F.pad(x, (0, 0, 0, 0, self.pad, self.pad))
            else:
                # Zero channels are the zero point: exact in either form.
                i = F.pad(x.int_repr().int(), (0, 0, 0, 0, self.pad, self.pad), value=x.q_zero_point())
                x = torch._make_per_tensor_quantized_tensor(i.to(torch.uint8), x.q_scale(), x.q_zero_point())
        return self.skip.add_relu(y, x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant = tq.QuantStub()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(self.quant(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.avg_pool2d(x, x.shape[3])
        return self.dequant(self.linear(x.flatten(1)))

    def fuse(self):
        lists = [["conv1", "bn1", "relu1"]]
        for n, m in self.named_modules():
            if isinstance(m, Block):
                lists += [[f"{n}.conv1", f"{n}.bn1", f"{n}.relu1"], [f"{n}.conv2", f"{n}.bn2"]]
        return tq.fuse_modules(self, lists)


class Fire(nn.Module):
    def __init__(self, cin, s, e):
        super().__init__()
        self.squeeze = nn.Conv2d(cin, s, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(s, e, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(s, e, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()
        self.skip = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))
        return self.skip.cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self):
        super().__init__()
        pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
        self.quant = tq.QuantStub()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool(), Fire(128, 32, 128),
            Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.dequant = tq.DeQuantStub()

    def forward(self, x):
        x = self.classifier(self.features(self.quant(x)))
        return self.dequant(x.flatten(1))

    def fuse(self):
        lists = [["features.0", "features.1"], ["classifier.1", "classifier.2"]]
        for n, m in self.named_modules():
            if isinstance(m, Fire):
                lists += [[f"{n}.{k}", f"{n}.{k}_activation"] for k in ("squeeze", "expand1x1", "expand3x3")]
        return tq.fuse_modules(self, lists)


def cifar(name):
    z = np.load(os.path.join(DATA, name))
    x = torch.from_numpy(z["x"]).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return ((x - mean) / std).contiguous(), torch.from_numpy(z["y"].astype(np.int64))


def imagenet():
    from PIL import Image
    import torchvision.transforms as T

    t = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    rows = [r.split("\t") for r in open(os.path.join(DATA, "imagenet500", "labels.tsv")).read().splitlines()]
    rows = [r for r in rows if r[0].endswith(".jpg")]
    x = torch.stack([t(Image.open(os.path.join(DATA, "imagenet500", r[0])).convert("RGB")) for r in rows])
    return x, torch.tensor([int(r[1]) for r in rows])


def run(model, x, batch=BATCH):
    with torch.no_grad():
        return torch.cat([model(x[i : i + batch]) for i in range(0, len(x), batch)])


def study(name, make, calib, test, labels):
    """Float, and int8 per backend: scores over the whole test set, qparams by module, logits of the first two images."""
    float_model = make().eval()
    reference = run(float_model, test)
    out = {"float": {"top1": top1(reference, labels), "logits": reference[:2].tolist()}}
    for backend in ("fbgemm", "qnnpack"):
        m = make().eval().fuse()
        m.qconfig = tq.get_default_qconfig(backend)
        tq.prepare(m, inplace=True)
        run(m, calib)
        tq.convert(m, inplace=True)
        q = run(m, test)
        qparams = {}
        for path, mod in m.named_modules():
            if hasattr(mod, "scale") and hasattr(mod, "zero_point"):
                qparams[path] = [float(mod.scale), int(mod.zero_point)]
        out[backend] = {
            "top1": top1(q, labels),
            "agreement": 100 * (q.argmax(1) == reference.argmax(1)).double().mean().item(),
            "sqnr": (10 * torch.log10((reference.double() ** 2).sum() / ((reference - q).double() ** 2).sum())).item(),
            "qparams": qparams,
            "logits": q[:2].tolist(),
        }
        print(name, backend, *[f"{out[backend][k]:.2f}" for k in ("top1", "agreement", "sqnr")], flush=True)
    return out


def top1(logits, labels):
    return 100 * (logits.argmax(1) == labels).double().mean().item()


def resnet20():
    m = ResNet20()
    state = torch.load(os.path.join(DATA, "resnet20-12fca82f.th"), map_location="cpu")["state_dict"]
    m.load_state_dict({k[len("module."):]: v for k, v in state.items()})
    return m


def squeezenet():
    m = SqueezeNet()
    m.load_state_dict(torch.load(os.path.join(DATA, "squeezenet1_1.pth"), map_location="cpu"))
    return m


if __name__ == "__main__":
    results = {"engine": ENGINE, "batch": BATCH}
    train, _ = cifar("cifar10_train_4000.npz")
    test, labels = cifar("cifar10_test_jpeg_2500.npz")
    results["resnet20"] = study("resnet20", resnet20, train[:512], test, labels)
    images, classes = imagenet()
    results["squeezenet1_1"] = study("squeezenet1_1", squeezenet, images[:100], images, classes)
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "data", "real_models.json")
    with open(path, "w") as f:
        json.dump(results, f, separators=(",", ":"))
    print(path, os.path.getsize(path), "bytes")
