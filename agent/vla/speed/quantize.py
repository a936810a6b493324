"""Linear layers of vision tower and language model with fewer bits. The small heads stay as they are.

bnb-int8      bitsandbytes LLM.int8(): int8 weights and activations, outlier columns in half precision
bnb-nf4       bitsandbytes NF4: 4-bit weights, multiplied at the model's precision
int8-dynamic  int8 weights, one scale an output, and int8 activations, one scale a token, taken as they come
fp8           the same with float8 (e4m3)

bitsandbytes saves memory; the last two are real low-precision matrix products on CUDA. On a CPU they round to the same
numbers and multiply those in float32: the errors of the format at none of its speed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vlatency.agent.optimization import Quant
from vlatency.sim.errors import UsageError

FP8_CAPABILITY = (8, 9)
"""The least compute capability of an NVIDIA GPU that multiplies float8: Ada and Hopper."""
_UNIT = 16
"""CUDA's low-precision products want sides that are multiples of this."""
_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}


def _rounded(values: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (M, K) as `dtype` and their scales (M, 1) float32."""
    largest = torch.linalg.vector_norm(values, torch.inf, dim=1, keepdim=True, dtype=torch.float32)
    scale = largest.clamp(min=1e-12) / _LARGEST[dtype]
    values = values / scale
    return (values.round() if dtype == torch.int8 else values).to(dtype), scale


def _filled(values: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A matrix with zeros added on the right and below, so that it has `rows` and `columns`."""
    if values.shape == (rows, columns):
        return values
    return F.pad(values, (0, columns - values.shape[1], 0, rows - values.shape[0]))


def _whole(side: int) -> int:
    return -(-side // _UNIT) * _UNIT


class ScaledLinear(nn.Module):
    """A linear layer whose weights and inputs are rounded to `dtype`, each row with a scale of its own."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = _filled(linear.weight.detach(), _whole(self.out_features), _whole(self.in_features))
        rounded, scale = _rounded(weight, dtype)
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.T.contiguous())
        self.bias = linear.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., in_features) to (..., out_features) of the same type."""
        flat = hidden.flatten(0, -2)
        # CUDA's integer product wants more than 16 rows.
        rounded, scale = _rounded(_filled(flat, max(len(flat), 2 * _UNIT), self.weight.shape[1]), self.weight.dtype)
        product = self._product(rounded, scale, hidden.dtype)[: len(flat), : self.out_features]
        product = product if self.bias is None else product + self.bias
        return product.to(hidden.dtype).unflatten(0, hidden.shape[:-1])

    def _product(self, rounded: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if rounded.device.type == "cpu":
            return (rounded.float() @ self.weight.float().T) * scale * self.scale
        if rounded.dtype == torch.int8:
            return torch._int_mm(rounded, self.weight.T) * scale * self.scale
        # The kernel with one scale a row gives bfloat16 only.
        return torch._scaled_mm(rounded, self.weight.T, scale, self.scale, out_dtype=torch.bfloat16).to(dtype)


def _bitsandbytes() -> Any:
    # It would tell everyone about a package that nobody needs here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes
    except ImportError:
        raise UsageError(
            "quant bnb-int8 and bnb-nf4 need the extra: pip install -e '.[quant]', or use int8-dynamic, fp8"
        ) from None
    return bitsandbytes


def _bnb_int8(linear: nn.Linear) -> nn.Module:
    bnb = _bitsandbytes()
    layer = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, linear.bias is not None, has_fp16_weights=False
    )
    layer.weight = bnb.nn.Int8Params(linear.weight.detach(), requires_grad=False, has_fp16_weights=False)
    layer.bias = linear.bias
    return layer.to(linear.weight.device)


def _bnb_nf4(linear: nn.Linear) -> nn.Module:
    bnb = _bitsandbytes()
    bias, dtype = linear.bias is not None, linear.weight.dtype
    layer = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias, compute_dtype=dtype, quant_type="nf4")
    layer.weight = bnb.nn.Params4bit(linear.weight.detach(), requires_grad=False, quant_type="nf4")
    layer.bias = linear.bias
    return layer.to(linear.weight.device)


_LAYERS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "bnb-int8": _bnb_int8,
    "bnb-nf4": _bnb_nf4,
    "int8-dynamic": partial(ScaledLinear, dtype=torch.int8),
    "fp8": partial(ScaledLinear, dtype=torch.float8_e4m3fn),
}


def quantize(model: nn.Module, quant: Quant) -> int:
    """Replaces every linear layer in `model`, in place; returns how many.

    Raises:
        UsageError: the extra is missing, or the GPU has no float8.
    """
    device = next(model.parameters()).device
    if quant == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise UsageError(f"quant fp8 needs an Ada, Hopper or newer GPU, and this is a {name}; use int8-dynamic")
    found = [
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear
    ]
    for module, name in found:
        setattr(module, name, _LAYERS[quant](getattr(module, name)))
    return len(found)
