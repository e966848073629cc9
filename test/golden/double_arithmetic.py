"""Float models computed exactly enough to be compared to the bit: every float32 operator in double, rounded once.

Float32 sums differ in their last bits with the order of their terms, which no two libraries share. In double that is a
matter of 1e-16, and what is left after rounding to float32 is the same. Twin of test/support/double-arithmetic.ts.
"""
import torch
from torch.ao.quantization import FakeQuantizeBase, ObserverBase
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

aten = torch.ops.aten
# What only moves, makes or describes elements; views must stay views.
MOVES = {
    "_reshape_alias", "_to_copy", "_unsafe_view", "alias", "arange", "as_strided", "cat", "chunk", "clone", "copy_", "detach",
    "empty", "empty_like", "expand", "fill_", "flatten", "flip", "full", "lift_fresh", "ones", "permute", "reshape", "select",
    "slice", "split", "squeeze", "squeeze_", "stack", "t", "transpose", "unbind", "unsafe_split", "unsqueeze", "view", "zero_", "zeros",
    "_local_scalar_dense", "item", "equal",
}


def to(dtype, wanted):
    return lambda v: v.to(wanted) if isinstance(v, torch.Tensor) and v.dtype == dtype else v


class DoubleArithmetic(TorchDispatchMode):
    """While active, float32 operators compute in double and round once. Observers and fake-quantizes keep theirs."""

    def __init__(self, module):
        super().__init__()
        self.resting = 0
        for m in module.modules():
            if isinstance(m, (ObserverBase, FakeQuantizeBase)):
                m.register_forward_pre_hook(self.rest)
                m.register_forward_hook(self.resume)

    def rest(self, *_):
        self.resting += 1

    def resume(self, *_):
        self.resting -= 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        namespace, name = func._schema.name.split("::")
        if self.resting or namespace != "aten" or name in MOVES or name.startswith("quantize"):
            return func(*args, **kwargs)
        tensors = []
        tree_map(lambda v: tensors.append(v) if isinstance(v, torch.Tensor) else None, (args, kwargs))
        if any(t.is_quantized for t in tensors) or not any(t.dtype == torch.float32 for t in tensors):
            return func(*args, **kwargs)
        if name == "native_batch_norm" and args[5]:
            return self.batch_norm(*args)
        wide_args, wide_kwargs = tree_map(to(torch.float32, torch.float64), (args, kwargs))
        results = func(*wide_args, **wide_kwargs)
        if name.endswith("_"):
            return args[0].copy_(results)
        return tree_map(to(torch.float64, torch.float32), results)


    @staticmethod
    def batch_norm(x, weight, bias, running_mean, running_var, _training, momentum, eps):
        """In training. Mean and variance are rounded once, before they go into the running ones."""
        x = x.double()
        dims = [d for d in range(x.dim()) if d != 1]
        mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
        invstd = 1 / torch.sqrt(var + eps)
        along = [-1 if d == 1 else 1 for d in range(x.dim())]
        out = (x - mean) * invstd * weight.double().reshape(along) + bias.double().reshape(along)
        n = x.numel() // x.shape[1]
        for running, batch, factor in ((running_mean, mean, 1), (running_var, var, n / (n - 1))):
            running.copy_((1 - momentum) * running.double() + momentum * (batch.flatten().float().double() * factor))
        return out.float(), mean.flatten().float(), invstd.flatten().float()


def lstm(x, weights, state, batch_first):
    """An LSTM's layers, one product per input and one per state, gates and cell in one go: the grain at which ours rounds."""
    linear = torch.nn.functional.linear
    # Of a contiguous input the bias goes into the product, and is not rounded twice.
    x = x.transpose(0, 1).contiguous() if batch_first else x
    for layer, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
        h, c = state[0][layer], state[1][layer]
        gates = linear(x, w_ih, b_ih)
        out = []
        for step in gates:
            i, f, g, o = (linear(h, w_hh, b_hh) + step).double().chunk(4, 1)
            c = torch.sigmoid(f) * c.double() + torch.sigmoid(i) * torch.tanh(g)
            h, c = (torch.sigmoid(o) * torch.tanh(c)).float(), c.float()
            out.append(h)
        x = torch.stack(out)
    return x.transpose(0, 1) if batch_first else x


def lstm_forward(self, x, state=None):
    batch = x.shape[0 if self.batch_first else 1]
    zeros = torch.zeros(self.num_layers, batch, self.hidden_size)
    return lstm(x, self.all_weights, state or (zeros, zeros), self.batch_first), None
