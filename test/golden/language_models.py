"""BERT and the word language model in PyTorch, float and dynamically quantized: python3 test/golden/language_models.py

Writes data/language_models.json. BERT's modules are those of Hugging Face's `BertModel`, by name and arithmetic. Weights
come from a hash (common.py), so none are stored.
"""
import json
import math
import os

import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from common import HERE, fill

torch.backends.quantized.engine = 'qnnpack'
torch.set_grad_enabled(False)


class Embeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.word_embeddings = nn.Embedding(c['vocab'], c['hidden'], padding_idx=0)
        self.position_embeddings = nn.Embedding(c['positions'], c['hidden'])
        self.token_type_embeddings = nn.Embedding(2, c['hidden'])
        self.LayerNorm = nn.LayerNorm(c['hidden'], eps=1e-12)

    def forward(self, ids, types):
        x = self.word_embeddings(ids) + self.token_type_embeddings(types)
        return self.LayerNorm(x + self.position_embeddings(torch.arange(ids.shape[1])))


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(c['hidden'], c['hidden']) for _ in range(3))
        self.heads = c['heads']

    def forward(self, x, mask):
        def split(y):
            return y.view(*y.shape[:2], self.heads, -1).permute(0, 2, 1, 3)
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask
        return (scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(x.shape)


class Residual(nn.Module):
    def __init__(self, inputs, c):
        super().__init__()
        self.dense = nn.Linear(inputs, c['hidden'])
        self.LayerNorm = nn.LayerNorm(c['hidden'], eps=1e-12)

    def forward(self, x, residual):
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self = SelfAttention(c)
        self.output = Residual(c['hidden'], c)

    def forward(self, x, mask):
        return self.output(self.self(x, mask), x)


class Dense(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attention = Attention(c)
        self.intermediate = Dense(c['hidden'], c['intermediate'])
        self.output = Residual(c['intermediate'], c)

    def forward(self, x, mask):
        x = self.attention(x, mask)
        return self.output(nn.functional.gelu(self.intermediate.dense(x)), x)


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layer = nn.ModuleList([Layer(c) for _ in range(c['layers'])])


class Bert(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = Embeddings(c)
        self.encoder = Encoder(c)
        self.pooler = Dense(c['hidden'], c['hidden'])

    def forward(self, ids, mask=None, types=None):
        x = self.embeddings(ids, torch.zeros_like(ids) if types is None else types)
        added = 0 if mask is None else (1.0 - mask[:, None, None, :]) * torch.finfo(torch.float32).min
        for layer in self.encoder.layer:
            x = layer(x, added)
        return x, torch.tanh(self.pooler.dense(x[:, 0]))


class RNNModel(nn.Module):
    def __init__(self, words, inputs, hidden, layers):
        super().__init__()
        self.encoder = nn.Embedding(words, inputs)
        self.rnn = nn.LSTM(inputs, hidden, layers)
        self.decoder = nn.Linear(hidden, words)

    def forward(self, words):
        output, (h, c) = self.rnn(self.encoder(words))
        return self.decoder(output), h, c


def tokens(shape, count):
    return torch.arange(math.prod(shape)).reshape(shape) * 7919 % count


def summary(outputs):
    return [{'shape': list(y.shape), 'first': [float(v) for v in y.flatten()[:12]], 'sum': float(y.double().sum()),
             'norm': float(y.double().norm())} for y in outputs]


def entry(model, **fields):
    return {**fields, 'state': [[k, list(v.shape)] for k, v in model.state_dict().items()]}


SMALL = dict(vocab=50, hidden=32, layers=2, heads=4, intermediate=64, positions=20)
BASE = dict(vocab=1000, hidden=768, layers=2, heads=12, intermediate=3072, positions=512)

small, base = Bert(SMALL).eval(), Bert(BASE).eval()
words = RNNModel(1000, 200, 200, 2).eval()
for model in (small, base, words):
    fill(model)
ids, long = tokens([2, 12], 50), tokens([1, 128], 1000)
mask = torch.ones(2, 12, dtype=torch.int64)
mask[1, 7:] = 0
types = (torch.arange(12) >= 5).long().repeat(2, 1)
text = tokens([35, 3], 1000)

golden = {
    'small': entry(small, outputs=summary(small(ids)), masked=summary(small(ids, mask, types)),
                   int8=summary(quantize_dynamic(small)(ids, mask, types))),
    'base': entry(base, outputs=summary(base(long)), int8=summary(quantize_dynamic(base)(long)),
                  noise=[float((a - b).norm()) for a, b in zip(base(long), quantize_dynamic(base)(long))],
                  parameters=sum(p.numel() for p in base.parameters())),
    'words': entry(words, outputs=summary(words(text)), int8=summary(quantize_dynamic(words)(text))),
}
path = os.path.join(HERE, 'data', 'language_models.json')
with open(path, 'w') as f:
    json.dump(golden, f)
    f.write('\n')
print(f'{path}: {os.path.getsize(path)} bytes (torch {torch.__version__})')
