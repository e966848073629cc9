"""State dicts that PyTorch 1.13's graph mode saves, with concatenations among the layers, and what the models that were saved
give. Run: python3 test/golden/fx_state.py   (writes data/fx_state.pt)
"""
import os
import warnings

import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from common import fill, noise_tensor

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.backends.quantized.engine = "qnnpack"
HERE = os.path.dirname(os.path.abspath(__file__))


class Branches(nn.Module):
    """Layers and operators side by side, joined twice."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 5, 1)
        self.leave = nn.Conv2d(18, 6, 4)

    def forward(self, x):
        y = torch.cat([self.left(x), nn.functional.relu(self.right(x))], 1)
        z = torch.cat([y, y + y], 1)
        return self.leave(z) * 3


model = Branches().eval()
fill(model)
prepared = prepare_fx(model, get_default_qconfig_mapping("qnnpack"), (noise_tensor([2, 3, 8, 8], 900),))
for batch in range(3):
    prepared(noise_tensor([2, 3, 8, 8], 900 + batch))
converted = convert_fx(prepared)
x = noise_tensor([5, 3, 8, 8], 950)
torch.save({"state_dict": converted.state_dict(), "output": converted(x)}, os.path.join(HERE, "data", "fx_state.pt"))
