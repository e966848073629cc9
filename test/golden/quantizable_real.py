"""A trained two-layer character LSTM through PyTorch's static quantization: nats per character, float and int8.

Run: python3 test/golden/quantizable_real.py DATA_DIR   (writes data/quantizable_real.json)
DATA_DIR holds char_lstm_shakespeare.pth, its vocab.json and tinyshakespeare.txt.
"""
import json
import os
import sys
import warnings

import torch
from torch import nn
from torch.ao.quantization import (
    DeQuantStub, MinMaxObserver, QConfig, QuantStub, convert, default_per_channel_weight_observer, prepare,
)

from common import CharLstm

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.backends.quantized.engine = "qnnpack"
HERE = os.path.dirname(os.path.abspath(__file__))
data = sys.argv[1]


class StubbedCharLstm(CharLstm):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()

    def forward(self, x):
        return self.dequant(self.decoder(self.lstm(self.quant(self.embedding(x)))[0]))


model = StubbedCharLstm().eval()
model.load_state_dict(torch.load(os.path.join(data, "char_lstm_shakespeare.pth")), strict=False)
with open(os.path.join(data, "char_lstm_shakespeare.vocab.json")) as f:
    vocabulary = json.load(f)
with open(os.path.join(data, "tinyshakespeare.txt")) as f:
    ids = torch.tensor([vocabulary[c] for c in f.read() if c in vocabulary][:14001])
calibration, x, target = ids[:4000].reshape(20, 200), ids[4000:14000].reshape(20, 500), ids[4001:14001]


def nats(m):
    with torch.no_grad():
        return float(nn.functional.cross_entropy(m(x).reshape(-1, 65), target))


model.qconfig = QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=default_per_channel_weight_observer)
model.embedding.qconfig = None
prepared = prepare(model)
with torch.no_grad():
    prepared(calibration)
converted = convert(prepared)
qparams = {
    path: [float(m.scale), int(m.zero_point)]
    for path, m in converted.named_modules()
    if hasattr(m, "scale") and hasattr(m, "zero_point")
}
result = {"float": nats(model), "qnnpack": nats(converted), "qparams": qparams}
# Packed weights stay with the engine that packed them. Additions follow the engine of the moment: qnnpack's are in fixed
# point and miss ties, the others' add floats and round once, which is what parity is defined by.
torch.backends.quantized.engine = "onednn"
result["int8"] = nats(converted)
with open(os.path.join(HERE, "data", "quantizable_real.json"), "w") as f:
    json.dump(result, f)
print(result)
