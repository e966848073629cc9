"""Layers of torch.nn: printed form, initial state under manual_seed(0), forward results, gradients.

Every case is built after `torch.manual_seed(0)`; with `init` the state dict is what the constructor drew. The output's
gradient follows a rule, so that it need not be stored.

    python3 test/golden/nn.py
"""
import json
import os

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from common import HERE, encode, encode_tensor

cases = []


def flat(result):
    """Tensors of a result, in order; None stays."""
    if isinstance(result, (tuple, list)):
        return [t for item in result for t in flat(item)]
    return [result]


def case(name, make, *inputs, init=False, train=False, grad=False, call=None, perturb=False, packed=None, **options):
    torch.manual_seed(0)
    module = make()
    torch.manual_seed(1)
    if perturb:
        with torch.no_grad():
            for k, v in module.state_dict().items():
                if v.is_floating_point():
                    v.copy_(torch.rand_like(v) + 0.5 if 'var' in k else v + 0.3 * torch.randn_like(v))
    module.train(train)
    state = {k: encode_tensor(v) for k, v in module.state_dict().items()}
    entry = {'name': name, 'repr': repr(module), 'init': init, 'train': train, 'state': state}
    live = [t.clone().requires_grad_(grad) if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in inputs]
    entry['inputs'] = [encode(v) for v in inputs]
    if options:
        entry['inputs'].append({k: encode(v) for k, v in options.items() if not k.startswith('_')})
    if packed is not None:
        lengths, enforce = packed
        entry['packed'] = {'lengths': lengths, 'enforceSorted': enforce}
        sequence = pack_padded_sequence(live[0], torch.tensor(lengths), batch_first=module.batch_first, enforce_sorted=enforce)
        result = module(sequence, *live[1:])
        padded, out_lengths = pad_packed_sequence(result[0], batch_first=module.batch_first)
        result = (padded, *result[1:])
        entry['packed']['outLengths'] = out_lengths.tolist()
    else:
        result = (call or (lambda m, *xs: m(*xs)))(module, *live)
    outputs = flat(result)
    entry['outputs'] = [None if t is None else encode_tensor(t) for t in outputs]
    if grad:
        # Halves from -1.5 to 2.5 in turn: exact, and not a direction that normalization cancels.
        ramp = torch.arange(outputs[0].numel()) % 5 - 1.5
        outputs[0].backward(ramp.reshape(outputs[0].shape))
        entry['gradInput'] = encode_tensor(live[0].grad) if live[0].grad is not None else None
        entry['gradParameters'] = {k: encode_tensor(p.grad) for k, p in module.named_parameters() if p.grad is not None}
    if train:
        entry['stateAfter'] = {k: encode_tensor(v) for k, v in module.named_buffers()}
    cases.append(entry)


torch.manual_seed(42)
R = torch.randn

# Linear
case('Linear', lambda: nn.Linear(5, 4), R(3, 5), init=True, grad=True)
case('Linear without bias', lambda: nn.Linear(5, 4, bias=False), R(2, 3, 5), init=True)
case('Bilinear', lambda: nn.Bilinear(3, 4, 2), R(5, 3), R(5, 4), init=True, grad=True)
case('Identity', lambda: nn.Identity(), R(2, 2))

# Convolution
case('Conv1d', lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), R(2, 4, 9), init=True, grad=True)
case('Conv1d circular', lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode='circular'), R(1, 2, 7), init=True, grad=True)
case('Conv2d', lambda: nn.Conv2d(1, 20, 5), R(1, 1, 7, 6), init=True)
case('Conv2d grouped', lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, bias=False), R(2, 4, 7, 5), init=True, grad=True)
case('Conv2d dilated', lambda: nn.Conv2d(2, 3, 3, dilation=(2, 1), padding=2), R(1, 2, 6, 6), init=True)
case('Conv2d same', lambda: nn.Conv2d(2, 3, (4, 3), padding='same'), R(1, 2, 5, 6), init=True, grad=True)
case('Conv2d valid', lambda: nn.Conv2d(2, 3, 2, padding='valid'), R(1, 2, 4, 4), init=True)
case('Conv2d reflect', lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode='reflect'), R(1, 2, 5, 6), init=True, grad=True)
case('Conv2d replicate', lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode='replicate', stride=2), R(2, 2, 5, 5), init=True)
case('Conv2d circular same', lambda: nn.Conv2d(2, 2, (2, 3), padding='same', padding_mode='circular'), R(1, 2, 4, 5), init=True)
case('Conv2d depthwise, unbatched', lambda: nn.Conv2d(5, 5, 3, padding=1, groups=5), R(5, 6, 4), init=True)
case('Conv3d', lambda: nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=1), R(1, 2, 3, 4, 3), init=True, grad=True)
case('ConvTranspose1d', lambda: nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1), R(2, 3, 5), init=True, grad=True)
case('ConvTranspose2d', lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=1), R(1, 4, 4, 3), init=True, grad=True)
case('ConvTranspose3d', lambda: nn.ConvTranspose3d(2, 3, 2, stride=(2, 1, 2), padding=(0, 1, 0), output_padding=(1, 0, 0)), R(1, 2, 2, 3, 2), init=True, grad=True)

# Normalization
for train in (False, True):
    suffix = ' training' if train else ''
    case('BatchNorm1d' + suffix, lambda: nn.BatchNorm1d(4), R(6, 4), perturb=True, train=train, grad=True)
    case('BatchNorm1d sequence' + suffix, lambda: nn.BatchNorm1d(3, eps=1e-3, momentum=0.2), R(4, 3, 5), perturb=True, train=train, grad=True)
    case('BatchNorm2d' + suffix, lambda: nn.BatchNorm2d(3), R(2, 3, 4, 3), perturb=True, train=train, grad=True)
    case('BatchNorm2d plain' + suffix, lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False), R(2, 3, 3, 3), train=train)
    case('BatchNorm2d cumulative' + suffix, lambda: nn.BatchNorm2d(3, momentum=None), R(2, 3, 3, 3), perturb=True, train=train)
    case('BatchNorm3d' + suffix, lambda: nn.BatchNorm3d(2), R(2, 2, 2, 3, 2), perturb=True, train=train)
    case('InstanceNorm2d tracking' + suffix, lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), R(2, 3, 4, 3), perturb=True, train=train, grad=True)
case('LayerNorm', lambda: nn.LayerNorm(6), R(3, 6), perturb=True, grad=True)
case('LayerNorm two dimensions', lambda: nn.LayerNorm((3, 4), eps=1e-12, elementwise_affine=False), R(2, 3, 4))
case('GroupNorm', lambda: nn.GroupNorm(3, 6), R(2, 6, 4), perturb=True, grad=True)
case('InstanceNorm1d', lambda: nn.InstanceNorm1d(3), R(2, 3, 6), grad=True)
case('InstanceNorm1d unbatched', lambda: nn.InstanceNorm1d(3), R(3, 6))
case('InstanceNorm3d', lambda: nn.InstanceNorm3d(2, affine=True), R(1, 2, 2, 3, 2), perturb=True)

# Activations
X = torch.cat([R(2, 6) * 3, torch.tensor([[0.0, -3.0, 2.9, 6.0, -0.5, 0.5]])])
for name, make in [
    ('ReLU', lambda: nn.ReLU()), ('ReLU inplace', lambda: nn.ReLU(inplace=True)), ('ReLU6', lambda: nn.ReLU6()),
    ('Hardtanh', lambda: nn.Hardtanh()), ('Hardtanh wide', lambda: nn.Hardtanh(-2.0, 2.5, inplace=True)),
    ('LeakyReLU', lambda: nn.LeakyReLU()), ('LeakyReLU steep', lambda: nn.LeakyReLU(0.2, inplace=True)),
    ('PReLU', lambda: nn.PReLU()), ('ELU', lambda: nn.ELU()), ('ELU half', lambda: nn.ELU(0.5)), ('GELU', lambda: nn.GELU()),
    ('GELU tanh', lambda: nn.GELU(approximate='tanh')), ('SiLU', lambda: nn.SiLU()), ('Hardswish', lambda: nn.Hardswish()),
    ('Hardsigmoid', lambda: nn.Hardsigmoid()), ('Sigmoid', lambda: nn.Sigmoid()), ('Tanh', lambda: nn.Tanh()),
    ('Softplus', lambda: nn.Softplus()), ('Softmax', lambda: nn.Softmax(dim=-1)), ('LogSoftmax', lambda: nn.LogSoftmax(dim=1)),
    ('GLU', lambda: nn.GLU()),
]:
    # No in-place module may write into the leaf.
    case(name, make, X, grad=True, init=name == 'PReLU', call=lambda m, x: m(x * 1))
case('PReLU per channel', lambda: nn.PReLU(3, init=0.1), R(2, 3, 4), init=True, grad=True)

# Pools, shapes, dropout
case('MaxPool1d', lambda: nn.MaxPool1d(3, stride=2), R(2, 3, 9), grad=True)
case('MaxPool2d', lambda: nn.MaxPool2d(2), R(2, 3, 6, 5), grad=True)
case('MaxPool2d padded', lambda: nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True), R(1, 2, 6, 7), grad=True)
case('MaxPool3d', lambda: nn.MaxPool3d(2), R(1, 2, 4, 4, 4))
case('AvgPool1d', lambda: nn.AvgPool1d(2), R(1, 3, 7))
case('AvgPool2d', lambda: nn.AvgPool2d(3, stride=2, padding=1), R(1, 2, 6, 5), grad=True)
case('AvgPool2d without padding', lambda: nn.AvgPool2d((3, 2), padding=1, count_include_pad=False, ceil_mode=True), R(1, 2, 6, 5))
case('AvgPool3d', lambda: nn.AvgPool3d(2), R(1, 2, 4, 4, 5))
case('AdaptiveAvgPool1d', lambda: nn.AdaptiveAvgPool1d(3), R(1, 2, 7))
case('AdaptiveAvgPool2d', lambda: nn.AdaptiveAvgPool2d(1), R(2, 3, 4, 5), grad=True)
case('AdaptiveAvgPool2d pair', lambda: nn.AdaptiveAvgPool2d((2, None)), R(1, 2, 5, 4))
case('AdaptiveAvgPool3d', lambda: nn.AdaptiveAvgPool3d((2, None, 1)), R(1, 2, 3, 2, 4), grad=True)
case('Upsample nearest', lambda: nn.Upsample(scale_factor=2), R(1, 2, 3, 2), grad=True)
case('Upsample fraction', lambda: nn.Upsample(scale_factor=1.7), R(1, 1, 4, 3))
case('Upsample bilinear', lambda: nn.Upsample(scale_factor=(2, 1.5), mode='bilinear'), R(1, 2, 4, 4), grad=True)
case('Upsample corners', lambda: nn.Upsample(size=(5, 7), mode='bilinear', align_corners=True), R(1, 2, 3, 4))
case('Upsample linear', lambda: nn.Upsample(size=7, mode='linear'), R(1, 2, 4))
case('ZeroPad2d', lambda: nn.ZeroPad2d((1, 2, 0, 1)), R(1, 2, 2, 3))
case('Flatten', lambda: nn.Flatten(), R(2, 3, 2, 2))
case('Flatten middle', lambda: nn.Flatten(1, 2), R(2, 3, 2, 2))
case('Unflatten', lambda: nn.Unflatten(1, (2, 3)), R(2, 6, 2))
case('Dropout', lambda: nn.Dropout(0.5), R(2, 3))
case('Dropout1d', lambda: nn.Dropout1d(0.25), R(2, 3, 2))
case('Dropout2d', lambda: nn.Dropout2d(0.2, inplace=True), R(2, 3, 2, 2))

# Embeddings
I = torch.randint
case('Embedding', lambda: nn.Embedding(10, 5), I(0, 10, (2, 3)), init=True, grad=True)
case('Embedding small', lambda: nn.Embedding(4, 3, padding_idx=1), I(0, 4, (6,)), init=True, grad=True)
case('EmbeddingBag', lambda: nn.EmbeddingBag(10, 4), I(0, 10, (3, 4)), init=True, grad=True)
case('EmbeddingBag offsets', lambda: nn.EmbeddingBag(10, 4, mode='sum'), I(0, 10, (7,)), torch.tensor([0, 3, 3, 5]), torch.rand(7), init=True)
case('EmbeddingBag last offset', lambda: nn.EmbeddingBag(10, 4, mode='max', include_last_offset=True), I(0, 10, (7,)), torch.tensor([0, 3, 7]), init=True, grad=True)

# Recurrent
case('RNN', lambda: nn.RNN(4, 3), R(5, 2, 4), init=True, grad=True)
case('RNN relu', lambda: nn.RNN(4, 3, 2, nonlinearity='relu', bias=False), R(5, 2, 4), R(2, 2, 3), init=True)
case('LSTM', lambda: nn.LSTM(4, 5), R(6, 3, 4), init=True, grad=True)
case('LSTM deep', lambda: nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True, dropout=0.5), R(2, 5, 4), [R(4, 2, 3), R(4, 2, 3)], init=True, grad=True)
case('LSTM unbatched', lambda: nn.LSTM(4, 3), R(5, 4), init=True)
case('LSTM packed', lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True), R(5, 4, 4), [R(4, 4, 3), R(4, 4, 3)], init=True, grad=True, packed=([5, 3, 3, 1], True))
case('LSTM packed unsorted', lambda: nn.LSTM(4, 3, batch_first=True), R(4, 5, 4), init=True, packed=([2, 5, 1, 4], False))
case('GRU', lambda: nn.GRU(4, 3, num_layers=2, bidirectional=True), R(5, 2, 4), init=True, grad=True)
case('GRU packed', lambda: nn.GRU(4, 3, bidirectional=True), R(5, 3, 4), R(2, 3, 3), init=True, grad=True, packed=([2, 5, 1], False))
case('RNNCell', lambda: nn.RNNCell(4, 3, nonlinearity='relu'), R(2, 4), R(2, 3), init=True, grad=True)
case('LSTMCell', lambda: nn.LSTMCell(4, 3), R(2, 4), [R(2, 3), R(2, 3)], init=True, grad=True)
case('LSTMCell zero state', lambda: nn.LSTMCell(4, 3, bias=False), R(2, 4), init=True)
case('GRUCell', lambda: nn.GRUCell(4, 3), R(2, 4), R(2, 3), init=True, grad=True)

# Attention
Q = R(4, 2, 6)
case('MultiheadAttention', lambda: nn.MultiheadAttention(6, 2), Q, R(5, 2, 6), R(5, 2, 6), init=True, grad=True)
padding = torch.tensor([[False, False, False, True], [False, False, True, True]])
causal = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
S = R(2, 4, 6)
case('MultiheadAttention masks', lambda: nn.MultiheadAttention(6, 3, batch_first=True), S, R(2, 4, 6), R(2, 4, 6), init=True, grad=True,
     call=lambda m, q, k, v: m(q, k, v, key_padding_mask=padding, attn_mask=causal, average_attn_weights=False),
     keyPaddingMask=padding, attnMask=causal, averageAttnWeights=False)
case('MultiheadAttention sizes', lambda: nn.MultiheadAttention(6, 2, kdim=3, vdim=5, add_bias_kv=True, add_zero_attn=True), Q, R(4, 2, 3), R(4, 2, 5), init=True, grad=True,
     call=lambda m, q, k, v: m(q, k, v, key_padding_mask=padding), keyPaddingMask=padding)
case('TransformerEncoderLayer', lambda: nn.TransformerEncoderLayer(6, 2, dim_feedforward=8), Q, init=True, grad=True)
case('TransformerEncoderLayer first', lambda: nn.TransformerEncoderLayer(6, 2, 8, activation='gelu', norm_first=True, batch_first=True), S, init=True, grad=True,
     call=lambda m, x: m(x, src_mask=causal, src_key_padding_mask=padding), mask=causal, srcKeyPaddingMask=padding)
case('TransformerEncoder', lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, activation=nn.GELU()), 2, norm=nn.LayerNorm(6)), Q, init=True)

# Containers
case('Sequential', lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), R(2, 1, 4, 4), init=True, grad=True)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.choices = nn.ModuleDict({'relu': nn.ReLU(), 'tanh': nn.Tanh()})
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1))])

    def forward(self, x):
        for layer in self.layers:
            x = self.choices['tanh'](layer(x))
        return self.choices['relu'](x) * self.gains[0] + self.gains[1]


case('Named', Named, R(2, 3), init=True, grad=True)

# Losses
L, T = R(4, 5), torch.tensor([1, 0, 4, 2])
P = torch.softmax(R(4, 5), 1)
for name, make, inputs in [
    ('CrossEntropyLoss', lambda: nn.CrossEntropyLoss(), (L, T)),
    ('CrossEntropyLoss weighted', lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0]), ignore_index=4, label_smoothing=0.1), (L, T)),
    ('CrossEntropyLoss soft', lambda: nn.CrossEntropyLoss(reduction='sum'), (L, P)),
    ('NLLLoss', lambda: nn.NLLLoss(), (torch.log_softmax(L, 1), T)),
    ('MSELoss', lambda: nn.MSELoss(), (L, P)),
    ('L1Loss', lambda: nn.L1Loss(reduction='none'), (L, P)),
    ('SmoothL1Loss', lambda: nn.SmoothL1Loss(beta=0.5), (L, P)),
    ('BCEWithLogitsLoss', lambda: nn.BCEWithLogitsLoss(), (L, (P > 0.2).float())),
    ('BCEWithLogitsLoss weighted', lambda: nn.BCEWithLogitsLoss(pos_weight=torch.arange(1.0, 6.0), reduction='sum'), (L, (P > 0.2).float())),
    ('KLDivLoss', lambda: nn.KLDivLoss(reduction='batchmean'), (torch.log_softmax(L, 1), P)),
]:
    case(name, make, *inputs, grad=True)

# Fused modules and folding
from torch.ao.nn import intrinsic as nni  # noqa: E402
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval  # noqa: E402

case('LinearReLU', lambda: nni.LinearReLU(nn.Linear(5, 3), nn.ReLU()), R(2, 5), init=True, grad=True)
case('LinearBn1d', lambda: nni.LinearBn1d(nn.Linear(5, 3), nn.BatchNorm1d(3)), R(2, 5), init=True)
case('ConvReLU1d', lambda: nni.ConvReLU1d(nn.Conv1d(2, 3, 3), nn.ReLU()), R(1, 2, 6), init=True)
case('ConvReLU2d', lambda: nni.ConvReLU2d(nn.Conv2d(2, 3, 3), nn.ReLU()), R(1, 2, 4, 4), init=True)
case('ConvReLU3d', lambda: nni.ConvReLU3d(nn.Conv3d(1, 2, 2), nn.ReLU()), R(1, 1, 3, 3, 3), init=True)
case('ConvBn1d', lambda: nni.ConvBn1d(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)), R(1, 2, 6), init=True)
case('ConvBn2d', lambda: nni.ConvBn2d(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), R(1, 2, 4, 4), init=True)
case('ConvBn3d', lambda: nni.ConvBn3d(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2)), R(1, 1, 3, 3, 3), init=True)
case('ConvBnReLU1d', lambda: nni.ConvBnReLU1d(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU()), R(1, 2, 6), init=True)
case('ConvBnReLU2d', lambda: nni.ConvBnReLU2d(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), R(1, 2, 4, 4), init=True)
case('ConvBnReLU3d', lambda: nni.ConvBnReLU3d(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU()), R(1, 1, 3, 3, 3), init=True)
case('BNReLU2d', lambda: nni.BNReLU2d(nn.BatchNorm2d(3), nn.ReLU()), R(1, 3, 2, 2), perturb=True)
case('BNReLU3d', lambda: nni.BNReLU3d(nn.BatchNorm3d(2), nn.ReLU()), R(1, 2, 2, 2, 2), perturb=True)

fusions = []


def fusion(name, first, bn, fuse):
    torch.manual_seed(3)
    pair = nn.Sequential(first, bn).eval()
    with torch.no_grad():
        for k, v in pair.state_dict().items():
            if k.startswith('1.') and v.is_floating_point():
                v.copy_(torch.rand_like(v) + 0.5 if 'var' in k else v + 0.3 * torch.randn_like(v))
    fused = fuse(pair[0], pair[1])
    fusions.append({
        'name': name,
        'state': {k: encode_tensor(v) for k, v in pair.state_dict().items()},
        'weight': encode_tensor(fused.weight),
        'bias': encode_tensor(fused.bias),
    })


fusion('conv', nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), fuse_conv_bn_eval)
fusion('conv without bias', nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-3), fuse_conv_bn_eval)
fusion('plain bn', nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4, affine=False), fuse_conv_bn_eval)
fusion('transposed', nn.ConvTranspose2d(3, 4, 2), nn.BatchNorm2d(4), lambda c, b: fuse_conv_bn_eval(c, b, transpose=True))
fusion('linear', nn.Linear(6, 4), nn.BatchNorm1d(4), fuse_linear_bn_eval)

# torch.nn.init
inits = []
for name, fill in [
    ('uniform_', lambda t: nn.init.uniform_(t, -1.5, 0.5)),
    ('normal_', lambda t: nn.init.normal_(t, 1.0, 2.0)),
    ('truncNormal_', lambda t: nn.init.trunc_normal_(t, 0.5, 1.0, -1.0, 1.5)),
    ('constant_', lambda t: nn.init.constant_(t, 0.3)),
    ('eye_', nn.init.eye_),
    ('xavierUniform_', lambda t: nn.init.xavier_uniform_(t, 2.0)),
    ('xavierNormal_', nn.init.xavier_normal_),
    ('kaimingUniform_', lambda t: nn.init.kaiming_uniform_(t, nonlinearity='relu')),
    ('kaimingNormal_', lambda t: nn.init.kaiming_normal_(t, mode='fan_out', a=0.1)),
    ('orthogonal_', lambda t: nn.init.orthogonal_(t, 1.5)),
]:
    torch.manual_seed(5)
    inits.append({'name': name, 'value': encode_tensor(fill(torch.zeros(4, 6)))})
torch.manual_seed(5)
inits.append({'name': 'orthogonal_ tall', 'value': encode_tensor(nn.init.orthogonal_(torch.zeros(6, 4)))})
inits.append({'name': 'dirac_', 'value': encode_tensor(nn.init.dirac_(torch.zeros(4, 2, 3), 2))})

path = os.path.join(HERE, 'data', 'nn.json')
with open(path, 'w') as f:
    rows = lambda items: '[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in items) + '\n]'
    f.write('{"cases":' + rows(cases) + ',\n"fusions":' + rows(fusions) + ',\n"inits":' + rows(inits) + '}\n')
print(f'{path}: {len(cases)} cases, {os.path.getsize(path)} bytes (torch {torch.__version__})')
