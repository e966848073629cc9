"""PyTorch 1.13's table of what its native backend computes in integers (`get_native_backend_config`), row by row as plain data.

Names: nn.* modules, nni.* fused ones, qat.* and nniqat.* those in training, F.* and torch.* functions, operator.* Python's
operators, method.* methods of tensors. Patterns are in the order they run.
Run: python3 test/golden/backend_config.py   (writes data/backend_config.json)
"""
import json
import os

import torch
from torch.ao.quantization.backend_config import get_native_backend_config, get_native_backend_config_dict

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIXES = [
    ("torch.nn.intrinsic.qat", "nniqat"),
    ("torch.ao.nn.intrinsic.qat", "nniqat"),
    ("torch.ao.nn.intrinsic", "nni"),
    ("torch.nn.intrinsic", "nni"),
    ("torch.ao.nn.qat", "qat"),
    ("torch.ao.nn.quantized.reference", "reference"),
    ("torch.nn.modules", "nn"),
    ("torch.nn.functional", "F"),
    ("torch._C._nn", "F"),
    ("_operator", "operator"),
]
# Functions without names of their own.
NAMES = {getattr(torch.nn.functional, f"max_pool{n}d"): f"F.max_pool{n}d" for n in (1, 2, 3)}


def name(part):
    if isinstance(part, str):
        return f"method.{part}"
    if part in NAMES:
        return NAMES[part]
    for prefix, short in PREFIXES:
        if (part.__module__ or "").startswith(prefix):
            return f"{short}.{part.__name__}"
    return f"torch.{part.__name__}"


def in_order(pattern):
    """(relu, (bn, conv)) as [conv, bn, relu]."""
    if not isinstance(pattern, tuple):
        return [name(pattern)]
    last, before = pattern
    return in_order(before) + in_order(last)


def dtype(value):
    return None if value is None else str(value).replace("torch.", "")


def fixed(observer):
    if observer is None:
        return None
    made = observer()
    scale, zero_point = made.calculate_qparams()
    return [float(scale), int(zero_point), dtype(made.dtype), made.quant_min, made.quant_max]


def row(config):
    def optional(part):
        return None if part is None else name(part)

    def kind(observation):
        return {"OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT": "own", "OUTPUT_SHARE_OBSERVER_WITH_INPUT": "shared"}[observation.name]
    overwritten = config._overwrite_output_fake_quantize
    return {
        "pattern": in_order(config.pattern),
        "dtypes": [
            [dtype(d.input_dtype), dtype(d.output_dtype), dtype(d.weight_dtype), dtype(d.bias_dtype), bool(d.is_dynamic)]
            for d in config.dtype_configs
        ],
        "observation": kind(config.observation_type),
        "byTensors": {str(n): kind(o) for n, o in config._num_tensor_args_to_observation_type.items()} or None,
        "root": optional(config.root_module),
        "qat": optional(config.qat_module),
        "reference": optional(config.reference_quantized_module),
        "fused": optional(config.fused_module),
        "fuses": config.fuser_method is not None,
        "places": config._input_type_to_index or None,
        "observed": config._input_output_observed is not False,
        "fixed": fixed(config._overwrite_output_observer),
        "fixedInTraining": fixed(overwritten and (lambda: overwritten().activation_post_process)),
    }


if __name__ == "__main__":
    rows = [row(config) for config in get_native_backend_config().configs.values()]
    assert len(rows) == len(get_native_backend_config_dict()["configs"])
    with open(os.path.join(HERE, "data", "backend_config.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
