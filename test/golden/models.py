"""Keys, printed trees and logits of the models in PyTorch: python3 test/golden/models.py > test/golden/data/models.json

Weights and inputs come from a hash of their place, the same here and in models.test.ts, so that no weights are stored.
"""
import json
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.models as tv

from common import CharLstm, DsCnn, fill, noise_tensor


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(256, 128)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc3(self.relu2(self.fc2(self.relu1(self.fc1(x.flatten(1))))))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class CifarBlock(nn.Module):
    def __init__(self, inp, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inp, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.extra = stride, (planes - inp) // 2

    def forward(self, x):
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra)) if self.stride == 2 else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + short)


class CifarResNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

        def layer(i, o, s):
            return nn.Sequential(*[CifarBlock(i if b == 0 else o, o, s if b == 0 else 1) for b in range(n)])
        self.layer1, self.layer2, self.layer3 = layer(16, 16, 1), layer(16, 32, 2), layer(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, x.shape[3]).flatten(1))


# name: model, input shape, keep the printed tree
MODELS = {
    'mlp': (MLP(), [2, 1, 28, 28], True),
    'lenet': (LeNet(), [2, 1, 28, 28], False),
    'resnet20': (CifarResNet(3), [2, 3, 32, 32], False),
    'resnet32': (CifarResNet(5), [1, 3, 32, 32], False),
    'resnet44': (CifarResNet(7), [1, 3, 32, 32], False),
    'resnet56': (CifarResNet(9), [1, 3, 32, 32], False),
    'resnet18': (tv.resnet18(), [1, 3, 64, 64], True),
    'resnet34': (tv.resnet34(), [1, 3, 64, 64], False),
    'resnet50': (tv.resnet50(), [1, 3, 64, 64], False),
    'squeezenet1_1': (tv.squeezenet1_1(), [1, 3, 65, 65], True),
    'mobilenetV2': (tv.mobilenet_v2(), [1, 3, 64, 64], True),
    'dsCnn': (DsCnn(), [2, 1, 49, 10], True),
    'charLstm': (CharLstm(), [2, 5], True),
}

golden = {}
with torch.no_grad():
    for name, (model, shape, tree) in MODELS.items():
        model.eval()
        fill(model)
        if name == 'charLstm':
            x = torch.arange(10).reshape(shape) * 7 % 65
        else:
            x = noise_tensor(shape, 999)
        y = model(x).double()
        golden[name] = {
            'inputShape': shape,
            'state': [[k, list(v.shape)] for k, v in model.state_dict().items()],
            'parameters': sum(p.numel() for p in model.parameters()),
            'tree': str(model) if tree else None,
            'outputShape': list(y.shape),
            'first': [float(v) for v in y.flatten()[:16]],
            'sum': float(y.sum()),
            'norm': float(y.norm()),
        }
print(json.dumps(golden))
