"""Static quantization of one linear layer in six steps: what PyTorch 1.13 prints after each, and computes.

The same seed draws the same weights and inputs as examples/linear-relu.ts. Run: /usr/bin/python3 test/golden/linear_relu.py
"""
import json
import os

import torch
import torch.ao.quantization as quantization

from common import HERE

torch.backends.quantized.engine = 'qnnpack'


class LinearReLUModule(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(5, 10).float()
        self.relu = torch.nn.ReLU()
        self.quant = quantization.QuantStub()
        self.dequant = quantization.DeQuantStub()

    def forward(self, x):
        return self.dequant(self.relu(self.linear(self.quant(x))))


steps = {}
torch.manual_seed(0)
model = LinearReLUModule().eval()
fused = quantization.fuse_modules(model, [['linear', 'relu']])
steps['fused'] = str(fused)
fused.qconfig = quantization.default_qconfig
prepared = quantization.prepare(fused)
steps['prepared'] = str(prepared)
with torch.no_grad():
    for _ in range(10):
        prepared(torch.randn(5, 5))
    steps['calibrated'] = str(prepared)
    quantized = quantization.convert(prepared)
    steps['quantized'] = str(quantized)
    x = torch.randn(3, 5)
    steps['float'] = str(model(x))
    steps['int8'] = str(quantized(x))

path = os.path.join(HERE, 'data', 'linear-relu.json')
with open(path, 'w') as f:
    json.dump(steps, f, indent=1)
    f.write('\n')
print(f'{path}: {len(steps)} steps (torch {torch.__version__})')
