"""What PyTorch 1.13 makes of two trained recurrent models, in float and dynamically quantized to int8 (engine qnnpack).

Run: python3 test/golden/recurrent_models.py DATA_DIR 2> /dev/null
Writes data/recurrent_models.json. DATA_DIR holds char_lstm_shakespeare.pth, its vocab.json, tinyshakespeare.txt, g2p_gru.npz
and cmudict_words.txt.
"""
import json
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from common import CharLstm

DATA = sys.argv[1]
torch.backends.quantized.engine = "qnnpack"
torch.set_grad_enabled(False)


def read(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as f:
        return f.read()


def character_losses():
    """Nats per character of 20 rows of 2000, for both ways to deal with two letters that the vocabulary file misspells."""
    model = CharLstm().eval()
    model.load_state_dict(torch.load(os.path.join(DATA, "char_lstm_shakespeare.pth")))
    vocabulary = json.loads(read("char_lstm_shakespeare.vocab.json"))
    text = read("tinyshakespeare.txt")
    restored = {**vocabulary, "U": vocabulary[""], "u": vocabulary["  "]}
    texts = {"restored": [restored[c] for c in text[:40001]],
             "leftOut": [vocabulary[c] for c in text if c in vocabulary][:40001]}
    losses = {}
    for name, ids in texts.items():
        ids = torch.tensor(ids)
        losses[name] = {form: nn.functional.cross_entropy(m(ids[:-1].view(20, 2000)).flatten(0, 1), ids[1:]).item()
                        for form, m in (("float", model), ("int8", quantize_dynamic(model)))}
    return losses


class G2p(nn.Module):
    def __init__(self, arrays):
        super().__init__()
        self.encoder = nn.GRU(256, 256, batch_first=True)
        self.decoder = nn.GRUCell(256, 256)
        self.fc = nn.Linear(256, 74)
        self.enc_emb, self.dec_emb = arrays["enc_emb"], arrays["dec_emb"]
        for part, module, suffix in (("enc", self.encoder, "_l0"), ("dec", self.decoder, "")):
            for kind in ("w_ih", "w_hh", "b_ih", "b_hh"):
                name = kind.replace("w_", "weight_").replace("b_", "bias_") + suffix
                getattr(module, name).copy_(arrays[f"{part}_{kind}"])
        self.fc.weight.copy_(arrays["fc_w"])
        self.fc.bias.copy_(arrays["fc_b"])

    def forward(self, word):
        letters = [ord(c) - ord("a") + 3 for c in word] + [2]
        h = self.encoder(self.enc_emb[letters][None])[1][0]
        said, last = [], 2
        while len(said) < 20:
            h = self.decoder(self.dec_emb[last][None], h)
            last = self.fc(h).argmax().item()
            if last == 3:
                break
            said.append(last)
        return said


def pronunciations(count=500):
    """Phoneme ids of every 38th word, one word at a time."""
    arrays = {k: torch.tensor(v) for k, v in np.load(os.path.join(DATA, "g2p_gru.npz")).items()}
    words = [line.split()[0] for line in read("cmudict_words.txt").splitlines()][::38][:count]
    model = G2p(arrays).eval()
    small = quantize_dynamic(model)
    return {form: [m(w) for w in words] for form, m in (("float", model), ("int8", small))}


result = {"characters": character_losses(), "pronunciations": pronunciations()}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "recurrent_models.json"), "w") as f:
    json.dump(result, f, separators=(",", ":"))
print(result["characters"])
